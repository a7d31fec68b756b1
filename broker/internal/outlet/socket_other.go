//go:build !linux

package outlet

import "net"

func newSocket(nc net.Conn) socket { return &plainSocket{nc: nc} }
