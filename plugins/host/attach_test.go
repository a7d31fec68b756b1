//go:build unix

package host

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/broker"
)

// debugged is a plugin that a person has started.
type debugged struct {
	cmd   *exec.Cmd
	ended chan error
}

// debug starts this binary in a role as a person does, to listen at a path, and returns when it does.
func debug(t *testing.T, role, path string) *debugged {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	d := &debugged{cmd: exec.Command(self, "as:"+role, "--debug=unix:"+path), ended: make(chan error, 1)}
	said, err := d.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(said)
	if line, err := lines.ReadString('\n'); err != nil || !strings.Contains(line, " waits at unix:"+path) {
		t.Fatalf("it says %q, %v", line, err)
	}
	go func() {
		_, _ = io.Copy(io.Discard, lines)
		d.ended <- d.cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = d.cmd.Process.Kill() // most have ended
		if err := <-d.ended; err != nil {
			t.Logf("the plugin under a debugger: %v", err)
		}
	})
	return d
}

// signal ends it, or lets it stand still and go on.
func (d *debugged) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := d.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

func (d *debugged) waitEnd(t *testing.T) {
	t.Helper()
	d.ended <- receive(t, d.ended)
}

func attachTo(path string) Spec { return Spec{Name: "a", Attach: "unix:" + path} }

func TestAPluginUnderADebuggerIsAskedAndNeverEnded(t *testing.T) {
	t.Parallel()
	path := filepath.Join(shortDir(t), "s")
	d := debug(t, "auth", path)
	log, logger := newLog()
	o := patient()
	o.Logger = logger
	h := newHost(t, o)
	a := startAuth(t, h, config(attachTo(path), `{"user": "ann"}`))
	if got := asked(t, a, "x"); got != "ann" {
		t.Errorf("%q answered", got)
	}
	s := a.Status()
	if s.State != Attached || !s.State.Up() || s.Attach != "unix:"+path || s.Plugin != "test-auth" || s.Bundled {
		t.Errorf("status %+v", s)
	}
	if s.PID != d.cmd.Process.Pid && s.PID != 0 {
		t.Errorf("pid %d, wanted %d", s.PID, d.cmd.Process.Pid)
	}
	log.line(t, "UNSUPERVISED")
	if err := h.Close(t.Context()); err != nil {
		t.Error(err)
	}
	again := newHost(t, patient()) // what was attached to is there for the next one, with the configuration it has
	if got := asked(t, startAuth(t, again, config(attachTo(path), `{"user": "bob"}`)), "x"); got != "ann" {
		t.Errorf("%q answered the second host", got)
	}
}

// A breakpoint is no fault: nobody ends the process, calls end with their own deadlines, nobody is let in.
func TestAPluginAtABreakpointIsWaitedFor(t *testing.T) {
	t.Parallel()
	path := filepath.Join(shortDir(t), "s")
	d := debug(t, "auth", path)
	h := newHost(t, quick())
	a := startAuth(t, h, attachTo(path))
	d.signal(t, syscall.SIGSTOP)
	until(t, h, "a", func(s Status) bool { return s.State == Degraded && strings.Contains(s.Trouble, "breakpoint") })
	ctx, cancel := context.WithTimeout(t.Context(), 5*h.opt.HealthTimeout) // far beyond what a process of the host's own would have
	defer cancel()
	if id, err := a.Authenticate(ctx, broker.Credentials{Token: "x"}); id != nil || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a call at a breakpoint: %v, %v", id, err)
	}
	if s := a.Status(); s.State != Degraded {
		t.Errorf("after that: %+v", s)
	}
	d.signal(t, syscall.SIGCONT)
	until(t, h, "a", in(Attached))
	if got := asked(t, a, "x"); got != "u" {
		t.Errorf("%q answered", got)
	}
	if s := a.Status(); s.Restarts != 0 || s.Trouble != "" {
		t.Errorf("status %+v", s)
	}
}

// The breakpoint may as well be where the plugin is configured.
func TestAPluginMayStandAtABreakpointWhileItIsConfigured(t *testing.T) {
	t.Parallel()
	path := filepath.Join(shortDir(t), "s")
	d := debug(t, "auth", path)
	d.signal(t, syscall.SIGSTOP)
	o := quick()
	o.StartTimeout = 100 * time.Millisecond
	h := newHost(t, o)
	a, err := h.Auth(attachTo(path))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*o.StartTimeout)
	defer cancel()
	if err := a.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("while it stands still: %v", err)
	}
	if s := a.Status(); s.State != Starting || s.LastError != "" {
		t.Errorf("status %+v", s)
	}
	d.signal(t, syscall.SIGCONT)
	until(t, h, "a", in(Attached))
}

func TestAPluginUnderADebuggerIsConnectedToWheneverItIsThere(t *testing.T) {
	t.Parallel()
	path := filepath.Join(shortDir(t), "s")
	log, logger := newLog()
	o := quick()
	o.Logger = logger
	o.CrashBudget = 1
	h := newHost(t, o)
	a, err := h.Auth(attachTo(path))
	if err != nil {
		t.Fatal(err)
	}
	var tries []time.Time
	for last := (time.Time{}); len(tries) < 4; {
		s := until(t, h, "a", func(s Status) bool { return s.State == Backoff && !s.RetryAt.Equal(last) })
		if last = s.RetryAt; !strings.Contains(s.LastError, "no such file") || s.Restarts != 0 {
			t.Errorf("before it is there: %+v", s)
		}
		tries = append(tries, last)
	}
	if n := strings.Count(strings.Join(log.all(), ""), "no such file"); n != 1 {
		t.Errorf("that it is not there was logged %d times in %d tries", n, len(tries))
	}
	for n := range 3 {
		d := debug(t, "auth", path) // the second one finds the socket of the first, which was killed
		if s := until(t, h, "a", in(Attached)); s.Restarts != n {
			t.Errorf("connected for the %d. time: %+v", n+1, s)
		}
		d.signal(t, syscall.SIGKILL)
		if s := until(t, h, "a", in(Backoff)); s.RetryAt.IsZero() || s.LastError == "" {
			t.Errorf("without it: %+v", s)
		}
		if _, err := a.Authenticate(t.Context(), broker.Credentials{}); !errors.Is(err, ErrUnavailable) {
			t.Errorf("a call without it: %v", err)
		}
		d.waitEnd(t)
	}
}

