package main

import (
	"errors"
	"net"
	"syscall"
	"testing"
)

// A connection that is accepted probes a closed window as the listener says.
func TestConnectionsProbeClosedWindowsOften(t *testing.T) {
	l, err := listen(t.Context(), "listen", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	raw, err := accepted.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var most int
	if fault := raw.Control(func(fd uintptr) { most, err = syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpRTOMax) }); fault != nil {
		t.Fatal(fault)
	}
	if errors.Is(err, syscall.ENOPROTOOPT) {
		t.Skip("the kernel does not know TCP_RTO_MAX_MS (Linux 6.15)")
	}
	if err != nil || most != 10_000 {
		t.Errorf("found %d ms, %v; wanted 10,000", most, err)
	}
}
