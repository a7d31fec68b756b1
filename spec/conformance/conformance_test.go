package conformance

import (
	"flag"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/carillon-mq/carillon/internal/built"
	"github.com/carillon-mq/carillon/internal/require"
)

// carillon is the executable.
var carillon string

func TestMain(m *testing.M) {
	flag.Parse()
	if f := flag.Lookup("test.fuzz"); f != nil && f.Value.String() != "" {
		os.Exit(m.Run()) // which needs no executable; each of the fuzzer's processes would build one
	}
	_ = flag.Set("test.parallel", "16") // they wait, they do not compute; the flag is there
	os.Exit(built.Run(m, &carillon))
}

// newOwn starts a broker that ends with the test.
func newOwn(t *testing.T) *Own {
	t.Helper()
	own, err := StartOwn(t.Context(), carillon, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(own.Stop)
	return own
}

// goDriver builds the driver of the Go SDK.
func goDriver(t *testing.T) string {
	t.Helper()
	driver := filepath.Join(t.TempDir(), "driver")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", driver, "github.com/carillon-mq/carillon/sdk/go/internal/conformance")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return driver
}

// check makes a test of every result. Skips are failures, but for scripts that need one of lacks.
func check(t *testing.T, results []*Result, lacks ...string) {
	t.Helper()
	if len(results) == 0 {
		t.Fatal("no scripts")
	}
	for _, r := range results {
		t.Run(r.Script.ID(), func(t *testing.T) {
			if r.Outcome == Skipped && slices.ContainsFunc(r.Script.Needs, func(n string) bool { return slices.Contains(lacks, n) }) {
				t.Skipf("SKIP %s: %s", r.Script.ID(), r.Reason)
			}
			if r.Outcome != Passed {
				r.Text(t.Output())
				t.Error(r.Outcome)
			}
		})
	}
}

func all(t *testing.T, of func(string) ([]*Script, error)) []*Script {
	t.Helper()
	scripts, err := of("")
	if err != nil {
		t.Fatal(err)
	}
	return scripts
}

func TestTheBrokerConforms(t *testing.T) {
	t.Parallel()
	own := newOwn(t)
	check(t, Play(t.Context(), &own.Server, all(t, Sessions), nil))
	t.Run("with grease", func(t *testing.T) { conformsWithGrease(t, own) })
}

func TestTheGoSDKConforms(t *testing.T) {
	t.Parallel()
	driver := []string{goDriver(t)}
	check(t, PlaySDK(t.Context(), driver, all(t, Clients), nil))
	t.Run("answers come twice", func(t *testing.T) { conformsWithAnswersTwice(t, driver) })
}

func TestTheJavaScriptSDKConforms(t *testing.T) {
	t.Parallel()
	driver := jsDriver(t)
	check(t, PlaySDK(t.Context(), driver, all(t, Clients), nil), "upgrade_answers")
	t.Run("answers come twice", func(t *testing.T) { conformsWithAnswersTwice(t, driver) })
}

// jsDriver is the command that starts the driver of the JavaScript SDK.
func jsDriver(t *testing.T) []string {
	t.Helper()
	node := require.Program(t, "node", "node")
	sdk, err := filepath.Abs("../../sdk/js")
	if err != nil {
		t.Fatal(err)
	}
	_, err = os.Stat(filepath.Join(sdk, "node_modules/ws"))
	require.That(t, "node", err == nil, "sdk/js has no node_modules: npm ci")
	return []string{node, filepath.Join(sdk, "test/conformance.mjs")}
}

// conformsWithAnswersTwice plays the scripts that say nothing of faults and have answers, each of which comes two times ([PUB-12]): the second one
// answers nothing.
func conformsWithAnswersTwice(t *testing.T, driver []string) {
	t.Helper()
	again := Step{Faults: map[string]string{}}
	for _, answer := range []string{"Subscribed", "Unsubscribed", "Published", "Presences", "Error"} {
		again.Faults[answer] = faultTwice
	}
	answers := func(s Step) bool {
		return slices.ContainsFunc(listed(s.Send), func(p any) bool {
			m, _ := p.(map[string]any)
			return slices.ContainsFunc(slices.Collect(maps.Keys(m)), func(name string) bool { return again.Faults[name] != "" })
		})
	}
	scripts := slices.DeleteFunc(all(t, Clients), func(s *Script) bool {
		return s.Slow || s.File == "faults" || !slices.ContainsFunc(s.Steps, answers)
	})
	for _, s := range scripts {
		s.Steps = append([]Step{again}, s.Steps...)
	}
	check(t, PlaySDK(t.Context(), driver, scripts, nil), "upgrade_answers")
}
