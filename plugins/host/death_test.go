//go:build linux

package host

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/internal/require"
)

func TestAPluginGoesWithItsHost(t *testing.T) {
	for name, args := range map[string][]string{
		"one that ignores its lifeline": {"watched"},
		"one of the kit":                {"watched-kit"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			watch := newDeathWatch(t)
			host := exec.Command("/proc/self/exe", append([]string{"as:host"}, append(args, watch.path)...)...)
			host.Stderr = os.Stderr
			if err := host.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = host.Process.Kill(); _ = host.Wait() }) // when the test fails before it does
			conn := watch.next(t)
			killed := time.Now()
			if err := host.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			gone(t, conn, require.Bound(2*time.Second, 10))
			t.Logf("gone after %v", time.Since(killed))
		})
	}
}

// G-1: it is seen at once, and does not take the three health checks of one that hangs.
func TestAStoppedPluginIsKilledAndStartedAgain(t *testing.T) {
	t.Parallel()
	o := quick()
	o.HealthTimeout = 2 * time.Second // in which the first call has to end
	h := newHost(t, o)
	a := startAuth(t, h, bundled("a", "auth"))
	pid := a.Status().PID
	stop(t, h, "a", pid)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := a.Authenticate(ctx, broker.Credentials{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a call to a stopped plugin: %v", err)
	}
	_, err := a.Authenticate(t.Context(), broker.Credentials{}) // without a deadline the kill ends it
	if !errors.Is(err, ErrUnavailable) {
		t.Errorf("got %v, wanted ErrUnavailable", err)
	}
	s := until(t, h, "a", restarted(pid))
	if !strings.Contains(s.LastError, "a signal stopped the process, and it did not go on within 2s") {
		t.Errorf("last error %q", s.LastError)
	}
}

// Limits are given to a process that is traced and stands still for that: such a stop is nobody's signal.
func TestAStoppedPluginThatGoesOnIsKept(t *testing.T) {
	for name, limits := range map[string]Limits{"without limits": {}, "with limits": {OpenFiles: 200, CPU: time.Hour}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log, logger := newLog()
			o := quick()
			o.Logger, o.HealthTimeout = logger, patience
			h := newHost(t, o)
			spec := bundled("a", "auth")
			spec.Limits = limits
			a := startAuth(t, h, spec)
			before := a.Status()
			asked(t, a, "x")
			if text := strings.Join(log.all(), ""); strings.Contains(text, errStopped.Error()) {
				t.Errorf("before anybody stopped it: %s", text)
			}
			for range 3 {
				stop(t, h, "a", before.PID)
				if err := syscall.Kill(before.PID, syscall.SIGCONT); err != nil {
					t.Fatal(err)
				}
				until(t, h, "a", in(Ready))
			}
			if s := a.Status(); s.PID != before.PID || s.Restarts != before.Restarts {
				t.Errorf("it was started again: %+v", s)
			}
		})
	}
}

// A plugin that is stopped and let go all the time, as cpulimit(1) does, misses no health check by that.
func TestAPluginThatIsStoppedAndLetGoAllTheTimeIsKept(t *testing.T) {
	t.Parallel()
	o := quick()
	o.HealthEvery, o.HealthTimeout, o.HealthMisses = time.Millisecond, patience, 1
	h := newHost(t, o)
	a := startAuth(t, h, bundled("a", "auth"))
	before := a.Status()
	for range 300 {
		for _, s := range []syscall.Signal{syscall.SIGSTOP, syscall.SIGCONT} {
			if err := syscall.Kill(before.PID, s); err != nil {
				t.Fatalf("%v: %+v", err, a.Status())
			}
		}
		asked(t, a, "x") // by then it runs
	}
	until(t, h, "a", in(Ready))
	if s := a.Status(); s.PID != before.PID || s.Restarts != before.Restarts {
		t.Errorf("it was started again: %+v", s)
	}
}

