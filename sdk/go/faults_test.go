package carillon_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/brokertest/faultproxy"
	"github.com/carillon-mq/carillon/protocol"
	carillon "github.com/carillon-mq/carillon/sdk/go"
)

// A path goes dead with nobody told while messages are published; the client finds out and misses none.
func TestSilentPathLosesNothing(t *testing.T) {
	b := startBroker(t, broker.Options{PingEvery: 50 * time.Millisecond})
	c := b.throughProxy(t, carillon.WithMaxSilence(300*time.Millisecond), carillon.WithDialTimeout(300*time.Millisecond))
	sub := subscribe(t, c, "a", carillon.NoRetained())
	b.publishNumbers(t, 1, 100, 0)
	b.proxy.Silence()
	b.publishNumbers(t, 101, 1000, 0)
	b.proxy.Restore()
	b.publishNumbers(t, 1001, 1100, 0)
	receiveUntil(t, sub, 1100).exactly(t, 1100)
}

func TestSilenceLongerThanTheLogIsToldByTheExactGap(t *testing.T) {
	b := startBroker(t, broker.Options{PingEvery: 50 * time.Millisecond, RingBytes: 1 << 20})
	c := b.throughProxy(t, carillon.WithMaxSilence(300*time.Millisecond), carillon.WithDialTimeout(300*time.Millisecond))
	sub := subscribe(t, c, "a", carillon.NoRetained())
	b.publishNumbers(t, 1, 10, 1000)
	b.proxy.Silence()
	b.publishNumbers(t, 11, 5000, 1000)
	b.proxy.Restore()
	r := receiveUntil(t, sub, 5000)
	if len(r.gaps) != 1 || r.gaps[0].Reason != protocol.GapTrimmed {
		t.Fatalf("gaps %v, want one, trimmed", r.gaps)
	}
	from, err := protocol.ParseCursor(string(r.gaps[0].From))
	if err != nil {
		t.Fatal(err)
	}
	to, err := protocol.ParseCursor(string(r.gaps[0].To))
	if err != nil {
		t.Fatal(err)
	}
	missing := make(map[int]bool)
	for i := from.Seq + 1; i <= to.Seq; i++ {
		missing[int(i)] = true // the only publisher, to the only topic: seq is the number
	}
	next := 1
	for _, n := range r.numbers {
		for missing[next] {
			next++
		}
		if n != next {
			t.Fatalf("got %d, want %d; the gap is %d to %d", n, next, from.Seq+1, to.Seq)
		}
		next++
	}
}

// Another broker, or the same one without what it knew, takes over behind the same address.
func TestBrokerThatHasLostItsLogIsToldByAGap(t *testing.T) {
	ends := map[string]func(*realBroker){
		"drained": func(b *realBroker) {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			if err := b.broker.Drain(ctx); err != nil {
				t.Error(err)
			}
		},
		"gone": func(b *realBroker) { b.proxy.Reset() },
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			one, two := startBroker(t, broker.Options{DrainSpread: time.Millisecond}), startBroker(t, broker.Options{})
			if _, err := dial(t, two.url).Publish(t.Context(), "a.kept", "here", carillon.Retain()); err != nil {
				t.Fatal(err)
			}
			c := one.throughProxy(t)
			sub := subscribe(t, c, "a.*")
			var steps []string
			for e, err := range sub.Events(t.Context()) {
				switch e := e.(type) {
				case *carillon.Message:
					steps = append(steps, "message "+e.Topic)
				case *carillon.GapError:
					steps = append(steps, "gap "+string(e.Reason))
				case *carillon.SnapshotEnd:
					steps = append(steps, fmt.Sprint("snapshot, reset ", e.Reset))
				case *carillon.Resumed:
					if steps = append(steps, "live"); len(steps) == 2 {
						one.proxy.Retarget(strings.TrimPrefix(two.url, "ws://"))
						end(one)
					} else if _, err := c.Publish(t.Context(), "a.new", 1); err != nil {
						t.Error(err)
					}
				case nil:
					t.Fatal(err)
				}
				if steps[len(steps)-1] == "message a.new" {
					break
				}
			}
			// a.kept was published in the new run: it comes from its log, behind the snapshot of where that began.
			want := []string{"snapshot, reset false", "live", "gap epoch", "snapshot, reset true", "message a.kept", "live", "message a.new"}
			if !slices.Equal(steps, want) {
				t.Errorf("got %q, want %q", steps, want)
			}
		})
	}
}

