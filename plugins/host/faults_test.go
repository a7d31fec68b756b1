//go:build unix

package host

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/broker"
)

// The faults that a plugin may have and the tests that show what each costs. Every one of them is a process.
//
//	G-1  stopped before and during a call      TestAStoppedPluginIsKilledAndStartedAgain, TestAPluginThatStopsInACall…
//	G-2  every so many-th call is slow         TestASlowCallCostsThatCallAlone
//	G-3  ends, is killed, panics; crash loop   TestAPluginThatEndsInACall…, TestASignalInACall…, TestACrashLoop…, TestAPluginThatWasGivenUp…
//	G-4  wrong first lines, addresses          TestEveryBrokenStart…, TestAPluginThatHangsAtStart…, TestHandshakes
//	G-5  answers that break the contract       TestNoAnswerThatIsNotOneLetsAnybodyIn
//	G-6  statuses, 64 MiB, no gRPC at all      TestNoAnswerThatIsNotOneLetsAnybodyIn, TestAPluginThatDoesNotSpeakTheContract…
//	G-7  takes too much of the machine, forks  TestAPluginRunsUnderItsLimits, TestAPluginThatTakesMore…, TestWhatAPluginForked…, TestWhatAPluginLeftBehind…
//	G-8  prints without pause or newline       TestAFloodOfOutput…, TestALineWithoutEnd…, TestLinesOfAPlugin…
//	G-9  its file is swapped                   TestAFileWithAnotherSum…, TestAFileSwapped…
//	G-10 looks for the environment             TestAPluginSeesOfTheEnvironment…
//	G-11 strangers at its socket               TestAThirdPartysSocket…, TestTheFolderIsForOneHost…, TestHandshakes
//	G-12 the host is killed                    TestAPluginGoesWithItsHost, e2e TestNoPluginOutlivesItsBroker
//	G-13 two hosts, one folder                 TestTheFolderIsForOneHostAndSwept
//	G-15 a store that is slow, that stalls     TestASlowStoreIsKept, TestAStoreAppends… ("never"), broker TestAStoreThatStallsOpensItsBreaker
//	G-16 a store that lies                     TestNoAnswerOfAStoreThatIsNotOneIsTaken
//	G-17 a store that keeps nothing            plugintest TestTheStoreSuiteFindsEveryFault (docs/adr/0027)
//	G-18 other versions, missing calls         TestAPluginThatDoesNotSpeakTheContract…, TestEveryBrokenStart…
//	G-19 500 clients after its restart         TestAHerdComesBackToAPluginOneByOne
//	G-20 a history of 10^6 records             storebolt TestALongHistoryIsReadInShortPages
//
// What go-plugin does by itself, and is kept from:
//
//	a line {"@message": 5} ends the host           TestLinesOfAPlugin…
//	a line over 64 KiB blocks the plugin           TestAFloodOfOutput…, TestALineWithoutEnd…
//	it waits for a plugin that stands still        TestAStoppedPlugin…, TestCloseDoesNotWaitForAPluginThatDoesNotEnd
//	the plugin outlives its host                   TestAPluginGoesWithItsHost
//	sockets and single-use settings pile up        TestRestartsLeaveNothingBehind, TestTheFolderIsForOneHostAndSwept
//	the environment reaches the plugin             TestAPluginSeesOfTheEnvironment…
//	2 GiB may come in one answer                   TestNoAnswerThatIsNotOneLetsAnybodyIn
//	another build than the host's is started       TestAPluginIsStartedAnswersAndIsStopped (/proc/self/exe)
//
// And what is nobody's fault: a plugin that a signal stops and lets go (TestAStoppedPluginThatGoesOn…, TestAPluginThatIsStoppedAndLetGo…), and one
// that stands at a breakpoint (attach_test.go).

// G-5, G-6, G6: what is no answer by the contract is no decision, and the plugin is asked again as if nothing had been.
func TestNoAnswerThatIsNotOneLetsAnybodyIn(t *testing.T) {
	t.Parallel()
	h := newHost(t, patient())
	a := startAuth(t, h, bundled("a", "faulty", ""))
	pid := a.Status().PID
	tokens := []string{
		"nothing", "identity without content", "identity without user", "unknown action", "a million grants", "1001 grants", "bad filter", "NUL",
		"expired", "year 9999", "no end", "unknown refusal", "refusal of another kind", "64 MiB",
	}
	for code := 1; code <= 16; code++ {
		tokens = append(tokens, fmt.Sprintf("status %d", code))
	}
	for _, token := range append(tokens, "status 99") {
		id, err := a.Authenticate(t.Context(), broker.Credentials{Token: token})
		if id != nil || err == nil || isRefusal(err) {
			t.Errorf("%s: got %+v and %v, wanted no decision", token, id, err)
		}
		if got := asked(t, a, "x"); got != "u" {
			t.Errorf("after %s: %q", token, got)
		}
	}
	if s := a.Status(); s.PID != pid {
		t.Errorf("the plugin was started again: %+v", s)
	}
}