// Whatever stops it may come before it is ready, and before its host looks at it.
func TestAPluginThatIsStoppedWhileItStartsIsGivenUpInTime(t *testing.T) {
	t.Parallel()
	o := quick()
	o.StartTimeout, o.BackoffMin, o.BackoffMax = time.Second, time.Hour, time.Hour
	h := newHost(t, o)
	if _, err := h.Auth(bundled("a", "faulty", "stop")); err != nil {
		t.Fatal(err)
	}
	if s := until(t, h, "a", in(Backoff)); !strings.Contains(s.LastError, "not ready after 1s") {
		t.Errorf("last error %q", s.LastError)
	}
}

// stop sends SIGSTOP to a plugin and returns when the host knows that its last thread stands still.
func stop(t *testing.T, h *Host, name string, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	until(t, h, name, func(s Status) bool { return s.State == Degraded && s.Trouble == errStopped.Error() })
}

// script writes an executable that says what it is in its first line.
func script(t *testing.T, path, says string) (sum string) {
	t.Helper()
	content := "#!/bin/sh\ntouch \"$1.ran\"\necho " + says + "\n"
	if err := os.WriteFile(path, []byte(content), 0o755); err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256([]byte(content))
	return hex.EncodeToString(digest[:])
}

func TestAFileWithAnotherSumNeverRuns(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "plugin")
	good := script(t, path, "good")
	bad := script(t, path, "evil")
	h := newHost(t, patient())
	for name, c := range map[string]struct{ sum, says string }{
		"swapped": {good, "wants " + good},
		"open":    {bad, "may be written by everybody"},
	} {
		if name == "open" {
			if err := os.Chmod(path, 0o777); err != nil {
				t.Fatal(err)
			}
		}
		a, err := h.Auth(Spec{Name: name, Path: path, Args: []string{path}, SHA256: c.sum})
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Wait(t.Context()); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
		if s := a.Status(); s.State != Failed || s.PID != 0 {
			t.Errorf("%s: %+v", name, s)
		}
		if err := os.Chmod(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(path + ".ran"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it ran: %v", err)
	}
}

func TestAFileSwappedAfterItsCheckDoesNotRun(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path, evil := filepath.Join(dir, "plugin"), filepath.Join(dir, "evil")
	sum := script(t, path, "good")
	script(t, evil, "evil")
	h := newHost(t, patient())

	image, err := openImage(t.Context(), &Spec{Name: "a", Path: path, Args: []string{path}, SHA256: sum})
	if err != nil {
		t.Fatal(err)
	}
	defer image.close()
	if err := os.Rename(evil, path); err != nil {
		t.Fatal(err)
	}
	p := newProcess(h, newOutput(h.opt.Logger, "a"))
	p.onStart, p.onEnd = func(int) {}, func(error) {}
	p.prepare(image, []string{"PATH=/usr/bin:/bin"}, dir, false)
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	_ = p.Wait(context.Background()) // it is no plugin and ends by itself
	if fault := p.fault(); fault == nil || !strings.Contains(fault.Error(), `"good"`) {
		t.Errorf("what ran said: %v", fault)
	}
	if _, err := os.Stat(path + ".ran"); err != nil {
		t.Errorf("nothing ran: %v", err)
	}
}

func TestRestartsLeaveNothingBehind(t *testing.T) {
	descriptors := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	before := descriptors()
	o := patient()
	o.BackoffMin, o.BackoffMax = time.Millisecond, time.Millisecond
	h := newHost(t, o)
	for name, spec := range map[string]Spec{
		"ends": bundled("", "say", "", "1"), "refused": bundled("", "say", `noise\n`, "0"),
		"kit": config(bundled("", "auth"), `{"fail": "not today"}`),
	} {
		spec.Name = name
		if _, err := h.Auth(spec); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"ends", "refused", "kit"} {
		until(t, h, name, func(s Status) bool { return s.Restarts >= 10 })
	}
	sockets, err := filepath.Glob(filepath.Join(h.folder.path, socketPrefix+"*"))
	if err != nil || len(sockets) > 3 {
		t.Errorf("folders of sockets: %v, %v", sockets, err)
	}
	if err := h.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if after := descriptors(); after > before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}
