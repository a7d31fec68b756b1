package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/internal/workload"
	carillon "github.com/carillon-mq/carillon/sdk/go"
)

// loadSettings make the load's stored topics stored, and let it go as fast as it can.
var loadSettings = []string{
	`CARILLON_TOPICS=[{match: "` + workload.StoredFilter + `", class: stored, history: {count: 10000000}}]`,
	"CARILLON_LIMITS_PUBLISH_RATE=unlimited", "CARILLON_LIMITS_PUBLISH_BYTES=unlimited", "CARILLON_LIMITS_SUBSCRIBE_RATE=unlimited",
	"CARILLON_LIMITS_DRAIN_SPREAD=50ms", "CARILLON_AUTH_CRASH_BUDGET=unlimited", "CARILLON_STORE_CRASH_BUDGET=unlimited",
}

// newLoadBroker is a broker for loads, running.
func newLoadBroker(t *testing.T, settings ...string) *broker {
	t.Helper()
	b := newBroker(t)
	b.env = append(append([]string{}, loadSettings...), settings...)
	b.start()
	return b
}

// total adds up the reports of the rounds of a test.
type total struct {
	rounds int
	workload.Report
}

func (s *total) add(r workload.Report) {
	s.rounds++
	s.Sent += r.Sent
	s.Acked += r.Acked
	s.Lost += r.Lost
	s.Repeated += r.Repeated
	s.Shown += r.Shown
	s.Gaps += r.Gaps
	s.Counted += r.Counted
	s.Kept += r.Kept
	s.Reads += r.Reads
	s.Denied += r.Denied
	s.Faults += r.Faults
	s.Violations = append(s.Violations, r.Violations...)
}

// rounds calls round until the time of the gate is up, or, in a campaign, until so many faults have been injected: as many as say, or
// CARILLON_COUNT. The broker is a new one with an empty store every few rounds.
func rounds(t *testing.T, gate time.Duration, faults int, fresh func() *broker, round func(b *broker, name string) workload.Report) {
	t.Helper()
	const keep = 20
	began := time.Now()
	limited := os.Getenv("CARILLON_CAMPAIGN") != "" || os.Getenv("CARILLON_COUNT") != ""
	faults = count(faults, faults)
	var sum total
	var b *broker
	for !t.Failed() {
		if sum.rounds%keep == 0 {
			if b != nil {
				b.kill()
				os.RemoveAll(b.dir)
			}
			b = fresh()
		}
		sum.add(round(b, "r"+strconv.Itoa(sum.rounds)))
		if limited && sum.rounds%keep == 0 {
			t.Logf("so far %d rounds: %s", sum.rounds, sum.Report)
		}
		if limited && sum.Faults >= faults || !limited && time.Since(began) > gate {
			break
		}
	}
	t.Logf("%d rounds in %s: %s", sum.rounds, time.Since(began).Round(time.Second), sum.Report)
}

// load runs a load while disturb does its worst, then waits until everybody has everything, reads back what is kept, and checks.
func load(t *testing.T, b *broker, opt workload.Options, floor workload.Floor, disturb func(context.Context, *workload.Load)) workload.Report {
	t.Helper()
	report, events, err := runLoad(t, b, opt, floor, disturb)
	if err != nil {
		t.Errorf("%v\n%s%s", err, report, courses(err.Error(), events))
	}
	return report
}

// courses is what has happened, but for messages, to the subscriptions that text names, and what was done to the broker meanwhile.
func courses(text string, events []workload.Event) string {
	named := regexp.MustCompile(`\bs\d+\b`).FindAllString(text, -1)
	var out strings.Builder
	for i, e := range events {
		switch e.Kind {
		case workload.Shown, workload.Sent, workload.Acked, workload.Lost, workload.Refused:
		default:
			if e.Who == "" || slices.Contains(named, e.Who) {
				fmt.Fprintf(&out, "\n%6d %s", i, e)
			}
		}
	}
	return out.String()
}

