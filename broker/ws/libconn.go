package ws

import (
	"errors"
	"net"
	"time"

	"github.com/carillon-mq/carillon/broker/internal/outlet"
)

var _ net.Conn = (*libConn)(nil)

// libConn is a conn as coder/websocket sees it: it reads frames from it and writes control frames to it, never data.
type libConn conn

// Read gives what came with the upgrade, then what the socket has, through a pooled buffer that is held only while there is
// something in it. Called by the reader's goroutine.
func (l *libConn) Read(p []byte) (int, error) {
	c := (*conn)(l)
	if len(c.early) > 0 {
		n := copy(p, c.early)
		if c.early = c.early[n:]; len(c.early) == 0 {
			c.early = nil
		}
		return n, nil
	}
	if len(c.data) == 0 {
		if err := c.receive(); err != nil {
			return 0, err
		}
	}
	n := copy(p, c.data)
	c.data = c.data[n:]
	return n, nil
}

// receive waits for bytes from the socket.
func (c *conn) receive() error {
	if c.reading && !c.timed {
		c.timed = true
		c.nc.SetReadDeadline(time.Now().Add(c.h.opt.MessageTime))
	}
	var err error
	if c.data, err = c.out.Read(); err != nil {
		return err
	}
	if c.reading {
		return c.countInside(len(c.data))
	}
	return nil
}

// countInside bounds what one message may take on the wire: its bytes, and the headers of 1,024
// fragments.
func (c *conn) countInside(n int) error {
	c.inside += n
	if c.inside > c.h.opt.PacketBytes+maxFragments*maxHeader {
		return errFragments
	}
	return nil
}

// more reports whether bytes of the next message have been received already.
func (c *conn) more() bool {
	return c.br.Buffered() > 0 || len(c.data) > 0
}

// Write takes one control frame. It never waits: it is called on the reader's goroutine. After a close frame it swallows what
// comes.
func (l *libConn) Write(p []byte) (int, error) {
	c := (*conn)(l)
	var err error
	if p[0] == opClose {
		c.out.Last(p)
	} else {
		_, err = c.out.Send(p)
	}
	switch {
	case errors.Is(err, outlet.ErrGone):
		return 0, net.ErrClosed
	case errors.Is(err, outlet.ErrClosed):
		return len(p), nil
	case err != nil:
		return 0, err
	case c.out.Waits():
		c.h.conns.Go(func() { _ = c.Flush() }) // the reader sees the end too
	}
	return len(p), nil
}

// Close is called by coder/websocket when it gives the connection up.
func (l *libConn) Close() error {
	(*conn)(l).out.End(false)
	return nil
}

// LocalAddr implements net.Conn.
func (l *libConn) LocalAddr() net.Addr { return l.nc.LocalAddr() }

// RemoteAddr implements net.Conn.
func (l *libConn) RemoteAddr() net.Addr { return l.nc.RemoteAddr() }

// SetDeadline implements net.Conn.
func (l *libConn) SetDeadline(t time.Time) error { return l.nc.SetDeadline(t) }

// SetReadDeadline implements net.Conn.
func (l *libConn) SetReadDeadline(t time.Time) error { return l.nc.SetReadDeadline(t) }

// SetWriteDeadline implements net.Conn.
func (l *libConn) SetWriteDeadline(t time.Time) error { return l.nc.SetWriteDeadline(t) }
