package ws

import (
	"errors"
	"os"
	"time"

	"github.com/carillon-mq/carillon/protocol"
)

// A connection that could be parked keeps its goroutine while messages come quickly: waking it costs more than a read that waits.
const (
	quickWithin = 50 * time.Millisecond // of the message before
	warmAfter   = 8                     // so many quick ones
	coolAfter   = time.Second           // without any
)

// start has the connection read from now on.
func (c *conn) start() {
	c.h.conns.Add()
	early := len(c.early) > 0
	c.parks = true // from Add on the reader may run
	if c.h.poller.Add(&c.place, &c.out, c) {
		if early {
			c.place.Wake()
		}
		return
	}
	c.parks = false
	go c.Run()
}

// Run implements outlet.Reader. It returns when there is nothing to read, if the connection parks, and otherwise at its end.
func (c *conn) Run() {
	for {
		err := c.readAll()
		if err != nil {
			c.over(err)
			return
		}
		c.out.Release()
		if c.place.Park() {
			return
		}
	}
}

// readAll hands what comes to the session until nothing more is there, if the connection parks, or it ends.
func (c *conn) readAll() error {
	b := c.early
	c.early = nil
	for last := false; ; {
		err := c.in.take(b, c)
		if err != nil {
			return err
		}
		c.timeMessage()
		switch {
		case !c.parks || c.in.part != nil:
			last = false
			b, err = c.readRest()
		case !last:
			b, last, err = c.tryRead()
		case !c.warm && c.quick < warmAfter:
			return nil
		default:
			b, err = c.readWarm()
		}
		if err != nil {
			return err
		}
	}
}

// readRest waits for what comes next, in the middle of a message for the time that it may take.
func (c *conn) readRest() ([]byte, error) {
	b, err := c.out.Read()
	if c.timed && errors.Is(err, os.ErrDeadlineExceeded) {
		err = protocol.Errorf(protocol.CodeBadFrame, "found a message that takes longer than %s", c.h.opt.MessageTime)
	}
	return b, err
}

// tryRead reads what is there. last says that it was all.
func (c *conn) tryRead() (b []byte, last bool, err error) {
	before := c.out.Received()
	b, last, err = c.out.TryRead()
	switch {
	case len(b) == 0:
		return b, last, err
	case c.out.Received().Sub(before) > quickWithin:
		c.quick = 0
	case c.quick < warmAfter:
		c.quick++
	}
	return b, last && !c.place.Left(), err
}

// readWarm waits for what comes next, unless that takes long: then the connection is not warm any more.
func (c *conn) readWarm() ([]byte, error) {
	if !c.warm {
		c.warm = true
		c.h.poller.Ignore(&c.place)
	}
	for {
		if !c.cools { // a deadline a second, not one a read
			c.cools = true
			c.nc.SetReadDeadline(time.Now().Add(coolAfter))
		}
		b, err := c.out.Read()
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return b, err
		}
		c.cools = false
		if time.Since(c.out.Received()) >= coolAfter {
			break
		}
	}
	c.quick, c.warm = 0, false
	c.nc.SetReadDeadline(time.Time{})
	c.h.poller.Watch(&c.place)
	return nil, nil
}

// over ends what has ended by err.
func (c *conn) over(err error) {
	defer c.h.conns.Done()
	if refusal, ok := errors.AsType[*protocol.Error](err); ok {
		c.session.Disconnect(refusal)
		c.awaitClose()
	}
	if fault, ok := errors.AsType[*frameError](err); ok {
		c.out.Last(appendClose(nil, fault.code, fault.reason))
		c.session.Disconnect(protocol.Errorf(protocol.CodeBadFrame, "%s", fault.reason)) // which tells the client nothing any more
		c.awaitClose()
	}
	close(c.ended)
	c.session.Closed(err)
	c.in.drop()
	c.out.Release()
	c.out.End(false)
	if c.parks {
		c.h.poller.Remove(&c.place)
	}
}

// discard waits until a connection that got no session has been told why and is closed.
func (c *conn) discard() {
	c.awaitClose()
	close(c.ended)
	c.out.End(false)
}
