package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/protocol"
	carillon "github.com/carillon-mq/carillon/sdk/go"
)

// memoryLoad is what a broker is made to hold, all of it bounded by its configuration or counted by the test.
type memoryLoad struct {
	ring, retained   int64 // limits, in bytes; the load fills both
	readers, stalled int   // sessions that read, and that do not
	rounds           int   // of kills and resumes
}

const (
	pendingWindow = 64 << 10 // of a session that does not read: limits.pending by default
	idleSession   = 14 << 10 // what a session that has nothing to do may cost
)

// limit is the memory that the load is allowed: half as much again as the log, what is retained and the windows of those that do not
// read, and every session's own.
func (m memoryLoad) limit() int64 {
	return 3*(m.ring+m.retained+pendingWindow*int64(m.stalled))/2 + idleSession*int64(m.readers+m.stalled)
}

// settings are the load's limits, and GOMEMLIMIT as the broker sets it by itself in a container: nine tenths of what there is.
func (m memoryLoad) settings() []string {
	return []string{
		fmt.Sprintf("GOMEMLIMIT=%d", m.limit()*9/10),
		fmt.Sprintf("CARILLON_LIMITS_RING=%dB", m.ring), fmt.Sprintf("CARILLON_LIMITS_RETAINED_BYTES=%dB", m.retained),
		"CARILLON_LIMITS_DRAIN_SPREAD=1s", "CARILLON_LIMITS_STALLED=10m", `CARILLON_TOPICS=[{match: "stored.>", class: stored, history: {count: 10000000}}]`,
	}
}

// A broker with a full log, all the retained messages that it may have, sessions that do not read, kills and resumes has no more resident
// memory than the limit of its load, and what a broker has that has just been started.
func TestMemoryStaysWithinItsBound(t *testing.T) {
	load := memoryLoad{ring: 16 << 20, retained: 6 << 20, readers: 240, stalled: 60, rounds: 1}
	if rounds := count(0, 20); rounds > 0 {
		load = memoryLoad{ring: 64 << 20, retained: 24 << 20, readers: 2000, stalled: 300, rounds: rounds}
	}
	empty, peak := measureMemory(t, load)
	if peak > load.limit()+empty {
		t.Errorf("found %s resident, wanted at most %s: a limit of %s and %s of an empty broker",
			mib(peak), mib(load.limit()+empty), mib(load.limit()), mib(empty))
	}
}

// The bound is one that can be passed: by a broker whose runtime has not been told, and by a log larger than the bound says.
func TestMemoryGoesBeyondABoundThatIsNotKept(t *testing.T) {
	load := memoryLoad{ring: 16 << 20, retained: 6 << 20, stalled: 30}
	larger := load
	larger.ring *= 3
	for _, tc := range []struct {
		name     string
		load     memoryLoad
		settings []string
	}{
		{"without GOMEMLIMIT", load, []string{"GOMEMLIMIT=off"}},
		{"a log of three times the size", larger, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			empty, peak := measureMemory(t, tc.load, tc.settings...)
			if peak <= load.limit()+empty {
				t.Errorf("found %s resident, within the bound of %s", mib(peak), mib(load.limit()+empty))
			}
		})
	}
}

func mib(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

// measureMemory runs load and returns the resident memory of the broker when it had just been started, and the most that any of its
// processes had.
func measureMemory(t *testing.T, load memoryLoad, settings ...string) (empty, peak int64) {
	t.Helper()
	b := newBroker(t)
	b.env = append(load.settings(), settings...)
	b.start()
	empty = residentPeak(b.pid())
	r := &memoryRun{t: t, b: b, load: load, began: time.Now()}
	defer r.watch()()
	r.connect()
	r.fill()
	for round := range load.rounds {
		r.restart([]string{"broker", "terminate", "both", "plugin"}[round%4])
		r.fill()
	}
	r.peak(b.pid())
	t.Logf("%d sessions, %d of them stalled, %s of log and %s of retained messages, %d restarts in %s: limit %s, empty broker %s, most %s, read %d",
		load.readers+load.stalled, load.stalled, mib(load.ring), mib(load.retained), load.rounds, time.Since(r.began).Round(time.Second),
		mib(load.limit()), mib(empty), mib(r.most.Load()), r.read.Load())
	return empty, r.most.Load()
}

// memoryRun is one load under way.
type memoryRun struct {
	t       *testing.T
	b       *broker
	load    memoryLoad
	began   time.Time
	most    atomic.Int64
	read    atomic.Int64 // messages
	at      protocol.Position
	stalled []*wire
	topics  int // retained
}

// watch looks at the broker's memory all the time, so that a process that is killed is seen at its highest, too.
func (r *memoryRun) watch() (stop func()) {
	done := make(chan struct{})
	var looking sync.WaitGroup
	looking.Go(func() {
		for tick := time.NewTicker(10 * time.Millisecond); ; {
			select {
			case <-tick.C:
				r.peak(r.b.pid())
			case <-done:
				tick.Stop()
				return
			}
		}
	})
	return func() {
		close(done)
		looking.Wait()
	}
}

func (r *memoryRun) peak(pid int) { raise(&r.most, residentPeak(pid)) }

// residentPeak is the most memory that a process has had resident so far (VmHWM), 0 if it is no more.
func residentPeak(pid int) int64 {
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), "VmHWM:"); ok {
			kib, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kib << 10
		}
	}
	return 0
}

