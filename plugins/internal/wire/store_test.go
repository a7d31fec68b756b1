package wire

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/carillon-mq/carillon/broker"

	"github.com/carillon-mq/carillon/protocol"
)

// storeFuncs is a Store made of functions.
type storeFuncs struct {
	load   func(context.Context, func([]broker.Record) error) (uint64, error)
	follow func(context.Context, broker.FollowFrom, func(broker.Feed) error) error
	append func([]broker.Record, func([]broker.AppendResult, error))
}

func (s *storeFuncs) LoadRetained(ctx context.Context, page func([]broker.Record) error) (uint64, error) {
	return s.load(ctx, page)
}

func (s *storeFuncs) Follow(ctx context.Context, from broker.FollowFrom, on func(broker.Feed) error) error {
	return s.follow(ctx, from, on)
}

func (s *storeFuncs) Append(batch []broker.Record, done func([]broker.AppendResult, error)) {
	s.append(batch, done)
}

// connectStore serves impl over gRPC. The client runs until the test ends or the returned function is called.
func connectStore(t *testing.T, impl broker.Store) (*StoreClient, context.CancelCauseFunc) {
	t.Helper()
	return run(t, NewStoreClient(connect(t, func(s grpc.ServiceRegistrar) { RegisterStore(s, func() broker.Store { return impl }) })))
}

func run(t *testing.T, client *StoreClient) (*StoreClient, context.CancelCauseFunc) {
	ctx, cancel := context.WithCancelCause(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); client.Run(ctx) }()
	t.Cleanup(func() { cancel(nil); <-ended })
	return client, cancel
}

type answer struct {
	results []broker.AppendResult
	err     error
}

func appendAndWait(t *testing.T, client *StoreClient, batch []broker.Record) answer {
	t.Helper()
	answers := make(chan answer, 1)
	client.Append(batch, func(r []broker.AppendResult, err error) { answers <- answer{r, err} })
	select {
	case a := <-answers:
		return a
	case <-t.Context().Done():
	case <-time.After(10 * time.Second):
		t.Fatal("no answer to Append")
	}
	return answer{}
}

var run1, run2 = protocol.RunID{1}, protocol.RunID{2}

func record(ref uint64) broker.Record {
	return broker.Record{
		Origin: run1, Ref: ref, Topic: "orders.42", Retain: true, Payload: []byte{0, 0xff, byte(ref)}, ContentType: "application/json",
		Headers: map[string]string{"traceparent": "00-1"}, Time: 1_700_000_000_000, User: "u",
		Exclude: "tab-1",
	}
}

func committed(offset, ref uint64) broker.Record {
	r := record(ref)
	r.Offset = offset
	return r
}

