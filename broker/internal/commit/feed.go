package commit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/carillon-mq/carillon/broker/internal/archive"
	"github.com/carillon-mq/carillon/broker/internal/ring"
	"github.com/carillon-mq/carillon/broker/store"
)

// How long the committer waits before it takes a feed up again.
const (
	retryStoreLow  = 20 * time.Millisecond
	retryStoreHigh = time.Second
)

// Run is the feed's goroutine: load, follow, and again when the store comes back.
func (c *Committer) Run(ctx context.Context) {
	wait := retryStoreLow
	for ctx.Err() == nil {
		began := time.Now()
		err := c.follow(ctx)
		c.disconnected()
		c.blame(err)
		if ctx.Err() != nil {
			return
		}
		c.opt.Logger.Warn("store feed ended", "err", err)
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
	errOrder   = fmt.Errorf("%w: its feed is not in increasing order of offsets", store.ErrMalformed)
	errOther   = fmt.Errorf("%w: its feed brought another record in place of one of this broker's", store.ErrMalformed)
	errLeftOut = errors.New("store feed left out a record that this broker does not hold")
	errPowers  = errors.New("store was not there when it was asked what it can do")
	errTail    = fmt.Errorf("%w: it has lost what it had committed, its head is before the log's", store.ErrMalformed)
)

func (c *Committer) follow(ctx context.Context) error {
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
	from := store.FollowFrom{After: c.offset}
	if !c.whole {
		from.Origin = c.opt.Origin
	}
	err := c.opt.Store.Follow(ctx, from, c.feed)
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	if errors.Is(err, store.ErrTrimmed) {
		c.unload() // the log cannot go on from offset: what is retained has to be loaded afresh
	}
	return err
}

// load fills the retained map and takes the feed's beginning from the store. When a feed was followed before, records were missed,
// or the store has gone back: nobody can be told what exactly. So this run of the log ends there and another one begins; every
// client comes back to a gap (log.md P3).
func (c *Committer) load(ctx context.Context) error {
	named := map[string]struct{}{}
	head, err := c.opt.Store.LoadRetained(ctx, func(page []store.Record) error {
		for i := range page {
			r := &page[i]
			named[r.Topic] = struct{}{}
			m := c.message(r)
			c.opt.Retained.Load(ring.Value{Topic: r.Topic, Offset: r.Offset, Packet: m.Lasting()})
		}
		return ctx.Err()
	})
	if err != nil {
		return err
	}
	c.opt.Retained.KeepOnly(named)
	from, goesOn := c.log.GoOn(c.terms, head)
	c.mu.Lock()
	c.offset = from
	c.mu.Unlock()
	switch {
	case goesOn:
	case c.following:
		c.log.BeginAnew(head)
	default:
		if err := c.loadLog(ctx, head); err != nil {
			return err
		}
	}
	c.following, c.mapped = true, true
	return nil
}

func (c *Committer) unload() {
	c.mapped = false
	c.loaded.Store(false)
}

// message is r on its way into the log.
func (c *Committer) message(r *store.Record) ring.Message {
	return archive.Message(r, c.opt.Rules.ClassOf(r.Topic))
}

// feed appends what the store has committed. Called by the feed's goroutine, in order.
func (c *Committer) feed(f store.Feed) error {
	defer c.log.Flush()
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
		c.log.Opened(c.keeps, c.terms, f.Term)
		c.ends.Store(store.Has(c.opt.Store, store.PowerTTL))
		c.loaded.Store(true)
		c.connected()
	}
	return nil
}

// gained reports whether the store has powers that it did not have when it was prepared: it was not there yet.
func (c *Committer) gained() bool {
	return !c.keeps && store.Has(c.opt.Store, store.PowerHistory) || !c.keyed.Load() && store.Has(c.opt.Store, store.PowerKeys) || c.terms == nil && store.Has(c.opt.Store, store.PowerTerms)
}

func (c *Committer) committed(r *store.Record) error {
	c.mu.Lock()
	if r.Offset <= c.offset {
		c.mu.Unlock()
		return errOrder
	}
	var p *Publication
	if r.Origin == c.opt.Origin {
		p = c.unsettled[r.Ref]
		if r.Ref > c.lastRef || p != nil && !r.Elided && r.Topic != p.Topic {
			c.mu.Unlock()
			return errOther
		}
	}
	if p == nil && r.Elided { // it was given up, and committed after all
		c.whole = true
		c.mu.Unlock()
		return errLeftOut
	}
	c.offset = r.Offset
	if p == nil {
		c.mu.Unlock()
		m := c.message(r)
		c.log.Append(&m)
		return nil
	}
	p.Offset, c.progress = r.Offset, time.Now()
	passed := c.passLocked(p)
	c.log.Append(&p.Message)
	landed := c.round.committed(r.Ref, len(c.queue)) && len(c.queue) > 0
	released := c.settleLocked(p)
	c.mu.Unlock()
	if landed {
		c.wakeSender()
	}
	answerAll(passed)
	p.Publisher.Acknowledge()
	answerAll(released)
	return nil
}

// connected puts what was sent and did not come back in front of the line again: it has not been committed, as far as the store
// can tell by now.
func (c *Committer) connected() {
	c.mu.Lock()
	var again, released []*Publication
	for _, p := range c.sent {
		switch {
		case p.settled:
		case p.answered.Load(): // too late: its publisher was told that the outcome is unknown
			p.Publisher.Withdrawn()
			released = append(released, c.settleLocked(p)...)
		default:
			again = append(again, p)
		}
	}
	c.queue = append(again, c.queue...)
	refused, more := c.refuseEndingLocked()
	released = append(released, more...)
	c.sent, c.batches, c.round, c.progress = nil, 0, round{}, time.Now()
	c.caughtUp, c.whole = true, false
	c.feeds++
	c.mu.Unlock()
	answerRefused(refused)
	answerAll(released)
	c.log.Flush()
	c.up.Store(true)
	c.wakeSender()
}

func (c *Committer) disconnected() {
	c.up.Store(false)
	c.mu.Lock()
	if c.caughtUp {
		c.progress = time.Now()
	}
	c.caughtUp, c.cancel = false, nil
	c.mu.Unlock()
}
