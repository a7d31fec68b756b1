// Package commit has a store commit publications, and brings what it commits into the log (docs/log.md A2 to A4).
//
//	Submit -> [Send -> store.Append] -> Run: store.Follow -> feed -> committed -> Log.Append -> Publisher.Acknowledge
//
// Submit puts a publication in line; Send hands batches to the store; the feed brings each record back, and only then is it
// appended, delivered and acknowledged, in the order of the store's offsets, while later publications to its topic wait behind it. When the store
// goes away the feed is taken up again from the last offset appended, and what had been sent but did not come back is sent again: the
// store knows (Origin, Ref) and commits nothing twice.
//
// Lock order: Committer.mu, then those of package ring and of whom Log.Append, Publisher.Placed and Publisher.Withdrawn call.
package commit

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/carillon-mq/carillon/broker/internal/ring"
	"github.com/carillon-mq/carillon/broker/internal/rules"
	"github.com/carillon-mq/carillon/broker/store"
	"github.com/carillon-mq/carillon/protocol"
)

const (
	commitRecords = 1024    // most records of one batch
	commitBytes   = 1 << 20 // most encoded bytes of one batch
	commitBatches = 4       // batches on their way to the store at a time
	sweepEvery    = 100 * time.Millisecond
)

// Options are what a Committer stands between.
type Options struct {
	Log      Log
	Ring     *ring.Ring     // that of Log
	Retained *ring.Retained // beside it
	Store    store.Store
	Origin   protocol.RunID // names this run's records
	Rules    rules.Rules
	Timeout  time.Duration // how long a publication waits for the store
	Pending  int64         // bytes of publications that wait for the store at most; negative: any number
	Load     int64         // bytes of the newest that the store keeps that are loaded into the log, about
	Logger   *slog.Logger
}

// Log is where what is committed goes. But for Append all is called by the feed's goroutine, without a lock.
type Log interface {
	// Append gives m its place at the end. It is called with the committer's lock held.
	Append(m *ring.Message)
	// GoOn decides, when the store of the given terms has been loaded up to head, whether the log of another run goes on, and returns the
	// offset behind which the feed begins.
	GoOn(terms []store.Term, head uint64) (from uint64, ok bool)
	// Follow says that the log goes on from an offset of the store.
	Follow(offset uint64)
	// Loaded says that the log has got what the store keeps up to head, but for what is missing up to an offset.
	Loaded(missing, head uint64)
	// BeginAnew ends this run of the log, which has a hole, and begins another one behind head.
	BeginAnew(head uint64)
	// Opened says what the store is that is there now, when the log has everything that this has committed.
	Opened(keeps bool, terms []store.Term, term protocol.RunID)
	// Flush has the answers leave that publishers were given. It is called from any goroutine.
	Flush()
}

// Committer has a store commit publications. Its methods may be called concurrently.
type Committer struct {
	opt     Options
	log     Log
	history store.HistoryStore // nil: the store is none

	held atomic.Int64 // topics in waiting, so that the common publish takes no lock here

	mu        sync.Mutex
	waiting   map[string][]*Publication // by topic, in order; the first of each waits for the store
	unsettled map[uint64]*Publication   // by ref: what the store has neither committed nor refused, and what it has not got yet
	queue     []*Publication            // to be sent, in order of ref; settled ones are passed over
	gathering gathering                 // when the queue is to be sent
	round     round                     // who publishes again when the last batch is committed
	sent      []*Publication            // under the present feed, in order of ref; settled ones are dropped now and then
	bytes     int64                     // held by everything in waiting
	lastRef   uint64
	offset    uint64 // of the last record appended; only the feed's goroutine changes it
	whole     bool   // the next feed has to bring this run's own records whole, too
	caughtUp  bool   // the feed is live: batches may be sent
	feeds     uint64 // feeds that have caught up
	batches   int    // sent under the present one and not answered
	repeats   []repeat
	stop      bool
	progress  time.Time // when the store last gave a sign of life, or got to owe one
	told      bool      // that the breaker is open

	cancel context.CancelCauseFunc // ends the present feed

	work chan struct{} // Send has something to look at

	// The feed's goroutine alone uses these.
	following bool         // the log goes on from offset
	mapped    bool         // the retained values are loaded
	keeps     bool         // the store keeps histories
	terms     []store.Term // the store's

	faults atomic.Uint64
	loaded atomic.Bool
	up     atomic.Bool
	keyed  atomic.Bool // the store, when it was last there, knew records by their keys
	ends   atomic.Bool // and saw to their ends
}

