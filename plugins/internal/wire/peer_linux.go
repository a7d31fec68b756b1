package wire

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
)

// checkPeer refuses a process of another user's: between the look at the socket's owner and the connection the path may have become
// another socket's. It returns the process that listens.
func checkPeer(conn net.Conn) (pid int, err error) {
	socket, ok := conn.(*net.UnixConn)
	if !ok {
		return 0, errors.New("it is no Unix socket")
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return 0, err
	}
	var peer *syscall.Ucred
	var askErr error
	if err := raw.Control(func(fd uintptr) {
		peer, askErr = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	}); err != nil {
		return 0, err
	}
	if askErr != nil {
		return 0, askErr
	}
	if int(peer.Uid) != os.Geteuid() {
		return 0, fmt.Errorf("the process behind the socket is of the user with id %d, not %d", peer.Uid, os.Geteuid())
	}
	return int(peer.Pid), nil
}
