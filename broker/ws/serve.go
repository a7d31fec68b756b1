package ws

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/carillon-mq/carillon/protocol"
	"github.com/coder/websocket"
)

const (
	maxFragments = 1024
	maxHeader    = 14 // of a masked frame
)

// errFragments ends a message that takes far more on the wire than it may hold.
var errFragments = protocol.Errorf(protocol.CodeBadFrame, "found a message in more than %d fragments", maxFragments)

// messages hold one message while it is received. They are larger than what most clients send, and grow for the rest.
var messages = sync.Pool{New: func() any { return new(make([]byte, 0, 4<<10)) }}

// serve is the reader's goroutine, for as long as the connection lasts.
func (c *conn) serve(lib *websocket.Conn) {
	lib.SetReadLimit(-1) // readMessage counts
	err := c.readLoop(lib)
	if refusal, ok := errors.AsType[*protocol.Error](err); ok {
		c.session.Disconnect(refusal)
		c.awaitClose()
	}
	close(c.ended)
	c.session.Closed(err)
	c.out.Release()
	c.out.End(false)
}

// readLoop hands each message to the session until the connection or the session ends.
func (c *conn) readLoop(lib *websocket.Conn) error {
	for {
		kind, r, err := lib.Reader(context.Background())
		if err != nil {
			return err
		}
		c.reading, c.inside = true, 0
		if kind != websocket.MessageBinary {
			return protocol.Errorf(protocol.CodeBadFrame, "found a text message, wanted binary messages of msgpack packets")
		}
		bp := messages.Get().(*[]byte)
		msg, err := c.readMessage(r, (*bp)[:0])
		if err == nil {
			err = c.session.Receive(msg, c.more())
		}
		if cap(msg) <= 128<<10 {
			*bp = msg[:0]
			messages.Put(bp)
		}
		if err != nil {
			return err
		}
	}
}

// readMessage reads one message to its end.
func (c *conn) readMessage(r io.Reader, msg []byte) ([]byte, error) {
	limit := c.h.opt.PacketBytes
	for {
		if len(msg) == cap(msg) {
			msg = append(msg, 0)[:len(msg)]
		}
		n, err := r.Read(msg[len(msg):cap(msg)])
		msg = msg[:len(msg)+n]
		if len(msg) > limit {
			return msg, protocol.Errorf(protocol.CodeMessageTooLarge, "found a message of more than %d bytes", limit)
		}
		if err == io.EOF {
			c.reading = false
			if c.timed {
				c.timed = false
				c.nc.SetReadDeadline(time.Time{})
			}
			return msg, nil
		}
		if err != nil {
			return msg, err
		}
	}
}

// awaitClose reads on, in bounded time, until the client has answered the close frame: closing a socket with unread bytes would
// throw away what it has not yet read of ours.
func (c *conn) awaitClose() {
	c.reading = false
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
