//go:build !linux

package ws

import "net"

func newSocket(nc net.Conn) socket { return &plainSocket{nc: nc} }