// New is a committer that does nothing until Run and Send.
func New(opt Options) *Committer {
	history, _ := opt.Store.(store.HistoryStore)
	return &Committer{
		opt: opt, log: opt.Log, history: history, waiting: map[string][]*Publication{}, unsettled: map[uint64]*Publication{}, work: make(chan struct{}, 1),
		progress: time.Now(),
	}
}

// Loaded reports whether what is retained has been loaded and the log has everything that the store had committed then.
func (c *Committer) Loaded() bool { return c.loaded.Load() }

// Up reports whether the feed is live.
func (c *Committer) Up() bool { return c.up.Load() }

// Keyed reports whether the store, when it was last there, knew records by their keys.
func (c *Committer) Keyed() bool { return c.keyed.Load() }

// Ends reports whether the store, when it was last there, saw to the end of records that expire.
func (c *Committer) Ends() bool { return c.ends.Load() }

// Pending is the number of topics with publishes that wait for the store.
func (c *Committer) Pending() int { return int(c.held.Load()) }

// Bytes is about how many bytes the publications hold that wait.
func (c *Committer) Bytes() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bytes
}

// Submit appends p at once if it may, and otherwise puts it in line. It fails with store_unavailable when too much waits for
// the store already (log.md U3).
func (c *Committer) Submit(p *Publication) (appended bool, err *protocol.Error) {
	if p.Record == nil && c.held.Load() == 0 {
		c.log.Append(&p.Message)
		return true, nil
	}
	mayWait := c.syncOf(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	line, isHeld := c.waiting[p.Topic]
	if p.Record == nil && !isHeld {
		c.log.Append(&p.Message) // under mu, so that it stays behind what was released before
		return true, nil
	}
	if c.stop {
		return false, protocol.Errorf(protocol.CodeStoreUnavailable, "the broker is going away")
	}
	if limit := c.opt.Pending; limit >= 0 && c.bytes+p.cost() > limit {
		return false, protocol.Errorf(protocol.CodeStoreUnavailable, "publishes of %d bytes wait for the store already", c.bytes).WithRetryAfter(time.Second)
	}
	if p.Record != nil {
		if err := c.refuseStuckLocked(); err != nil {
			return false, err
		}
	}
	p.deadline = time.Now().Add(c.opt.Timeout)
	c.bytes += p.cost()
	c.waiting[p.Topic] = append(line, p)
	if !isHeld {
		c.held.Add(1)
	}
	if p.Record != nil {
		c.lastRef++
		p.ref, p.Record.Origin, p.Record.Ref = c.lastRef, c.opt.Origin, c.lastRef
		c.unsettled[p.ref] = p
		c.queue = append(c.queue, p)
		if c.gathering.add(p, mayWait) && (len(c.round.flights) == 0 && len(c.queue) == 1 || !c.round.waits(len(c.queue))) {
			c.wakeSender() // else Send's timer does, or the end of a batch
		}
	}
	return false, nil
}

func (c *Committer) wakeSender() {
	select {
	case c.work <- struct{}{}:
	default:
	}
}

// Send hands batches to the store for as long as the feed is live, and answers what has waited too long.
func (c *Committer) Send(ctx context.Context) {
	sweep := time.NewTicker(sweepEvery)
	defer sweep.Stop()
	gathered := time.NewTimer(sweepEvery)
	defer gathered.Stop()
	for {
		for batch := c.nextBatch(); len(batch.records) > 0; batch = c.nextBatch() {
			last, feed := batch.last, batch.feed
			c.opt.Store.Append(batch.records, func(results []store.AppendResult, err error) { c.appended(last, feed, results, err) })
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
			c.watchBreaker(time.Now())
		case <-ctx.Done():
			return
		}
	}
}

// batch is what is sent to the store at once, the ref of the last of it, and the feed it is sent under.
type batch struct {
	records []store.Record
	last    uint64
	feed    uint64
}

// nextBatch takes what the store may be sent now.
func (c *Committer) nextBatch() batch {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.caughtUp || len(c.queue) == 0 || c.batches >= commitBatches || c.gathering.goesOn() {
		return batch{}
	}
	if c.round.waits(len(c.queue)) {
		return batch{}
	}
	records, keyed := make([]store.Record, 0, min(len(c.queue), commitRecords)), c.keyed.Load()
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
		records = append(records, *p.Record)
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
	if len(records) == 0 {
		return batch{}
	}
	b := batch{records: records, last: records[len(records)-1].Ref, feed: c.feeds}
	c.round.begin(records[0].Ref, b.last, len(records))
	if c.batches++; c.batches == 1 {
		c.progress = time.Now()
	}
	return b
}
