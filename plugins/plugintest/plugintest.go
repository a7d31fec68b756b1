// Package plugintest is the plugin contract as a list of cases: against an executable, in whatever language, over the wire.
//
//	func TestContract(t *testing.T) {
//		plugintest.Run(t, plugintest.Plugin{Path: plugintest.Build(t, "."), Config: `{"dir": "{dir}"}`})
//	}
//
// `carillon plugin test` runs the same list. A run goes: Probe (what is it?) -> Cases -> Play -> Result (report.go). Each case
// (case.go; the lists are in start.go, configure.go, end.go, auth*.go and store*.go) starts the plugin anew (process.go),
// as spec/plugin.md says and with nothing of a broker between, and names the sentence of the contract that it shows. What a case
// does with its plugin it reports to a T (t.go).
//
// What a loss of power would leave of a store's folder is worked out from what strace shows: powertrace.go reads that, powerdisk.go and
// powercalls.go do it to a disk, storepower.go starts the plugin with what is left.
//
// Tests of this package prove the list: it fails for each of the faults in testdata/faults.md.
package plugintest

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// Plugin is the executable to test.
type Plugin struct {
	Path    string
	Args    []string
	Bundled bool // speak without TLS, as with the plugins that are part of the broker

	// Config is the plugin's configuration, a JSON object. In it {dir} stands for a folder that the plugin may use for its data: a
	// new one for each case, the same one when a case starts the plugin again. Empty: {"dir": "{dir}"} if the schema that the plugin
	// describes has a text of that name, and {} if not.
	Config string

	// Prepare puts into a new folder of a case what the configuration names of it. Nil: it begins empty.
	Prepare func(dir string) error

	// BadConfigs are configurations that the plugin has to refuse, by the key that it has to name. Wrong types of what its schema
	// describes come beside them.
	BadConfigs map[string]string

	// Logins are credentials with their right answers, for an auth plugin: at least one that is accepted and one that is refused.
	// Cases that need them are skipped without.
	Logins []Login

	// Kills is how often the crash tests kill the plugin; 0 is 20. With more of them it loses power more often, too.
	Kills int

	// Patience bounds each wait for which the contract has no time; 0 is 30 s.
	Patience time.Duration

	// Attach is the address that a plugin under a debugger has printed. Cases that start or end processes are skipped, and deadlines are
	// suspended: somebody may be looking at a line.
	Attach string

	kind string // what it is known to be; empty is not yet
}

// patience bounds a wait for which neither the contract nor the Plugin has a time.
const patience = 30 * time.Second

// startTime is what a broker gives to a start, from the process to the first good Health; empty is a kind that is not known yet.
var startTime = map[string]time.Duration{KindAuth: 10 * time.Second, KindStore: time.Minute, "": time.Minute}

// within is d, or for a plugin under a debugger as long as anybody looks.
func (p *Plugin) within(d time.Duration) time.Duration {
	if p.Attach != "" {
		return 24 * time.Hour
	}
	return d
}

func (p *Plugin) prepare(dir string) error {
	if p.Prepare == nil {
		return nil
	}
	if err := p.Prepare(dir); err != nil {
		return fmt.Errorf("prepare a folder for its data: %w", err)
	}
	return nil
}

// dirMark stands in Plugin.Config for the folder of a case.
const dirMark = "{dir}"

// testing is what Run and Build need of *testing.T. The interface keeps package testing out of `carillon plugin test`.
type testing interface {
	Helper()
	Context() context.Context
	TempDir() string
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Logf(format string, args ...any)
	Skip(args ...any)
}

// running is a *testing.T.
type running[T any] interface {
	testing
	Run(name string, f func(T)) bool
}

// Run runs every case of the contract of p's kind as a subtest of t.
func Run[T running[T]](t T, p Plugin) {
	t.Helper()
	about, err := Probe(t.Context(), p)
	if err != nil {
		t.Fatalf("%v", err)
	}
	for _, c := range Cases(about.Kind) {
		t.Run(c.Name, func(t T) {
			t.Helper()
			r := playOne(t.Context(), p, about, c)
			switch r.Outcome {
			case Failed:
				var text strings.Builder
				r.Text(&text, true)
				t.Errorf("%s", text.String())
			case Skipped:
				t.Skip(r.Reason)
			case Passed:
				for _, note := range slices.Concat(r.Warnings, r.Notes) {
					t.Logf("%s", note)
				}
			}
		})
	}
}

// Build builds the main package pkg, for `go build`, and returns the path of the executable, which is removed with the test.
func Build(t testing, pkg string) string {
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
