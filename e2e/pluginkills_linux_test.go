package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/internal/require"
	carillon "github.com/carillon-mq/carillon/sdk/go"
)

// pluginLoad asks everything that needs a plugin, again and again, and counts what came of it.
type pluginLoad struct {
	granted atomic.Int64 // to those who have the right
	kept    atomic.Int64 // retained publishes that were committed
	refused atomic.Int64 // to those who have not, or for the moment
	wrong   atomic.Int64 // granted to those who have not
	all     sync.WaitGroup
}

// pluginFaults are how the process of a plugin is made to end, or to stand still.
var pluginFaults = []syscall.Signal{syscall.SIGKILL, syscall.SIGSEGV, syscall.SIGSTOP, syscall.SIGABRT, syscall.SIGKILL, syscall.SIGBUS}

// pluginTimes are what the faults of one plugin took: until the broker knew that the plugin was not well, from the end of the process (which
// writes down its stacks first, when it crashes) or from the signal that stopped it, and until all was right again, from the signal. What is
// known of the first is a bound from above: the broker tells since when its plugin is in the state that it is asked about, perhaps a later one.
type pluginTimes struct {
	seen, again, seenStopped, againStopped []time.Duration
}

// G6, G14: plugins that are killed, crash and stand still under load, both at a time. The broker stays, nobody gets what is not theirs, the
// end of a process is seen at once, and everything is right again soon after.
func TestKilledPluginsAreSeenAndComeBack(t *testing.T) {
	d := openDoors(t, append(slices.Clone(loadSettings), "CARILLON_LIMITS_AUTH_TIMEOUT=500ms")...)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	l := startPluginLoad(ctx, t, d.b)
	times := count(len(pluginFaults), 1000)
	took := map[string]*pluginTimes{"auth": {}, "store": {}}
	t.Run("faults", func(t *testing.T) {
		for kind, name := range map[string]string{"auth": "auth-jwt", "store": "store-bolt"} {
			t.Run(kind, func(t *testing.T) {
				t.Parallel()
				for i := range (times + 1) / 2 {
					l.disturb(t, d.b, kind, name, i, took[kind])
				}
			})
		}
	})
	stop()
	l.all.Wait()
	t.Logf("%d faults; %d granted, %d kept, %d refused, %d wrong", times, l.granted.Load(), l.kept.Load(), l.refused.Load(), l.wrong.Load())
	if n := l.wrong.Load(); n > 0 {
		t.Errorf("%d times somebody got what is not theirs", n)
	}
	if l.refused.Load() < int64(times) {
		t.Errorf("%d refusals in %d faults: the run is invalid", l.refused.Load(), times)
	}
	for kind, p := range took {
		t.Logf("%s: ends seen after %s; right again after %s", kind, spread(p.seen), spread(p.again))
		t.Logf("%s: stopped ones seen after %s; right again after %s", kind, spread(p.seenStopped), spread(p.againStopped))
		if require.Campaign() { // elsewhere the machine has other things to do
			within(t, "99 of 100 ends of a process are seen", quickest(p.seen, 0.99), 100*time.Millisecond) // the load has both processors
			within(t, "everything is right again", p.again, 3*time.Second)
			within(t, "99 of 100 stopped processes are seen", quickest(p.seenStopped, 0.99), 100*time.Millisecond)
			within(t, "everything is right again behind it", p.againStopped, 3*time.Second)
		}
	}
}

// disturb is the i-th fault of a plugin. Of three, one comes when the plugin has been ready for long enough to be started again with the
// shortest wait, and two come right behind another one.
func (l *pluginLoad) disturb(t *testing.T, b *broker, kind, name string, i int, took *pluginTimes) {
	t.Helper()
	fault := pluginFaults[i%len(pluginFaults)]
	rest := time.Duration(0)
	if i%3 == 0 {
		rest = 2100 * time.Millisecond
	}
	var before status
	eventually(t, 10*time.Second, fmt.Sprintf("%s has been ready for %v", name, rest), func() bool {
		before = b.find(name)
		return before.State == "ready" && before.PID > 0 && time.Since(before.Since) > rest
	})
	wait(t, time.Duration(rand.Int64N(int64(50*time.Millisecond))))
	began := time.Now()
	if err := syscall.Kill(before.PID, fault); err != nil {
		t.Fatal(err)
	}
	ended, known := began, time.Time{}
	var watcher sync.WaitGroup
	if fault != syscall.SIGSTOP {
		watcher.Go(func() { ended = lastAlive(t.Context(), before.PID, began) })
	}
	eventually(t, 10*time.Second, name+" is seen not to be well after "+fault.String(), func() bool {
		now := b.find(name)
		known = now.Since // to ask takes a while itself, under this load
		return now.Name != "" && (now.State != "ready" || now.PID != before.PID)
	})
	watcher.Wait()
	saw := max(0, known.Sub(ended))
	l.await(t, b, kind, name, before.PID)
	right := time.Since(began)
	if fault == syscall.SIGSTOP {
		took.seenStopped, took.againStopped = append(took.seenStopped, saw), append(took.againStopped, right)
	} else {
		took.seen, took.again = append(took.seen, saw), append(took.again, right)
	}
	if !alive(b.pid()) {
		t.Fatalf("the broker is gone after %d faults of %s", i+1, name)
	}
}

