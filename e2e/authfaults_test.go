package e2e

import (
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/internal/require"
)

// authFault is a way for an auth plugin to fail.
type authFault struct {
	name    string // as plugins/internal/faultyauth knows it
	outside bool   // it does not: this is done to it
	begin   func(f *faultyAuth)
	signal  syscall.Signal // sent to its process whenever there is one that is ready
	end     func(f *faultyAuth)
	ends    bool // its process ends again and again: who asks comes behind its first, second and third start, too
	reload  bool // it has ended again and again, and waits long before the next start: its operator asks for one
}

var authFaults = []authFault{
	{name: "is killed", outside: true, signal: syscall.SIGKILL, ends: true, reload: true},
	{name: "is stopped", outside: true, signal: syscall.SIGSTOP, reload: true},
	{name: "ends at its start", begin: failToStart("backoff"), reload: true},
	{name: "hangs at its start", begin: (*faultyAuth).hang, reload: true},
	{name: "is another file", outside: true, begin: (*faultyAuth).swap, end: (*faultyAuth).putBack, reload: true},
	{name: "panics in a call", ends: true, reload: true},
	{name: "ends in a call", ends: true, reload: true},
	{name: "hangs in a call"},
	{name: "is too late"},
	{name: "hangs up"},
	{name: "answers with statuses"},
	{name: "decides nothing"},
	{name: "leaves something"},
	{name: "says too much"},
	{name: "unknown words"},
	{name: "bad filter"},
	{name: "no time"},
	{name: "too much time"},
	{name: "expired"},
	{name: "too large"},
	{name: "garbage"},
}

// cycle is how many connects, subscribes and publishes come between the beginning and the end of a fault.
const cycle = 50

// G6: whatever is wrong with the auth plugin, nobody gets what is not theirs, who has the right is told to come back and never that they
// have not, who is connected stays, and behind the fault all is right again soon.
func TestNoFaultOfAnAuthPluginGrantsAnything(t *testing.T) {
	f := newFaultyAuth(t)
	canary := startCanary(t, f.b)
	asks := newAsks(t, f.b, 4)
	var all []time.Duration
	for _, fault := range authFaults {
		var again []time.Duration
		before := asks.told()
		for rest := count(16, 1000); rest > 0; rest -= cycle {
			again = append(again, f.during(fault, asks, min(rest, cycle)))
		}
		found := asks.told().less(before)
		t.Logf("%-22s %+v; right again after %s", fault.name, found, spread(again))
		if 2*found.Unavailable < found.Unavailable+found.Granted {
			t.Errorf("%s: who has the right was mostly granted it: the run is invalid", fault.name)
		}
		all = append(all, again...)
		if t.Failed() {
			break // all that follows would say the same
		}
	}
	canary.stop(t)
	t.Logf("%d faults, %+v; right again after %s", len(authFaults), asks.told(), spread(all))
	if require.Campaign() { // elsewhere the machine has other things to do
		within(t, "all is right again", all, 3*time.Second)
	}
}

// faultyAuth is a broker with an auth plugin that fails when it is told to.
type faultyAuth struct {
	t                      *testing.T
	b                      *broker
	plugin, spare, control string
}

func newFaultyAuth(t *testing.T, settings ...string) *faultyAuth {
	t.Helper()
	f := buildFaultyAuth(t)
	f.b.env = append(slices.Clone(loadSettings), "CARILLON_LIMITS_AUTH_TIMEOUT=300ms", "CARILLON_LIMITS_SESSIONS_PER_USER=unlimited")
	f.b.env = append(f.b.env, settings...)
	f.b.start()
	return f
}

// during has n of each asked while there is the fault, and returns how long after its end all was right.
func (f *faultyAuth) during(fault authFault, asks *asks, n int) time.Duration {
	f.t.Helper()
	if !fault.outside {
		f.set(fault.name)
	}
	if fault.begin != nil {
		fault.begin(f)
	}
	var keeper sync.WaitGroup
	over := make(chan struct{})
	keeper.Go(func() { f.keep(fault.signal, over) })
	if fault.ends {
		f.askBetween(fault, asks, n)
	} else {
		asks.all(n)
	}
	close(over)
	keeper.Wait()
	if fault.end != nil {
		fault.end(f)
	}
	f.set("")
	ended := time.Now()
	if fault.reload {
		eventually(f.t, 20*time.Second, "the plugin is started again", func() bool { return f.b.post("/v1/admin/plugins/auth/reload") == "200" })
	}
	asks.rightAgain()
	return time.Since(ended)
}

// keep sends the signal to each process that gets ready.
func (f *faultyAuth) keep(signal syscall.Signal, over <-chan struct{}) {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for signal != 0 {
		if p := f.b.find("auth"); p.State == "ready" && p.PID > 0 {
			_ = syscall.Kill(p.PID, signal) // it may have ended
		}
		select {
		case <-tick.C:
		case <-over:
			return
		}
	}
}

// set names the fault that the plugin has from now on.
func (f *faultyAuth) set(fault string) {
	f.t.Helper()
	write(f.t, f.control+".new", fault)
	if err := os.Rename(f.control+".new", f.control); err != nil {
		f.t.Fatal(err)
	}
}

// askBetween has n of each asked in parts, between which the plugin has been started again.
func (f *faultyAuth) askBetween(fault authFault, asks *asks, n int) {
	f.t.Helper()
	const parts = 3
	before := f.b.find("auth").Restarts
	for part := range parts {
		eventually(f.t, 20*time.Second, "the plugin has been started again", func() bool {
			now := f.b.find("auth")
			return now.Restarts >= before+part && (fault.signal != 0 || now.State == "ready")
		})
		asks.all(n*(part+1)/parts - n*part/parts)
	}
}

// failToStart ends the plugin, and returns when its next start has come to where it fails.
func failToStart(state string) func(f *faultyAuth) {
	return func(f *faultyAuth) {
		f.t.Helper()
		before := f.b.plugin("auth")
		killProcess(before.PID)
		eventually(f.t, 20*time.Second, "the next start fails", func() bool {
			now := f.b.find("auth")
			return now.State == state && now.Restarts > before.Restarts
		})
	}
}

// hang ends the plugin, and returns when the next one hangs at its start.
func (f *faultyAuth) hang() {
	f.t.Helper()
	hangs := f.control + ".hangs"
	_ = os.Remove(hangs) // of the time before
	f.kill()
	eventually(f.t, 20*time.Second, "the plugin hangs at its start", func() bool {
		_, err := os.Stat(hangs)
		return err == nil
	})
}

func (f *faultyAuth) kill() { killProcess(f.b.plugin("auth").PID) }

// swap puts another file in the plugin's place.
func (f *faultyAuth) swap() {
	f.t.Helper()
	write(f.t, f.plugin+".other", "#!/bin/sh\necho another\n")
	if err := os.Rename(f.plugin+".other", f.plugin); err != nil {
		f.t.Fatal(err)
	}
	failToStart("failed")(f)
}

func (f *faultyAuth) putBack() {
	f.t.Helper()
	if err := os.Link(f.spare, f.plugin+".back"); err != nil {
		f.t.Fatal(err)
	}
	if err := os.Rename(f.plugin+".back", f.plugin); err != nil {
		f.t.Fatal(err)
	}
}
