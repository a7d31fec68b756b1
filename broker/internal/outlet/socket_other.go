//go:build !linux

package outlet

import "net"

type rawSocket struct{}

func newSocket(nc net.Conn, _ *rawSocket) socket { return &plainSocket{nc: nc} }
