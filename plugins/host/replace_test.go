//go:build unix

package host

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/broker"
)

// asked is the user that the plugin names for a token.
func asked(t *testing.T, a *Auth, token string) string {
	t.Helper()
	id, err := a.Authenticate(t.Context(), broker.Credentials{Token: token})
	if err != nil {
		t.Errorf("token %q: %v", token, err)
		return ""
	}
	return id.User
}

func TestAReplacedPluginFinishesItsCallsAndTheNewOneAnswersAllOthers(t *testing.T) {
	t.Parallel()
	h := newHost(t, patient())
	a := startAuth(t, h, config(bundled("a", "auth"), `{"user": "old"}`))
	pid := a.Status().PID
	busy := newDeathWatch(t)
	var finished string
	done := make(chan struct{})
	go func() {
		defer close(done)
		finished = asked(t, a, "until "+busy.path)
	}()
	held := busy.next(t)
	if err := h.Reload(t.Context(), "a", config(bundled("a", "auth"), `{"user": "new"}`)); err != nil {
		t.Fatal(err)
	}
	if got := asked(t, a, "x"); got != "new" {
		t.Errorf("%q answered, wanted the new one", got)
	}
	if s := a.Status(); s.PID == pid || s.State != Ready || s.Reloads != 1 || s.Restarts != 0 || s.ReloadError != "" {
		t.Errorf("status %+v", s)
	}
	if err := syscall.Kill(pid, 0); err != nil {
		t.Errorf("the old process did not wait for its call: %v", err)
	}
	held.Close()
	receive(t, done)
	if finished != "old" {
		t.Errorf("the call under way was answered by %q, wanted the old one", finished)
	}
	ended(t, pid)
}

// ended waits for the end of a process that is no child of the test's own.
func ended(t *testing.T, pid int) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	timeout := time.After(patience)
	for !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatalf("process %d is still there", pid)
		}
	}
}

func TestAReplacedPluginThatDoesNotFinishIsEnded(t *testing.T) {
	t.Parallel()
	o := patient()
	o.DrainTimeout, o.StopTimeout = 100*time.Millisecond, 100*time.Millisecond
	h := newHost(t, o)
	a := startAuth(t, h, bundled("a", "auth"))
	pid := a.Status().PID
	busy := newDeathWatch(t)
	done := make(chan error, 1)
	go func() {
		_, err := a.Authenticate(t.Context(), broker.Credentials{Token: "until " + busy.path})
		done <- err
	}()
	busy.next(t)
	if err := h.Reload(t.Context(), "a", bundled("a", "auth")); err != nil {
		t.Fatal(err)
	}
	if err := receive(t, done); !errors.Is(err, ErrUnavailable) {
		t.Errorf("the call under way: %v", err)
	}
	ended(t, pid)
}

