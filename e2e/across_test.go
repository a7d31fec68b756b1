package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/broker/brokertest/faultproxy"
	"github.com/carillon-mq/carillon/internal/workload"
	"github.com/carillon-mq/carillon/protocol"
	carillon "github.com/carillon-mq/carillon/sdk/go"
)

// witness notes in words what one subscription is handed.
type witness struct {
	t    *testing.T
	sub  *carillon.Subscription
	came chan string
}

func watch(t *testing.T, c *carillon.Client, topic string) *witness {
	t.Helper()
	w := &witness{t: t, sub: c.Subscribe(topic, carillon.NoRetained()), came: make(chan string, 1000)}
	go func() { // ends with the client
		for e, err := range w.sub.Events(t.Context()) {
			switch e := e.(type) {
			case *carillon.Message:
				w.came <- string(e.Payload)
			case *carillon.GapError:
				w.came <- "gap " + string(e.Reason)
			}
			if err != nil && !errors.Is(err, carillon.ErrClosed) {
				w.came <- err.Error()
			}
		}
	}()
	if err := w.sub.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	return w
}

// want fails the test unless exactly these come next.
func (w *witness) want(lines ...string) {
	w.t.Helper()
	late := time.After(10 * time.Second)
	var found []string
	for len(found) < len(lines) {
		select {
		case line := <-w.came:
			found = append(found, line)
		case <-late:
			w.t.Fatalf("%s: found %q, wanted %q", w.sub.Filter(), found, lines)
		}
	}
	if !slices.Equal(found, lines) {
		w.t.Fatalf("%s: found %q, wanted %q", w.sub.Filter(), found, lines)
	}
}

func numbers(from, to int) (out []string) {
	for n := from; n <= to; n++ {
		out = append(out, fmt.Sprint(n))
	}
	return out
}

const (
	storedTopic = "a.stored.0"
	memoryTopic = "a.memory.0"
)

// publishNumbers publishes the numbers to both topics and fails the test unless each is acknowledged as its class promises.
func publishNumbers(t *testing.T, c *carillon.Client, from, to int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for _, n := range numbers(from, to) {
		for topic, durability := range map[string]protocol.Durability{storedTopic: protocol.Committed, memoryTopic: protocol.Appended} {
			ack, err := c.Publish(ctx, topic, n)
			if err != nil || ack.Durability != durability {
				t.Fatalf("publish %s to %s: found %v and %v, wanted %s", n, topic, ack.Durability, err, durability)
			}
		}
	}
}

// across is a subscriber of a stored and of a memory topic that was connected before, and is kept away from, what restart does.
func across(t *testing.T, restart func(b *broker)) (stored, memory *witness, after func()) {
	t.Helper()
	b := newLoadBroker(t)
	p, err := faultproxy.New(b.listen)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	c := clientAt(t, "ws://"+p.Addr()+"/ws")
	stored, memory = watch(t, c, storedTopic), watch(t, c, memoryTopic)
	publisher := client(t, b)
	publishNumbers(t, publisher, 1, 5)
	stored.want(numbers(1, 5)...)
	memory.want(numbers(1, 5)...)

	p.Refuse()
	p.Reset()
	publishNumbers(t, publisher, 6, 10)
	restart(b)
	publishNumbers(t, publisher, 11, 15)
	p.Restore()
	return stored, memory, func() {
		t.Helper()
		publishNumbers(t, publisher, 16, 20)
		stored.want(numbers(16, 20)...)
		memory.want(numbers(16, 20)...)
	}
}

func TestAClientAcrossAKillMissesNothingStoredAndIsToldOnceOfTheRest(t *testing.T) {
	stored, memory, after := across(t, func(b *broker) { kill(t, b, "broker") })
	stored.want(numbers(6, 15)...)
	memory.want(append([]string{"gap epoch"}, numbers(11, 15)...)...) // 6 to 10 were of the run that was killed
	after()
}

func TestAClientAcrossAPlannedRestartMissesNothing(t *testing.T) {
	stored, memory, after := across(t, func(b *broker) {
		b.terminate()
		b.start()
	})
	stored.want(numbers(6, 15)...)
	memory.want(numbers(6, 15)...)
	after()
}

// G4, log.md P2: a store that was put back from an older copy cannot pass for the one that a client has seen more of.
func TestAClientOfAStoreThatWasPutBackIsToldSo(t *testing.T) {
	b := newLoadBroker(t)
	stored := watch(t, client(t, b), storedTopic)
	publisher := client(t, b)
	publishNumbers(t, publisher, 1, 5)
	stored.want(numbers(1, 5)...)
	stopBoth := func() {
		store := b.store().PID
		b.kill()
		eventually(t, 20*time.Second, "the plugin has ended with the broker", func() bool { return !alive(store) })
	}
	stopBoth()
	file, older := filepath.Join(b.dir, "store", "store.db"), filepath.Join(t.TempDir(), "older.db")
	copyFile(t, file, older)
	b.start()
	publishNumbers(t, publisher, 6, 10)
	stored.want(numbers(6, 10)...)
	stopBoth()
	copyFile(t, older, file)
	b.start()
	stored.want("gap ahead")
	publishNumbers(t, publisher, 11, 15)
	stored.want(numbers(11, 15)...)
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// G15, log.md: under load a planned restart costs nobody a message: there is no gap at all.
func TestPlannedRestartsLoseNothing(t *testing.T) {
	rounds(t, 6*time.Second, 200, func() *broker { return newLoadBroker(t) }, func(b *broker, name string) workload.Report {
		opt := workload.Options{URL: b.url(), Name: name, Pause: 4 * time.Millisecond, Subscriptions: everyKind(name), Readers: 1, Client: patient}
		report := load(t, b, opt, workload.Floor{Acked: 700, Shown: 1000, Kept: 200, Faults: 3}, func(ctx context.Context, l *workload.Load) {
			for range 3 {
				await(ctx, t, l, 200)
				fault(l, "SIGTERM")
				b.terminate()
				b.start()
				await(ctx, t, l, 50)
			}
		})
		if report.Gaps > 0 {
			t.Errorf("found %d gaps, wanted none: every restart was planned", report.Gaps)
		}
		return report
	})
}
