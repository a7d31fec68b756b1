package broker

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/carillon-mq/carillon/protocol"
)

const (
	commitRecords = 1024    // most records of one batch
	commitBytes   = 1 << 20 // most encoded bytes of one batch
	commitBatches = 4       // batches on their way to the store at a time
	sweepEvery    = 100 * time.Millisecond
)

// committer sees to it that what the store commits reaches the log through one feed, in the order of its offsets
// (log.md A2, A3), and that later publishes to a topic wait while one is on its way to the store (A4).
//
// submit puts a publication in line; sendLoop hands batches to the store; the feed brings each record back, and only then is
// it appended, delivered and acknowledged. When the store goes away the feed is taken up again from the last offset appended,
// and what had been sent but did not come back is sent again: the store knows (Origin, Ref) and commits nothing twice.
//
// Lock order: mu, then Ring.mu.
type committer struct {
	b      *Broker
	store  Store
	origin protocol.RunID // names this run's records

	held atomic.Int64 // topics in waiting, so that the common publish takes no lock here

	mu        sync.Mutex
	waiting   map[string][]*publication // by topic, in order; the first of each waits for the store
	unsettled map[uint64]*publication   // by ref: what the store has neither committed nor refused, and what it has not got yet
	queue     []*publication            // to be sent, in order of ref; settled ones are passed over
	gathering gathering                 // when the queue is to be sent
	round     round                     // who publishes again when the last batch is answered
	sent      []*publication            // under the present feed, in order of ref; settled ones are dropped now and then
	bytes     int64                     // held by everything in waiting
	lastRef   uint64
	offset    uint64 // of the last record appended; only the feed's goroutine changes it
	whole     bool   // the next feed has to bring this run's own records whole, too
	caughtUp  bool   // the feed is live: batches may be sent
	feeds     uint64 // feeds that have caught up
	batches   int    // sent under the present one and not answered
	repeats   []repeat
	stop      bool

	cancel context.CancelCauseFunc // ends the present feed

	work chan struct{} // sendLoop has something to look at

	// The feed's goroutine alone uses these.
	following bool   // the log goes on from offset
	mapped    bool   // the retained values are loaded
	keeps     bool   // the store keeps histories
	terms     []Term // the store's

	loaded atomic.Bool
	up     atomic.Bool
	keyed  atomic.Bool // the store, when it was last there, knew records by their keys
	ends   atomic.Bool // and saw to their ends
}

func newCommitter(b *Broker, store Store) *committer {
	return &committer{
		b: b, store: store, origin: b.epoch, waiting: map[string][]*publication{}, unsettled: map[uint64]*publication{},
		work: make(chan struct{}, 1),
	}
}

