package storebolt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/protocol"
)

func setRules(t testing.TB, s *Store, rules ...broker.RetentionRule) {
	t.Helper()
	if err := s.SetRetention(context.Background(), rules); err != nil {
		t.Fatal(err)
	}
}

func readHistory(t testing.TB, s *Store, q broker.HistoryQuery) broker.HistoryPage {
	t.Helper()
	p, err := s.ReadHistory(context.Background(), q)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func offsetsOf(records []broker.Record) []uint64 {
	var all []uint64
	for _, r := range records {
		all = append(all, r.Offset)
	}
	return all
}

// settleAll has the committer go on until nothing is left to put in order.
func settleAll(t testing.TB, s *Store) {
	t.Helper()
	for range 1000 {
		if err := s.settle(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestARareTopicOutlivesTheSegmentsOfABusyOne(t *testing.T) {
	cfg := Config{Dir: t.TempDir(), KeepRecords: 100, segmentRecords: 50, hotSegments: 1}
	s := open(t, cfg)
	setRules(t, s, broker.RetentionRule{Match: "rare", Count: 100}, broker.RetentionRule{Match: "busy", Count: 20})
	var rare []uint64
	for i := range 3000 {
		topic := "busy"
		if i%100 == 0 {
			topic = "rare"
			rare = append(rare, uint64(i+1))
		}
		appendAll(t, s, record(topic, fmt.Sprint(i)))
	}
	settleAll(t, s)
	for range 2 {
		p := readHistory(t, s, broker.HistoryQuery{Filters: []string{"rare"}})
		if got := offsetsOf(p.Records); !slices.Equal(got, rare) || p.TrimmedThrough != 0 || p.Floor != 0 || !p.Done {
			t.Errorf("rare: %v, trimmed through %d, floor %d", got, p.TrimmedThrough, p.Floor)
		}
		p = readHistory(t, s, broker.HistoryQuery{Filters: []string{"*"}, After: 2900})
		if n := len(p.Records); n != 21 || p.TrimmedThrough != 2980 {
			t.Errorf("busy and rare after 2900: %d records, trimmed through %d", n, p.TrimmedThrough)
		}
		f, err := s.ReadStatistics(context.Background())
		if err != nil || f.HistoryRecords != 50 || f.Records > 350 {
			t.Errorf("%d records are held for %d, %v", f.Records, f.HistoryRecords, err)
		}
		if _, n := segmentsOf(s); n > 10 {
			t.Errorf("%d segments", n)
		}
		closeStore(t, s)
		s = open(t, cfg)
	}
}

func TestATopicThatHasNothingLeftIsRememberedUntilThereIsNoRoom(t *testing.T) {
	var now atomic.Int64
	now.Store(1_700_000_000_000)
	cfg := Config{
		Dir: t.TempDir(), KeepRecords: 4, segmentRecords: 4, hotSegments: 1, MaxHistoryTopics: 3, tick: time.Hour,
		now: now.Load,
	}
	s := open(t, cfg)
	setRules(t, s, broker.RetentionRule{Match: ">", Age: time.Minute})
	appendAll(t, s, record("a", "1"), record("b", "2"), record("c", "3"), record("c", "4"))
	if r := appendAll(t, s, record("d", "5"))[0]; r.Err == nil || r.Err.Code != protocol.CodeQuota {
		t.Errorf("a fourth topic: %+v", r)
	}
	now.Add(120_000)
	appendAll(t, s, record("c", "5"), record("c", "6"), record("c", "7"), record("c", "8"), record("c", "9"))
	settleAll(t, s)
	closeStore(t, s)
	s = open(t, cfg)
	if p := readHistory(t, s, broker.HistoryQuery{Filters: []string{"b"}}); p.TrimmedThrough != 2 || p.Floor != 0 || len(p.Records) > 0 {
		t.Errorf("b is gone: %+v", p)
	}
	if p := readHistory(t, s, broker.HistoryQuery{Filters: []string{">"}}); p.TrimmedThrough != 4 || len(p.Records) != 5 {
		t.Errorf("all: %+v", p)
	}
	if r := appendAll(t, s, record("d", "10"))[0]; r.Err != nil {
		t.Errorf("there is room now: %+v", r)
	}
	for range 2 {
		if p := readHistory(t, s, broker.HistoryQuery{Filters: []string{"b"}}); p.Floor != 2 {
			t.Errorf("b is forgotten: %+v", p)
		}
		closeStore(t, s)
		s = open(t, cfg)
	}
}

func TestPagesOfALargeHistoryAreWhatALinearSearchFinds(t *testing.T) {
	cfg := Config{Dir: t.TempDir(), segmentRecords: 500, hotSegments: 2, KeepRecords: 1000}
	s := open(t, cfg)
	setRules(t, s, broker.RetentionRule{Match: ">", Count: 3000})
	rnd := rand.New(rand.NewPCG(1, 2))
	var all []broker.Record
	for i := 0; i < 20_000; i += 500 {
		batch := make([]broker.Record, 500)
		for j := range batch {
			topic := fmt.Sprintf("rare.%d", rnd.IntN(300))
			if rnd.IntN(3) > 0 {
				topic = fmt.Sprintf("busy.%d", rnd.IntN(3))
			}
			batch[j] = record(topic, fmt.Sprint(i+j))
		}
		for j, r := range appendAll(t, s, batch...) {
			batch[j].Offset = r.Offset
		}
		all = append(all, batch...)
	}
	settleAll(t, s)
	count := make(map[string]int)
	held := make([]bool, len(all))
	for i := len(all) - 1; i >= 0; i-- {
		count[all[i].Topic]++
		held[i] = count[all[i].Topic] <= 3000
	}
	filters := []string{"busy.0", "busy.*", "rare.7", "rare.>", ">", "*.1", "nothing", "nothing.>"}
	for range 2 {
		for range 200 {
			q := broker.HistoryQuery{Filters: []string{filters[rnd.IntN(len(filters))]}, After: uint64(rnd.IntN(len(all))), Limit: 1 + rnd.IntN(50)}
			if rnd.IntN(2) == 0 {
				q.Last = 1 + rnd.IntN(40)
			}
			var want []uint64
			for i, r := range all {
				if held[i] && r.Offset > q.After && protocol.Match(q.Filters[0], r.Topic) {
					want = append(want, r.Offset)
				}
			}
			if q.Last > 0 {
				want = want[max(0, len(want)-q.Last):]
			}
			p := readHistory(t, s, q)
			if got := offsetsOf(p.Records); !slices.Equal(got, want[:min(len(want), q.Limit)]) || p.Done != (len(want) <= q.Limit) {
				t.Fatalf("%+v: %v, want %v, done %v", q, got, want, p.Done)
			}
		}
		closeStore(t, s)
		s = open(t, cfg)
	}
}

func TestPagesAreReadWhileTheLogIsPutInOrder(t *testing.T) {
	s := open(t, Config{Dir: t.TempDir(), segmentRecords: 20, hotSegments: 1, KeepRecords: 40})
	setRules(t, s, broker.RetentionRule{Match: "kept", Count: 1 << 40}, broker.RetentionRule{Match: "busy", Count: 10})
	appended := make(chan struct{})
	go func() {
		defer close(appended)
		for i := range 400 {
			batch := []broker.Record{record("kept", fmt.Sprint(i))}
			for range 9 {
				batch = append(batch, record("busy", "x"))
			}
			appendAll(t, s, batch...)
		}
	}()
	for rounds, open := 0, true; open; rounds++ {
		select {
		case <-appended:
			open = false
		default:
		}
		next := 0
		for q := (broker.HistoryQuery{Filters: []string{"kept"}, Limit: 50}); ; {
			p := readHistory(t, s, q)
			for _, r := range p.Records {
				if string(r.Payload) != fmt.Sprint(next) {
					t.Fatalf("round %d: %s after %d", rounds, r.Payload, next-1)
				}
				next++
			}
			if q.After = p.Through; p.Done {
				break
			}
		}
		if !open && next != 400 {
			t.Errorf("%d records, want 400", next)
		}
	}
}

func TestNearItsLimitTheFileTakesOnlyWhatMakesItSmaller(t *testing.T) {
	s := open(t, Config{Dir: t.TempDir(), MaxFileBytes: 4 << 20, KeepRecords: 1, segmentRecords: 4})
	setRules(t, s, broker.RetentionRule{Match: "h", Count: 1 << 40})
	payload := strings.Repeat("x", 20<<10)
	appendAll(t, s, retained("a", payload))
	var refused *protocol.Error
	n := 0
	for ; refused == nil && n < 1000; n++ {
		refused = appendAll(t, s, record("h", payload))[0].Err
	}
	if refused == nil || refused.Code != protocol.CodeQuota {
		t.Fatalf("got %v, want quota", refused)
	}
	for range 200 { // what is free changes from commit to commit; some of these may fit
		appendAll(t, s, record("h", payload), record("h", "small"))
	}
	if r := appendAll(t, s, retained("a", ""))[0]; r.Err != nil {
		t.Errorf("a clear: %v", r.Err)
	}
	if p := readHistory(t, s, broker.HistoryQuery{Filters: []string{"h"}, Last: 5}); len(p.Records) != 5 {
		t.Errorf("%d records can be read", len(p.Records))
	}
	setRules(t, s, broker.RetentionRule{Match: "h", Count: 5})
	settleAll(t, s)
	if r := appendAll(t, s, record("h", payload))[0]; r.Err != nil {
		t.Errorf("after it was trimmed: %v", r.Err)
	}
}

func TestADamagedRecordOfTheHistoryIsToldAndTheOthersAreServed(t *testing.T) {
	for _, frozen := range []bool{true, false} {
		t.Run(fmt.Sprintf("frozen=%v", frozen), func(t *testing.T) {
			cfg := Config{Dir: t.TempDir(), segmentRecords: 10, hotSegments: 1}
			if !frozen {
				cfg.segmentRecords = 1000
			}
			s := open(t, cfg)
			setRules(t, s, broker.RetentionRule{Match: ">", Count: 1 << 40})
			for i := range 30 {
				appendAll(t, s, record("a", fmt.Sprintf("payload %02d", i)))
			}
			settleAll(t, s)
			closeStore(t, s)
			hurt(t, filepath.Join(cfg.Dir, fileName), "payload 04")
			s = open(t, cfg)
			for _, filter := range []string{"*", "a"} {
				p := readHistory(t, s, broker.HistoryQuery{Filters: []string{filter}})
				told := slices.Equal(p.Damaged, []uint64{5}) && len(p.Records) == 29 || p.TrimmedThrough == 5
				if !told || len(p.Records) < 25 || slices.Contains(offsetsOf(p.Records), 5) {
					t.Errorf("%s: %v, damaged %v, trimmed through %d", filter, offsetsOf(p.Records), p.Damaged, p.TrimmedThrough)
				}
			}
		})
	}
}

// hurt changes the last byte of text in the log without anything else.
func hurt(t *testing.T, path, text string) {
	t.Helper()
	db, err := bolt.Open(path, 0o600, &bolt.Options{NoFreelistSync: true})
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		log := tx.Bucket(bucketLog)
		return log.ForEachBucket(func(first []byte) error {
			b := log.Bucket(first)
			var at, with []byte
			if err := b.ForEach(func(k, v []byte) error {
				if i := bytes.LastIndex(v, []byte(text)); i >= 0 {
					at, with = bytes.Clone(k), bytes.Clone(v)
					with[i+len(text)-1] ^= 1
				}
				return nil
			}); err != nil || at == nil {
				return err
			}
			return b.Put(at, with)
		})
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestATooFullTableOfKeysRefusesAndDoesNotForget(t *testing.T) {
	var now atomic.Int64
	now.Store(1_700_000_000_000)
	s := open(t, Config{Dir: t.TempDir(), MaxKeys: 3, tick: time.Hour, now: now.Load})
	keyed := func(key string) broker.AppendResult {
		r := record("a", "x")
		r.Key, r.Digest = fmt.Appendf(nil, "key %20s", key), []byte("12345678")
		return appendAll(t, s, r)[0]
	}
	for _, key := range []string{"1", "2", "3"} {
		if r := keyed(key); r.Err != nil || r.Duplicate {
			t.Fatalf("%s: %+v", key, r)
		}
	}
	if r := keyed("4"); r.Err == nil || r.Err.Code != protocol.CodeQuota {
		t.Errorf("a fourth one: %+v", r)
	}
	if r := keyed("1"); !r.Repeats || r.Offset != 1 {
		t.Errorf("the first one again: %+v", r)
	}
	now.Add(keyWindow + 2*keyGeneration)
	if r := keyed("4"); r.Err != nil {
		t.Errorf("later: %+v", r)
	}
	if r := keyed("1"); r.Err != nil || r.Duplicate {
		t.Errorf("the first one, forgotten: %+v", r)
	}
}
