package ws

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/internal/outlet"
	"github.com/carillon-mq/carillon/protocol"
)

// errClosed ends the reader of a connection that the client has closed otherwise than with 1000: it may come back.
var errClosed = errors.New("the client has closed the connection with another code than 1000")

// message implements sink. The first message holds Connect, or ends the session: behind it the session's own limit counts.
func (c *conn) message(payload []byte, more bool) error {
	if err := c.receive(payload, more); err != nil {
		return err
	}
	c.in.limit, c.in.most = c.h.opt.PacketBytes, 0
	return nil
}

// control implements sink: it answers pings and the close. It never waits.
func (c *conn) control(op byte, payload []byte) error {
	if op == opClose {
		if err := checkClose(payload); err != nil {
			return err
		}
		c.out.Last(append(appendHeader(nil, opClose, len(payload)), payload...)) // unless it answers ours
		return leaving(payload)
	}
	if !c.allowControl() {
		return protocol.Errorf(protocol.CodeFlooding, "found more than %d WebSocket pings or pongs a second", c.h.opt.ControlRate)
	}
	if op == opPong {
		return nil
	}
	var pong [2 + maxControl]byte
	err := c.out.Answer(append(appendHeader(pong[:0], opPong, len(payload)), payload...))
	if err != nil && !errors.Is(err, outlet.ErrClosed) {
		return err
	}
	if c.out.Waits() {
		c.h.conns.Go(func() { _ = c.Flush() }) // the reader sees the end too
	}
	return nil
}

// leaving is how the session of a client ends whose close frame has this payload, which is a good one: only 1000 says that the client
// wants to leave ([DIS-3]). A page that is left or loaded again has sent 1001.
func leaving(payload []byte) error {
	if len(payload) >= 2 && binary.BigEndian.Uint16(payload) == closeNormal {
		return broker.ErrLeft
	}
	return errClosed
}

// timeMessage bounds the time until a message that has begun ends, from the first wait for the rest of it.
func (c *conn) timeMessage() {
	if begun := c.in.part != nil; begun != c.timed {
		c.timed, c.cools = begun, false
		var until time.Time
		if begun {
			until = time.Now().Add(c.h.opt.MessageTime)
		}
		c.nc.SetReadDeadline(until)
	}
}
