package broker

import (
	"github.com/carillon-mq/carillon/broker/internal/archive"
	"github.com/carillon-mq/carillon/broker/internal/commit"
	"github.com/carillon-mq/carillon/broker/internal/ring"
	"github.com/carillon-mq/carillon/protocol"
)

// openStore puts a committer and an archive between the store and the log. origin names the records of this run.
func (b *Broker) openStore(store Store, origin protocol.RunID) {
	limits := &b.opt.Limits
	b.archive = archive.New(store, b.ring, b.rules, limits.StoreTimeout)
	b.committer = commit.New(commit.Options{
		Log: committed{b}, Ring: b.ring, Retained: b.retained, Store: store, Origin: origin, Rules: b.rules,
		Timeout: limits.StoreTimeout, Pending: limits.StorePending, Load: b.opt.RingBytes / 2, Logger: b.opt.Logger,
	})
}

// committed is the broker as its committer sees it.
type committed struct{ b *Broker }

func (l committed) Append(m *ring.Message) { l.b.append(m) }

func (l committed) GoOn(terms []Term, head uint64) (from uint64, ok bool) {
	return l.b.goOn(terms, head)
}

func (l committed) Follow(offset uint64) { l.b.followStore(offset) }

func (l committed) Loaded(missing, head uint64) {
	l.b.ring.Loaded(missing, head)
	l.b.nudgeAll()
	l.b.markShards(head)
}

func (l committed) BeginAnew(head uint64) { l.b.beginEpoch(head) }

func (l committed) Opened(keeps bool, terms []Term, term protocol.RunID) {
	l.b.archive.Opened(keeps, terms)
	l.b.setTerm(term)
}

func (l committed) Flush() { l.b.flushSoon() }

// beginEpoch ends this run of the log, because it has a hole that nobody can measure, and begins another one, whose watermark is
// mark. Every session is sent away first, so that no position of the new run reaches one that was there before the hole.
func (b *Broker) beginEpoch(mark uint64) {
	b.registry.pause(true)
	defer b.registry.pause(false)
	b.registry.each(func(s *Session) {
		s.Disconnect(protocol.Errorf(protocol.CodeUnavailable, "the store has lost records that the log goes on from").WithRetryAfter(b.spread()))
	})
	b.followStore(mark)
	b.runMu.Lock()
	b.epoch = protocol.NewRunID()
	b.runMu.Unlock()
}

// followStore says that the log goes on from an offset of the store.
func (b *Broker) followStore(offset uint64) {
	b.ring.Follow(offset)
	b.markShards(offset)
}

// markShards tells the shards how far the store is where the log is now.
func (b *Broker) markShards(offset uint64) {
	for _, sh := range b.shards {
		sh.post(func() { sh.mark = offset })
	}
}

// setTerm notes the store's term. Who is told the position of a message of another term later would go on from a place that there
// is not; so every session is told its position before the first of them.
func (b *Broker) setTerm(term protocol.RunID) {
	b.runMu.Lock()
	changed := b.term != term
	b.term = term
	b.runMu.Unlock()
	if changed {
		b.registry.each((*Session).Locate)
	}
}