// lastAlive waits for the end of a process, and returns a time shortly before it, or began if that has passed.
func lastAlive(ctx context.Context, pid int, began time.Time) time.Time {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for at := began; ; at = time.Now() {
		if !alive(pid) || ctx.Err() != nil {
			return began
		}
		began = at
		<-tick.C
	}
}

// startPluginLoad runs until ctx ends.
func startPluginLoad(ctx context.Context, t *testing.T, b *broker) *pluginLoad {
	t.Helper()
	l := &pluginLoad{}
	rights := map[string]any{"carillon": map[string]any{"publish": []string{"ok.>"}, "subscribe": []string{"ok.>"}}}
	good, forged := token(t, "main", mistakesSecret, rights), token(t, "main", "fedcba9876543210fedcba9876543210", rights)
	for range 2 {
		l.all.Go(func() { l.connect(ctx, b, good, &l.granted) })
		l.all.Go(func() { l.connect(ctx, b, forged, &l.wrong) })
		l.all.Go(func() { l.connect(ctx, b, "", &l.wrong) })
	}
	for i := range 2 {
		c := clientAt(t, b.url(), carillon.WithToken(good))
		l.all.Go(func() { l.publish(ctx, c, fmt.Sprintf("ok.%d", i), &l.kept, carillon.Retain()) })
		l.all.Go(func() { l.publish(ctx, c, "secret.topic", &l.wrong) })
		l.all.Go(func() { l.subscribe(ctx, c) })
	}
	return l
}

// connect comes and goes with a token, and counts a success as such.
func (l *pluginLoad) connect(ctx context.Context, b *broker, token string, success *atomic.Int64) {
	for ctx.Err() == nil {
		attempt, cancel := context.WithTimeout(ctx, 2*time.Second)
		c, err := carillon.Dial(attempt, b.url(), carillon.WithToken(token), carillon.WithBackoff(time.Millisecond, 5*time.Millisecond))
		cancel()
		if err == nil {
			success.Add(1)
			leave(c)
		} else {
			l.refused.Add(1)
		}
		pause(ctx)
	}
}

func (l *pluginLoad) publish(ctx context.Context, c *carillon.Client, topic string, success *atomic.Int64, opts ...carillon.PublishOption) {
	for ctx.Err() == nil {
		if _, err := c.Publish(ctx, topic, "x", opts...); err == nil {
			success.Add(1)
		} else {
			l.refused.Add(1)
		}
		pause(ctx)
	}
}

// subscribe asks for what the client has no right to.
func (l *pluginLoad) subscribe(ctx context.Context, c *carillon.Client) {
	for ctx.Err() == nil {
		attempt, cancel := context.WithTimeout(ctx, time.Second)
		for _, err := range c.Subscribe("secret.>").Messages(attempt) {
			if err == nil {
				l.wrong.Add(1)
			} else if _, refused := errors.AsType[*carillon.Error](err); refused {
				l.refused.Add(1)
			}
			break
		}
		cancel()
		pause(ctx)
	}
}

// await waits until another process does what the plugin of that kind is for.
func (l *pluginLoad) await(t *testing.T, b *broker, kind, name string, pid int) {
	t.Helper()
	eventually(t, 20*time.Second, name+" is another process", func() bool {
		now := b.find(name)
		return now.State == "ready" && now.PID != pid
	})
	done := map[string]*atomic.Int64{"auth": &l.granted, "store": &l.kept}[kind]
	at := done.Load()
	eventually(t, 20*time.Second, kind+" works again", func() bool { return done.Load() > at })
}
