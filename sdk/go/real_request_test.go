package carillon_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/broker"
	carillon "github.com/carillon-mq/carillon/sdk/go"
)

// doubler replies to every request below rpc with its number, doubled, but to those to rpc.silent, of which it says that they have come.
func doubler(t *testing.T, c *carillon.Client) (silent chan struct{}) {
	t.Helper()
	silent = make(chan struct{}, 100)
	sub := subscribe(t, c, "rpc.>", carillon.NoRetained())
	ctx, cancel := context.WithCancel(t.Context())
	var serving sync.WaitGroup
	serving.Go(func() {
		for m, err := range sub.Messages(ctx) {
			var n int
			if err == nil {
				err = m.Decode(&n)
			}
			switch {
			case err == nil && m.Topic == "rpc.silent":
				silent <- struct{}{}
			case err == nil:
				_, err = c.Reply(ctx, m, 2*n)
			}
			if err != nil && ctx.Err() == nil {
				t.Error(err)
			}
		}
	})
	t.Cleanup(func() {
		cancel()
		serving.Wait()
	})
	return silent
}

// [REQ-1], [REQ-2], [REQ-3]: requests and replies through a broker, many at once.
func TestRequestsWithARealBroker(t *testing.T) {
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	b := startBroker(t, broker.Options{})
	doubler(t, dial(t, b.url))
	c := dial(t, b.url)
	var asking sync.WaitGroup
	for i := range 100 {
		asking.Go(func() {
			m, err := c.Request(ctx, fmt.Sprintf("rpc.double.%d", i%7), i)
			var got int
			if err == nil {
				err = m.Decode(&got)
			}
			if err != nil || got != 2*i {
				t.Errorf("got %d, %v, want %d", got, err, 2*i)
			}
		})
	}
	asking.Wait()
	if _, err := c.Request(ctx, "nobody.there", 1); !errors.Is(err, carillon.ErrNoResponder) {
		t.Errorf("got %v, want that nobody is there", err)
	}
	brief, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	if _, err := c.Request(brief, "rpc.silent", 1); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the deadline", err)
	}
}

// [REQ-4]: a cut ends what waits, and the next request goes on with the next session's inbox.
func TestRequestsOverACutWithARealBroker(t *testing.T) {
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	b := startBroker(t, broker.Options{})
	silent := doubler(t, dial(t, b.url))
	c := b.throughProxy(t)
	for round := range 5 {
		if m, err := c.Request(ctx, "rpc.double", round); err != nil || m.ReplyTo() != "" {
			t.Fatalf("round %d: %+v, %v", round, m, err)
		}
		done := make(chan error, 1)
		go func() {
			_, err := c.Request(ctx, "rpc.silent", 1)
			done <- err
		}()
		<-silent
		b.proxy.Cut()
		if err := <-done; !errors.Is(err, carillon.ErrUnknownOutcome) {
			t.Errorf("round %d: got %v, want an unknown outcome", round, err)
		}
	}
}

// [PUB-13]: who subscribes when a message has ended is not sent it, and those who have it as a retained one are told that it is gone.
func TestLifetimesWithARealBroker(t *testing.T) {
	b := startBroker(t, broker.Options{})
	c := dial(t, b.url)
	sub := c.Subscribe("a", carillon.From("")) // with what is retained
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := sub.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Publish(ctx, "a", "brief", carillon.Retain(), carillon.TTL(50*time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	var got []string
	for m, err := range sub.Messages(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		if got = append(got, string(m.Payload)); len(m.Payload) == 0 {
			break
		}
	}
	if len(got) != 2 || got[0] != "brief" {
		t.Errorf("got %q, want the message and its end", got)
	}
	for e, err := range c.Subscribe("a").Events(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		if m, ok := e.(*carillon.Message); ok {
			t.Errorf("got %q, want nothing: it has ended", m.Payload)
		}
		if _, ok := e.(*carillon.SnapshotEnd); ok {
			break
		}
	}
}
