package storebolt

import (
	"errors"
	"fmt"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"

	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/protocol"
)

// Append implements broker.Store. done is called by the committer, except after Close, when it is called at once. When more
// than 64 MiB wait for the committer, batch is refused as store_unavailable.
func (s *Store) Append(batch []broker.Record, done func([]broker.AppendResult, error)) {
	r := request{batch: batch, done: done}
	for i := range batch {
		r.bytes += recordSize(&batch[i]) + len(batch[i].Key) + len(batch[i].Digest)
	}
	if !s.queue.put(r) {
		done(nil, ErrClosed)
	}
}

// run is the committer. It alone writes to the file.
func (s *Store) run() {
	defer close(s.done)
	var group []request
	for {
		var open bool
		if group, open = s.queue.take(group[:0]); !open {
			return
		}
		s.commit(group)
		clear(group)
	}
}

// commit commits group in one transaction, then shows it to the followers, then answers it.
func (s *Store) commit(group []request) {
	if err := s.failure(); err != nil {
		answer(group, nil, err)
		return
	}
	now := s.clock.now()
	s.expireHistory(now)
	if !s.hasWork(group, now) {
		answer(group, make([][]broker.AppendResult, len(group)), nil)
		return
	}
	results := make([][]broker.AppendResult, len(group))
	if err := s.commitAll(group, results, now); err != nil {
		s.fail(group, err)
		return
	}
	answer(group, results, nil)
}

// commitAll commits of group what there is room for.
func (s *Store) commitAll(group []request, results [][]broker.AppendResult, now int64) error {
	spared, err := s.keepSpare(group)
	if err != nil {
		return err
	}
	how := whole
	if !spared || s.room.full() {
		how = shrinking
	}
	for {
		err := s.commitOnce(group, results, now, how)
		switch {
		case !errors.Is(err, bolterrors.ErrMaxSizeReached):
			return err
		case how == shrinking:
			return s.squeeze(group, results, now)
		}
		how++
	}
}

// commitOnce commits group in one transaction, and makes it the store's state.
func (s *Store) commitOnce(group []request, results [][]broker.AppendResult, now int64, how manner) error {
	began := time.Now()
	c, err := s.try(group, results, now, how)
	if err != nil || c.changesNothing() {
		return err
	}
	s.apply(c, time.Since(began))
	s.publish(c.newest) // first: who has its answer finds its record in the feed
	if s.nextExpiry <= now || s.keyspace.Due(now) || s.index.hasWork() && !c.upkeep.isEmpty() {
		s.queue.put(request{done: func([]broker.AppendResult, error) {}}) // there is more to be done
	}
	return nil
}

// manner is how much a commit may do. When it does not fit, the next one is tried.
type manner int

const (
	whole     manner = iota
	lean             // segments are not put in order: that needs much room at once
	shrinking        // nothing that makes anything grow is admitted
	tight            // the same, in small steps
)

// try commits group in one transaction.
func (s *Store) try(group []request, results [][]broker.AppendResult, now int64, how manner) (c *commit, err error) {
	err = guard(func() error {
		tx, err := s.db.Begin(true)
		if err != nil {
			return err
		}
		s.measure(tx)
		s.ahead.of(tx.Size())
		c = newCommit(s, tx, now, how)
		if err = c.dropKeys(); err == nil {
			err = c.addAll(group, results)
		}
		if err == nil {
			err = c.clearExpired()
		}
		if err == nil {
			err = c.endLeases()
		}
		if err == nil {
			err = c.finish()
		}
		if err != nil || c.changesNothing() {
			return errors.Join(err, tx.Rollback())
		}
		s.raiseDense(&c.upkeep)
		return tx.Commit()
	})
	return c, err
}

// hasWork reports whether a commit would change something.
func (s *Store) hasWork(group []request, now int64) bool {
	return slices.ContainsFunc(group, func(r request) bool { return len(r.batch) > 0 || r.rules != nil || r.op != nil }) ||
		s.nextExpiry <= now || s.keys.due(now) || s.keyspace.Due(now) || s.backups.Load() == 0 && s.index.hasWork()
}

// raiseDense tells the followers in advance what will be gone, so that they don't take it for damage.
func (s *Store) raiseDense(u *upkeep) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, seg := range u.removed {
		s.dense = max(s.dense, seg.next)
	}
}

