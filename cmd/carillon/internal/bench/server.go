package bench

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Server is what is measured. PID 0 means that nothing is known about its process.
type Server struct {
	URL string
	PID int
	TLS *tls.Config // for wss; nil is the usual one
}

// connect opens a connection to the server at u, with TLS if that says so.
func (s Server) connect(ctx context.Context, u *url.URL) (net.Conn, error) {
	addr := u.Host
	switch u.Scheme {
	case "ws":
		if u.Port() == "" {
			addr = net.JoinHostPort(u.Hostname(), "80")
		}
		return new(net.Dialer).DialContext(ctx, "tcp", addr)
	case "wss":
		if u.Port() == "" {
			addr = net.JoinHostPort(u.Hostname(), "443")
		}
		return (&tls.Dialer{Config: s.TLS}).DialContext(ctx, "tcp", addr)
	}
	return nil, fmt.Errorf("found scheme %q, bench speaks ws and wss", u.Scheme)
}

// usage is what a server has used and holds, its child processes included. client is what this process has used.
type usage struct {
	cpu    time.Duration
	pss    int64 // bytes
	ok     bool
	client time.Duration
}

func (s Server) usage() usage {
	var u usage
	u.client, _ = cpuOf(os.Getpid()) // 0 where that cannot be known
	if s.PID == 0 {
		return u
	}
	for _, pid := range append(children(s.PID), s.PID) {
		cpu, err := cpuOf(pid)
		if err != nil {
			continue
		}
		u.cpu += cpu
		u.ok = true
		u.pss += pssOf(pid)
	}
	return u
}

// peak is the most memory that the server's process has held so far, its children not included; 0 when it cannot be read.
func (s Server) peak() int64 {
	if s.PID == 0 {
		return 0
	}
	return kilobytesIn(fmt.Sprintf("/proc/%d/status", s.PID), "VmHWM:")
}

// pssOf is the memory of pid, shared pages counted in proportion; 0 when it cannot be read.
func pssOf(pid int) int64 { return kilobytesIn(fmt.Sprintf("/proc/%d/smaps_rollup", pid), "Pss:") }

// kilobytesIn is the figure behind name in a file of /proc, in bytes.
func kilobytesIn(path, name string) int64 {
	f, err := os.Open(path)
	if err != nil {
		return 0
	}
	defer f.Close()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		if rest, ok := strings.CutPrefix(sc.Text(), name); ok {
			kb, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return kb << 10
		}
	}
	return 0
}

// children are the processes that pid has started.
func children(pid int) []int {
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	var out []int
	for _, list := range lists {
		b, err := os.ReadFile(list)
		if err != nil {
			continue
		}
		for f := range strings.FieldsSeq(string(b)) {
			if child, err := strconv.Atoi(f); err == nil {
				out = append(out, child)
				out = append(out, children(child)...)
			}
		}
	}
	return out
}
