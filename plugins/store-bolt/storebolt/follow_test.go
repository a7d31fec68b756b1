package storebolt

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/protocol"
)

func TestFollowGoesFromTheFileToLiveWithoutAHole(t *testing.T) {
	s := open(t, Config{Dir: t.TempDir()})
	const total = 5000
	appended := make(chan struct{})
	go func() {
		defer close(appended)
		for i := range total {
			run := runA
			if i%3 == 0 {
				run = runB
			}
			s.Append([]broker.Record{from(run, uint64(i+1), record("a", "x"))}, func(_ []broker.AppendResult, err error) {
				if err != nil {
					t.Error(err)
				}
			})
		}
	}()
	var last, caughtUp uint64
	err := s.Follow(context.Background(), broker.FollowFrom{Origin: runA}, func(f broker.Feed) error {
		if f.CaughtUp {
			if caughtUp++; f.Head != last {
				t.Errorf("caught up at %d after offset %d", f.Head, last)
			}
		}
		for _, r := range f.Records {
			if r.Offset != last+1 || r.Ref != r.Offset {
				t.Fatalf("offset %d, ref %d after %d", r.Offset, r.Ref, last)
			}
			if own := (r.Ref-1)%3 != 0; r.Elided != own || own != (r.Topic == "") || own != (r.Origin == runA) {
				t.Fatalf("offset %d: %+v", r.Offset, r)
			}
			last = r.Offset
		}
		if last == total {
			return errEnough
		}
		return nil
	})
	<-appended
	if !errors.Is(err, errEnough) || caughtUp != 1 {
		t.Errorf("%v, caught up %d times", err, caughtUp)
	}
}

func TestASlowFollowerHoldsNobodyUpAndMissesNothing(t *testing.T) {
	s := open(t, Config{Dir: t.TempDir()})
	const total = 20_000 // more than the tail holds
	release, stuck := make(chan struct{}), make(chan struct{})
	finished := make(chan error)
	var last uint64
	go func() {
		finished <- s.Follow(context.Background(), broker.FollowFrom{Origin: runA}, func(f broker.Feed) error {
			if f.CaughtUp {
				close(stuck)
				<-release
			}
			for _, r := range f.Records {
				if r.Offset != last+1 || !r.Elided {
					return fmt.Errorf("offset %d after %d", r.Offset, last)
				}
				last = r.Offset
			}
			if last == total {
				return errEnough
			}
			return nil
		})
	}()
	<-stuck
	batch := make([]broker.Record, 100)
	for i := 0; i < total; i += len(batch) {
		for j := range batch {
			batch[j] = from(runA, uint64(i+j+1), record("a", "x"))
		}
		appendAll(t, s, batch...)
	}
	close(release)
	if err := <-finished; !errors.Is(err, errEnough) {
		t.Error(err)
	}
}

func TestAFeedHasCaughtUpOnlyWithWhatWasAppendedBefore(t *testing.T) {
	s := open(t, Config{Dir: t.TempDir()})
	for i := range 200 {
		s.Append([]broker.Record{from(runA, uint64(i+1), record("a", "x"))}, func([]broker.AppendResult, error) {})
		if n := len(mustReadFeed(t, s, broker.FollowFrom{})); n != i+1 {
			t.Fatalf("%d records, want %d", n, i+1)
		}
	}
}

