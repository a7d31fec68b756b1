package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/internal/require"
	carillon "github.com/carillon-mq/carillon/sdk/go"
)

// ledger is what publishers and a watcher have seen of one topic: retained values are numbers that only grow.
type ledger struct {
	sent, acked, shown atomic.Int64
}

const (
	killPublishers = 8
	killTopics     = 4 // of each publisher
	killMinimum    = 100
)

// G2: what was acknowledged as committed, and what anybody was shown, outlives kill -9 of broker, plugin or both at any instant.
func TestNoAcknowledgedRetainedValueIsLostByKills(t *testing.T) {
	b := newBroker(t)
	b.start()
	books := map[string]*ledger{}
	for p := range killPublishers {
		for k := range killTopics {
			books[fmt.Sprintf("kill.%d.%d", p, k)] = &ledger{}
		}
	}
	acked, invalid := int64(0), 0
	rounds := count(6, 1000)
	for round := range rounds {
		n := killRound(t, b, books, []string{"broker", "plugin", "both"}[round%3])
		acked += n
		if n < killMinimum {
			invalid++
		}
		checkRetained(t, b, books)
	}
	t.Logf("%d rounds, %d acknowledged publishes, %d rounds with under %d acknowledgements", rounds, acked, invalid, killMinimum)
	if invalid > 0 {
		t.Errorf("%d of %d rounds are invalid: under %d acknowledgements", invalid, rounds, killMinimum)
	}
}

// killRound publishes while what is named is killed at a random instant, and returns how many publishes were acknowledged.
func killRound(t *testing.T, b *broker, books map[string]*ledger, what string) int64 {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var acks atomic.Int64
	var all sync.WaitGroup
	watcher := client(t, b)
	defer leave(watcher) // not to come back in every round that follows
	all.Go(func() {
		for m, err := range watcher.Subscribe("kill.>").Messages(ctx) {
			if err != nil {
				continue // a gap, told: the snapshot that follows shows what is kept
			}
			raise(&books[m.Topic].shown, parse(m.Payload))
		}
	})
	for p := range killPublishers {
		c := client(t, b)
		defer leave(c)
		all.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				topic := fmt.Sprintf("kill.%d.%d", p, i%killTopics)
				book := books[topic]
				n := book.sent.Add(1)
				ack, err := c.Publish(ctx, topic, strconv.FormatInt(n, 10), carillon.Retain())
				if err == nil && ack.Durability.String() == "committed" {
					raise(&book.acked, n)
					acks.Add(1)
				}
			}
		})
	}
	eventually(t, 20*time.Second, "publishes are acknowledged", func() bool { return acks.Load() > killMinimum })
	wait(t, time.Duration(rand.Int64N(int64(150*time.Millisecond))))
	kill(t, b, what)
	at := acks.Load()
	eventually(t, 20*time.Second, "publishes are acknowledged again after the kill of "+what, func() bool { return acks.Load() > at+killMinimum/2 })
	stop()
	all.Wait()
	return acks.Load()
}

func kill(t *testing.T, b *broker, what string) {
	t.Helper()
	store := b.store().PID
	switch what {
	case "plugin":
		killProcess(store)
		return
	case "both":
		killProcess(store)
	}
	b.kill()
	eventually(t, require.Bound(2*time.Second, 5), "the plugin has ended with the broker", func() bool { return !alive(store) })
	b.start()
}

// checkRetained reads every topic's retained value and holds it against the books. A publish that was in flight when the
// publishers stopped may be committed while the snapshot is read; its topic then comes right behind the snapshot.
func checkRetained(t *testing.T, b *broker, books map[string]*ledger) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	found := map[string]int64{}
	snapshot := false
	reader := client(t, b)
	defer leave(reader)
	for e, err := range reader.Subscribe("kill.>").Events(ctx) {
		if err != nil {
			break
		}
		switch e := e.(type) {
		case *carillon.Message:
			found[e.Topic] = parse(e.Payload)
		case *carillon.SnapshotEnd:
			snapshot = true
		}
		if snapshot && len(found) == len(books) {
			break
		}
	}
	for topic, book := range books {
		value := found[topic]
		if value < book.acked.Load() {
			t.Errorf("topic %s: found %d, but %d was acknowledged", topic, value, book.acked.Load())
		}
		if value < book.shown.Load() {
			t.Errorf("topic %s: found %d, but %d was shown", topic, value, book.shown.Load())
		}
		if value > book.sent.Load() {
			t.Errorf("topic %s: found %d, but only %d were sent", topic, value, book.sent.Load())
		}
	}
}

