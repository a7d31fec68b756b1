package carillon_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/brokertest"
	"github.com/carillon-mq/carillon/protocol"
	carillon "github.com/carillon-mq/carillon/sdk/go"
)

// startOn starts a broker on a store that outlives it, on which the topic a is stored.
func startOn(t *testing.T, store broker.Store, opt broker.Options) *realBroker {
	t.Helper()
	opt.Store = store
	opt.Topics = []broker.TopicRule{{Match: "a", Class: broker.ClassStored, History: broker.History{Count: 100_000}}}
	b := startBroker(t, opt)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := b.broker.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	return b
}

// publishSurely publishes value to topic until it is acknowledged, always with the same id.
func publishSurely(t *testing.T, c *carillon.Client, topic, value string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		_, err := c.Publish(ctx, topic, value, carillon.ID("once-"+value))
		if err == nil {
			return
		}
		if !carillon.Retryable(err) || ctx.Err() != nil {
			t.Errorf("publish %s: %v", value, err)
			return
		}
	}
}

// The broker dies again and again, and its successor on the same store goes on: stored topics miss and repeat nothing, others are told
// one gap each time.
func TestStoredTopicsGoOnOverRestartsOfTheBroker(t *testing.T) {
	const restarts, each = 5, 100
	store := brokertest.NewStore()
	b := startOn(t, store, broker.Options{})
	front := b.proxy
	reader := b.throughProxy(t)
	stored := subscribe(t, reader, "a", carillon.NoRetained())
	plain := subscribe(t, reader, "plain", carillon.NoRetained())
	writer := b.throughProxy(t)

	var working sync.WaitGroup
	working.Go(func() {
		for i := range each * (restarts + 1) {
			publishSurely(t, writer, "a", fmt.Sprint(i+1))
		}
	})
	var got received
	working.Go(func() { got = receiveUntil(t, stored, each*(restarts+1)) })
	gaps := make(chan carillon.GapReason, 100)
	working.Go(func() {
		for m, err := range plain.Messages(t.Context()) {
			if gap, ok := errors.AsType[*carillon.GapError](err); ok {
				gaps <- gap.Reason
				continue
			}
			if err != nil || string(m.Payload) == "end" {
				return
			}
		}
	})
	for n := range restarts {
		awaitHead(t, b, uint64((n+1)*each))
		b.broker.Close()
		b = startOn(t, store, broker.Options{})
		front.Retarget(strings.TrimPrefix(b.url, "ws://"))
		front.Cut()
		select {
		case reason := <-gaps:
			if reason != protocol.GapEpoch {
				t.Errorf("the topic that is not stored was told %q", reason)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("the topic that is not stored was told no gap")
		}
	}
	publishSurely(t, writer, "plain", "end")
	working.Wait()
	got.exactly(t, each*(restarts+1))
	if len(gaps) > 0 {
		t.Errorf("%d gaps more than restarts, the first: %s", len(gaps), <-gaps)
	}
}

// awaitHead waits until the store's head, as the broker tells it, has reached offset.
func awaitHead(t *testing.T, b *realBroker, offset uint64) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); b.broker.Position().Offset < offset; {
		if time.Now().After(deadline) {
			t.Fatalf("the store is at %d, wanted %d", b.broker.Position().Offset, offset)
		}
		select {
		case <-time.After(time.Millisecond):
		case <-t.Context().Done():
			return
		}
	}
}

