package broker

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/carillon-mq/carillon/broker/internal/archive"
	"github.com/carillon-mq/carillon/broker/internal/carry"
	"github.com/carillon-mq/carillon/broker/internal/ring"
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
	epoch   protocol.RunID
	term    protocol.RunID // the store's, of the log's watermark
	stored  bool           // there was a store, which has the retained values
	written int64          // by the wall clock, in Unix milliseconds
	ring.Extent
}

// carried is a log that was read back.
type carried struct {
	carryHead
	ring     *ring.Ring
	retained *ring.Retained
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
		case c.Pending() > 0:
			return errNotDrained
		case !c.Loaded():
			return errNotLoaded
		}
	}
	at := b.Position()
	h := carryHead{epoch: at.Epoch, term: at.Term, stored: b.committer != nil, written: time.Now().UnixMilli(), Extent: b.ring.Seal()}
	c := carry.NewWriter(w)
	h.write(c)
	b.ring.WriteEntries(c, !h.stored)
	if !h.stored {
		b.retained.Write(c, h.First, b.ring.Now())
	}
	b.messageIDs.write(c, time.Now())
	return c.Close()
}

func (h *carryHead) write(c *carry.Writer) {
	c.Raw(h.epoch[:])
	c.Raw(h.term[:])
	stored := uint64(0)
	if h.stored {
		stored = 1
	}
	c.Uint(stored)
	h.Extent.Write(c)
	c.Int(h.written)
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
	was.ring.Attach(b.slowestShard, b.nudgeAll)
	b.ring, b.retained, b.messageIDs = was.ring, was.retained, was.ids
	for _, sh := range b.shards {
		sh.next, sh.mark = was.Head+1, was.Watermark
		sh.at, _ = b.ring.Seek(sh.next)
		sh.passedSeq.Store(was.Head)
		sh.passedBytes.Store(b.ring.EverAppended())
	}
	bytes, span := b.ring.Size()
	oldest, _ := b.ring.Oldest()
	b.opt.Logger.Info("the last run's log goes on", "count", was.Head+1-oldest, "bytes", bytes, "age", span.Round(time.Millisecond))
}

// readLog reads a log for a broker of the given options.
func readLog(src io.Reader, opt *Options) (*carried, error) {
	c := carry.NewReader(src)
	was := &carried{retained: newRetained(opt), ids: newMessageIDs(opt)}
	if was.carryHead.read(c); c.Err != nil {
		return nil, c.Err
	}
	h := &was.carryHead
	was.elapsed = max(0, time.Since(time.UnixMilli(h.written)))
	switch {
	case h.stored && opt.Store == nil:
		return nil, errors.New("it was written by a broker with a store")
	case !h.stored && opt.Store != nil:
		return nil, errors.New("it was written by a broker without a store")
	case was.elapsed > maxCarryAge:
		return nil, errTooOld
	}
	was.ring = ring.New(opt.RingBytes, was.retained)
	was.ring.ReadEntries(c, &h.Extent, was.elapsed, !h.stored)
	if !h.stored {
		was.retained.Read(c, h.First, was.ring.Now()-was.elapsed.Milliseconds())
	}
	was.ids.read(c, was.elapsed)
	if err := c.Close(); err != nil {
		return nil, err
	}
	return was, nil
}

func (h *carryHead) read(c *carry.Reader) {
	c.Raw(h.epoch[:])
	c.Raw(h.term[:])
	stored := c.Uint()
	h.stored = stored == 1
	h.Extent.Read(c)
	h.written = c.Int()
	if stored > 1 || h.epoch.IsZero() || h.written < 0 {
		c.Fail(carry.ErrForm)
	}
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
		b.ring.Forget()
		return head, false
	}
	b.ring.LinkRetained()
	b.setTerm(terms[len(terms)-1].ID) // that knows all offsets before its first
	return was.Watermark, true
}

// against says why the log does not go on from a store of the given terms and head; nil if it does.
func (was *carried) against(terms []Term, head uint64) error {
	common, known := archive.Common(terms, head, protocol.Position{Term: was.term, Offset: was.Watermark})
	switch {
	case head < was.Watermark:
		return fmt.Errorf("the store has records up to %d, the log up to %d", head, was.Watermark)
	case !known:
		return fmt.Errorf("the store does not know the log's term %s", was.term)
	case common < was.Watermark:
		return fmt.Errorf("the store and the log went different ways behind %d", common)
	}
	return nil
}