// Many connections are broken in every way while messages flow; each subscriber gets every message once and in order.
func TestBrokenConnectionsLoseAndRepeatNothing(t *testing.T) {
	const clients, total = 4, 3000
	b := startBroker(t, broker.Options{PingEvery: 20 * time.Millisecond})
	b.proxy.Slice(700)
	var plain, snapshots [clients]received
	var reading, starting sync.WaitGroup
	for i := range clients {
		c := b.throughProxy(t, carillon.WithMaxSilence(200*time.Millisecond), carillon.WithDialTimeout(200*time.Millisecond),
			carillon.WithBuffer(64, 1<<20))
		sub := subscribe(t, c, "a", carillon.NoRetained())
		other := subscribe(t, c, ">") // a snapshot and another filter on the same session
		reading.Go(func() { plain[i] = receiveUntil(t, sub, total) })
		starting.Add(1)
		live := sync.OnceFunc(starting.Done)
		reading.Go(func() { snapshots[i] = receive(t, other, total, live) })
	}
	starting.Wait() // from the middle of a snapshot nothing can be resumed
	for n := 0; n < total; n += 50 {
		b.publishNumbers(t, n+1, n+50, 100)
		breakIn(b.proxy, n/50)
	}
	reading.Wait()
	for i := range clients {
		plain[i].exactly(t, total)
		snapshots[i].exactly(t, total)
	}
	if b.proxy.Accepted() < 2*clients {
		t.Errorf("only %d connections were made: nothing was broken", b.proxy.Accepted())
	}
}

// Publishes go through connections that break: what was in flight is sent again, and everything is applied once and in order.
func TestPublishesThroughBrokenConnectionsAreAppliedOnceAndInOrder(t *testing.T) {
	const total = 2000
	b := startBroker(t, broker.Options{PingEvery: 20 * time.Millisecond})
	observer := dial(t, b.url)
	sub := subscribe(t, observer, "a", carillon.NoRetained())
	done := make(chan received, 1)
	go func() { done <- receiveUntil(t, sub, total) }()

	c := b.throughProxy(t, carillon.WithMaxSilence(200*time.Millisecond), carillon.WithDialTimeout(200*time.Millisecond))
	var published []*carillon.Publishing
	for i := 1; i <= total; {
		p, err := c.PublishAsync(t.Context(), "a", fmt.Sprint(i))
		if errors.Is(err, carillon.ErrQueueFull) {
			<-published[len(published)-1].Done()
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		published = append(published, p)
		if i%50 == 0 {
			breakIn(b.proxy, i/50)
		}
		i++
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	repeated := 0
	for i, p := range published {
		ack, err := p.Wait(ctx)
		if err != nil || ack.Seq != uint64(i+1) {
			t.Fatalf("publish %d: %+v, %v", i+1, ack, err)
		}
		if ack.Duplicate {
			repeated++
		}
	}
	r := <-done
	r.exactly(t, total)
	if b.proxy.Accepted() < 3 {
		t.Error("nothing was broken")
	}
	t.Logf("%d connections, %d publishes were applied the first time and acknowledged the second", b.proxy.Accepted(), repeated)
}

// breakIn breaks the connections in one way of many, by n.
func breakIn(p *faultproxy.Proxy, n int) {
	switch n % 5 {
	case 0:
		p.Cut()
	case 1:
		p.Reset()
	case 2:
		p.CutAfter(rand.Int64N(20_000), false)
	case 3:
		p.CutAfter(rand.Int64N(20_000), true)
	case 4:
		p.Silence()
		p.Restore()
	}
}
