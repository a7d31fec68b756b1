//go:build unix

package host

import (
	"context"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// TestMain runs the tests, or, when a test has started this binary again with such an argument, a plugin or a host of theirs.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && strings.HasPrefix(os.Args[1], "as:") {
		actAs(strings.TrimPrefix(os.Args[1], "as:"), os.Args[2:])
		return
	}
	_ = os.Setenv("GORACE", "atexit_sleep_ms=0") // a process with the race detector takes a second to end otherwise
	goleak.VerifyTestMain(m)
}

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

// quick are options for tests: everything that only waits waits less.
func quick() Options {
	return Options{
		PassEnv:    []string{"GORACE"},
		BackoffMin: 10 * time.Millisecond, BackoffMax: 200 * time.Millisecond,
		HealthEvery: 100 * time.Millisecond, HealthTimeout: 300 * time.Millisecond,
	}
}

// patient are quick options for tests that are not about health checks: a machine with much to do may miss some.
func patient() Options {
	o := quick()
	o.HealthTimeout = patience
	return o
}

// newHost makes a host that is closed with the test.
func newHost(t *testing.T, o Options) *Host {
	t.Helper()
	h, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return h
}

// bundled is this binary as a part of itself; role and arguments say what it does.
func bundled(name, role string, args ...string) Spec {
	return Spec{Name: name, Bundled: true, Args: append([]string{"as:" + role}, args...)}
}

// startAuth starts an auth plugin and waits until it is ready.
func startAuth(t *testing.T, h *Host, s Spec) *Auth {
	t.Helper()
	a, err := h.Auth(s)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := a.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	return a
}

func startStore(t *testing.T, h *Host, s Spec) *Store {
	t.Helper()
	store, err := h.Store(s)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := store.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	return store
}

// until waits until the plugin's status is as wanted.
func until(t *testing.T, h *Host, name string, wanted func(Status) bool) Status {
	t.Helper()
	timeout := time.After(patience)
	for {
		changed := h.Changed()
		var status Status
		for _, s := range h.List() {
			if s.Name == name {
				status = s
			}
		}
		if wanted(status) {
			return status
		}
		select {
		case <-changed:
		case <-timeout:
			t.Fatalf("plugin is %v (%d restarts, %s) and not as wanted", status.State, status.Restarts, status.LastError)
		}
	}
}

func in(states ...State) func(Status) bool {
	return func(s Status) bool { return slices.Contains(states, s.State) }
}

// restarted is a plugin that is ready again as another process.
func restarted(pid int) func(Status) bool {
	return func(s Status) bool { return s.State == Ready && s.PID != pid }
}

// logLines collects what is logged.
type logLines struct {
	mu    sync.Mutex
	lines []string
	more  chan struct{}
}

func newLog() (*logLines, *slog.Logger) {
	l := &logLines{more: make(chan struct{}, 1)}
	return l, slog.New(slog.NewTextHandler(l, nil))
}

func (l *logLines) Write(b []byte) (int, error) {
	l.mu.Lock()
	l.lines = append(l.lines, string(b))
	l.mu.Unlock()
	select {
	case l.more <- struct{}{}:
	default:
	}
	return len(b), nil
}

func (l *logLines) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string{}, l.lines...)
}

// line waits for a line with text in it.
func (l *logLines) line(t *testing.T, text string) string {
	t.Helper()
	timeout := time.After(patience)
	for {
		for _, line := range l.all() {
			if strings.Contains(line, text) {
				return line
			}
		}
		select {
		case <-l.more:
		case <-timeout:
			t.Fatalf("no line with %q in the log:\n%s", text, strings.Join(l.all(), ""))
		}
	}
}

// shortDir is a folder whose path leaves room for a socket's.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "h") //nolint:usetesting // the path of t.TempDir is too long for a socket in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// deathWatch hands out an address that a process connects to for its whole life, and tells when it is gone.
type deathWatch struct {
	path string
	l    net.Listener
}

func newDeathWatch(t *testing.T) *deathWatch {
	t.Helper()
	dir := shortDir(t)
	l, err := net.Listen("unix", dir+"/s")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return &deathWatch{path: dir + "/s", l: l}
}

// next waits for a process to connect.
func (w *deathWatch) next(t *testing.T) net.Conn {
	t.Helper()
	if err := w.l.(*net.UnixListener).SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	conn, err := w.l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// gone fails the test unless the process at the other end of conn ends within d.
func gone(t *testing.T, conn net.Conn, d time.Duration) {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(d)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, conn); err != nil {
		t.Errorf("the process is still there after %v: %v", d, err)
	}
}
