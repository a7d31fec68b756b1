package outlet

import (
	"net"
	"sync"
)

// socket is the way to a connection's bytes.
type socket interface {
	// try writes what can be written without waiting.
	try(b []byte) (n int, err error)
	// write writes all of b and calls progress whenever some of it was taken.
	write(b []byte, progress func()) error
	// read waits for bytes. They are valid until the next read or release.
	read() ([]byte, error)
	// tryRead is read that does not wait, where the socket can tell: then short says that it has left nothing behind.
	tryRead() (b []byte, short bool, err error)
	// release gives the buffer of the last read back.
	release()
}

// buffers hold what is being read or written, while there is something.
var buffers = sync.Pool{New: func() any { return new(make([]byte, 0, readBuffer)) }}

// readBuffer is how much is read at a time, at least.
const readBuffer = 16 << 10

// keptBuffer is the largest buffer that is kept for others.
const keptBuffer = 256 << 10

// Buffer borrows an empty buffer to make a piece in.
func Buffer() *[]byte { return buffers.Get().(*[]byte) }

// GiveBack returns a buffer; b is what it has grown to.
func GiveBack(bp *[]byte, b []byte) {
	if cap(b) <= keptBuffer {
		*bp = b[:0]
	}
	buffers.Put(bp)
}

// plainChunk is how much a plainSocket writes at a time, so that progress is seen while a slow client takes it.
const plainChunk = 4 << 10

// plainSocket is a connection of which nothing special is known (TLS, or not Linux): it never writes without perhaps waiting.
type plainSocket struct {
	nc net.Conn
	in [2 << 10]byte
}

func (s *plainSocket) try([]byte) (int, error) { return 0, nil }

func (s *plainSocket) write(b []byte, progress func()) error {
	for len(b) > 0 {
		n, err := s.nc.Write(b[:min(len(b), plainChunk)])
		b = b[n:]
		if n > 0 {
			progress()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *plainSocket) read() ([]byte, error) {
	n, err := s.nc.Read(s.in[:])
	if n > 0 {
		return s.in[:n], nil
	}
	return nil, err
}

func (s *plainSocket) tryRead() (b []byte, short bool, err error) {
	b, err = s.read()
	return b, false, err
}

func (s *plainSocket) release() {}