func TestAReloadThatDoesNotStartLeavesTheOldOneInForce(t *testing.T) {
	t.Parallel()
	self, _ := thisBinary(t)
	o := patient()
	o.StartTimeout = patience
	h := newHost(t, o)
	old := config(bundled("a", "auth"), `{"user": "old"}`)
	a := startAuth(t, h, old)
	pid := a.Status().PID
	hangs := bundled("a", "say-and-hang", "")
	hangs.StartTimeout = 300 * time.Millisecond
	sick := config(bundled("a", "auth"), `{"fail": "no keys yet"}`)
	for name, c := range map[string]struct {
		spec Spec
		says string
	}{
		"hangs":          {hangs, "not ready after 300ms"},
		"ends":           {bundled("a", "say", "", "3"), "exit status 3"},
		"panics":         {bundled("a", "panic"), "boom"},
		"other kind":     {bundled("a", "store"), `of kind "store"`},
		"configuration":  {config(bundled("a", "auth"), `{"usr": 1}`), "usr: unknown key"},
		"refused by it":  {config(bundled("a", "auth"), `{"refuse": "x"}`), "configuration refused"},
		"cannot open":    {sick, "no keys yet"},
		"no such file":   {Spec{Name: "a", Path: "/no/such/plugin"}, "no such file"},
		"another sum":    {Spec{Name: "a", Path: self, SHA256: strings.Repeat("0", 64)}, "it is not run"},
		"name of no use": {Spec{Name: "A", Path: self}, "plugin name"},
	} {
		err := h.Reload(t.Context(), "a", c.spec)
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, wanted %q", name, err, c.says)
		}
		s := a.Status()
		if s.PID != pid || s.State != Ready || s.Reloads != 0 || s.LastError != "" || s.Plugin != "test-auth" {
			t.Errorf("%s: %+v", name, s)
		}
		if name != "name of no use" && !strings.Contains(s.ReloadError, c.says) {
			t.Errorf("%s: the list says %q, wanted %q", name, s.ReloadError, c.says)
		}
		if got := asked(t, a, "x"); got != "old" {
			t.Errorf("%s: %q answered", name, got)
		}
	}
	if err := h.Reload(t.Context(), "b", old); !errors.Is(err, ErrNoPlugin) {
		t.Errorf("a plugin that is not there: %v", err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	until(t, h, "a", restarted(pid))
	if got := asked(t, a, "x"); got != "old" {
		t.Errorf("after a restart %q answered", got)
	}
}

func TestAReloadForgivesWhatWas(t *testing.T) {
	t.Parallel()
	o := patient()
	o.BackoffMin, o.BackoffMax, o.HealthyAfter = time.Second, time.Hour, time.Hour
	h := newHost(t, o)
	spec := bundled("a", "auth")
	a := startAuth(t, h, spec)
	crash := func() Status {
		pid := a.Status().PID
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		return until(t, h, "a", in(Backoff))
	}
	pid := a.Status().PID
	crash()
	until(t, h, "a", restarted(pid)) // the next wait would be twice as long
	if err := h.Reload(t.Context(), "a", spec); err != nil {
		t.Fatal(err)
	}
	if s := crash(); s.RetryAt.Sub(s.Since) > o.BackoffMin {
		t.Errorf("the next start is due after %v, wanted the shortest wait, %v", s.RetryAt.Sub(s.Since), o.BackoffMin)
	}
}

func TestAReloadEndsWithItsHost(t *testing.T) {
	t.Parallel()
	h := newHost(t, patient())
	startAuth(t, h, bundled("a", "auth"))
	answered := make(chan error, 1)
	go func() { answered <- h.Reload(context.Background(), "a", bundled("a", "say-and-hang", "")) }()
	until(t, h, "a", in(Ready))
	if err := h.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := receive(t, answered); err == nil {
		t.Error("the reload is said to have succeeded")
	}
	if err := h.Reload(t.Context(), "a", bundled("a", "auth")); !errors.Is(err, errClosed) {
		t.Errorf("a reload after Close: %v", err)
	}
}

func TestAPluginThatWasGivenUpComesBackByAReload(t *testing.T) {
	t.Parallel()
	o := patient()
	o.BackoffMin, o.BackoffMax = time.Millisecond, time.Millisecond
	o.CrashBudget, o.CrashWindow = 3, time.Hour
	h := newHost(t, o)
	for name, spec := range map[string]Spec{
		"crashes": bundled("crashes", "say", "", "1"), "refused": config(bundled("refused", "auth"), `{"usr": 1}`),
	} {
		a, err := h.Auth(spec)
		if err != nil {
			t.Fatal(err)
		}
		s := until(t, h, name, func(s Status) bool { return s.State == Failed && s.PID == 0 })
		if name == "crashes" && (s.Restarts != 3 || !strings.Contains(s.LastError, "ended 4 times within 1h") || time.Until(s.RetryAt) < 50*time.Minute) {
			t.Errorf("after the crashes: %+v", s)
		}
		if name == "refused" && !s.RetryAt.IsZero() {
			t.Errorf("after the refusal: %+v", s)
		}
		if err := h.Reload(t.Context(), name, spec); err == nil {
			t.Errorf("%s: a reload of what does not start succeeded", name)
		}
		if err := h.Reload(t.Context(), name, bundled(name, "auth")); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got := asked(t, a, "x"); got != "u" {
			t.Errorf("%s: %q answered", name, got)
		}
	}
}

func TestAStoreThatNeedsItsFileAloneIsHandedOver(t *testing.T) {
	t.Parallel()
	h := newHost(t, patient())
	lock := `{"lock": "` + filepath.Join(shortDir(t), "lock") + `"}`
	s := startStore(t, h, config(bundled("s", "store"), lock))
	_, feedEnd := follow(t, s)
	for range 3 {
		pid := s.Status().PID
		if err := h.Reload(t.Context(), "s", config(bundled("s", "store"), lock)); err != nil {
			t.Fatal(err)
		}
		if a := receive(t, appendOne(s, "a")); a.err != nil {
			t.Errorf("append to the new one: %v", a.err)
		}
		ended(t, pid)
	}
	if err := receive(t, feedEnd); !errors.Is(err, ErrUnavailable) {
		t.Errorf("the feed ended with %v", err)
	}
	pid := s.Status().PID
	for spec, says := range map[*Spec]string{
		{Name: "s", Bundled: true, Args: []string{"as:store"}, Config: []byte(`{"fail": "disk is full"}`)}: "disk is full",
		{Name: "s", Bundled: true, Args: []string{"as:auth"}}:                                              `of kind "auth"`,
	} {
		if err := h.Reload(t.Context(), "s", *spec); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, wanted %q", err, says)
		}
		if got := s.Status(); got.State != Ready || got.Reloads != 3 || !strings.Contains(got.ReloadError, says) {
			t.Errorf("status %+v", got)
		}
		if a := receive(t, appendOne(s, "a")); a.err != nil {
			t.Errorf("append after a reload that failed: %v", a.err)
		}
	}
	if got := s.Status(); got.PID == pid {
		t.Error("the store was not away for the one that could not open its file")
	}
}

