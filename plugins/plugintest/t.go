package plugintest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"
)

// Bounds of what a case says.
const (
	maxFailures = 10
	maxFailure  = 4 << 10
)

// T is one run of a case: what it may use, and what it has found. Fatalf and Skipf end the goroutine that calls them.
type T struct {
	ctx    context.Context
	plugin Plugin
	about  *About

	mu       sync.Mutex
	failures []finding
	warnings []string
	notes    []string
	skipped  string
	cleanups []func()
	words    []string // what the plugin printed last
}

// patience bounds a wait for which the contract has no time.
func (t *T) patience() time.Duration {
	if t.plugin.Patience > 0 {
		return t.plugin.within(t.plugin.Patience)
	}
	return t.plugin.within(patience)
}

// Context ends with the case.
func (t *T) Context() context.Context { return t.ctx }

// Errorf notes what was expected and what came, and goes on.
func (t *T) Errorf(format string, args ...any) {
	text := strings.TrimRight(fmt.Sprintf(format, args...), "\n")
	if len(text) > maxFailure {
		text = text[:maxFailure] + " …"
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range t.failures {
		if mistake(t.failures[i].text) == mistake(text) {
			t.failures[i].times++
			return
		}
	}
	if len(t.failures) < maxFailures {
		t.failures = append(t.failures, finding{text, 1})
	}
}

// Fatalf is Errorf and the end of the case.
func (t *T) Fatalf(format string, args ...any) {
	t.Errorf(format, args...)
	runtime.Goexit()
}

// Fatal is Fatalf with an error.
func (t *T) Fatal(err error) { t.Fatalf("%v", err) }

// Error is Errorf with an error.
func (t *T) Error(err error) { t.Errorf("%v", err) }

// Skipf ends the case without an outcome, and says why.
func (t *T) Skipf(format string, args ...any) {
	t.mu.Lock()
	t.skipped = fmt.Sprintf(format, args...)
	t.mu.Unlock()
	runtime.Goexit()
}

// Logf notes something worth knowing of a case that passes.
func (t *T) Logf(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.notes = append(t.notes, fmt.Sprintf(format, args...))
}

// Warnf notes of a case that passes what its reader should know without asking for it.
func (t *T) Warnf(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.warnings = append(t.warnings, fmt.Sprintf(format, args...))
}

// Failed reports whether anything was found.
func (t *T) Failed() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.failures) > 0
}

// Cleanup has f called after the case, the last one first.
func (t *T) Cleanup(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cleanups = append(t.cleanups, f)
}

// TempDir is a new folder, removed after the case.
func (t *T) TempDir() string {
	dir, err := os.MkdirTemp("", "carillon-plugintest-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// dataDir is a new folder for the plugin's data.
func (t *T) dataDir() string {
	dir := t.TempDir()
	if err := t.plugin.prepare(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

// start starts the plugin with a folder for its data, as a broker does: a start that fails for a reason that may pass is repeated for
// a while. The process ends with the case.
func (t *T) start(dir string) *process {
	for began := time.Now(); ; {
		in, err := start(t.ctx, t.plugin, launch{}, t.about, dir)
		if in != nil {
			t.Cleanup(func() { t.closed(in) })
		}
		if err == nil {
			return in
		}
		if !errors.Is(err, errPassing) || time.Since(began) > patience {
			t.Fatal(err)
		}
		in.kill()
		t.wait(100 * time.Millisecond)
	}
}

// open starts the plugin and connects to it, and does no more. The process ends with the case.
func (t *T) open() *process {
	in, err := open(t.ctx, t.plugin, launch{})
	if in != nil {
		t.Cleanup(func() { t.closed(in) })
	}
	if err != nil {
		t.Fatal(err)
	}
	return in
}

// stop asks the process to end, as a broker does, and says what is wrong with how it does.
func (t *T) stop(in *process) {
	in.shutdown(t.ctx)
	if !in.wait(stopTime) {
		t.Fatalf("expected that the process ends within %v of Shutdown, it is still there", stopTime)
	}
	if code := in.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("expected exit status 0 after Shutdown, got: %s", in.how())
	}
}

// closed closes a process and keeps what it printed last.
func (t *T) closed(in *process) {
	if !in.close() {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.words = append(in.output.last(), t.words...)
}

// wait lets real time pass, which the plugin measures on its own.
func (t *T) wait(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.ctx.Done():
	}
}

// end runs what Cleanup was given.
func (t *T) end() {
	for {
		t.mu.Lock()
		n := len(t.cleanups)
		if n == 0 {
			t.mu.Unlock()
			return
		}
		last := t.cleanups[n-1]
		t.cleanups = t.cleanups[:n-1]
		t.mu.Unlock()
		last()
	}
}