func TestRecordsCrossUnchangedBothWays(t *testing.T) {
	var stored []broker.Record
	client, _ := connectStore(t, &storeFuncs{
		append: func(batch []broker.Record, done func([]broker.AppendResult, error)) {
			stored = batch
			done([]broker.AppendResult{
				{Offset: 7},
				{Offset: 3, Duplicate: true},
				{Duplicate: true},
				{Err: &protocol.Error{Code: protocol.CodeQuota, Detail: "full", Hint: "buy more", RetryAfter: 1500 * time.Millisecond}},
			}, nil)
		},
		load: func(_ context.Context, page func([]broker.Record) error) (uint64, error) {
			return 9, page([]broker.Record{committed(4, 1), committed(9, 2)})
		},
		follow: func(_ context.Context, from broker.FollowFrom, on func(broker.Feed) error) error {
			elided := broker.Record{Offset: 12, Origin: from.Origin, Ref: 8, Elided: true}
			if err := on(broker.Feed{Records: []broker.Record{committed(11, 7), elided}}); err != nil {
				return err
			}
			return on(broker.Feed{CaughtUp: true, Term: run2, Head: 12})
		},
	})

	batch := []broker.Record{record(1), record(2), record(3), {Origin: run2, Ref: 9, Topic: "a"}}
	a := appendAndWait(t, client, batch)
	want := answer{results: []broker.AppendResult{
		{Ref: 1, Offset: 7},
		{Ref: 2, Offset: 3, Duplicate: true},
		{Ref: 3, Duplicate: true},
		{Ref: 9, Err: &protocol.Error{Code: protocol.CodeQuota, Detail: "full", Hint: "buy more", RetryAfter: 1500 * time.Millisecond}},
	}}
	if diff := cmp.Diff(want, a, cmp.AllowUnexported(answer{}), cmp.FilterPath(isErr, cmp.Ignore())); diff != "" || a.err != nil {
		t.Errorf("results (-sent +got):\n%s%v", diff, a.err)
	}
	if diff := cmp.Diff(batch, stored); diff != "" {
		t.Errorf("stored (-sent +got):\n%s", diff)
	}

	var loaded []broker.Record
	head, err := client.LoadRetained(t.Context(), func(page []broker.Record) error { loaded = append(loaded, page...); return nil })
	if err != nil || head != 9 {
		t.Errorf("LoadRetained gave %d and %v", head, err)
	}
	if diff := cmp.Diff([]broker.Record{committed(4, 1), committed(9, 2)}, loaded); diff != "" {
		t.Errorf("loaded (-sent +got):\n%s", diff)
	}

	var feeds []broker.Feed
	errEnough := errors.New("enough")
	err = client.Follow(t.Context(), broker.FollowFrom{After: 10, Origin: run2}, func(f broker.Feed) error {
		feeds = append(feeds, f)
		if f.CaughtUp {
			return errEnough
		}
		return nil
	})
	if !errors.Is(err, errEnough) {
		t.Errorf("Follow ended with %v", err)
	}
	wantFeeds := []broker.Feed{
		{Records: []broker.Record{committed(11, 7), {Offset: 12, Origin: run2, Ref: 8, Elided: true}}},
		{Records: []broker.Record{}, CaughtUp: true, Term: run2, Head: 12},
	}
	if diff := cmp.Diff(wantFeeds, feeds); diff != "" {
		t.Errorf("feed (-sent +got):\n%s", diff)
	}
}

func isErr(p cmp.Path) bool { return p.Last().String() == ".err" }

// lateStore takes batches and answers when it is told to.
func lateStore() (*storeFuncs, chan func()) {
	answers := make(chan func(), 1000)
	offset := uint64(0)
	return &storeFuncs{append: func(batch []broker.Record, done func([]broker.AppendResult, error)) {
		results := make([]broker.AppendResult, len(batch))
		for i := range results {
			offset++
			results[i].Offset = offset
		}
		answers <- func() { done(results, nil) }
	}}, answers
}

func TestAppendSendsInOrderWithoutWaitingForTheCommit(t *testing.T) {
	store, answers := lateStore()
	client, _ := connectStore(t, store)
	const batches = 100
	got := make(chan uint64, batches)
	for i := range uint64(batches) {
		client.Append([]broker.Record{record(i + 1)}, func(r []broker.AppendResult, err error) {
			if err != nil {
				t.Error(err)
				got <- 0
				return
			}
			got <- r[0].Offset
		})
	}
	var release []func() // all of them are there before one is answered
	for range batches {
		release = append(release, <-answers)
	}
	for _, f := range slices.Backward(release) { // answered in the wrong order, they still come in the right one
		f()
	}
	for i := range uint64(batches) {
		if offset := <-got; offset != i+1 {
			t.Fatalf("result %d has offset %d", i+1, offset)
		}
	}
}

