package broker

import (
	"context"
	"errors"
	"time"

	"github.com/carillon-mq/carillon/broker/internal/ring"
	"github.com/carillon-mq/carillon/protocol"
)

// How long the committer waits before it takes a feed up again.
const (
	retryStoreLow  = 20 * time.Millisecond
	retryStoreHigh = time.Second
)

// run is the feed's goroutine: load, follow, and again when the store comes back.
func (c *committer) run(ctx context.Context) {
	wait := retryStoreLow
	for ctx.Err() == nil {
		began := time.Now()
		err := c.follow(ctx)
		c.disconnected()
		if ctx.Err() != nil {
			return
		}
		c.b.opt.Logger.Warn("store feed ended", "err", err)
		if time.Since(began) > retryStoreHigh {
			wait = retryStoreLow
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
		wait = min(2*wait, retryStoreHigh)
	}
}

var (
	errOrder   = errors.New("store feed is not in increasing order of offsets")
	errLeftOut = errors.New("store feed left out a record that this broker does not hold")
	errPowers  = errors.New("store was not there when it was asked what it can do")
	errTail    = errors.New("store has lost what it had committed: its head is before the log's")
)

func (c *committer) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	c.mu.Lock()
	c.cancel = cancel
	c.mu.Unlock()
	if err := c.prepare(ctx); err != nil {
		return err
	}
	if !c.mapped {
		if err := c.load(ctx); err != nil {
			return err
		}
	}
	from := FollowFrom{After: c.offset}
	if !c.whole {
		from.Origin = c.origin
	}
	err := c.store.Follow(ctx, from, c.feed)
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	if errors.Is(err, ErrTrimmed) {
		c.unload() // the log cannot go on from offset: what is retained has to be loaded afresh
	}
	return err
}

// load fills the retained map and takes the feed's beginning from the store. When a feed was followed before, records were missed,
// or the store has gone back: nobody can be told what exactly. So this run of the log ends there and another one begins; every
// client comes back to a gap (log.md P3).
func (c *committer) load(ctx context.Context) error {
	named := map[string]struct{}{}
	head, err := c.store.LoadRetained(ctx, func(page []Record) error {
		for i := range page {
			r := &page[i]
			named[r.Topic] = struct{}{}
			m := r.message(c.b.opt.classOf(r.Topic))
			c.b.retained.Load(ring.Value{Topic: r.Topic, Offset: r.Offset, Packet: m.Lasting()})
		}
		return ctx.Err()
	})
	if err != nil {
		return err
	}
	c.b.retained.KeepOnly(named)
	from, goesOn := c.b.goOn(c.terms, head)
	c.mu.Lock()
	c.offset = from
	c.mu.Unlock()
	switch {
	case goesOn:
	case c.following:
		c.b.beginEpoch(head)
	default:
		if err := c.loadLog(ctx, head); err != nil {
			return err
		}
	}
	c.following, c.mapped = true, true
	return nil
}

func (c *committer) unload() {
	c.mapped = false
	c.loaded.Store(false)
}

func (r *Record) message(class Class) ring.Message {
	m := newMessageOf(&protocol.Message{
		Topic: r.Topic, Payload: r.Payload, Time: r.Time, ContentType: r.ContentType, Headers: r.Headers, Retain: r.Retain,
	}, class)
	m.Offset = r.Offset
	m.Extra = r.extra()
	return m
}

// feed appends what the store has committed. Called by the feed's goroutine, in order.
func (c *committer) feed(f Feed) error {
	defer c.b.flushSoon()
	for i := range f.Records {
		if err := c.committed(&f.Records[i]); err != nil {
			return err
		}
	}
	c.settleRepeats()
	if f.CaughtUp {
		if c.gained() {
			return errPowers
		}
		if f.Head < c.offset {
			c.unload()
			return errTail
		}
		c.b.archive.opened(c.keeps, c.terms)
		c.b.setTerm(f.Term)
		c.ends.Store(hasPower(c.store, PowerTTL))
		c.loaded.Store(true)
		c.connected()
	}
	return nil
}

// gained reports whether the store has powers that it did not have when it was prepared: it was not there yet.
func (c *committer) gained() bool {
	return !c.keeps && hasPower(c.store, PowerHistory) || !c.keyed.Load() && hasPower(c.store, PowerKeys) || c.terms == nil && hasPower(c.store, PowerTerms)
}

func (c *committer) committed(r *Record) error {
	c.mu.Lock()
	if r.Offset <= c.offset {
		c.mu.Unlock()
		return errOrder
	}
	var p *publication
	if r.Origin == c.origin {
		p = c.unsettled[r.Ref]
	}
	if p == nil && r.Elided { // it was given up, and committed after all
		c.whole = true
		c.mu.Unlock()
		return errLeftOut
	}
	c.offset = r.Offset
	if p == nil {
		c.mu.Unlock()
		m := r.message(c.b.opt.classOf(r.Topic))
		c.b.append(&m)
		return nil
	}
	p.Offset = r.Offset
	c.b.append(&p.Message)
	released := c.settleLocked(p)
	c.mu.Unlock()
	if !p.awaitsReceipt() {
		p.answer(p.published(), nil)
	}
	answerAll(released)
	return nil
}

// connected puts what was sent and did not come back in front of the line again: it has not been committed, as far as the store
// can tell by now.
func (c *committer) connected() {
	c.mu.Lock()
	var again, released []*publication
	for _, p := range c.sent {
		switch {
		case p.settled:
		case p.answered.Load(): // too late: its publisher was told that the outcome is unknown
			c.b.messageIDs.withdraw(p)
			released = append(released, c.settleLocked(p)...)
		default:
			again = append(again, p)
		}
	}
	c.queue = append(again, c.queue...)
	refused, more := c.refuseEndingLocked()
	released = append(released, more...)
	c.sent, c.batches = nil, 0
	c.caughtUp, c.whole = true, false
	c.feeds++
	c.mu.Unlock()
	answerRefused(refused)
	answerAll(released)
	c.b.flushSoon()
	c.up.Store(true)
	c.wakeSender()
}

func (c *committer) disconnected() {
	c.up.Store(false)
	c.mu.Lock()
	c.caughtUp, c.cancel = false, nil
	c.mu.Unlock()
}
