package main

import (
	"os"
	"runtime"
	"syscall"
)

// sources are what can be read here.
var sources = []func(*meter, map[string]any) error{readLoad, readMemory, readCPU, readDisk, readNetwork}

func readLoad(_ *meter, figures map[string]any) error {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return err
	}
	l, err := parseLoad(b)
	if err == nil {
		figures["load"] = l
	}
	return err
}

func readMemory(_ *meter, figures map[string]any) error {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return err
	}
	s, err := parseMemory(b)
	if err == nil {
		figures["memory"] = s
	}
	return err
}

func readCPU(m *meter, figures map[string]any) error {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return err
	}
	busy, all, err := parseCPU(b)
	if err != nil {
		return err
	}
	if !m.at.IsZero() && all >= m.all && busy >= m.busy {
		figures["cpu"] = CPU{Count: runtime.NumCPU(), Percent: percent(busy-m.busy, all-m.all)}
	}
	m.busy, m.all = busy, all
	return nil
}

func readDisk(_ *meter, figures map[string]any) error {
	var s syscall.Statfs_t
	if err := syscall.Statfs("/", &s); err != nil {
		return err
	}
	figures["disk"] = space(s.Blocks*uint64(s.Bsize), s.Bavail*uint64(s.Bsize))
	return nil
}

func readNetwork(m *meter, figures map[string]any) error {
	b, err := os.ReadFile("/proc/net/dev")
	if err != nil {
		return err
	}
	in, out, err := parseNetwork(b)
	if err != nil {
		return err
	}
	if !m.at.IsZero() {
		figures["network"] = Network{ReceivedPerSecond: m.since(in, m.in), SentPerSecond: m.since(out, m.out)}
	}
	m.in, m.out = in, out
	return nil
}
