package outlet

import (
	"io"
	"net"
	"syscall"
	"unsafe"
)

// newSocket returns the fastest socket for nc.
func newSocket(nc net.Conn) socket {
	tcp, ok := nc.(*net.TCPConn)
	if !ok {
		return &plainSocket{nc: nc}
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return &plainSocket{nc: nc}
	}
	s := &rawSocket{raw: raw}
	s.send, s.receive = s.trySend, s.tryReceive
	return s
}

// rawSocket writes to a TCP socket without waiting: shards write to it, so a socket that is full must cost them nothing. It goes
// through the runtime's lock of the descriptor, which therefore cannot be closed and given to somebody else meanwhile. A call
// that cannot wait is made without telling the scheduler. try and write are called by one goroutine at a time, and so is read.
type rawSocket struct {
	raw syscall.RawConn

	send    func(fd uintptr) bool
	out     []byte
	sent    int
	sendErr error

	receive    func(fd uintptr) bool
	waits      bool    // receive is to wait for something
	bp         *[]byte // holds what was received, until the next read or release
	in         []byte
	receiveErr error
}

func (s *rawSocket) try(b []byte) (int, error) {
	s.out, s.sent, s.sendErr = b, 0, nil
	err := s.raw.Write(s.send)
	s.out = nil
	if err == nil {
		err = s.sendErr
	}
	return s.sent, err
}

// trySend sends what the socket takes of out. It always reports true: done, do not wait.
func (s *rawSocket) trySend(fd uintptr) bool {
	for s.sent < len(s.out) {
		b := s.out[s.sent:]
		n, _, e := syscall.RawSyscall6(syscall.SYS_SENDTO, fd, uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)),
			syscall.MSG_DONTWAIT|syscall.MSG_NOSIGNAL, 0, 0)
		switch e {
		case 0:
			s.sent += int(n)
		case syscall.EINTR:
		case syscall.EAGAIN:
			return true
		default:
			s.sendErr = e
			return true
		}
	}
	return true
}

func (s *rawSocket) write(b []byte, progress func()) error {
	for len(b) > 0 {
		s.out, s.sent, s.sendErr = b, 0, nil
		err := s.raw.Write(func(fd uintptr) bool {
			s.trySend(fd)
			return s.sent > 0 || s.sendErr != nil
		})
		b, s.out = b[s.sent:], nil
		if s.sent > 0 {
			progress()
		}
		if err == nil {
			err = s.sendErr
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
