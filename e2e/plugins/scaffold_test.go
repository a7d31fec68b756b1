package plugins

import (
	"bufio"
	"os"
	"strings"
	"testing"
)

// The authentication plugins are built and tested by the tutorials. Here all of the contract of a store is shown, with few crashes; with
// CARILLON_CAMPAIGN=1 with as many as somebody has who follows the steps.
func TestAStoreProjectKeepsTheContractAtOnce(t *testing.T) {
	for _, lang := range []string{"go", "node", "python"} {
		t.Run(lang, func(t *testing.T) {
			t.Parallel()
			needs(t, lang)
			s := newShell(t)
			steps, err := s.command(t, "carillon plugin new store store-mine --lang "+lang).Output()
			if err != nil {
				t.Fatal(err)
			}
			commands := strings.TrimSpace(string(steps))
			if lang == "node" {
				commands += " --" // what follows is for the script
			}
			if os.Getenv("CARILLON_CAMPAIGN") == "" {
				commands += " --crashes 1"
			}
			if out, err := s.run(t, commands); err != nil {
				t.Fatalf("%s\n%v\n%s", steps, err, out)
			}
			attached(t, s, map[string]string{"go": "./store-mine", "node": "./dist/store-mine.cjs", "python": "./store-mine.pyz"}[lang])
		})
	}
}

// attached starts the plugin as somebody does who looks into it, and has a case asked of it there.
func attached(t *testing.T, s *shell, executable string) {
	t.Helper()
	plugin := s.command(t, "exec "+executable+" --debug")
	plugin.Env = append(plugin.Env, "TMPDIR=/tmp") // a socket's path is short
	plugin.Cancel = func() error { return plugin.Process.Signal(os.Interrupt) }
	said, err := plugin.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := plugin.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(said).ReadString('\n')
	_, address, ok := strings.Cut(strings.TrimSpace(line), " waits at ")
	if err != nil || !ok {
		t.Fatalf("it says %q, %v", line, err)
	}
	out, err := s.run(t, "carillon plugin test --attach "+address+" --only 'followed and loaded'")
	if err != nil || !strings.Contains(out, "1 passed, 0 failed, 0 skipped") {
		t.Errorf("attached: %v\n%s", err, out)
	}
	if err := plugin.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := plugin.Wait(); err != nil {
		t.Errorf("after an interrupt: %v", err)
	}
	if _, err := os.Stat(strings.TrimPrefix(address, "unix:")); err == nil {
		t.Error("it has left its socket")
	}
}
