package house_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A package-lock.json may name where packages were fetched from. Ours do not: everybody has their own registry.
func TestNoLockFileSaysWherePackagesCameFrom(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "git", "ls-files", "*package-lock.json")
	cmd.Dir = root(t)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("git ls-files: %v", err)
	}
	files := strings.Fields(string(out))
	if len(files) < 2 {
		t.Fatalf("found only %q", files)
	}
	for _, file := range files {
		text, err := os.ReadFile(filepath.Join(root(t), file))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), `"resolved"`) {
			t.Errorf("%s has addresses in it: npm config set omit-lockfile-registry-resolved true, and make it anew", file)
		}
	}
}
