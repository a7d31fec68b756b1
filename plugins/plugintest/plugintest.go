// Package plugintest is the plugin contract as tests: against an executable, over the wire, with the host that a broker uses.
//
//	func TestContract(t *testing.T) {
//		path := plugintest.Build(t, ".")
//		plugintest.Store(t, plugintest.Plugin{Path: path, Config: func(dir string) string { return `{"dir": "` + dir + `"}` }})
//	}
//
// Store runs the contract of a store, crashes included; Auth runs the contract of an authenticator with credentials that the
// plugin's author knows the right answers for. A test of this package proves the suite: it fails for each of a list of faults.
package plugintest

import (
	"context"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/plugins/host"
)

// Plugin is the executable to test.
type Plugin struct {
	Path    string
	Args    []string
	Bundled bool // speak without TLS, as with the plugins that are part of the broker

	// Config makes the plugin's configuration, a JSON object, for an empty folder that it may use for its data. The same
	// folder comes again when the plugin is to find its data again.
	Config func(dir string) string

	// Kills is how often the crash tests kill the plugin; 0 is 20.
	Kills int
}

// patience bounds every wait for the plugin.
const patience = 30 * time.Second

// Build builds the main package pkg, for `go build`, and returns the path of the executable, which is removed with the test.
func Build(t testing.TB, pkg string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "plugin")
	if runtime.GOOS == "windows" {
		path += ".exe"
	}
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", path, pkg)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build %s: %v\n%s", pkg, err, out)
	}
	return path
}

func (p Plugin) spec(dir string) host.Spec {
	s := host.Spec{Name: "under-test", Path: p.Path, Args: p.Args, Bundled: p.Bundled}
	if p.Config != nil {
		s.Config = []byte(p.Config(dir))
	}
	return s
}

// newHost returns a host that restarts at once and is closed with the test. The plugin's log goes to the test's.
func newHost(t *testing.T) *host.Host {
	t.Helper()
	h, err := host.New(host.Options{
		BackoffMin: 10 * time.Millisecond, BackoffMax: 100 * time.Millisecond,
		PassEnv: []string{"GORACE"}, // for plugins built with the race detector
		Logger:  slog.New(slog.NewTextHandler(logTo{t}, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeHost(t, h) })
	return h
}

func closeHost(t *testing.T, h *host.Host) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := h.Close(ctx); err != nil {
		t.Error(err)
	}
}

// waiter is what host.Auth and host.Store have in common.
type waiter interface {
	Wait(ctx context.Context) error
	Status() host.Status
}

func waitReady(t *testing.T, w waiter) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := w.Wait(ctx); err != nil {
		t.Fatalf("the plugin does not become ready: %v", err)
	}
}

// kill kills the plugin's process without warning and returns when another one is ready.
func kill(t *testing.T, h *host.Host, w waiter) {
	t.Helper()
	pid := w.Status().PID
	killProcess(t, pid)
	waitRestarted(t, h, w, pid)
}

func killProcess(t *testing.T, pid int) {
	t.Helper()
	p, err := os.FindProcess(pid)
	if err == nil {
		err = p.Kill()
	}
	if err != nil {
		t.Fatalf("kill %d: %v", pid, err)
	}
}

// waitRestarted returns when a process other than pid is ready.
func waitRestarted(t *testing.T, h *host.Host, w waiter, pid int) {
	t.Helper()
	timeout := time.After(patience)
	for {
		changed := h.Changed()
		if s := w.Status(); s.State == host.Ready && s.PID != pid {
			return
		}
		select {
		case <-changed:
		case <-timeout:
			t.Fatalf("the plugin is not ready again %v after it was killed: %+v", patience, w.Status())
		}
	}
}

// logTo writes to a test's log.
type logTo struct{ t *testing.T }

var _ io.Writer = logTo{}

func (l logTo) Write(b []byte) (int, error) {
	if l.t.Context().Err() == nil { // not after the end
		l.t.Logf("%s", b)
	}
	return len(b), nil
}