// What does not fit into the log any more comes from the store: as the last messages, as pages, and behind a page's cursor.
func TestThePastIsReadFromTheStore(t *testing.T) {
	const total = 600
	b := startOn(t, brokertest.NewStore(), broker.Options{RingBytes: 64 << 10})
	b.publishNumbers(t, 1, total, 1000)
	c := dial(t, b.url)

	last := c.Subscribe("a", carillon.Last(400))
	plain := c.Subscribe("plain", carillon.Last(3))
	if err := errors.Join(last.Ready(t.Context()), plain.Ready(t.Context())); err != nil {
		t.Fatal(err)
	}
	var pages []int
	var cursor carillon.Cursor
	for more := true; more; {
		page, err := c.History(t.Context(), "a", carillon.After(cursor), carillon.Limit(256))
		if err != nil || page.Gap != "" || len(page.Messages) > 256 {
			t.Fatalf("%+v, %v", page, err)
		}
		pages = append(pages, numbers(t, page.Messages)...)
		cursor, more = page.Cursor, page.More
	}
	if !slices.Equal(pages, upTo(1, total)) {
		t.Errorf("the pages have %d messages, wanted 1 to %d", len(pages), total)
	}
	newest, err := c.History(t.Context(), "a", carillon.Newest(3))
	if err != nil || newest.More || !slices.Equal(numbers(t, newest.Messages), upTo(total-2, total)) {
		t.Errorf("the newest: %+v, %v", newest, err)
	}
	middle := newest.Messages[0].Cursor()

	behind := subscribe(t, c, "a", carillon.From(cursor), carillon.NoRetained())
	from := subscribe(t, c, "a", carillon.From(middle), carillon.NoRetained())
	b.publishNumbers(t, total+1, total+10, 1000)
	for name, test := range map[string]struct {
		sub   *carillon.Subscription
		first int
	}{"last": {last, total - 399}, "behind the pages": {behind, total + 1}, "behind a message": {from, total - 1}} {
		r := receiveUntil(t, test.sub, total+10)
		if len(r.gaps) > 0 || !slices.Equal(r.numbers, upTo(test.first, total+10)) {
			t.Errorf("%s: found %d messages from %v, gaps %v, wanted %d from %d", name, len(r.numbers), r.numbers[:1], r.gaps, total+11-test.first, test.first)
		}
	}
	if _, err := c.History(t.Context(), "plain"); !errors.Is(err, &carillon.Error{Code: protocol.CodeUnsupported}) {
		t.Errorf("the history of a topic that is not stored: %v, wanted unsupported", err)
	}
}

func upTo(first, last int) (all []int) {
	for n := first; n <= last; n++ {
		all = append(all, n)
	}
	return all
}

func numbers(t *testing.T, messages []*carillon.Message) (all []int) {
	t.Helper()
	for _, m := range messages {
		n, err := strconv.Atoi(strings.TrimSpace(string(m.Payload)))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, n)
	}
	return all
}

// A connection does not move while the log goes on without it: the session, which lags, goes on from the store.
func TestSessionThatTheLogHasPassedGoesOnFromTheStore(t *testing.T) {
	const total = 1500 // more than the buffers of the kernel hold
	store := brokertest.NewStore()
	b := startOn(t, store, broker.Options{RingBytes: 256 << 10})
	c := b.throughProxy(t, carillon.WithoutCompression()) // blanks would take next to no room
	before := len(store.Reads())
	sub := subscribe(t, c, "a", carillon.NoRetained())
	b.publishNumbers(t, 1, 10, 10_000)
	b.proxy.Freeze()
	b.publishNumbers(t, 11, total, 10_000)
	b.proxy.Thaw()
	receiveUntil(t, sub, total).exactly(t, total)
	if len(store.Reads()) == before {
		t.Error("the log was enough")
	}
	if n := b.proxy.Accepted(); n != 1 {
		t.Errorf("%d connections were made, wanted one", n)
	}
}

// Of a topic that changes faster than it is taken, the newest value comes, and the values come in order.
func TestConflatedSubscriptionsEndWithTheNewest(t *testing.T) {
	const total = 3000
	b := startBroker(t, broker.Options{})
	c := b.throughProxy(t)
	latest := subscribe(t, c, "a", carillon.NoRetained(), carillon.Latest())
	slow := subscribe(t, c, "a", carillon.NoRetained(), carillon.MaxRate(10))
	began := time.Now()
	b.publishNumbers(t, 1, total/2, 0)
	b.proxy.Reset()
	b.publishNumbers(t, total/2+1, total, 0)
	for name, sub := range map[string]*carillon.Subscription{"latest": latest, "max_rate": slow} {
		r := receiveUntil(t, sub, total)
		if len(r.gaps) > 0 || !slices.IsSorted(r.numbers) || len(slices.Compact(slices.Clone(r.numbers))) != len(r.numbers) {
			t.Errorf("%s: gaps %v, messages %v", name, r.gaps, r.numbers)
		}
		if most := 10*time.Since(began).Seconds() + 12; name == "max_rate" && float64(len(r.numbers)) > most {
			t.Errorf("%s: %d messages came, wanted %.0f at most", name, len(r.numbers), most)
		}
	}
}
