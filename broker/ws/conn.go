package ws

import (
	"net"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/internal/outlet"
	"github.com/carillon-mq/carillon/broker/internal/packetjson"
	"github.com/carillon-mq/carillon/protocol"
	"golang.org/x/time/rate"
)

var (
	_ broker.Conn       = (*conn)(nil)
	_ broker.Compressor = (*conn)(nil)
)

// conn is one WebSocket connection.
type conn struct {
	h       *Handler
	nc      net.Conn
	out     outlet.Outlet
	session *broker.Session
	ended   chan struct{} // closed when the reader has ended

	place outlet.Place

	// The reader's.
	in       frames
	early    []byte // came with the upgrade request
	compress bool   // sends payloads compressed; set before anything is sent
	parks    bool   // has no goroutine while there is nothing to read
	warm     bool   // but keeps it for now
	cools    bool   // the read deadline is set for the end of that
	quick    uint8  // how many messages have come quickly, one behind the other
	timed    bool   // the read deadline is set for a message that has begun
	controls *rate.Limiter
}

func newConn(nc net.Conn, h *Handler) *conn {
	c := &conn{h: h, nc: nc, in: frames{limit: min(h.opt.PacketBytes, broker.ConnectBytes), most: broker.ConnectBytes}, ended: make(chan struct{})}
	c.out.Open(nc, outlet.Options{SendBuffer: h.opt.SendBuffer})
	return c
}

// Write implements broker.Conn.
func (c *conn) Write(batch []*broker.Packet) (done bool, err error) {
	if c.in.text || c.compress {
		return c.writeForms(batch)
	}
	bp := outlet.Buffer()
	frame := appendMessage((*bp)[:0], batch)
	done, err = c.out.Send(frame)
	outlet.GiveBack(bp, frame)
	return done, err
}

// Compress implements broker.Compressor: [MSG-5] is for those who read bytes.
func (c *conn) Compress() bool {
	c.compress = !c.in.text
	return c.compress
}

// Flush implements broker.Conn.
func (c *conn) Flush() error { return c.out.Flush() }

// Progress implements broker.Conn.
func (c *conn) Progress() time.Time { return c.out.Progress() }

// Received implements broker.Conn.
func (c *conn) Received() time.Time { return c.out.Received() }

// Close implements broker.Conn: the Disconnect packet, then a close frame of the same code and name ([DIS-2]), then the client has CloseTime to take
// them and answer.
func (c *conn) Close(d protocol.Disconnect) {
	packet, op := d.Append(nil), byte(opBinary)
	if c.in.text {
		packet, _ = packetjson.Append(nil, packet) // it is one
		op = opText
	}
	frame := append(appendHeader(nil, op, len(packet)), packet...)
	frame = appendClose(frame, uint16(d.Code), d.Name)
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
	c.end(false)
}

// Abort implements broker.Conn.
func (c *conn) Abort() { c.end(true) }

// end closes the connection and has the reader see it.
func (c *conn) end(atOnce bool) {
	c.out.End(atOnce)
	c.place.Wake()
}

// allowControl counts a ping or pong from the client.
func (c *conn) allowControl() bool {
	if c.controls == nil {
		c.controls = rate.NewLimiter(rate.Limit(c.h.opt.ControlRate), 2*c.h.opt.ControlRate)
	}
	return c.controls.Allow()
}