// tryLoad is load for tests that seed a fault and want the error.
func tryLoad(t *testing.T, b *broker, opt workload.Options, floor workload.Floor, disturb func(context.Context, *workload.Load)) (workload.Report, error) {
	t.Helper()
	report, _, err := runLoad(t, b, opt, floor, disturb)
	return report, err
}

func runLoad(t *testing.T, b *broker, opt workload.Options, floor workload.Floor, disturb func(context.Context, *workload.Load)) (workload.Report, []workload.Event, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 120*time.Second)
	defer cancel()
	l, err := workload.Start(ctx, opt)
	if err != nil {
		return workload.Report{}, nil, err
	}
	defer l.Close()
	defer watchdog(t, b, l)()
	disturb(ctx, l)
	settle, cancel := context.WithTimeout(ctx, 40*time.Second)
	defer cancel()
	if err = l.Finish(settle); err != nil {
		b.dump()
	} else {
		err = errors.Join(l.AuditStored(settle, "resume"), l.AuditHistory(settle, "history"), l.AuditRetained(settle, "snapshot"))
	}
	events := l.Log.Events()
	report := workload.Check(events)
	err = errors.Join(err, report.Err(floor))
	keepEvents(t, opt.Name, events)
	return report, events, err
}

// silence is how long nothing may be heard of a load before everybody has to say what it is doing.
const silence = 15 * time.Second

// watchdog has the broker and this process tell of each of their goroutines when nothing is noted for so long. That ends the broker:
// what stands still is a failure. The function that it returns ends the watch.
func watchdog(t *testing.T, b *broker, l *workload.Load) func() {
	t.Helper()
	stop := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		tick := time.NewTicker(silence / 20)
		defer tick.Stop()
		noted, last := 0, time.Now()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			n := l.Log.Size()
			if n != noted {
				noted, last = n, time.Now()
			}
			if time.Since(last) > silence {
				stacks := make([]byte, 4<<20)
				stacks = stacks[:runtime.Stack(stacks, true)]
				t.Errorf("nothing was heard for %s, behind event %d; the test's own goroutines:\n%s", silence, n, stacks)
				b.dump()
				return
			}
		}
	})
	return func() {
		close(stop)
		watching.Wait()
	}
}

// keepEvents writes the log of a run into the folder that CARILLON_EVENTS names, for whoever looks for the cause of a failure.
func keepEvents(t *testing.T, name string, events []workload.Event) {
	t.Helper()
	dir := os.Getenv("CARILLON_EVENTS")
	if dir == "" {
		return
	}
	f, err := os.Create(filepath.Join(dir, t.Name()+"-"+name+".txt"))
	if err != nil {
		t.Error(err)
		return
	}
	defer f.Close()
	out := bufio.NewWriter(f)
	for i, e := range events {
		fmt.Fprintf(out, "%6d %s\n", i, e)
	}
	if err := out.Flush(); err != nil {
		t.Error(err)
	}
}

// everyKind is one subscription of each kind.
func everyKind(name string) []workload.Subscription {
	return []workload.Subscription{
		{},
		{Filter: name + ".stored.>", NoRetained: true},
		{Filter: name + ".stored.0"},
		{Filter: name + ".memory.>", NoRetained: true},
		{Filter: name + ".retained.>"},
		{Filter: name + ".*.1", NoRetained: true, Leave: 150 * time.Millisecond},
	}
}

// await waits until so many more publishes are acknowledged.
func await(ctx context.Context, t *testing.T, l *workload.Load, acks int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	if err := l.Await(ctx, workload.Acked, acks); err != nil {
		t.Fatal(err)
	}
}

func fault(l *workload.Load, why string) { l.Log.Note(workload.Event{Kind: workload.Fault, Why: why}) }

var patient = []carillon.Option{carillon.WithBuffer(1<<16, 64<<20)}
