package storebolt

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/protocol"
)

func TestMain(m *testing.M) {
	if os.Getenv(crashDir) != "" {
		crashWriter(os.Getenv(crashDir))
		return
	}
	flag.Parse()
	if f := flag.Lookup("rapid.checks"); f.Value.String() == f.DefValue { // each check waits for the disk: the command line may have more
		if err := f.Value.Set("40"); err != nil {
			panic(err)
		}
	}
	goleak.VerifyTestMain(m)
}

var (
	runA = protocol.RunID{0xa}
	runB = protocol.RunID{0xb}
)

// open opens a store that is closed at the end of the test, unless the test has done that.
func open(t testing.TB, cfg Config) *Store {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = discard
	}
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeStore(t, s) })
	return s
}

func closeStore(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func record(topic, payload string) broker.Record {
	return broker.Record{Topic: topic, Payload: []byte(payload), Time: 1_700_000_000_000}
}

func retained(topic, payload string) broker.Record {
	r := record(topic, payload)
	r.Retain = true
	return r
}

func from(run protocol.RunID, ref uint64, r broker.Record) broker.Record {
	r.Origin, r.Ref = run, ref
	return r
}

// appendAll appends batch and waits for the answer.
func appendAll(t testing.TB, s *Store, batch ...broker.Record) []broker.AppendResult {
	t.Helper()
	results, err := tryAppend(s, batch...)
	if err != nil {
		t.Fatal(err)
	}
	return results
}

func tryAppend(s *Store, batch ...broker.Record) (results []broker.AppendResult, err error) {
	done := make(chan struct{})
	s.Append(batch, func(r []broker.AppendResult, e error) {
		results, err = r, e
		close(done)
	})
	<-done
	return results, err
}

func loadRetained(s *Store) (map[string]broker.Record, uint64, error) {
	all := make(map[string]broker.Record)
	head, err := s.LoadRetained(context.Background(), func(page []broker.Record) error {
		for _, r := range page {
			all[r.Topic] = r
		}
		return nil
	})
	return all, head, err
}

func mustLoadRetained(t testing.TB, s *Store) (map[string]broker.Record, uint64) {
	t.Helper()
	all, head, err := loadRetained(s)
	if err != nil {
		t.Fatal(err)
	}
	return all, head
}

var errEnough = errors.New("enough")

// readFeed follows until the feed has caught up, and returns what came before and the step that said so.
func readFeed(s *Store, from broker.FollowFrom) ([]broker.Record, broker.Feed, error) {
	var all []broker.Record
	var end broker.Feed
	err := s.Follow(context.Background(), from, func(f broker.Feed) error {
		if f.CaughtUp {
			end = f
			return errEnough
		}
		all = append(all, f.Records...)
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return all, end, err
}

func mustReadFeed(t testing.TB, s *Store, from broker.FollowFrom) []broker.Record {
	t.Helper()
	all, _, err := readFeed(s, from)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

var ignoreEmpty = cmpopts.EquateEmpty()

func TestWhatWasAppendedIsFollowedAndLoadedAlsoAfterReopening(t *testing.T) {
	cfg := Config{Dir: filepath.Join(t.TempDir(), "store")}
	s := open(t, cfg)
	full := broker.Record{
		Origin: runA, Ref: 7, Topic: "orders.ü", Retain: true, Payload: []byte{0, 1, 2}, ContentType: "application/json",
		Headers: map[string]string{"b": "2", "a": "", "": "x"}, Time: -5, User: "john",
	}
	batch := []broker.Record{record("a", "1"), full, retained("gone", "1"), retained("gone", ""), retained("b", "old"), retained("b", "new")}
	var offsets []uint64
	for _, r := range appendAll(t, s, batch...) {
		offsets = append(offsets, r.Offset)
	}
	if want := []uint64{1, 2, 3, 4, 5, 6}; !slices.Equal(offsets, want) {
		t.Fatalf("offsets %v, want %v", offsets, want)
	}
	want := slices.Clone(batch)
	for i := range want {
		want[i].Offset = offsets[i]
	}
	for range 2 {
		got := mustReadFeed(t, s, broker.FollowFrom{})
		if d := cmp.Diff(want, got, ignoreEmpty); d != "" {
			t.Errorf("feed: %s", d)
		}
		all, head := mustLoadRetained(t, s)
		if d := cmp.Diff(map[string]broker.Record{"orders.ü": want[1], "b": want[5]}, all, ignoreEmpty); d != "" {
			t.Errorf("retained: %s", d)
		}
		if head != 6 {
			t.Errorf("head %d, want 6", head)
		}
		closeStore(t, s)
		s = open(t, cfg)
	}
}

func TestConcurrentAppendsAreCommittedInTheOrderOfTheCalls(t *testing.T) {
	s := open(t, Config{Dir: t.TempDir()})
	const callers, calls = 8, 200
	var wg sync.WaitGroup
	for caller := range callers {
		wg.Go(func() {
			var answers sync.WaitGroup
			got := make([]uint64, 0, 2*calls)
			for i := range calls {
				answers.Add(1)
				topic := fmt.Sprintf("t.%d", caller)
				s.Append([]broker.Record{record(topic, fmt.Sprint(2*i)), record(topic, fmt.Sprint(2*i+1))}, func(r []broker.AppendResult, err error) {
					defer answers.Done()
					if err != nil {
						t.Error(err)
						return
					}
					got = append(got, r[0].Offset, r[1].Offset) // always called by the committer
				})
			}
			answers.Wait()
			if !slices.IsSorted(got) || len(got) != 2*calls {
				t.Errorf("caller %d: %d offsets, not in order", caller, len(got))
			}
		})
	}
	wg.Wait()
	next := make(map[string]int)
	for i, r := range mustReadFeed(t, s, broker.FollowFrom{}) {
		if r.Offset != uint64(i+1) {
			t.Fatalf("offset %d at place %d", r.Offset, i)
		}
		if string(r.Payload) != fmt.Sprint(next[r.Topic]) {
			t.Fatalf("%s: %s after %d", r.Topic, r.Payload, next[r.Topic]-1)
		}
		next[r.Topic]++
	}
}

func TestRefusals(t *testing.T) {
	s := open(t, Config{Dir: t.TempDir(), MaxRetainedTopics: 2, MaxRetainedBytes: 1000})
	code := func(r broker.Record) protocol.Code {
		t.Helper()
		res := appendAll(t, s, r)[0]
		if res.Err == nil {
			return 0
		}
		if res.Offset != 0 {
			t.Errorf("refused and at offset %d", res.Offset)
		}
		return res.Err.Code
	}
	payload := strings.Repeat("x", 350)
	for _, step := range []struct {
		name   string
		record broker.Record
		want   protocol.Code
	}{
		{"a topic is needed", record("", "x"), protocol.CodeBadTopic},
		{"a topic has an end", record(strings.Repeat("x", maxTopicBytes+1), "x"), protocol.CodeBadTopic},
		{"a record has an end", record("a", strings.Repeat("x", maxRecordBytes)), protocol.CodeTooLarge},
		{"headers count", broker.Record{Topic: "a", Headers: map[string]string{"x": strings.Repeat("x", maxRecordBytes)}}, protocol.CodeTooLarge},
		{"the first fits", retained("a", payload), 0},
		{"the second fits", retained("b", payload), 0},
		{"a third topic is one too many", retained("c", "x"), protocol.CodeQuota},
		{"so is a larger value", retained("b", payload+payload), protocol.CodeQuota},
		{"the same size is fine", retained("b", payload), 0},
		{"what is not retained is fine", record("c", payload), 0},
		{"clearing is fine", retained("a", ""), 0},
		{"clearing what is not there is fine", retained("zzz", ""), 0},
		{"now there is room", retained("b", payload+payload), 0},
	} {
		if got := code(step.record); got != step.want {
			t.Errorf("%s: %v, want %v", step.name, got, step.want)
		}
	}
	all, _ := mustLoadRetained(t, s)
	if len(all) != 1 || len(all["b"].Payload) != 700 {
		t.Errorf("retained %v", all)
	}
	if st := s.Stats(); st.RetainedTopics != 1 || st.Head != 7 {
		t.Errorf("stats %+v", st)
	}
}

func TestAFullFileRefusesAndTheStoreGoesOn(t *testing.T) {
	s := open(t, Config{Dir: t.TempDir(), MaxFileBytes: 1 << 20})
	payload := strings.Repeat("x", 100<<10)
	var refused *protocol.Error
	for i := 0; refused == nil && i < 100; i++ {
		refused = appendAll(t, s, from(runA, uint64(i+1), retained(fmt.Sprintf("t.%d", i), payload)))[0].Err
	}
	if refused == nil || refused.Code != protocol.CodeQuota {
		t.Fatalf("got %v, want quota", refused)
	}
	if r := appendAll(t, s, record("small", "x"))[0]; r.Err != nil {
		t.Errorf("a small one after it: %v", r.Err)
	}
	mustLoadRetained(t, s)
}

func TestEachOpeningBeginsATerm(t *testing.T) {
	cfg := Config{Dir: t.TempDir()}
	var want []Term
	for i := range 3 {
		s := open(t, cfg)
		if first := s.Term().First; first != uint64(i*2+1) {
			t.Errorf("term %d begins at %d", i, first)
		}
		want = append(want, s.Term())
		appendAll(t, s, record("a", "1"), record("a", "2"))
		_, end, err := readFeed(s, broker.FollowFrom{After: 1})
		if err != nil || end.Term != s.Term().ID || end.Head != s.Stats().Head {
			t.Errorf("feed ends with %+v, %v", end, err)
		}
		closeStore(t, s)
	}
	s := open(t, cfg)
	terms, err := s.Terms()
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(append(want, s.Term()), terms, cmpopts.EquateApproxTime(time.Second)); d != "" {
		t.Error(d)
	}
}

func TestAfterCloseEverythingFailsAtOnce(t *testing.T) {
	s := open(t, Config{Dir: t.TempDir()})
	var pending sync.WaitGroup
	for range 50 {
		pending.Add(1)
		s.Append([]broker.Record{record("a", "x")}, func(r []broker.AppendResult, err error) {
			defer pending.Done()
			if err != nil || r[0].Err != nil {
				t.Errorf("taken before Close, but not committed: %v", err)
			}
		})
	}
	closeStore(t, s)
	pending.Wait()
	if _, err := tryAppend(s, record("a", "x")); !errors.Is(err, ErrClosed) {
		t.Errorf("append: %v", err)
	}
	if _, _, err := loadRetained(s); !errors.Is(err, ErrClosed) {
		t.Errorf("load: %v", err)
	}
	if _, _, err := readFeed(s, broker.FollowFrom{}); !errors.Is(err, ErrClosed) {
		t.Errorf("follow: %v", err)
	}
}
