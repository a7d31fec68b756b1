package host

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/broker"
)

// G-7: what a plugin may take of the machine is bounded before it runs, and what it takes is measured.
func TestAPluginRunsUnderItsLimits(t *testing.T) {
	t.Parallel()
	self, sum := thisBinary(t)
	limits := Limits{OpenFiles: 100, CPU: 3600 * time.Second, Processes: 5000, Memory: 1 << 50, AddressSpace: 1 << 51}
	for name, spec := range map[string]Spec{
		"bundled":     bundled("a", "auth"),
		"third party": {Name: "a", Path: self, Args: []string{"as:auth"}, SHA256: sum},
	} {
		h := newHost(t, patient())
		spec.Limits = limits
		a := startAuth(t, h, spec)
		id, err := a.Authenticate(t.Context(), broker.Credentials{Token: "limits"})
		if err != nil {
			t.Fatal(err)
		}
		for limit, want := range map[string]string{
			"Max open files": "100", "Max cpu time": "3600", "Max processes": "5000",
			"Max data size": strconv.Itoa(1 << 50), "Max address space": strconv.Itoa(1 << 51),
		} {
			if got := limitIn(id.Attributes["limits"], limit); got[0] != want || got[1] != want {
				t.Errorf("%s: %s is %v, wanted %s", name, limit, got, want)
			}
		}
		if opened, err := strconv.Atoi(asked(t, a, "open files")); err != nil || opened == 0 || opened >= 100 {
			t.Errorf("%s: it has opened %d files of 100000", name, opened)
		}
	}
	mine, err := os.ReadFile("/proc/self/limits")
	if err != nil {
		t.Fatal(err)
	}
	if got := limitIn(string(mine), "Max cpu time"); got[0] != "unlimited" {
		t.Errorf("the host has its plugin's limit of %v", got)
	}
}

// limitIn is the soft and the hard limit of a name in /proc/PID/limits.
func limitIn(limits, name string) [2]string {
	for line := range strings.SplitSeq(limits, "\n") {
		if rest, ok := strings.CutPrefix(line, name); ok {
			fields := strings.Fields(rest)
			return [2]string{fields[0], fields[1]}
		}
	}
	return [2]string{}
}

func TestAPluginThatTakesMoreThanItsLimitsIsEnded(t *testing.T) {
	t.Parallel()
	o := patient()
	o.BackoffMin, o.BackoffMax = time.Hour, time.Hour
	h := newHost(t, o)
	for name, c := range map[string]struct {
		spec Spec
		says string
	}{
		// The shell doubles a text until it gets no more memory.
		"memory":        {Spec{Path: "/bin/sh", Args: []string{"-c", "a=xxxxxxxx; while :; do a=$a$a; done"}, Limits: Limits{Memory: 16 << 20}}, "ended before it was ready: "},
		"address-space": {Spec{Path: "/bin/sh", Args: []string{"-c", "a=xxxxxxxx; while :; do a=$a$a; done"}, Limits: Limits{AddressSpace: 16 << 20}}, "ended before it was ready: "},
		"cpu":           {Spec{Path: "/bin/sh", Args: []string{"-c", "while :; do :; done"}, Limits: Limits{CPU: time.Second}}, "ended before it was ready: signal: killed"},
	} {
		c.spec.Name, c.spec.StartTimeout = name, patience
		if _, err := h.Auth(c.spec); err != nil {
			t.Fatal(err)
		}
		if s := until(t, h, name, in(Backoff, Failed)); !strings.Contains(s.LastError, c.says) {
			t.Errorf("%s: %+v, wanted %q", name, s, c.says)
		}
	}
}

func TestLimitsThatMakeNoSenseAreRefused(t *testing.T) {
	t.Parallel()
	h := newHost(t, patient())
	for name, limits := range map[string]Limits{"negative": {Memory: -1}, "half a second": {CPU: 500 * time.Millisecond}} {
		spec := bundled("a", "auth")
		spec.Limits = limits
		if _, err := h.Auth(spec); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestWhatAPluginTakesOfTheMachineIsMeasured(t *testing.T) {
	t.Parallel()
	h := newHost(t, patient())
	watch := newDeathWatch(t)
	startAuth(t, h, config(bundled("alone", "auth"), `{}`))
	startAuth(t, h, config(bundled("two", "auth"), `{"fork": "`+watch.path+`"}`))
	watch.next(t)
	figures := h.Figures()
	for i, processes := range []int{1, 2} {
		f := figures[i]
		if f.Usage.Processes != processes || f.Usage.Memory < 1<<20 || f.Usage.Memory > 1<<36 {
			t.Errorf("%s: %+v, wanted %d processes", f.Status.Name, f.Usage, processes)
		}
	}
	if gone := usageOf(1 << 30); gone != (Usage{}) {
		t.Errorf("a process that is not there: %+v", gone)
	}
}

func TestCPUOfAPluginIsMeasured(t *testing.T) {
	t.Parallel()
	h := newHost(t, patient())
	a := startAuth(t, h, bundled("a", "auth"))
	asked(t, a, "spin")
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	timeout := time.After(patience)
	for h.Figures()[0].Usage.CPU < 100*time.Millisecond {
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatalf("it computes all the time, and %v were measured", h.Figures()[0].Usage.CPU)
		}
	}
}
