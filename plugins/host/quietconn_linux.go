package host

import (
	"io"
	"net"
	"syscall"
	"unsafe"
)

// quietConn reads and writes a plugin's socket without telling the scheduler: a call that cannot wait is over at once. Telling it wakes the
// part of Go's runtime that looks after threads in system calls, which then looks every 20 µs for as long as the broker has something to
// do. With every call of every batch that was more work than the calls.
type quietConn struct {
	net.Conn // of Read and Write nothing is left
	raw      syscall.RawConn
}

// quiet returns conn with quiet calls, if it is a socket.
func quiet(conn net.Conn) net.Conn {
	socket, ok := conn.(*net.UnixConn)
	if !ok {
		return conn
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return conn
	}
	return &quietConn{conn, raw}
}

// Read implements net.Conn.
func (c *quietConn) Read(b []byte) (n int, err error) {
	if len(b) == 0 {
		return 0, nil
	}
	waitErr := c.raw.Read(func(fd uintptr) (done bool) {
		n, done, err = quietCall(syscall.SYS_READ, fd, b)
		return done
	})
	switch {
	case waitErr != nil:
		return 0, waitErr
	case n == 0 && err == nil:
		return 0, io.EOF
	}
	return n, err
}

// Write implements net.Conn.
func (c *quietConn) Write(b []byte) (written int, err error) {
	for written < len(b) {
		var n int
		waitErr := c.raw.Write(func(fd uintptr) (done bool) {
			n, done, err = quietCall(syscall.SYS_WRITE, fd, b[written:])
			return done
		})
		if err == nil {
			err = waitErr
		}
		if err != nil {
			return written, err
		}
		written += n
	}
	return written, nil
}

// quietCall reads into b or writes it; it has at least one byte. It reports false when it would have to wait.
func quietCall(call, fd uintptr, b []byte) (n int, done bool, err error) {
	for {
		r, _, e := syscall.RawSyscall(call, fd, uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
		switch e {
		case 0:
			return int(r), true, nil
		case syscall.EINTR:
		case syscall.EAGAIN:
			return 0, false, nil
		default:
			return 0, true, e
		}
	}
}
