//go:build unix

package kit

import (
	"net"

	"golang.org/x/sys/unix"
)

// listenPrivately listens at a socket that is no other user's to connect to, from its first moment on. The process makes nothing else then.
func listenPrivately(path string) (net.Listener, error) {
	defer unix.Umask(unix.Umask(0o177))
	return net.Listen("unix", path)
}