const memoryGroups = 100 // of readers: each has a topic in memory and a stored one

func (r *memoryRun) connect() {
	r.t.Helper()
	for i := range r.load.readers {
		c := clientAt(r.t, r.b.url(), carillon.WithBuffer(1<<16, 64<<20))
		sub := c.Subscribe(fmt.Sprintf("*.%d", i%memoryGroups), carillon.NoRetained())
		go func() { // ends with the client
			for _, err := range sub.Events(r.t.Context()) {
				if err == nil {
					r.read.Add(1)
				}
			}
		}()
		if err := sub.Ready(r.t.Context()); err != nil {
			r.t.Fatal(err)
		}
	}
	r.stalled = make([]*wire, r.load.stalled)
	r.stall()
	r.t.Cleanup(func() {
		for _, w := range r.stalled {
			w.conn.Close()
		}
	})
}

// stall subscribes anew with the sessions that do not read: one in three to what is retained and everything else, one in three to
// everything since they were first there, one in three to everything from now on.
func (r *memoryRun) stall() {
	r.t.Helper()
	for i, old := range r.stalled {
		if old != nil {
			old.conn.Close()
		}
		w, err := dialWire(r.t.Context(), r.b.listen, 4<<10)
		if err != nil {
			r.t.Fatal(err)
		}
		s := &protocol.Subscribe{Filter: ">", NoRetained: i%3 > 0}
		if !r.at.IsZero() && i%3 == 1 {
			s.Position = r.at.Append(nil)
		}
		at, err := w.subscribe(s)
		if err != nil {
			r.t.Fatal(err)
		}
		if r.at.IsZero() {
			r.at = at
		}
		r.stalled[i] = w
	}
}

// restart ends the broker, the store or both, and waits until everybody is back.
func (r *memoryRun) restart(what string) {
	r.t.Helper()
	r.peak(r.b.pid())
	if what == "terminate" {
		r.b.terminate()
		r.b.start()
	} else {
		kill(r.t, r.b, what)
	}
	if what != "plugin" {
		r.stall()
	}
	everybody := float64(r.load.readers + r.load.stalled)
	eventually(r.t, 60*time.Second, "everybody is connected again", func() bool { return r.b.metric("carillon_sessions") >= everybody })
}

// fill publishes until the log and what is retained are full, and once more over the length of the log.
func (r *memoryRun) fill() {
	r.t.Helper()
	publisher := clientAt(r.t, r.b.url())
	defer publisher.Close(r.t.Context())
	ctx, cancel := context.WithTimeout(r.t.Context(), 2*time.Minute)
	defer cancel()
	value := []byte(strings.Repeat("v", 100))
	for full := func() bool { return r.b.metric("carillon_retained_bytes") >= 0.97*float64(r.load.retained) }; !full(); {
		r.publish(ctx, publisher, 500, func(int) (string, []byte, []carillon.PublishOption) {
			r.topics++
			return fmt.Sprintf("kept.%d", r.topics), value, []carillon.PublishOption{carillon.Retain()}
		})
	}
	body := make([]byte, 1000)
	entries := int(r.load.ring / 1000)
	r.publish(ctx, publisher, entries, func(i int) (string, []byte, []carillon.PublishOption) {
		return []string{"memory.", "memory.", "memory.", "stored."}[i%4] + strconv.Itoa(i/4%memoryGroups), body, nil
	})
	r.peak(r.b.pid())
	if held := r.b.metric("carillon_ring_bytes"); held < 0.9*float64(r.load.ring) {
		r.t.Errorf("the log holds %.0f bytes, wanted it full: %d", held, r.load.ring)
	}
	if behind := r.b.metric("carillon_sessions_lagging"); behind < float64(r.load.stalled)/3 {
		r.t.Errorf("found %.0f lagging sessions of %d that do not read", behind, r.load.stalled)
	}
}

// publish publishes n messages, many of them under way together. Retained ones beyond the limit are refused; that is their bound.
func (r *memoryRun) publish(ctx context.Context, c *carillon.Client, n int, message func(i int) (topic string, payload []byte, opts []carillon.PublishOption)) {
	r.t.Helper()
	window := make([]*carillon.Publishing, 256)
	for i := range n + len(window) {
		slot := &window[i%len(window)]
		if *slot != nil {
			var refused *protocol.Error
			if _, err := (*slot).Wait(ctx); err != nil && !errors.As(err, &refused) {
				r.t.Fatal(err)
			}
			*slot = nil
		}
		if i >= n {
			continue
		}
		topic, payload, opts := message(i)
		p, err := c.PublishAsync(ctx, topic, payload, opts...)
		if err != nil {
			r.t.Fatal(err)
		}
		*slot = p
	}
}
