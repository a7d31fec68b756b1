package commit

import (
	"slices"
	"time"

	"github.com/carillon-mq/carillon/broker/store"
	"github.com/carillon-mq/carillon/protocol"
)

// appended takes the store's answer to the batch that ends with the given ref and was sent under the given feed. What was committed comes
// back through the feed; only what never will is settled here.
func (c *Committer) appended(last, feed uint64, results []store.AppendResult, err error) {
	c.mu.Lock()
	if feed != c.feeds || !c.caughtUp {
		c.mu.Unlock()
		return // of a feed that has ended: the next one tells
	}
	c.batches--
	c.progress = time.Now()
	more := c.round.answered(last, len(c.queue)) || c.batches == commitBatches-1
	if err != nil { // the outcome is unknown: take the feed up again and see, and send nothing until then
		c.caughtUp = false
		c.cancel(err)
		c.mu.Unlock()
		return
	}
	var refused []refusal
	var released []*Publication
	var repeated []repeat
	var passedOver []string
	for i := range results {
		r := &results[i]
		p := c.unsettled[r.Ref]
		switch {
		case p == nil:
		case r.Err == nil && r.Repeats:
			repeated = append(repeated, repeat{p, r.Offset, feed})
		case r.Err != nil:
			refused = append(refused, refusal{p, r.Err})
			released = append(released, c.settleLocked(p)...)
		case r.Offset <= c.offset:
			passedOver = append(passedOver, p.Topic)
			refused = append(refused, refusal{p, ErrPassedOver})
			released = append(released, c.settleLocked(p)...)
		}
	}
	c.repeats = append(c.repeats, repeated...)
	more = more && len(c.queue) > 0
	c.mu.Unlock()
	for _, topic := range passedOver {
		c.faults.Add(1)
		c.opt.Logger.Error("store feed has passed a record over", "topic", topic)
	}
	answerRefused(refused)
	answerAll(released)
	c.settleRepeats()
	c.log.Flush()
	if more {
		c.wakeSender()
	}
}

// refusal is a publication that is not published, or of which that is not known, and what its publisher is told.
type refusal struct {
	p   *Publication
	why *protocol.Error
}

func answerRefused(refused []refusal) {
	for _, r := range refused {
		r.p.Answer(protocol.Published{}, r.why)
	}
}

// settleLocked ends the wait for the store's word on p. It returns what was appended because it waited behind p alone, to be
// answered without the lock.
func (c *Committer) settleLocked(p *Publication) (appended []*Publication) {
	delete(c.unsettled, p.ref)
	p.settled = true
	if p.Seq > 0 {
		p.Publisher.Placed()
	}
	return c.releaseLocked(p)
}

// releaseLocked takes p out of its topic's line and appends the plain publishes that waited behind it alone. It returns them,
// to be answered without the lock.
func (c *Committer) releaseLocked(p *Publication) (appended []*Publication) {
	line := c.waiting[p.Topic]
	if i := slices.Index(line, p); i == 0 {
		line = line[1:]
	} else {
		line = slices.Delete(line, i, i+1)
	}
	c.bytes -= p.cost()
	for len(line) > 0 && line[0].Record == nil {
		q := line[0]
		line = line[1:]
		if c.placeLocked(q) {
			appended = append(appended, q)
		}
	}
	if len(line) > 0 {
		c.waiting[p.Topic] = line
		return appended
	}
	delete(c.waiting, p.Topic)
	c.held.Add(-1)
	return appended
}

// placeLocked appends a plain publish whose wait is over, unless its deadline has passed and it was told so. It reports whether it did.
func (c *Committer) placeLocked(q *Publication) bool {
	c.bytes -= q.cost()
	if q.answered.Load() {
		q.Publisher.Withdrawn()
		return false
	}
	c.log.Append(&q.Message)
	q.Publisher.Placed()
	return true
}