// A store that says that it can be shared is opened while the old process has it open, as its lock shows.
func TestAStoreThatCanBeSharedStartsBesideTheOldOne(t *testing.T) {
	t.Parallel()
	h := newHost(t, patient())
	lock := `{"lock": "` + filepath.Join(shortDir(t), "lock") + `"}`
	s := startStore(t, h, config(bundled("s", "shared-store"), lock))
	pid := s.Status().PID
	err := h.Reload(t.Context(), "s", config(bundled("s", "shared-store"), lock))
	if err == nil || !strings.Contains(err.Error(), "is open elsewhere") || s.Status().PID != pid {
		t.Errorf("got %v, wanted the lock of the old one in the way", err)
	}
	if err := h.Reload(t.Context(), "s", bundled("s", "shared-store")); err != nil {
		t.Error(err)
	}
	if a := receive(t, appendOne(s, "a")); a.err != nil {
		t.Error(a.err)
	}
	ended(t, pid)
}

func TestAPluginThatIsNotWellIsDegradedUntilItIs(t *testing.T) {
	t.Parallel()
	o := patient()
	o.HealthMisses = 1 << 20
	h := newHost(t, o)
	a := startAuth(t, h, bundled("a", "auth"))
	asked(t, a, "sick")
	s := until(t, h, "a", in(Degraded))
	if !strings.Contains(s.Trouble, "feels sick") || s.Detail != "feels sick" || !s.State.Up() || s.LastError != "" {
		t.Errorf("status %+v", s)
	}
	if err := a.Wait(t.Context()); err != nil {
		t.Errorf("it is called and %v", err)
	}
	asked(t, a, "well")
	if s := until(t, h, "a", in(Ready)); s.Restarts != 0 || s.Detail != "" || s.Trouble != "" {
		t.Errorf("status %+v", s)
	}
}
