package broker

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/carillon-mq/carillon/protocol"
)

// A planned restart may carry the log over: WriteLog writes it when everything is done, and the next run reads it (Options.Log) and goes
// on with it as if nothing had been, in the same epoch. That is sound only if nothing was appended behind what was written, so WriteLog
// seals the ring; and only once, so whoever keeps the bytes destroys them before they are read. Whatever is not as it should be means a
// new epoch, and every client is told its gap.

// maxCarryAge is how long a log may lie: one that lay longer may be of a backup, and the run that has gone on from it forgotten.
const maxCarryAge = time.Hour

var (
	errNotDrained = errors.New("the broker has not been drained")
	errNotLoaded  = errors.New("the store is not loaded")
	errTooOld     = fmt.Errorf("it was written more than %v ago", maxCarryAge)
)

// carryHead is what stands before the entries.
type carryHead struct {
	epoch     protocol.RunID
	term      protocol.RunID // the store's, of watermark
	stored    bool           // there was a store, which has the retained values
	written   int64          // by the wall clock, in Unix milliseconds
	first     uint64         // seq of the first entry
	head      uint64         // and of the last; first-1 when there is none
	before    uint64         // watermark before the first
	watermark uint64         // and behind the last
	base      feedStart
}

// carried is a log that was read back.
type carried struct {
	carryHead
	ring     *ring
	retained *retained
	ids      *messageIDs
	elapsed  time.Duration // since it was written
}

// WriteLog writes the log for the next run's Options.Log. It is called behind a Drain that has returned nil, and ends the broker's work
// for good: what is published from here on is refused, what the store commits is left to the next run. It needs little memory.
func (b *Broker) WriteLog(w io.Writer) error {
	if !b.draining.Load() || b.registry.sessions() > 0 {
		return errNotDrained
	}
	b.cancel() // from here on nothing moves epoch, term and offset
	b.feeds.Wait()
	if c := b.committer; c != nil {
		switch {
		case c.pending() > 0:
			return errNotDrained
		case !c.loaded.Load():
			return errNotLoaded
		}
	}
	chunks, h := b.ring.seal()
	at := b.Position()
	h.epoch, h.term, h.stored, h.written = at.Epoch, at.Term, b.committer != nil, time.Now().UnixMilli()
	c := newCarryWriter(w)
	c.head(&h)
	b.ring.writeEntries(c, chunks, !h.stored)
	if !h.stored {
		b.retained.write(c, h.first)
	}
	b.messageIDs.write(c, time.Now())
	return c.close()
}

func (c *carryWriter) head(h *carryHead) {
	c.raw(h.epoch[:])
	c.raw(h.term[:])
	c.uint(bit(h.stored, 1))
	for _, v := range h.numbers() {
		c.uint(*v)
	}
	c.int(h.written)
}

func (h *carryHead) numbers() []*uint64 {
	return []*uint64{&h.first, &h.head, &h.before, &h.watermark, &h.base.offset, &h.base.first, &h.base.live, &h.base.head}
}

func bit(is bool, b uint64) uint64 {
	if is {
		return b
	}
	return 0
}

// restoreLog takes the log that the last run wrote in place of this run's empty one. Called before Start.
func (b *Broker) restoreLog(src io.Reader) {
	was, err := readLog(src, &b.opt)
	if err != nil {
		b.opt.Logger.Warn("the last run's log is not used: clients are told gaps", "err", err)
		return
	}
	b.epoch, b.term = was.epoch, was.term
	if was.stored {
		b.restored = was // until the store is loaded
	}
	was.ring.slowest, was.ring.nudge = b.ring.slowest, b.ring.nudge
	b.ring, b.retained, b.messageIDs = was.ring, was.retained, was.ids
	for _, sh := range b.shards {
		sh.next, sh.mark = was.head+1, was.watermark
		sh.at, _ = b.ring.seek(sh.next)
		sh.passedSeq.Store(was.head)
		sh.passedBytes.Store(b.ring.appended)
	}
	bytes, span := b.ring.size()
	oldest, _ := b.ring.oldest()
	b.opt.Logger.Info("the last run's log goes on", "count", was.head+1-oldest, "bytes", bytes, "age", span.Round(time.Millisecond))
}

// readLog reads a log for a broker of the given options.
func readLog(src io.Reader, opt *Options) (*carried, error) {
	c := newCarryReader(src)
	was := &carried{retained: newRetained(opt.Limits.Retained, opt.Limits.RetainedBytes), ids: newMessageIDs(opt)}
	h := c.head()
	if c.err != nil {
		return nil, c.err
	}
	was.carryHead = h
	was.elapsed = max(0, time.Since(time.UnixMilli(h.written)))
	switch {
	case h.stored && opt.Store == nil:
		return nil, errors.New("it was written by a broker with a store")
	case !h.stored && opt.Store != nil:
		return nil, errors.New("it was written by a broker without a store")
	case was.elapsed > maxCarryAge:
		return nil, errTooOld
	}
	was.ring = newRing(opt.RingBytes, was.retained)
	was.readEntries(c)
	if !h.stored {
		was.retained.read(c, h.first)
	}
	was.ids.read(c, was.elapsed)
	if err := c.close(); err != nil {
		return nil, err
	}
	return was, nil
}

func (c *carryReader) head() (h carryHead) {
	h.epoch, h.term = c.run(), c.run()
	flags := c.uint()
	h.stored = flags&1 != 0
	for _, v := range h.numbers() {
		*v = c.uint()
	}
	h.written = c.int()
	if flags > 1 || h.epoch.IsZero() || h.first == 0 || h.head+1 < h.first || h.base.first > h.base.live || h.base.live > h.head+1 || h.written < 0 {
		c.fail(errCarryForm)
	}
	return h
}

// goOn decides, when the store has been loaded up to head, whether the log of the last run goes on, and returns the offset behind
// which the feed begins. What is not the store's past any more is forgotten.
func (b *Broker) goOn(terms []Term, head uint64) (from uint64, ok bool) {
	was := b.restored
	if was == nil {
		return head, false
	}
	b.restored = nil
	if why := was.against(terms, head); why != nil {
		b.opt.Logger.Warn("the last run's log is not used: clients are told gaps", "err", why)
		b.beginEpoch(head)
		b.ring.forget()
		return head, false
	}
	b.linkRetained()
	b.setTerm(terms[len(terms)-1].ID) // that knows all offsets before its first
	return was.watermark, true
}

// against says why the log does not go on from a store of the given terms and head; nil if it does.
func (was *carried) against(terms []Term, head uint64) error {
	common, known := commonOffset(terms, head, protocol.Position{Term: was.term, Offset: was.watermark})
	switch {
	case head < was.watermark:
		return fmt.Errorf("the store has records up to %d, the log up to %d", head, was.watermark)
	case !known:
		return fmt.Errorf("the store does not know the log's term %s", was.term)
	case common < was.watermark:
		return fmt.Errorf("the store and the log went different ways behind %d", common)
	}
	return nil
}
