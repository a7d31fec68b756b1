package bench

import (
	"fmt"
	"os"
	"runtime"
	"strings"
)

// Machine is where something was measured.
type Machine struct {
	System string  `json:"system"` // operating system, its release, architecture
	CPU    string  `json:"cpu,omitempty"`
	Cores  int     `json:"cores"`
	Memory float64 `json:"memory_bytes,omitempty"`
	Go     string  `json:"go"`
	Load   string  `json:"load,omitempty"` // of the last 1, 5 and 15 minutes, before
}

// ThisMachine is the one that this runs on, as far as it can be known.
func ThisMachine() Machine {
	m := Machine{System: runtime.GOOS + "/" + runtime.GOARCH, Cores: runtime.NumCPU(), Go: runtime.Version()}
	if release := firstLine("/proc/sys/kernel/osrelease"); release != "" {
		m.System = runtime.GOOS + " " + release + " " + runtime.GOARCH
	}
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		_, rest, _ := strings.Cut(string(b), "model name")
		line, _, _ := strings.Cut(rest, "\n")
		m.CPU = strings.TrimSpace(strings.TrimLeft(line, "\t :"))
	}
	m.Memory = float64(kilobytesIn("/proc/meminfo", "MemTotal:"))
	if fields := strings.Fields(firstLine("/proc/loadavg")); len(fields) > 3 {
		m.Load = strings.Join(fields[:3], " ")
	}
	return m
}

func firstLine(path string) string {
	b, _ := os.ReadFile(path) // what cannot be read is not told
	line, _, _ := strings.Cut(string(b), "\n")
	return line
}

func (m Machine) String() string {
	text := fmt.Sprintf("%s, %d cores", m.System, m.Cores)
	if m.CPU != "" {
		text += " (" + m.CPU + ")"
	}
	if m.Memory > 0 {
		text += fmt.Sprintf(", %.0f GiB", m.Memory/(1<<30))
	}
	text += ", " + m.Go
	if m.Load != "" {
		text += ", load before " + m.Load
	}
	return text
}

// HasFloor reports whether there is a floor on this system.
const HasFloor = runtime.GOOS == "linux"
