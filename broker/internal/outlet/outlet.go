// Package outlet writes to a connection without waiting. It is the half of a transport that sends: whole pieces from any goroutine, in
// order and never one inside another; what the socket does not take is kept until Flush.
//
//	New -> Send -> socket.try, and what it does not take -> Flush -> socket.write
//	    -> Last -> Flush -> End
//	    -> Read (the reader's goroutine, the connection's only other one)
//	Poller.Add -> when something comes: Reader.Run -> TryRead -> Place.Park
package outlet

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// The errors of a Send that sends nothing.
var (
	ErrGone   = errors.New("connection is closed")
	ErrClosed = errors.New("connection is closing: the last has been sent") // by Last
)

// Options are settings of a connection. Zero leaves the system's.
type Options struct {
	SendBuffer  int           // bytes that the kernel takes: what a stalled reader costs
	PeerTimeout time.Duration // the kernel ends the connection when what was sent is not acknowledged for so long (Linux)
}

// Outlet is one connection. Its methods may be called from any goroutine, Read and Release from one at a time.
type Outlet struct {
	mu       sync.Mutex
	closing  bool
	gone     bool
	rest     []byte // what the socket has not taken
	answers  int    // bytes of rest that Answer has put there
	flushing chan struct{}
	sock     socket
	tcp      rawSocket // sock, if it is that: a delivery finds all it needs in one place

	accepted atomic.Int64 // nanoseconds since started
	received atomic.Int64
	nc       net.Conn
}

// started is the origin of the connections' times.
var started = time.Now()

func sinceStart() int64 { return int64(time.Since(started)) }

// New takes nc over.
func New(nc net.Conn, opt Options) *Outlet {
	o := new(Outlet)
	o.Open(nc, opt)
	return o
}

// Open is New for an Outlet that is part of something else. It is called once, first, and the Outlet is not copied.
func (o *Outlet) Open(nc net.Conn, opt Options) {
	if tcp := tcpOf(nc); tcp != nil {
		setOptions(tcp, opt)
	}
	o.nc, o.sock = nc, newSocket(nc, &o.tcp)
	o.received.Store(sinceStart())
}

func setOptions(tcp *net.TCPConn, opt Options) {
	if opt.SendBuffer > 0 {
		tcp.SetWriteBuffer(opt.SendBuffer) // the default works too
	}
	if opt.PeerTimeout > 0 {
		setUserTimeout(tcp, opt.PeerTimeout)
	}
}

// tcpOf is the TCP connection under nc, nil if there is none.
func tcpOf(nc net.Conn) *net.TCPConn {
	for {
		wrapped, ok := nc.(interface{ NetConn() net.Conn }) // as a *tls.Conn
		if !ok {
			break
		}
		nc = wrapped.NetConn()
	}
	tcp, _ := nc.(*net.TCPConn)
	return tcp
}

// Send writes a whole piece without waiting. It reports whether the socket has taken all of it; what it has not is kept for Flush. b may
// be used again afterwards.
func (o *Outlet) Send(b []byte) (done bool, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.sendLocked(b)
}

func (o *Outlet) sendLocked(b []byte) (done bool, err error) {
	switch {
	case o.gone:
		return true, ErrGone
	case o.closing:
		return true, ErrClosed
	case len(o.rest) > 0 || o.flushing != nil:
		o.rest = append(o.rest, b...)
		return false, nil
	}
	n, err := o.sock.try(b)
	if n > 0 {
		o.accepted.Store(sinceStart())
	}
	if err != nil {
		return true, err
	}
	if n == len(b) {
		return true, nil
	}
	o.rest = append(o.rest, b[n:]...)
	return false, nil
}

// mostAnswers is how many bytes of answers wait for the socket.
const mostAnswers = 4 << 10

// Answer is Send of an answer to what the client asks as often as it likes, as a pong. When the client takes nothing, and many answers wait for that
// already, it is left out: a client that asks and does not read costs no memory.
func (o *Outlet) Answer(b []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.answers+len(b) > mostAnswers {
		return nil
	}
	done, err := o.sendLocked(b)
	if !done {
		o.answers += len(b)
	}
	return err
}

// Last is Send of the last piece: whatever is sent after it fails with ErrClosed. It reports whether it was the first Last of an open
// connection, or did nothing.
func (o *Outlet) Last(b []byte) (first bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.gone || o.closing {
		return false
	}
	_, _ = o.sendLocked(b) // a client that is gone is told nothing
	o.closing = true
	return true
}

// Waits reports whether something was kept that nobody flushes.
func (o *Outlet) Waits() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.rest) > 0 && o.flushing == nil
}

// Flush waits until the socket has taken everything, or the connection has ended. Several may wait at a time; one of them writes.
func (o *Outlet) Flush() error {
	o.mu.Lock()
	for o.flushing != nil {
		other := o.flushing
		o.mu.Unlock()
		<-other
		o.mu.Lock()
	}
	if len(o.rest) == 0 || o.gone {
		defer o.mu.Unlock()
		if o.gone {
			return ErrGone
		}
		return nil
	}
	mine := make(chan struct{})
	o.flushing = mine
	var err error
	for len(o.rest) > 0 && err == nil && !o.gone {
		rest := o.rest
		o.rest, o.answers = nil, 0
		o.mu.Unlock()
		err = o.sock.write(rest, func() { o.accepted.Store(sinceStart()) })
		o.mu.Lock()
	}
	if o.gone && err == nil {
		err = ErrGone
	}
	o.rest, o.answers, o.flushing = nil, 0, nil
	o.mu.Unlock()
	close(mine)
	return err
}

// Read waits for bytes of the client. They are valid until the next Read or Release.
func (o *Outlet) Read() ([]byte, error) {
	b, err := o.sock.read()
	if err == nil {
		o.received.Store(sinceStart())
	}
	return b, err
}

// TryRead is Read that does not wait if a Poller runs the reader. b is empty when nothing has come; short says that b was all there was, but for
// an end (Place.Left).
func (o *Outlet) TryRead() (b []byte, short bool, err error) {
	b, short, err = o.sock.tryRead()
	if len(b) > 0 {
		o.received.Store(sinceStart())
	}
	return b, short, err
}

// Release gives the buffer of the last Read back.
func (o *Outlet) Release() { o.sock.release() }

// Accepted is when the socket last took something, Received when something last came. New counts as received.
func (o *Outlet) Accepted() time.Time { return started.Add(time.Duration(o.accepted.Load())) }

// Received is when something last came from the client.
func (o *Outlet) Received() time.Time { return started.Add(time.Duration(o.received.Load())) }

// Progress is the later of Accepted and Received.
func (o *Outlet) Progress() time.Time {
	return started.Add(time.Duration(max(o.received.Load(), o.accepted.Load())))
}

// End closes the connection, once. At once means that what the kernel still holds is thrown away.
func (o *Outlet) End(atOnce bool) {
	o.mu.Lock()
	was := o.gone
	o.gone = true
	o.mu.Unlock()
	if was {
		return
	}
	nc := o.nc
	if tcp := tcpOf(nc); tcp != nil && atOnce {
		tcp.SetLinger(0)
		nc = tcp // not TLS, which would write a farewell and wait for it
	}
	nc.Close()
}
