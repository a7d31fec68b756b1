package ws

import (
	"errors"
	"time"

	"github.com/carillon-mq/carillon/broker/internal/outlet"
	"github.com/carillon-mq/carillon/protocol"
)

var errLeft = errors.New("the client has closed the connection")

// message implements sink. The first message holds Connect, or ends the session: behind it the session's own limit counts.
func (c *conn) message(payload []byte, more bool) error {
	if err := c.session.Receive(payload, more); err != nil {
		return err
	}
	c.in.limit = c.h.opt.PacketBytes
	return nil
}

// control implements sink: it answers pings and the close. It never waits.
func (c *conn) control(op byte, payload []byte) error {
	if op == opClose {
		if err := checkClose(payload); err != nil {
			return err
		}
		c.out.Last(append(appendHeader(nil, opClose, len(payload)), payload...)) // unless it answers ours
		return errLeft
	}
	if !c.allowControl() {
		return protocol.Errorf(protocol.CodeFlooding, "found more than %d WebSocket pings or pongs a second", c.h.opt.ControlRate)
	}
	if op == opPong {
		return nil
	}
	var pong [2 + maxControl]byte
	_, err := c.out.Send(append(appendHeader(pong[:0], opPong, len(payload)), payload...))
	if err != nil && !errors.Is(err, outlet.ErrClosed) {
		return err
	}
	if c.out.Waits() {
		c.h.conns.Go(func() { _ = c.Flush() }) // the reader sees the end too
	}
	return nil
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