func TestALargeBatchIsCutAndItsResultsJoined(t *testing.T) {
	var sizes []int
	offset := uint64(0)
	client, _ := connectStore(t, &storeFuncs{append: func(batch []broker.Record, done func([]broker.AppendResult, error)) {
		sizes = append(sizes, len(batch))
		results := make([]broker.AppendResult, len(batch))
		for i := range results {
			offset++
			results[i].Offset = offset
		}
		done(results, nil)
	}})
	batch := make([]broker.Record, 12)
	for i := range batch {
		batch[i] = record(uint64(i + 1))
		batch[i].Payload = bytes.Repeat([]byte{1}, 300<<10)
	}
	batch[3].Payload = bytes.Repeat([]byte{1}, MaxMessageBytes)
	batch[5].Headers = map[string]string{"a": "\xff"}
	batch[6].Payload = bytes.Repeat([]byte{1}, 3<<20)
	a := appendAndWait(t, client, batch)
	if a.err != nil {
		t.Fatal(a.err)
	}
	want := uint64(0)
	for i, r := range a.results {
		switch i {
		case 3:
			if !errors.Is(r.Err, &protocol.Error{Code: protocol.CodeTooLarge}) {
				t.Errorf("record 3: %v, wanted too_large", r.Err)
			}
		case 5:
			if !errors.Is(r.Err, &protocol.Error{Code: protocol.CodeBadArgs}) {
				t.Errorf("record 5: %v, wanted bad_args", r.Err)
			}
		default:
			if want++; r.Ref != uint64(i+1) || r.Offset != want || r.Err != nil {
				t.Errorf("record %d: offset %d, %v, wanted offset %d", i, r.Offset, r.Err, want)
			}
		}
	}
	if diff := cmp.Diff([]int{3, 1, 1, 3, 2}, sizes); diff != "" {
		t.Errorf("records per message (-want +got):\n%s", diff)
	}
}

func TestABrokenStreamFailsWhatIsOutstandingAndTheNextBatchGoesOn(t *testing.T) {
	var taken int
	client, _ := connectStore(t, &storeFuncs{append: func(batch []broker.Record, done func([]broker.AppendResult, error)) {
		switch taken++; {
		case taken < 3: // never answered
		case taken == 3:
			done(nil, errors.New("disk on fire"))
		default:
			done([]broker.AppendResult{{Offset: uint64(taken)}}, nil)
		}
	}})
	errs := make(chan error, 3)
	for i := range uint64(3) {
		client.Append([]broker.Record{record(i + 1)}, func(_ []broker.AppendResult, err error) { errs <- err })
	}
	for range 3 {
		if err := <-errs; err == nil || !strings.Contains(err.Error(), "disk on fire") {
			t.Errorf("got %v, wanted the store's error", err)
		}
	}
	if a := appendAndWait(t, client, []broker.Record{record(4)}); a.err != nil || a.results[0].Offset != 4 {
		t.Errorf("the batch after it: %+v", a)
	}
}

func TestTheEndOfRunFailsWhatIsOutstandingAndWhatComesLater(t *testing.T) {
	store, answers := lateStore()
	client, cancel := connectStore(t, store)
	errs := make(chan error, 1)
	client.Append([]broker.Record{record(1)}, func(_ []broker.AppendResult, err error) { errs <- err })
	<-answers
	errGone := errors.New("the plugin is gone")
	cancel(errGone)
	if err := <-errs; !errors.Is(err, errGone) {
		t.Errorf("outstanding: %v", err)
	}
	if a := appendAndWait(t, client, []broker.Record{record(2)}); a.err == nil {
		t.Errorf("later: %+v", a)
	}
}

func TestFollowSaysTrimmed(t *testing.T) {
	client, _ := connectStore(t, &storeFuncs{follow: func(context.Context, broker.FollowFrom, func(broker.Feed) error) error {
		return broker.ErrTrimmed
	}})
	err := client.Follow(t.Context(), broker.FollowFrom{After: 1}, func(broker.Feed) error { return nil })
	if !errors.Is(err, broker.ErrTrimmed) {
		t.Errorf("got %v, wanted ErrTrimmed", err)
	}
}

func TestFollowEndsWithItsContext(t *testing.T) {
	client, _ := connectStore(t, &storeFuncs{follow: func(ctx context.Context, _ broker.FollowFrom, on func(broker.Feed) error) error {
		if err := on(broker.Feed{CaughtUp: true, Term: run1}); err != nil {
			return err
		}
		<-ctx.Done()
		return ctx.Err()
	}})
	ctx, cancel := context.WithCancel(t.Context())
	err := client.Follow(ctx, broker.FollowFrom{}, func(broker.Feed) error { cancel(); return nil })
	if status.Code(err) != codes.Canceled {
		t.Errorf("got %v, wanted CANCELED", err)
	}
}
