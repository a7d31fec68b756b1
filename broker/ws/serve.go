package ws

import (
	"errors"
	"time"

	"github.com/carillon-mq/carillon/broker/internal/outlet"
	"github.com/carillon-mq/carillon/protocol"
)

var errLeft = errors.New("the client has closed the connection")

// serve is the reader's goroutine, for as long as the connection lasts.
func (c *conn) serve() {
	err := c.readLoop()
	if refusal, ok := errors.AsType[*protocol.Error](err); ok {
		c.session.Disconnect(refusal)
		c.awaitClose()
	}
	if fault, ok := errors.AsType[*frameError](err); ok {
		c.out.Last(appendClose(nil, fault.code, fault.reason))
		c.awaitClose()
	}
	close(c.ended)
	c.session.Closed(err)
	c.in.drop()
	c.out.Release()
	c.out.End(false)
}

// readLoop hands each message to the session until the connection or the session ends.
func (c *conn) readLoop() error {
	b := c.early
	c.early = nil
	for {
		if err := c.in.take(b, c); err != nil {
			return err
		}
		c.timeMessage()
		var err error
		if b, err = c.out.Read(); err != nil {
			return err
		}
	}
}

// message implements sink.
func (c *conn) message(payload []byte, more bool) error { return c.session.Receive(payload, more) }

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
		c.timed = begun
		var until time.Time
		if begun {
			until = time.Now().Add(c.h.opt.MessageTime)
		}
		c.nc.SetReadDeadline(until)
	}
}

// awaitClose reads on, in bounded time, until the client has answered the close frame: closing a socket with unread bytes would
// throw away what it has not yet read of ours.
func (c *conn) awaitClose() {
	c.nc.SetReadDeadline(time.Now().Add(c.h.opt.CloseTime))
	for {
		if _, err := c.out.Read(); err != nil {
			return
		}
	}
}

// discard waits until a connection that got no session has been told why and is closed.
func (c *conn) discard() {
	c.awaitClose()
	close(c.ended)
	c.out.End(false)
}
