package ws

import (
	"bufio"
	"encoding/binary"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/protocol"
	"golang.org/x/time/rate"
)

var _ broker.Conn = (*conn)(nil)

// conn is one WebSocket connection as the core sees it; see libConn for coder/websocket's side.
type conn struct {
	h       *Handler
	nc      net.Conn
	sock    socket
	br      *bufio.Reader
	session *broker.Session
	ended   chan struct{} // closed when the reader has ended

	// The reader's.
	early   []byte // came with the upgrade request
	data    []byte // received and not read yet
	reading bool   // a message has begun and not ended
	inside  int    // bytes received since it began
	timed   bool   // the read deadline is set for it
	control *rate.Limiter

	received atomic.Int64 // nanoseconds since started
	accepted atomic.Int64

	mu       sync.Mutex
	rest     []byte // frames, or the end of one, that the socket has not taken
	flushing chan struct{}
	closing  bool // a close frame is written or waits in rest: no frame follows it
	gone     bool
}

// started is the origin of the connections' times.
var started = time.Now()

func sinceStart() int64 { return int64(time.Since(started)) }

func newConn(nc net.Conn, h *Handler) *conn {
	if tcp, ok := nc.(*net.TCPConn); ok {
		tcp.SetWriteBuffer(h.opt.SendBuffer) // bounds what a stalled reader costs the kernel; the default works too
	}
	c := &conn{h: h, nc: nc, sock: newSocket(nc), ended: make(chan struct{})}
	c.received.Store(sinceStart())
	return c
}

// Write implements broker.Conn.
func (c *conn) Write(batch []*broker.Packet) (done bool, err error) {
	bp := buffers.Get().(*[]byte)
	frame := appendMessage((*bp)[:0], batch)
	c.mu.Lock()
	done, err = c.sendLocked(frame)
	c.mu.Unlock()
	if cap(frame) <= 256<<10 {
		*bp = frame[:0]
	}
	buffers.Put(bp)
	return done, err
}

// errGone is a write on a connection that is closed or closing.
var errGone = errors.New("connection is closed")

// sendLocked writes a whole frame without waiting. What the socket does not take is kept for Flush.
func (c *conn) sendLocked(frame []byte) (done bool, err error) {
	if c.gone || c.closing {
		return true, errGone
	}
	if len(c.rest) > 0 || c.flushing != nil {
		c.rest = append(c.rest, frame...)
		return false, nil
	}
	n, err := c.sock.try(frame)
	if n > 0 {
		c.accepted.Store(sinceStart())
	}
	if err != nil {
		return true, err
	}
	if n == len(frame) {
		return true, nil
	}
	c.rest = append(c.rest, frame[n:]...)
	return false, nil
}

// Flush implements broker.Conn. Several may wait at a time; one of them writes.
func (c *conn) Flush() error {
	c.mu.Lock()
	for c.flushing != nil {
		other := c.flushing
		c.mu.Unlock()
		<-other
		c.mu.Lock()
	}
	if len(c.rest) == 0 || c.gone {
		defer c.mu.Unlock()
		if c.gone {
			return errGone
		}
		return nil
	}
	mine := make(chan struct{})
	c.flushing = mine
	var err error
	for len(c.rest) > 0 && err == nil && !c.gone {
		rest := c.rest
		c.rest = nil
		c.mu.Unlock()
		err = c.sock.write(rest, func() { c.accepted.Store(sinceStart()) })
		c.mu.Lock()
	}
	if c.gone && err == nil {
		err = errGone
	}
	c.rest, c.flushing = nil, nil
	c.mu.Unlock()
	close(mine)
	return err
}

// Progress implements broker.Conn.
func (c *conn) Progress() time.Time {
	return started.Add(time.Duration(max(c.received.Load(), c.accepted.Load())))
}

// Received implements broker.Conn.
func (c *conn) Received() time.Time { return started.Add(time.Duration(c.received.Load())) }

// Close implements broker.Conn: the Disconnect packet, then a close frame of the same code, then the client has CloseTime to take
// them and answer.
func (c *conn) Close(d protocol.Disconnect) {
	packet := d.Append(nil)
	frame := append(appendHeader(nil, opBinary, len(packet)), packet...)
	frame = appendClose(frame, d)
	c.mu.Lock()
	if c.gone || c.closing {
		c.mu.Unlock()
		return
	}
	_, _ = c.sendLocked(frame) // a client that is gone is told nothing
	c.closing = true
	c.mu.Unlock()
	c.nc.SetDeadline(time.Now().Add(c.h.opt.CloseTime))
	c.h.conns.Go(c.finish)
}

// finish waits, in bounded time, until the client has the close frame and has answered it, and closes the connection.
func (c *conn) finish() {
	_ = c.Flush() // in bounded time: the deadline is set
	select {
	case <-c.ended:
	case <-time.After(c.h.opt.CloseTime):
	}
	c.end(false)
}

// Abort implements broker.Conn.
func (c *conn) Abort() { c.end(true) }

// end closes the connection once; at once means that what the kernel still holds is thrown away.
func (c *conn) end(atOnce bool) {
	c.mu.Lock()
	was := c.gone
	c.gone = true
	c.mu.Unlock()
	if was {
		return
	}
	if tcp, ok := c.nc.(*net.TCPConn); ok && atOnce {
		tcp.SetLinger(0)
	}
	c.nc.Close()
}

// allowControl counts a control frame from the client and ends a connection that sends too many.
func (c *conn) allowControl() bool {
	if c.control == nil {
		c.control = rate.NewLimiter(rate.Limit(c.h.opt.ControlRate), 2*c.h.opt.ControlRate)
	}
	if c.control.Allow() {
		return true
	}
	if c.session != nil {
		c.session.Disconnect(protocol.Errorf(protocol.CodeFlooding, "found more than %d WebSocket pings or pongs a second", c.h.opt.ControlRate))
	}
	return false
}

const (
	opBinary = 0x82 // whole message in one frame
	opClose  = 0x88
)

// appendMessage makes one unmasked WebSocket message of several packets (RFC 6455, 5.2).
func appendMessage(dst []byte, batch []*broker.Packet) []byte {
	n := 0
	for _, p := range batch {
		n += len(p.Bytes())
	}
	dst = appendHeader(dst, opBinary, n)
	for _, p := range batch {
		dst = append(dst, p.Bytes()...)
	}
	return dst
}

func appendHeader(dst []byte, op byte, n int) []byte {
	switch {
	case n < 126:
		return append(dst, op, byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(dst, op, 126), uint16(n))
	default:
		return binary.BigEndian.AppendUint64(append(dst, op, 127), uint64(n))
	}
}

// appendClose appends a close frame; its reason has room for 123 bytes.
func appendClose(dst []byte, d protocol.Disconnect) []byte {
	reason := d.Name
	if d.Detail != "" {
		reason += ": " + d.Detail
	}
	for len(reason) > 123 {
		_, size := utf8.DecodeLastRuneInString(reason)
		reason = reason[:len(reason)-size]
	}
	dst = appendHeader(dst, opClose, 2+len(reason))
	return append(binary.BigEndian.AppendUint16(dst, uint16(d.Code)), reason...)
}
