package ws

import (
	"bufio"
	"encoding/binary"
	"net"
	"time"
	"unicode/utf8"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/internal/outlet"
	"github.com/carillon-mq/carillon/protocol"
	"golang.org/x/time/rate"
)

var _ broker.Conn = (*conn)(nil)

// conn is one WebSocket connection as the core sees it; see libConn for coder/websocket's side.
type conn struct {
	h       *Handler
	nc      net.Conn
	out     *outlet.Outlet
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
}

func newConn(nc net.Conn, h *Handler) *conn {
	return &conn{h: h, nc: nc, out: outlet.New(nc, outlet.Options{SendBuffer: h.opt.SendBuffer}), ended: make(chan struct{})}
}

// Write implements broker.Conn.
func (c *conn) Write(batch []*broker.Packet) (done bool, err error) {
	bp := outlet.Buffer()
	frame := appendMessage((*bp)[:0], batch)
	done, err = c.out.Send(frame)
	outlet.GiveBack(bp, frame)
	return done, err
}

// Flush implements broker.Conn.
func (c *conn) Flush() error { return c.out.Flush() }

// Progress implements broker.Conn.
func (c *conn) Progress() time.Time { return c.out.Progress() }

// Received implements broker.Conn.
func (c *conn) Received() time.Time { return c.out.Received() }

// Close implements broker.Conn: the Disconnect packet, then a close frame of the same code, then the client has CloseTime to take
// them and answer.
func (c *conn) Close(d protocol.Disconnect) {
	packet := d.Append(nil)
	frame := append(appendHeader(nil, opBinary, len(packet)), packet...)
	frame = appendClose(frame, d)
	if !c.out.Last(frame) {
		return
	}
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
	c.out.End(false)
}

// Abort implements broker.Conn.
func (c *conn) Abort() { c.out.End(true) }

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
