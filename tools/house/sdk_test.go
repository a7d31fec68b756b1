package house_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// The product has one go.mod, so whoever imports the Go SDK has the broker's whole requirement list in the module graph.
// What is compiled in, and what their own go.mod and go.sum name, is only what the SDK's packages import: these modules.
func TestTheGoSDKStaysLight(t *testing.T) {
	allowed := []string{
		module,
		"github.com/coder/websocket",
		"github.com/vmihailenco/msgpack/v5",
		"github.com/vmihailenco/tagparser/v2",
	}
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", "{{with .Module}}{{.Path}} {{end}}{{.ImportPath}}", "./sdk/go")
	cmd.Dir = root(t)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list -deps ./sdk/go: %v", err)
	}
	for line := range strings.Lines(string(out)) {
		mod, pkg, found := strings.Cut(strings.TrimSpace(line), " ")
		if found && !slices.Contains(allowed, mod) {
			t.Errorf("sdk/go depends on %s of %s", pkg, mod)
		}
	}
}