// submit appends p at once if it may, and otherwise puts it in line. It fails with store_unavailable when too much waits for
// the store already (log.md U3).
func (c *committer) submit(p *publication) (appended bool, err *protocol.Error) {
	if p.record == nil && c.held.Load() == 0 {
		c.b.append(&p.Message)
		return true, nil
	}
	mayWait := c.syncOf(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	line, isHeld := c.waiting[p.Topic]
	if p.record == nil && !isHeld {
		c.b.append(&p.Message) // under mu, so that it stays behind what was released before
		return true, nil
	}
	if c.stop {
		return false, protocol.Errorf(protocol.CodeStoreUnavailable, "the broker is going away")
	}
	if limit := c.b.opt.Limits.StorePending; limit != Unlimited && c.bytes+p.cost() > limit {
		return false, protocol.Errorf(protocol.CodeStoreUnavailable, "publishes of %d bytes wait for the store already", c.bytes).WithRetryAfter(time.Second)
	}
	p.deadline = time.Now().Add(c.b.opt.Limits.StoreTimeout)
	c.bytes += p.cost()
	c.waiting[p.Topic] = append(line, p)
	if !isHeld {
		c.held.Add(1)
	}
	if p.record != nil {
		c.lastRef++
		p.ref, p.record.Ref = c.lastRef, c.lastRef
		c.unsettled[p.ref] = p
		c.queue = append(c.queue, p)
		if c.gathering.add(p, mayWait) && (c.batches == 0 && len(c.queue) == 1 || !c.round.waits(c.batches, len(c.queue))) {
			c.wakeSender() // else sendLoop's timer does, or the answer to a batch
		}
	}
	return false, nil
}

// cost is about what p holds while it waits: its packet and, as the record of it, everything once more.
func (p *publication) cost() int64 {
	n := int64(cap(p.Buf)) + publicationOverhead
	if p.record != nil {
		n += int64(cap(p.Buf))
	}
	return n
}

const publicationOverhead = int64(unsafe.Sizeof(publication{}) + unsafe.Sizeof(Record{}))

func (c *committer) wakeSender() {
	select {
	case c.work <- struct{}{}:
	default:
	}
}

// sendLoop hands batches to the store for as long as the feed is live, and answers what has waited too long.
func (c *committer) sendLoop(ctx context.Context) {
	sweep := time.NewTicker(sweepEvery)
	defer sweep.Stop()
	gathered := time.NewTimer(sweepEvery)
	defer gathered.Stop()
	for {
		for batch := c.nextBatch(); len(batch.records) > 0; batch = c.nextBatch() {
			c.store.Append(batch.records, func(results []AppendResult, err error) { c.appended(batch.feed, results, err) })
		}
		gathered.Stop()
		if wait := c.gatherTime(); wait > 0 {
			gathered.Reset(wait)
		}
		select {
		case <-c.work:
		case <-gathered.C:
		case <-sweep.C:
			c.expire(time.Now())
		case <-ctx.Done():
			return
		}
	}
}

// batch is what is sent to the store at once, and the feed it is sent under.
type batch struct {
	records []Record
	feed    uint64
}

// nextBatch takes what the store may be sent now.
func (c *committer) nextBatch() batch {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.caughtUp || len(c.queue) == 0 || c.batches >= commitBatches || c.gathering.goesOn() {
		return batch{}
	}
	if c.round.waits(c.batches, len(c.queue)) {
		return batch{}
	}
	records, keyed := make([]Record, 0, min(len(c.queue), commitRecords)), c.keyed.Load()
	bytes, n := 0, 0
	for ; n < len(c.queue) && len(records) < commitRecords; n++ {
		p := c.queue[n]
		if p.settled {
			continue
		}
		if bytes > 0 && bytes+len(p.Buf) > commitBytes {
			break
		}
		bytes += len(p.Buf)
		records = append(records, *p.record)
		if last := &records[len(records)-1]; !keyed {
			last.Key, last.Digest = nil, nil
		}
		p.sent = true
		c.sent = append(c.sent, p)
	}
	clear(c.queue[:n])
	c.queue = c.queue[n:]
	if len(c.queue) == 0 {
		c.gathering = gathering{}
	}
	if len(records) > 0 {
		c.batches++
		c.round.sent = time.Now()
	}
	return batch{records, c.feeds}
}

// appended takes the store's answer to a batch. What was committed comes back through the feed; only what never will is settled
// here.
func (c *committer) appended(feed uint64, results []AppendResult, err error) {
	c.mu.Lock()
	if feed != c.feeds || !c.caughtUp {
		c.mu.Unlock()
		return // of a feed that has ended: the next one tells
	}
	c.batches--
	c.round.answered(len(results), len(c.queue))
	if err != nil { // the outcome is unknown: take the feed up again and see, and send nothing until then
		c.caughtUp = false
		c.cancel(err)
		c.mu.Unlock()
		return
	}
	var refused []refusal
	var released []*publication
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
			refused = append(refused, refusal{p, errPassedOver})
			released = append(released, c.settleLocked(p)...)
		}
	}
	c.repeats = append(c.repeats, repeated...)
	waiting := len(c.queue) > 0
	c.mu.Unlock()
	for _, topic := range passedOver {
		c.b.opt.Logger.Error("store feed has passed a record over", "topic", topic)
	}
	answerRefused(refused)
	answerAll(released)
	c.settleRepeats()
	c.b.flushSoon()
	if waiting {
		c.wakeSender()
	}
}

