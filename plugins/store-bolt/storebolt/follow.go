package storebolt

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	bolt "go.etcd.io/bbolt"

	"github.com/carillon-mq/carillon/broker"
)

// A page of retained records or of a feed ends at so many records, or when it has reached pageBytes.
const (
	pageRecords = 256 // of retained records
	feedRecords = 1024
	pageBytes   = 1 << 20
)

// Follow implements broker.Store. What Append took before the call is committed or refused before the feed has caught up: who
// follows to learn what became of a batch, learns it.
//
// When from.After is above the highest offset, because the file is an older copy or has lost its end, the first Feed has
// CaughtUp set with a Head below from.After, and the feed goes on from that Head.
func (s *Store) Follow(ctx context.Context, from broker.FollowFrom, on func(broker.Feed) error) error {
	if err := s.settle(ctx); err != nil {
		return err
	}
	start, _, err := s.now()
	if err != nil {
		return err
	}
	pos, caughtUp := min(from.After, start), false
	for {
		head, changed, err := s.now()
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		var feed broker.Feed
		switch {
		case pos >= start && !caughtUp:
			caughtUp = true
			feed = broker.Feed{CaughtUp: true, Term: s.term.ID, Head: pos}
		case pos < head:
			if feed.Records, err = s.page(pos, head, from); err != nil {
				return err
			}
			pos = feed.Records[len(feed.Records)-1].Offset
		default:
			select {
			case <-changed:
			case <-ctx.Done():
			}
			continue
		}
		if err := on(feed); err != nil {
			return err
		}
	}
}

// settle waits until everything that Append has taken so far is answered.
func (s *Store) settle(ctx context.Context) error { return s.ask(ctx, request{}) }

// ask has the committer do r, in its turn.
func (s *Store) ask(ctx context.Context, r request) error {
	done := make(chan error, 1)
	r.done = func(_ []broker.AppendResult, err error) { done <- err }
	if !s.queue.put(r) {
		return ErrClosed
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// now returns the highest committed offset and what is closed when it changes, or why the store has ended.
func (s *Store) now() (head uint64, changed <-chan struct{}, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.head, s.changed, s.err
}

// page returns the records after offset after, which is below head: at least one.
func (s *Store) page(after, head uint64, from broker.FollowFrom) ([]broker.Record, error) {
	s.mu.Lock()
	page := s.tail.elided(after, head, from.Origin)
	s.mu.Unlock()
	if len(page) > 0 {
		return page, nil
	}
	err := s.view(func(tx *bolt.Tx) error {
		var err error
		page, err = readLog(tx.Bucket(bucketLog), after, head, from)
		return err
	})
	if errors.Is(err, errMissing) {
		s.mu.Lock()
		dropped := after+1 < s.dense
		s.mu.Unlock()
		if dropped {
			return nil, broker.ErrTrimmed
		}
	}
	return page, err
}

// LoadRetained implements broker.Store. A record that is damaged ends it with an error that names the topic.
func (s *Store) LoadRetained(ctx context.Context, page func([]broker.Record) error) (uint64, error) {
	before, _, err := s.now()
	if err != nil {
		return 0, err
	}
	var after []byte
	var sum state
	for {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		var records []broker.Record
		var committed state
		err := s.view(func(tx *bolt.Tx) error {
			var err error
			if committed, err = readState(tx.Bucket(bucketMeta)); err != nil {
				return err
			}
			records, err = readRetained(tx.Bucket(bucketRetained), after, &sum)
			return err
		})
		if err != nil {
			return 0, fmt.Errorf("%s: %w", s.file.Name(), err)
		}
		if len(records) == 0 {
			return before, verifyRetained(sum, committed, before)
		}
		after = []byte(records[len(records)-1].Topic)
		if err := page(records); err != nil {
			return 0, err
		}
	}
}

// readRetained returns a page of the records whose topic comes after after, and counts them in sum.
func readRetained(retained *bolt.Bucket, after []byte, sum *state) ([]broker.Record, error) {
	var page []broker.Record
	c := retained.Cursor()
	k, v := c.Seek(after)
	if after != nil && bytes.Equal(k, after) {
		k, v = c.Next()
	}
	for size := 0; k != nil && len(page) < pageRecords && size < pageBytes; k, v = c.Next() {
		r, err := decodeRecord(v)
		if err != nil {
			return nil, fmt.Errorf("retained record of %q: %w", k, err)
		}
		if r.Topic != string(k) || !r.Retain || len(r.Payload) == 0 {
			return nil, fmt.Errorf("retained record of %q: %w: it is another's", k, ErrDamaged)
		}
		page = append(page, r)
		size += len(v)
		sum.retained++
		sum.retainedBytes += uint64(retainedCost(r.Topic, len(v)))
	}
	return page, nil
}

// verifyRetained compares what was read with what the last commit has counted, if it was the same commit all the time.
func verifyRetained(sum, committed state, before uint64) error {
	if committed.head != before {
		return nil
	}
	if sum.retained != committed.retained || sum.retainedBytes != committed.retainedBytes {
		return fmt.Errorf("retained: %w: %d records of %d bytes, and there should be %d of %d", ErrDamaged,
			sum.retained, sum.retainedBytes, committed.retained, committed.retainedBytes)
	}
	return nil
}
