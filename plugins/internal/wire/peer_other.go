//go:build !linux

package wire

import "net"

func checkPeer(net.Conn) (pid int, err error) { return 0, nil }
