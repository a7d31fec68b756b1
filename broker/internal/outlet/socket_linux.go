package outlet

import (
	"io"
	"net"
	"syscall"
	"unsafe"
)

// newSocket returns the fastest socket for nc. It may be s.
func newSocket(nc net.Conn, s *rawSocket) socket {
	tcp, ok := nc.(*net.TCPConn)
	if !ok {
		return &plainSocket{nc: nc}
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return &plainSocket{nc: nc}
	}
	s.raw = raw
	if err := raw.Control(func(fd uintptr) { s.fd = fd }); err != nil {
		return &plainSocket{nc: nc}
	}
	s.receive = s.tryReceive
	return s
}

// rawSocket writes to a TCP socket without waiting: shards write to it, so a socket that is full must cost them nothing. A call
// that cannot wait is made without telling the scheduler.
//
// try uses the descriptor as it is. It is called with the Outlet's lock, and not when that is gone; so the descriptor is not closed and given to
// somebody else meanwhile. The others, which may wait, go through the runtime's lock of it. try and write are called by one
// goroutine at a time, and so is read.
type rawSocket struct {
	fd  uintptr
	raw syscall.RawConn

	receive    func(fd uintptr) bool
	waits      bool    // receive is to wait for something
	bp         *[]byte // holds what was received, until the next read or release
	in         []byte
	receiveErr error
}

func (s *rawSocket) try(b []byte) (sent int, err error) { return trySend(s.fd, b) }

// trySend sends what the socket takes of b.
func trySend(fd uintptr, b []byte) (sent int, err error) {
	for sent < len(b) {
		rest := b[sent:]
		n, _, e := syscall.RawSyscall6(syscall.SYS_SENDTO, fd, uintptr(unsafe.Pointer(&rest[0])), uintptr(len(rest)),
			syscall.MSG_DONTWAIT|syscall.MSG_NOSIGNAL, 0, 0)
		switch e {
		case 0:
			sent += int(n)
		case syscall.EINTR:
		case syscall.EAGAIN:
			return sent, nil
		default:
			return sent, e
		}
	}
	return sent, nil
}

func (s *rawSocket) write(b []byte, progress func()) error {
	for len(b) > 0 {
		sent, failed := 0, error(nil)
		err := s.raw.Write(func(fd uintptr) bool {
			sent, failed = trySend(fd, b)
			return sent > 0 || failed != nil
		})
		b = b[sent:]
		if sent > 0 {
			progress()
		}
		if err == nil {
			err = failed
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *rawSocket) read() ([]byte, error) {
	s.release()
	s.in, s.receiveErr, s.waits = nil, nil, true
	if err := s.raw.Read(s.receive); err != nil {
		return nil, err
	}
	return s.in, s.receiveErr
}

func (s *rawSocket) tryRead() (b []byte, short bool, err error) {
	s.release()
	s.in, s.receiveErr, s.waits = nil, nil, false
	if err := s.raw.Read(s.receive); err != nil {
		return nil, false, err
	}
	return s.in, s.bp == nil || len(s.in) < cap(*s.bp), s.receiveErr
}

// tryReceive takes a buffer only when there is something to put into it. It reports false to be called again when there may be.
func (s *rawSocket) tryReceive(fd uintptr) bool {
	bp := buffers.Get().(*[]byte)
	b := (*bp)[:cap(*bp)]
	n, _, e := syscall.RawSyscall(syscall.SYS_READ, fd, uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	if e == 0 && n > 0 {
		s.bp, s.in = bp, b[:n]
		return true
	}
	buffers.Put(bp)
	switch e {
	case 0:
		s.receiveErr = io.EOF
	case syscall.EINTR:
		return false
	case syscall.EAGAIN:
		return !s.waits
	default:
		s.receiveErr = e
	}
	return true
}

func (s *rawSocket) release() {
	if s.bp != nil {
		buffers.Put(s.bp)
		s.bp = nil
	}
}
