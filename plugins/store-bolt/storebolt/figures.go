package storebolt

import (
	"context"
	"fmt"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/carillon-mq/carillon/broker"
)

var (
	_ broker.TermLister       = (*Store)(nil)
	_ broker.StatisticsReader = (*Store)(nil)
)

// Term is the term that this opening has begun (log.md P2).
func (s *Store) Term() Term { return s.term }

// Terms is the list of terms, oldest first: at most the newest 4,096.
func (s *Store) Terms() ([]Term, error) {
	var all []Term
	err := s.view(func(tx *bolt.Tx) error {
		var err error
		all, err = readTerms(tx.Bucket(bucketTerms))
		return err
	})
	return all, err
}

// ListTerms implements broker.TermLister.
func (s *Store) ListTerms(context.Context) ([]broker.Term, error) {
	if err := s.failure(); err != nil {
		return nil, err
	}
	return s.Terms()
}

// commitFigures are what Store.mu guards of the statistics.
type commitFigures struct {
	commits, records uint64
	took             time.Duration
	buckets          [12]uint64 // at most 1, 2, 4, … 1024 ms, and longer
}

func (f *commitFigures) add(took time.Duration, records int) {
	f.commits++
	f.records += uint64(records)
	f.took += took
	i, limit := 0, time.Millisecond
	for i < len(f.buckets)-1 && took > limit {
		i, limit = i+1, 2*limit
	}
	f.buckets[i]++
}

// ReadStatistics implements broker.StatisticsReader.
func (s *Store) ReadStatistics(context.Context) (broker.StoreStatistics, error) {
	terms, err := s.Terms()
	if err != nil {
		return broker.StoreStatistics{}, err
	}
	out := broker.StoreStatistics{Terms: uint64(len(terms)), FreeBytes: uint64(max(s.room.unused.Load(), 0)), MaxFileBytes: uint64(s.cfg.MaxFileBytes)}
	info, err := s.file.Stat()
	if err != nil {
		return out, fmt.Errorf("size of the file: %w", err)
	}
	out.FileBytes = uint64(info.Size())

	s.mu.Lock()
	if s.err != nil {
		defer s.mu.Unlock()
		return broker.StoreStatistics{}, s.err
	}
	out.Head, out.Oldest, out.Keys = s.head, s.dense, uint64(s.heldKeys)
	out.RetainedTopics, out.RetainedBytes = s.retained.retained, s.retained.retainedBytes
	out.Commits, out.CommittedRecords, out.CommitTime = s.commits.commits, s.commits.records, s.commits.took
	out.CommitBuckets = slices.Clone(s.commits.buckets[:])
	s.mu.Unlock()

	ks := s.keyspace.Figures()
	out.KeyspaceKeys, out.KeyspaceBytes, out.Leases = ks.Keys, ks.Bytes, ks.Leases

	x := s.index
	x.mu.RLock()
	defer x.mu.RUnlock()
	out.Floor, out.Records, out.RecordBytes = x.floor, x.records, x.bytes
	out.HistoryRecords, out.HistoryBytes, out.HistoryTopics = x.live, x.liveBytes, uint64(len(x.ids))
	return out, nil
}

// Stats are figures of a Store.
type Stats struct {
	Head           uint64 // highest committed offset
	RetainedTopics int
	RetainedBytes  int64 // as they are charged
	FileBytes      int64
}

// Stats returns the present figures, of which the file has to be asked for none.
func (s *Store) Stats() Stats {
	s.mu.Lock()
	st := s.retained
	s.mu.Unlock()
	out := Stats{Head: st.head, RetainedTopics: int(st.retained), RetainedBytes: int64(st.retainedBytes)}
	if info, err := s.file.Stat(); err == nil {
		out.FileBytes = info.Size()
	}
	return out
}

// tick wakes the committer for what has to be done although nobody appends: what has expired, and old segments.
func (s *Store) tick() {
	ticker := time.NewTicker(s.cfg.tick)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-s.stop:
			return
		}
		done := make(chan struct{})
		if !s.queue.put(request{done: func([]broker.AppendResult, error) { close(done) }}) {
			return
		}
		<-done // the committer answers everything, also after a failure
	}
}
