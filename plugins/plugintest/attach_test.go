package plugintest_test

import (
	"bufio"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/carillon-mq/carillon/plugins/plugintest"
)

// A plugin that a person has started with --debug is asked where it waits. What would end it is skipped.
func TestAttachedToAPluginUnderADebugger(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), os.Args[0], serveAuth, none, "--debug")
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.Env = append(os.Environ(), "TMPDIR=/tmp")
	said, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(said).ReadString('\n')
	_, address, ok := strings.Cut(strings.TrimSpace(line), " waits at ")
	if err != nil || !ok {
		t.Fatalf("it says %q, %v", line, err)
	}
	p := authPlugin(t, none)
	p.Path, p.Args, p.Attach = "", nil, address
	for range 2 { // it is configured the first time
		_, results, err := plugintest.Play(t.Context(), p, plugintest.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range results {
			if strings.Contains(r.Reason, "does not announce") || strings.Contains(r.Reason, "nothing can be revoked") {
				continue
			}
			if own := strings.Contains(r.Reason, "it starts and ends processes"); own != r.Case.Own || !own && r.Outcome != plugintest.Passed {
				t.Errorf("%s: %s %s %v", r.Case.ID(), r.Outcome, r.Reason, r.Failures)
			}
		}
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("after an interrupt: %v", err)
	}
	if _, err := os.Stat(strings.TrimPrefix(address, "unix:")); err == nil {
		t.Errorf("it has left its socket")
	}
	p.Attach = "unix:/etc/passwd"
	if _, err := plugintest.Probe(t.Context(), p); err == nil || !strings.Contains(err.Error(), "is no socket of the user") {
		t.Errorf("attached to a file: %v", err)
	}
}