// refusal is a publication that is not published, or of which that is not known, and what its publisher is told.
type refusal struct {
	p   *publication
	why *protocol.Error
}

func answerRefused(refused []refusal) {
	for _, r := range refused {
		r.p.answer(protocol.Published{}, r.why)
	}
}

var (
	errUnknown    = protocol.Errorf(protocol.CodeStoreUnavailable, "the store did not confirm in time; the outcome is unknown").WithRetryAfter(time.Second)
	errNotKept    = protocol.Errorf(protocol.CodeStoreUnavailable, "the store is away; the message was not kept and not delivered").WithRetryAfter(time.Second)
	errSealed     = protocol.Errorf(protocol.CodeGoingAway, "the broker is going away")
	errPassedOver = protocol.Errorf(protocol.CodeStoreUnavailable, "the store has committed the message without showing it; the outcome is unknown")
)

// settleLocked ends the wait for the store's word on p. It returns what was appended because it waited behind p alone, to be
// answered without the lock.
func (c *committer) settleLocked(p *publication) (appended []*publication) {
	delete(c.unsettled, p.ref)
	p.settled = true
	if p.Seq > 0 {
		c.b.messageIDs.appended(p)
	}
	return c.releaseLocked(p)
}

// releaseLocked takes p out of its topic's line and appends the plain publishes that waited behind it alone. It returns them,
// to be answered without the lock.
func (c *committer) releaseLocked(p *publication) (appended []*publication) {
	line := c.waiting[p.Topic]
	if i := slices.Index(line, p); i == 0 {
		line = line[1:]
	} else {
		line = slices.Delete(line, i, i+1)
	}
	c.bytes -= p.cost()
	for len(line) > 0 && line[0].record == nil {
		q := line[0]
		line = line[1:]
		c.bytes -= q.cost()
		if q.answered.Load() { // its deadline has passed, and it was told so
			c.b.messageIDs.withdraw(q)
			continue
		}
		c.b.append(&q.Message)
		c.b.messageIDs.appended(q)
		appended = append(appended, q)
	}
	if len(line) > 0 {
		c.waiting[p.Topic] = line
		return appended
	}
	delete(c.waiting, p.Topic)
	c.held.Add(-1)
	return appended
}

func answerAll(appended []*publication) {
	for _, p := range appended {
		switch {
		case p.Seq == 0:
			p.answer(protocol.Published{}, errSealed)
		case !p.awaitsReceipt():
			p.answer(p.published(), nil)
		}
	}
}

// expire answers what has waited for the store longer than it may. What was not sent is withdrawn; what was sent may still be
// committed and then reaches the log: the answer says that its outcome is unknown.
func (c *committer) expire(now time.Time) {
	var late []refusal
	var released []*publication
	c.mu.Lock()
	c.sent = slices.DeleteFunc(c.sent, func(p *publication) bool { return p.settled })
	for _, p := range c.sent {
		if p.deadline.After(now) {
			break
		}
		late = append(late, refusal{p, errUnknown})
	}
	n := 0
	for ; n < len(c.queue) && !c.queue[n].deadline.After(now); n++ {
		p := c.queue[n]
		switch {
		case p.settled:
			continue
		case p.sent: // under a feed that has ended: the store may yet come to it
			late = append(late, refusal{p, errUnknown})
		default:
			late = append(late, refusal{p, errNotKept})
		}
		released = append(released, c.settleLocked(p)...)
	}
	clear(c.queue[:n])
	c.queue = c.queue[n:]
	for _, line := range c.waiting {
		for _, p := range line {
			if p.record == nil && !p.deadline.After(now) {
				late = append(late, refusal{p, errUnknown})
			}
		}
	}
	c.mu.Unlock()
	answerRefused(late)
	answerAll(released)
	c.b.flushSoon()
}