func TestAReloadConnectsAnewAndAProcessMayTakeItsPlace(t *testing.T) {
	t.Parallel()
	path := filepath.Join(shortDir(t), "s")
	d := debug(t, "auth", path)
	h := newHost(t, patient())
	a := startAuth(t, h, attachTo(path))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := h.Reload(ctx, "a", attachTo(path)); err != nil {
		t.Fatal(err)
	}
	if s := a.Status(); s.State != Attached || s.Reloads != 1 {
		t.Errorf("after a reload: %+v", s)
	}
	if got := asked(t, a, "x"); got != "u" {
		t.Errorf("%q answered", got)
	}
	if err := h.Reload(ctx, "a", bundled("a", "auth")); err != nil {
		t.Fatal(err)
	}
	if s := a.Status(); s.State != Ready || s.Attach != "" || s.PID == d.cmd.Process.Pid {
		t.Errorf("with a process of its own: %+v", s)
	}
	if err := h.Reload(ctx, "a", attachTo(path)); err != nil {
		t.Fatal(err)
	}
	if s := a.Status(); s.State != Attached {
		t.Errorf("attached again: %+v", s)
	}
	d.signal(t, syscall.SIGINT)
	d.waitEnd(t)
	until(t, h, "a", in(Backoff))
	if err := h.Reload(ctx, "a", attachTo(path)); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("a reload without it: %v", err)
	}
}

func TestAStoreUnderADebuggerKeepsWhatItHas(t *testing.T) {
	t.Parallel()
	path := filepath.Join(shortDir(t), "s")
	d := debug(t, "store", path)
	h := newHost(t, patient())
	s := startStore(t, h, attachTo(path))
	feeds, ended := follow(t, s)
	receive(t, feeds)
	if a := receive(t, appendOne(s, "a")); a.err != nil {
		t.Errorf("append: %v", a.err)
	}
	if err := h.Reload(t.Context(), "a", attachTo(path)); err != nil {
		t.Fatal(err)
	}
	if err := receive(t, ended); !errors.Is(err, ErrUnavailable) {
		t.Errorf("the feed ended with %v", err)
	}
	if head, err := s.LoadRetained(t.Context(), func([]broker.Record) error { return nil }); head != 1 || err != nil {
		t.Errorf("it holds %d records, %v", head, err)
	}
	pending := appendOne(s, "never")
	d.signal(t, syscall.SIGKILL)
	if a := receive(t, pending); !errors.Is(a.err, ErrUnavailable) {
		t.Errorf("what was under way: %v", a.err)
	}
}

// A stranger's socket is not asked, and neither is anything else.
func TestWhatIsNoSocketOfThisUsersIsNotAttachedTo(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(dir, "real"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	link := filepath.Join(dir, "link")
	if err := os.Symlink(l.Addr().String(), link); err != nil {
		t.Fatal(err)
	}
	h := newHost(t, patient())
	for name, path := range map[string]string{"file": file, "link": link} {
		if _, err := h.Auth(Spec{Name: name, Attach: "unix:" + path}); err != nil {
			t.Fatal(err)
		}
		if s := until(t, h, name, in(Backoff)); !strings.Contains(s.LastError, "is no socket of the user") {
			t.Errorf("%s: %+v", name, s)
		}
	}
	for name, spec := range map[string]Spec{
		"relative": {Attach: "unix:s"}, "a port": {Attach: "tcp:127.0.0.1:1"}, "bundled": {Attach: "unix:/s", Bundled: true},
		"a path too": {Attach: "unix:/s", Path: "/bin/sh"}, "limits": {Attach: "unix:/s", Limits: Limits{OpenFiles: 100}},
	} {
		spec.Name = "a"
		if _, err := h.Auth(spec); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// Who has a broker ask a plugin that stands at a breakpoint can change their mind, while the old one answers and when there is none.
func TestAReloadToAPluginAtABreakpointCanBeTakenBack(t *testing.T) {
	t.Parallel()
	path := filepath.Join(shortDir(t), "s")
	debug(t, "auth", path).signal(t, syscall.SIGSTOP)
	h := newHost(t, patient())
	a := startAuth(t, h, config(bundled("a", "auth"), `{"user": "ann"}`))
	first := make(chan error, 1)
	go func() { first <- h.Reload(t.Context(), "a", attachTo(path)) }()
	waits := func() bool {
		p := h.find("a")
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.onAsk != nil
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !waits(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatal("the reload does not come to the plugin at the breakpoint")
		}
	}
	if got := asked(t, a, "x"); got != "ann" {
		t.Errorf("%q answered meanwhile", got)
	}
	if err := h.Reload(t.Context(), "a", config(bundled("a", "auth"), `{"user": "bob"}`)); err != nil {
		t.Errorf("the reload behind it: %v", err)
	}
	if err := receive(t, first); !errors.Is(err, errSuperseded) {
		t.Errorf("the one at the breakpoint: %v", err)
	}
	if got := asked(t, a, "x"); got != "bob" {
		t.Errorf("%q answered behind both", got)
	}
}
