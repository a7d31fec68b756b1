package floor

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"github.com/coder/websocket"
)

type server struct {
	log    *ring
	tails  []*tail
	opened atomic.Uint64
}

// Serve is a whole floor: it listens on a free port of the loopback address, says ready with that address, and serves until it fails.
func Serve(ready func(addr string)) error {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s := &server{log: &ring{entries: make([]entry, ringEntries)}}
	for range runtime.GOMAXPROCS(0) {
		t := newTail(s.log)
		s.tails = append(s.tails, t)
		go t.run()
	}
	go s.tidy()
	ready(l.Addr().String())
	return (&http.Server{Handler: s}).Serve(l) //nolint:gosec // it serves its parent on the loopback address
}

// tidy gives back what connecting has used, once nobody has connected for a second. It never ends.
func (s *server) tidy() {
	tidied := uint64(0)
	for before := uint64(0); ; {
		time.Sleep(time.Second)
		now := s.opened.Load()
		if now == before && now != tidied {
			debug.FreeOSMemory()
			tidied = now
		}
		before = now
	}
}

// ServeHTTP upgrades every request. The handler returns, so that net/http's goroutine and buffers go.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := &hijacker{ResponseWriter: w}
	ws, err := websocket.Accept(h, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		return
	}
	ws.SetReadLimit(-1)
	c := &session{
		server: s, tail: s.tails[s.opened.Add(1)%uint64(len(s.tails))],
		in: h.in, ws: ws, topics: map[string]struct{}{},
	}
	go c.serve()
}

// hijacker hands coder/websocket small buffers over a reader that holds none while idle.
type hijacker struct {
	http.ResponseWriter
	in *pooledReader
}

// Hijack implements http.Hijacker.
func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	nc, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	tcp, ok := nc.(*net.TCPConn)
	if !ok {
		return nil, nil, errors.New("found a connection that is not TCP")
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil, nil, err
	}
	early, err := rw.Reader.Peek(rw.Reader.Buffered())
	if err != nil {
		return nil, nil, fmt.Errorf("take over what net/http has read: %w", err)
	}
	h.in = &pooledReader{Conn: nc, raw: raw, data: bytes.Clone(early)}
	if err := raw.Control(func(fd uintptr) { h.in.fd = fd }); err != nil {
		return nil, nil, err
	}
	h.in.br = bufio.NewReaderSize(h.in, 128)
	return h.in, bufio.NewReadWriter(h.in.br, bufio.NewWriterSize(nc, 160)), nil
}

// pooledReader is a connection that reads all a socket has into a buffer that it gives back when that is used up.
type pooledReader struct {
	net.Conn
	raw  syscall.RawConn
	br   *bufio.Reader
	bp   *[]byte
	data []byte // of *bp

	mu     sync.Mutex // held for a whole frame that is written
	fd     uintptr    // nobody else's until closed is set
	closed bool
}

// Close implements net.Conn.
func (p *pooledReader) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	return p.Conn.Close()
}

// more reports whether bytes have been received that nobody has looked at.
func (p *pooledReader) more() bool { return len(p.data) > 0 || p.br.Buffered() > 0 }

// Read implements net.Conn.
func (p *pooledReader) Read(b []byte) (int, error) {
	if len(p.data) == 0 {
		if p.bp != nil {
			buffers.Put(p.bp)
			p.bp = nil
		}
		if err := p.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(b, p.data)
	p.data = p.data[n:]
	return n, nil
}

// fill waits until the socket has something, without a buffer.
func (p *pooledReader) fill() error {
	var n uintptr
	var e syscall.Errno
	err := p.raw.Read(func(fd uintptr) bool {
		bp := buffers.Get().(*[]byte)
		n, _, e = syscall.RawSyscall(syscall.SYS_READ, fd, uintptr(unsafe.Pointer(&(*bp)[:1][0])), uintptr(cap(*bp)))
		if e == syscall.EAGAIN || e == syscall.EINTR {
			buffers.Put(bp)
			return false
		}
		p.bp = bp
		return true
	})
	switch {
	case err != nil:
		return err
	case e != 0:
		return e
	case n == 0:
		return io.EOF
	}
	p.data = (*p.bp)[:n]
	return nil
}