// passLocked appends the plain publishes that stand before p in its topic's line, now that the store has committed p: it commits in the order in
// which it was sent, so what they waited behind is refused, or a repetition, and the answer that says so is still on its way (A4). It returns
// them, to be answered without the lock.
func (c *Committer) passLocked(p *Publication) (appended []*Publication) {
	line := c.waiting[p.Topic]
	at := slices.Index(line, p)
	if at <= 0 { // the usual
		return nil
	}
	kept := make([]*Publication, 0, len(line))
	for _, q := range line[:at] {
		if q.Record != nil {
			kept = append(kept, q)
		} else if c.placeLocked(q) {
			appended = append(appended, q)
		}
	}
	c.waiting[p.Topic] = append(kept, line[at:]...)
	return appended
}

func answerAll(appended []*Publication) {
	for _, p := range appended {
		p.Publisher.Acknowledge()
	}
}

// repeat is a publication of which the store has another one at offset, as it said under the given feed.
type repeat struct {
	p      *Publication
	offset uint64
	feed   uint64
}

// settleRepeats answers the repetitions of what the log has by now with the places of the first.
func (c *Committer) settleRepeats() {
	c.mu.Lock()
	var due []repeat
	var released []*Publication
	c.repeats = slices.DeleteFunc(c.repeats, func(r repeat) bool {
		if r.feed != c.feeds || r.p.settled { // a new feed has it sent again
			return true
		}
		if r.offset > c.offset {
			return false
		}
		due = append(due, r)
		released = append(released, c.settleLocked(r.p)...)
		return true
	})
	c.mu.Unlock()
	for _, r := range due {
		r.p.Answer(protocol.Published{
			Seq: c.opt.Ring.SeqOf(r.offset), Offset: r.offset, Durability: protocol.Committed, Receivers: -1, Duplicate: true,
		}, nil)
	}
	answerAll(released)
}

// expire answers what has waited for the store longer than it may. What was not sent is withdrawn; what was sent may still be
// committed and then reaches the log: the answer says that its outcome is unknown.
func (c *Committer) expire(now time.Time) {
	var late []refusal
	var released []*Publication
	c.mu.Lock()
	c.sent = slices.DeleteFunc(c.sent, func(p *Publication) bool { return p.settled })
	for _, p := range c.sent {
		if p.deadline.After(now) {
			break
		}
		late = append(late, refusal{p, ErrUnknown})
	}
	n := 0
	for ; n < len(c.queue) && !c.queue[n].deadline.After(now); n++ {
		p := c.queue[n]
		switch {
		case p.settled:
			continue
		case p.sent: // under a feed that has ended: the store may yet come to it
			late = append(late, refusal{p, ErrUnknown})
		default:
			late = append(late, refusal{p, ErrNotKept})
		}
		released = append(released, c.settleLocked(p)...)
	}
	clear(c.queue[:n])
	c.queue = c.queue[n:]
	for _, line := range c.waiting {
		for _, p := range line {
			if p.Record == nil && !p.deadline.After(now) {
				late = append(late, refusal{p, ErrUnknown})
			}
		}
	}
	c.mu.Unlock()
	answerRefused(late)
	answerAll(released)
	c.log.Flush()
}

// Abandon answers everything that waits: its outcome will not be known here.
func (c *Committer) Abandon() {
	c.mu.Lock()
	c.stop = true
	var all []*Publication
	for _, line := range c.waiting {
		all = append(all, line...)
	}
	c.mu.Unlock()
	for _, p := range all {
		p.Answer(protocol.Published{}, protocol.Errorf(protocol.CodeStoreUnavailable, "the broker has ended; the outcome is unknown"))
	}
	c.log.Flush()
}

// refuseEndingLocked takes out of the queue what a store that has come back without the power ttl is not to be sent. mu is held.
func (c *Committer) refuseEndingLocked() (refused []refusal, released []*Publication) {
	if c.ends.Load() {
		return nil, nil
	}
	for _, p := range c.queue {
		if !p.settled && p.Record.Expires != 0 {
			refused = append(refused, refusal{p, ErrNoTTL})
			released = append(released, c.settleLocked(p)...)
		}
	}
	return refused, released
}