func raise(v *atomic.Int64, to int64) {
	for {
		if old := v.Load(); old >= to || v.CompareAndSwap(old, to) {
			return
		}
	}
}

func parse(payload []byte) int64 {
	n, err := strconv.ParseInt(string(payload), 10, 64)
	if err != nil {
		return -1
	}
	return n
}

// wait lets d pass.
func wait(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
	}
}

func TestALostStorePluginCostsOnlyItsFunctionAndComesBack(t *testing.T) {
	b := newBroker(t)
	b.start()
	c := client(t, b)
	before := b.store()
	killProcess(before.PID)

	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	began := time.Now()
	if _, err := c.Publish(ctx, "live.topic", "x"); err != nil {
		t.Errorf("a plain publish failed while the store was away: %v", err)
	}
	var err error
	for {
		if _, err = c.Publish(ctx, "kept.topic", "x", carillon.Retain()); err == nil || !carillon.Retryable(err) {
			break
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > require.Bound(2*time.Second, 5) {
		t.Errorf("a retained publish succeeded again after %s", took)
	}
	after := b.store()
	if after.PID == before.PID || after.Restarts != before.Restarts+1 {
		t.Errorf("found %+v after %+v, wanted one restart", after, before)
	}
}

// G-12, G14: kill -9 of the broker, under load and while its plugins start. They go with it, and the next broker has the store's file, which
// it shows by a commit.
func TestNoPluginOutlivesItsBroker(t *testing.T) {
	d := openDoors(t, loadSettings...)
	b := d.b
	good := token(t, "main", mistakesSecret, map[string]any{"carillon": map[string]any{"publish": []string{">"}, "subscribe": []string{">"}}})
	c := clientAt(t, b.url(), carillon.WithToken(good))
	ctx, stop := context.WithCancel(t.Context())
	var load sync.WaitGroup
	defer load.Wait()
	defer stop()
	var acked atomic.Int64
	load.Go(func() {
		for ctx.Err() == nil {
			if _, err := c.Publish(ctx, "kept.topic", "x", carillon.Retain()); err == nil {
				acked.Add(1)
			}
		}
	})
	var gone, goneEarly, ready []time.Duration
	times := count(4, 200)
	for i := range times {
		at := acked.Load()
		eventually(t, 20*time.Second, "publishes are committed", func() bool { return acked.Load() > at })
		plugins := []int{b.plugin("auth-jwt").PID, b.plugin("store-bolt").PID}
		wait(t, time.Duration(rand.Int64N(int64(20*time.Millisecond))))
		gone = append(gone, b.killWith(plugins))
		if i%2 == 1 { // the next one is killed before it is ready
			goneEarly = append(goneEarly, b.killInStart())
		}
		at, began := acked.Load(), time.Now()
		b.start()
		eventually(t, 20*time.Second, "the next broker commits", func() bool { return acked.Load() > at })
		ready = append(ready, time.Since(began))
	}
	t.Logf("%d kills and %d in a start; plugins gone after %s, after %s; commits of the next broker after %s", len(gone), len(goneEarly),
		spread(gone), spread(goneEarly), spread(ready))
	within(t, "the next broker has the file of the store", ready, 5*time.Second)
}

// killWith kills the broker, and returns how long its plugins have outlived it: 2 s at most.
func (b *broker) killWith(plugins []int) time.Duration {
	b.t.Helper()
	began := time.Now()
	b.kill()
	eventually(b.t, require.Bound(2*time.Second, 5), "the plugins have ended", func() bool { return !slices.ContainsFunc(plugins, alive) })
	return time.Since(began)
}

// killInStart starts the broker, and kills it as soon as it has a child, and a moment later.
func (b *broker) killInStart() time.Duration {
	b.t.Helper()
	if _, _, err := b.launch(); err != nil {
		b.t.Fatal(err)
	}
	var children []int
	eventually(b.t, 20*time.Second, "the broker starts its plugins", func() bool {
		children = processesOf(b.t, b.pid())
		return len(children) > 0
	})
	wait(b.t, time.Duration(rand.Int64N(int64(100*time.Millisecond))))
	return b.killWith(append(children, processesOf(b.t, b.pid())...))
}
