// Package require lets a test say what it needs of the machine: root, a browser, php.
//
// A test whose need is not met is skipped with a line `SKIP name: reason`, so that a laptop runs what it can. Where the need
// has to be met, CARILLON_REQUIRE names it (a list with commas), and the skip becomes a failure. scripts/gate reads the same
// variable for whole steps.
package require

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// EnvVar holds the names of the needs that must be met, separated by commas.
const EnvVar = "CARILLON_REQUIRE"

// Root skips the test unless it runs as root (need "root").
func Root(t testing.TB) {
	t.Helper()
	That(t, "root", os.Geteuid() == 0, "not running as root")
}

// Program returns the path of the first of programs that is installed and skips the test when none is (need: name).
func Program(t testing.TB, name string, programs ...string) string {
	t.Helper()
	for _, p := range programs {
		if path, err := exec.LookPath(p); err == nil {
			return path
		}
	}
	That(t, name, false, "none of "+strings.Join(programs, ", ")+" is installed")
	return ""
}

// That goes on when met is true. Otherwise the test is skipped, or fails when CARILLON_REQUIRE contains name.
func That(t testing.TB, name string, met bool, reason string) {
	t.Helper()
	if met {
		return
	}
	if slices.Contains(strings.Split(os.Getenv(EnvVar), ","), name) {
		t.Fatalf("%s is required by %s: %s", name, EnvVar, reason)
	}
	t.Skipf("SKIP %s: %s", name, reason)
}