func TestFollowEndsWithItsContext(t *testing.T) {
	s := open(t, Config{Dir: t.TempDir()})
	ctx, cancel := context.WithCancel(context.Background())
	err := s.Follow(ctx, broker.FollowFrom{}, func(broker.Feed) error {
		cancel()
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestAFeedFromAboveTheHeadGoesOnFromTheHead(t *testing.T) {
	s := open(t, Config{Dir: t.TempDir()})
	appendAll(t, s, record("a", "1"), record("a", "2"))
	var got []uint64
	err := s.Follow(context.Background(), broker.FollowFrom{After: 100}, func(f broker.Feed) error {
		if f.CaughtUp {
			if f.Head != 2 {
				t.Errorf("head %d, want 2", f.Head)
			}
			s.Append([]broker.Record{record("a", "3")}, func([]broker.AppendResult, error) {})
			return nil
		}
		got = append(got, f.Records[0].Offset)
		return errEnough
	})
	if !errors.Is(err, errEnough) || len(got) != 1 || got[0] != 3 {
		t.Errorf("%v, %v", got, err)
	}
}

func TestTheLogIsTrimmedInWholeSegmentsAndSaysSo(t *testing.T) {
	cfg := Config{Dir: t.TempDir(), KeepRecords: 100, segmentRecords: 10}
	s := open(t, cfg)
	appendAll(t, s, retained("first", "kept although the log forgets it"))
	for i := range 499 {
		appendAll(t, s, record("a", fmt.Sprint(i)))
	}
	settleAll(t, s)
	for range 2 {
		if _, _, err := readFeed(s, broker.FollowFrom{After: 300}); !errors.Is(err, broker.ErrTrimmed) {
			t.Errorf("far below the floor: %v", err)
		}
		first, _ := segmentsOf(s)
		if kept := 500 - first + 1; kept < 100 || kept > 110 {
			t.Errorf("%d records are kept, want 100 to 110", kept)
		}
		if _, _, err := readFeed(s, broker.FollowFrom{After: first - 2}); !errors.Is(err, broker.ErrTrimmed) {
			t.Errorf("one below the floor: %v", err)
		}
		got := mustReadFeed(t, s, broker.FollowFrom{After: first - 1})
		if len(got) != int(500-first+1) || got[0].Offset != first {
			t.Errorf("at the floor: %d records", len(got))
		}
		if all, _ := mustLoadRetained(t, s); all["first"].Offset != 1 {
			t.Errorf("retained: %v", all)
		}
		closeStore(t, s)
		s = open(t, cfg)
	}
}

func TestTheLogIsTrimmedByBytes(t *testing.T) {
	s := open(t, Config{Dir: t.TempDir(), KeepBytes: 64 << 10})
	for range 100 {
		appendAll(t, s, record("a", string(make([]byte, 4<<10))))
	}
	settleAll(t, s)
	if first, _ := segmentsOf(s); 101-first < 15 || 101-first > 18 {
		t.Errorf("%d records of 4 KiB are kept, want about 16", 101-first)
	}
}

// segmentsOf is the first offset of the oldest segment, and how many there are. The committer tidies them after it has answered.
func segmentsOf(s *Store) (first uint64, n int) {
	s.index.mu.RLock()
	defer s.index.mu.RUnlock()
	return s.index.segments[0].first, len(s.index.segments)
}

func TestARecordIsCommittedOnce(t *testing.T) {
	cfg := Config{Dir: t.TempDir(), MaxRetainedTopics: 1, KeepRecords: 50, segmentRecords: 10}
	s := open(t, cfg)
	appendAll(t, s, from(runA, 1, retained("a", "1")), from(runB, 1, record("x", "b1")), from(runA, 2, record("a", "2")),
		from(runA, 3, retained("refused", "3")), from(runA, 5, record("a", "5")), from(runA, 5, record("a", "5")))
	closeStore(t, s)
	s = open(t, cfg)

	got := appendAll(t, s, from(runA, 1, retained("a", "1")), from(runA, 2, record("a", "2")), from(runA, 3, retained("refused", "3")),
		from(runA, 5, record("a", "5")), from(runA, 6, record("a", "6")), from(runA, 6, record("a", "6")), from(runB, 1, record("x", "b1")),
		from(protocol.RunID{}, 1, record("none", "")), from(protocol.RunID{}, 1, record("none", "")))
	want := []broker.AppendResult{
		{Offset: 1, Duplicate: true},
		{Offset: 3, Duplicate: true},
		{Err: &protocol.Error{Code: protocol.CodeStoreUnavailable}},
		{Offset: 4, Duplicate: true},
		{Offset: 5},
		{Offset: 5, Duplicate: true},
		{Offset: 2, Duplicate: true},
		{Offset: 6},
		{Offset: 7},
	}
	for i, r := range got {
		if r.Offset != want[i].Offset || r.Duplicate != want[i].Duplicate || (r.Err == nil) != (want[i].Err == nil) || (r.Err != nil && !errors.Is(r.Err, want[i].Err)) {
			t.Errorf("%d: %+v, want %+v", i, r, want[i])
		}
	}
	if n := len(mustReadFeed(t, s, broker.FollowFrom{})); n != 7 {
		t.Errorf("%d records, want 7", n)
	}

	for i := range 100 {
		appendAll(t, s, from(runA, uint64(10+i), record("a", "x")))
	}
	if r := appendAll(t, s, from(runA, 2, record("a", "2")))[0]; !r.Duplicate || r.Offset != 0 {
		t.Errorf("below the log's floor: %+v", r)
	}
}

func TestOnlyTheMostRecentOriginsAreKnown(t *testing.T) {
	s := open(t, Config{Dir: t.TempDir()})
	for i := range keepOrigins + 1 {
		appendAll(t, s, from(protocol.RunID{1, byte(i)}, 1, record("a", "x")))
	}
	if err := s.settle(t.Context()); err != nil { // the committer is done with them
		t.Fatal(err)
	}
	if len(s.origins) != keepOrigins {
		t.Errorf("%d origins", len(s.origins))
	}
	if r := appendAll(t, s, from(protocol.RunID{1, 1}, 1, record("a", "x")))[0]; !r.Duplicate {
		t.Errorf("the oldest of those: %+v", r)
	}
}