// measure notes how large the file is, as tx finds it.
func (s *Store) measure(tx *bolt.Tx) {
	s.room.measure(tx.Size(), int64(s.db.Stats().FreePageN)*int64(s.db.Info().PageSize))
}

// expireHistory takes out of the histories what has become too old.
func (s *Store) expireHistory(now int64) {
	for done := false; !done; {
		s.index.mu.Lock()
		done = s.index.expire(now, 1<<16)
		s.index.mu.Unlock()
	}
}

// addAll adds the records of every request, and notes the results in the same order.
func (c *commit) addAll(group []request, results [][]broker.AppendResult) error {
	for i, r := range group {
		if r.rules != nil && !slices.Equal(*r.rules, c.store.index.rules.List) {
			c.rules = c.store.index.rules.next(*r.rules, c.state.head)
		}
		if err := c.do(r); err != nil {
			return err
		}
		results[i] = make([]broker.AppendResult, len(r.batch))
		for j := range r.batch {
			if r.refused {
				results[i][j].Err = protocol.Errorf(protocol.CodeStoreUnavailable, "%d bytes wait for the store's disk", maxQueueBytes)
			} else {
				var err error
				if results[i][j], err = c.add(&r.batch[j]); err != nil {
					return err
				}
			}
			results[i][j].Ref = r.batch[j].Ref
		}
	}
	return nil
}

// refuseAdded replaces the offsets that were not committed after all.
func refuseAdded(results [][]broker.AppendResult, err *protocol.Error) {
	for _, batch := range results {
		for i, r := range batch {
			if r.Err == nil && !r.Duplicate {
				batch[i] = broker.AppendResult{Ref: r.Ref, Err: err}
			}
		}
	}
}

// refuseRules answers the requests of rules with err, for good.
func refuseRules(group []request, err error) {
	for i := range group {
		if group[i].rules != nil {
			group[i].done(nil, err)
			group[i].done = func([]broker.AppendResult, error) {}
		}
	}
}

// answer calls every done of group: with its results, or all with err.
func answer(group []request, results [][]broker.AppendResult, err error) {
	for i, r := range group {
		if err != nil {
			r.done(nil, err)
			continue
		}
		r.done(results[i], nil)
	}
}

// apply makes c the store's state. It is durable.
func (s *Store) apply(c *commit, took time.Duration) {
	s.index.apply(c)
	s.keys.apply(c)
	if c.keyspace != nil {
		s.keyspace.Apply(c.keyspace)
	}
	s.state, s.origins, s.nextExpiry = c.state, c.origins, c.nextExpiry
	s.scratch = c.scratch
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dense, s.heldKeys = s.index.dense, s.keys.count
	s.commits.add(took, len(c.newest))
}

// publish shows newest to the followers.
func (s *Store) publish(newest []recordID) {
	if len(newest) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range newest {
		s.tail.add(r)
	}
	s.head, s.retained = s.state.head, s.state
	close(s.changed)
	s.changed = make(chan struct{})
}

// fail ends the store: nobody knows what the disk holds of this commit. It may even be visible in the file by now.
func (s *Store) fail(group []request, err error) {
	err = fmt.Errorf("commit to %s, outcome unknown: %w", s.file.Name(), err)
	_ = s.end(err) // of two failures the first one counts
	answer(group, nil, err)
	s.cfg.OnFailure(err)
}

func (s *Store) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// tailRecords is how many of the newest records are known by name in memory.
const tailRecords = 8192

// tail holds the names of the newest records, so that their own broker can be told of them without reading the file.
type tail struct {
	ids [tailRecords]recordID // at offset % tailRecords
}

func (t *tail) add(r recordID) { t.ids[r.offset%tailRecords] = r }

// elided returns the records after offset after that from has appended itself, up to the first that is another's or no longer
// known, at most feedRecords.
func (t *tail) elided(after, head uint64, from protocol.RunID) (page []broker.Record) {
	if from.IsZero() {
		return nil
	}
	for next := after + 1; next <= head && len(page) < feedRecords; next++ {
		r := &t.ids[next%tailRecords]
		if r.offset != next || r.origin != from {
			break
		}
		if page == nil {
			page = make([]broker.Record, 0, min(head-after, feedRecords))
		}
		page = append(page, broker.Record{Offset: r.offset, Origin: r.origin, Ref: r.ref, Elided: true})
	}
	return page
}