// G-6, G-18: at the start it is told what is wrong, and no start takes longer than it may.
func TestAPluginThatDoesNotSpeakTheContractIsRefused(t *testing.T) {
	t.Parallel()
	o := patient()
	o.StartTimeout, o.BackoffMin, o.BackoffMax = patience, time.Hour, time.Hour
	h := newHost(t, o)
	cases := map[string]struct {
		how, says string
		state     State
	}{
		"noise":      {"noise", "", Backoff},
		"no-service": {"no-service", "unknown service", Backoff},
		"before":     {"contract before", "serves versions [0]", Failed},
		"to-come":    {"contract to come", "serves versions [2 3]", Failed},
		"no-name":    {"no name", "its description has no name", Backoff},
		"powers":     {"many capabilities", "beyond all bounds", Backoff},
		"no-health":  {"no health", "health: unknown method Health", Backoff},
		"unknown":    {"unknown health", "health: ", Backoff},
		"large":      {"describe is large", "describe: ", Backoff},
		"hangs":      {"describe hangs", "not ready after", Backoff},
	}
	for name, c := range cases {
		spec := bundled(name, "faulty", c.how)
		if name == "hangs" || name == "noise" {
			spec.StartTimeout = 2 * time.Second
		}
		if _, err := h.Auth(spec); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range cases {
		if s := until(t, h, name, in(Backoff, Failed, Ready)); s.State != c.state || !strings.Contains(s.LastError, c.says) {
			t.Errorf("%s: %v, %q, wanted %v, %q", name, s.State, s.LastError, c.state, c.says)
		}
	}
}

// G-18: a call that the plugin does not have is no decision.
func TestAnAuthPluginWithoutItsCallGrantsNothing(t *testing.T) {
	t.Parallel()
	a := startAuth(t, newHost(t, patient()), bundled("a", "faulty", "no-auth"))
	if id, err := a.Authenticate(t.Context(), broker.Credentials{Token: "x"}); id != nil || err == nil || isRefusal(err) {
		t.Errorf("got %+v and %v, wanted no decision", id, err)
	}
}

// G-1: a plugin whose calls are never answered anymore.
func TestAPluginThatHangsIsKilledAndStartedAgain(t *testing.T) {
	t.Parallel()
	h := newHost(t, quick())
	pid := startAuth(t, h, bundled("hangs", "faulty", "health hangs")).Status().PID
	if s := until(t, h, "hangs", restarted(pid)); !strings.Contains(s.LastError, "missed 3 health checks") {
		t.Errorf("last error %q", s.LastError)
	}
}

// G-1: a plugin that stops in the middle of a call; the call ends with its deadline, the process is killed and started again.
func TestAPluginThatStopsInACallIsKilledAndStartedAgain(t *testing.T) {
	t.Parallel()
	h := newHost(t, quick())
	a := startAuth(t, h, bundled("a", "faulty", ""))
	pid := a.Status().PID
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := a.Authenticate(ctx, broker.Credentials{Token: "stop"}); !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, ErrUnavailable) {
		t.Errorf("the call: %v", err)
	}
	until(t, h, "a", restarted(pid))
	if got := asked(t, a, "x"); got != "u" {
		t.Errorf("%q answered", got)
	}
}

// G-3: whatever signal ends it in a call, the call fails, the reason is known, and it comes back.
func TestASignalInACallFailsTheCallAndThePluginComesBack(t *testing.T) {
	t.Parallel()
	h := newHost(t, patient())
	a := startAuth(t, h, bundled("a", "faulty", ""))
	for token, says := range map[string]string{"SEGV": "SIGSEGV", "ABRT": "SIGABRT", "KILL": "killed"} {
		pid := a.Status().PID
		if _, err := a.Authenticate(t.Context(), broker.Credentials{Token: token}); !errors.Is(err, ErrUnavailable) {
			t.Errorf("%s: got %v, wanted ErrUnavailable", token, err)
		}
		if s := until(t, h, "a", restarted(pid)); !strings.Contains(s.LastError, says) && !strings.Contains(s.LastError, "exit status 2") {
			t.Errorf("%s: last error %q", token, s.LastError)
		}
	}
}

// G-2: a call that hangs takes its own deadline and nothing else.
func TestASlowCallCostsThatCallAlone(t *testing.T) {
	t.Parallel()
	a := startAuth(t, newHost(t, patient()), config(bundled("a", "auth"), `{"slow": 5}`))
	for n := 1; n <= 20; n++ {
		limit := patience
		if n%5 == 0 {
			limit = 20 * time.Millisecond
		}
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		_, err := a.Authenticate(ctx, broker.Credentials{Token: "x"})
		cancel()
		if slow := n%5 == 0; slow != errors.Is(err, context.DeadlineExceeded) || !slow && err != nil {
			t.Errorf("call %d: %v", n, err)
		}
	}
	if s := a.Status(); s.Restarts != 0 || s.State != Ready {
		t.Errorf("status %+v", s)
	}
}

// G-8: a line that never ends is cut, and costs no memory.
func TestALineWithoutEndCostsNoMemory(t *testing.T) {
	a := startAuth(t, newHost(t, patient()), bundled("a", "faulty", "endless line"))
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 500 {
		asked(t, a, "x")
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 8<<20 {
		t.Errorf("the host has %d bytes more than before", grown)
	}
}

// G-7: what it forked and left to itself belongs to its group, and goes with it.
func TestWhatAPluginLeftBehindGoesWithIt(t *testing.T) {
	t.Parallel()
	watch := newDeathWatch(t)
	h := newHost(t, patient())
	a := startAuth(t, h, config(bundled("a", "auth"), `{"orphan": "`+watch.path+`"}`))
	orphan, pid := watch.next(t), a.Status().PID
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	gone(t, orphan, patience)
	until(t, h, "a", restarted(pid))
}
