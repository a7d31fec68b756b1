package main

import "syscall"

// tcpRTOMax is TCP_RTO_MAX_MS of Linux 6.15, in milliseconds.
const tcpRTOMax = 44

// boundProbes has the connections of a listener probe a closed window every 10 s at the least. Linux waits up to two minutes between probes,
// and a client with a receive buffer of a fixed size that reads again after a minute would be sent nothing for as long: it would be ended as
// stalled. Where the kernel does not know the option it is left as it is.
func boundProbes(_, _ string, c syscall.RawConn) error {
	return c.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpRTOMax, 10_000) })
}
