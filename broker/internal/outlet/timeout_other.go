//go:build !linux

package outlet

import (
	"net"
	"time"
)

func setUserTimeout(*net.TCPConn, time.Duration) {}
