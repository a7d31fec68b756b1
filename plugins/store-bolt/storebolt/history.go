package storebolt

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	bolt "go.etcd.io/bbolt"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/protocol"
)

var _ broker.HistoryStore = (*Store)(nil)

// readTries is how often a page is begun anew because a record of it was dropped or moved before it was read.
const readTries = 100

// SetRetention implements broker.HistoryStore. It takes its place in the order of the calls of Append.
func (s *Store) SetRetention(ctx context.Context, list []broker.RetentionRule) error {
	if len(list) > broker.MaxRetentionRules {
		return fmt.Errorf("%d rules, wanted at most %d", len(list), broker.MaxRetentionRules)
	}
	for _, r := range list {
		if err := protocol.ValidateFilter(r.Match); err != nil {
			return fmt.Errorf("rule %q: %w", r.Match, err)
		}
		if r.Age < 0 {
			return fmt.Errorf("rule %q: an age of %v", r.Match, r.Age)
		}
	}
	return s.ask(ctx, request{rules: &list})
}

// ReadHistory implements broker.HistoryStore.
func (s *Store) ReadHistory(ctx context.Context, q broker.HistoryQuery) (broker.HistoryPage, error) {
	if err := s.checkHistory(ctx, &q); err != nil {
		return broker.HistoryPage{}, err
	}
	sel := s.index.selection(q.Filters)
	now := s.clock.now()
	if q.Last > 0 {
		q.After = s.index.beginOf(sel, &q)
	}
	for range readTries {
		if err := ctx.Err(); err != nil {
			return broker.HistoryPage{}, err
		}
		c := s.index.collect(sel, &q)
		page, whole, err := s.readCollected(c, now)
		if err != nil {
			return broker.HistoryPage{}, fmt.Errorf("%s: %w", s.file.Name(), err)
		}
		if whole {
			page.After = q.After
			return page, nil
		}
	}
	return broker.HistoryPage{}, errors.New("the log was put in order faster than it could be read")
}

// checkHistory checks q, fills in what it leaves open, and sees to it that nothing is too old.
func (s *Store) checkHistory(ctx context.Context, q *broker.HistoryQuery) error {
	if n := len(q.Filters); n == 0 || n > broker.MaxHistoryFilters {
		return fmt.Errorf("%d filters, wanted 1 to %d", n, broker.MaxHistoryFilters)
	}
	for _, f := range q.Filters {
		if err := protocol.ValidateFilter(f); err != nil {
			return err
		}
	}
	if q.Limit <= 0 || q.Limit > broker.MaxHistoryRecords {
		q.Limit = broker.MaxHistoryRecords
	}
	head, _, err := s.now()
	if err != nil {
		return err
	}
	if q.Through == 0 || q.Through > head {
		q.Through = head
	}
	s.index.mu.RLock()
	due := s.index.due(s.clock.now())
	s.index.mu.RUnlock()
	if due {
		return s.settle(ctx)
	}
	return nil
}

// readCollected reads the records of c from the file. whole is false when one of them is not there anymore.
func (s *Store) readCollected(c *collected, now int64) (page broker.HistoryPage, whole bool, err error) {
	page = broker.HistoryPage{
		Records: make([]broker.Record, 0, len(c.found)), Through: c.through, Done: c.done,
		TrimmedThrough: c.trimmed, Floor: c.floor, Head: c.head,
	}
	whole = true
	err = s.view(func(tx *bolt.Tx) error {
		r := historyReader{log: tx.Bucket(bucketLog)}
		for i := range c.found {
			l := &c.found[i]
			v, err := r.read(l)
			if err != nil {
				return err
			}
			if v == nil && !l.damaged {
				whole = false
				return nil
			}
			record, err := decodeRecord(v)
			switch {
			case err != nil:
				page.Damaged = append(page.Damaged, l.offset)
			case record.Expires == 0 || record.Expires > now:
				page.Records = append(page.Records, record)
			}
		}
		return nil
	})
	return page, whole, err
}

// historyReader reads records in increasing order within a transaction.
type historyReader struct {
	log    *bolt.Bucket
	first  uint64 // of the segment that is open; 0: none
	seg    *bolt.Bucket
	frozen []byte
	data   []byte
}

// read returns the record at l, nil if it is not there anymore. The index may be a little ahead of the transaction, or behind.
func (r *historyReader) read(l *located) ([]byte, error) {
	if l.damaged {
		return nil, nil
	}
	if r.first != l.first {
		r.first, r.frozen, r.data = l.first, nil, nil
		if r.seg = r.log.Bucket(key64(l.first)); r.seg != nil {
			if r.frozen = r.seg.Get(keyFrozen); r.frozen != nil {
				r.data = frozenData(r.frozen)
			}
		}
	}
	if r.seg != nil && r.frozen == nil {
		if v := r.seg.Get(key64(l.offset)); v != nil {
			return v, nil
		}
	}
	if int(l.to) <= len(r.data) {
		v := r.data[l.from:l.to]
		if len(v) >= recordFixed && binary.BigEndian.Uint64(v[6:]) == l.offset {
			return v, nil
		}
	}
	return findRecord(r.log, l.offset)
}
