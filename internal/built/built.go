// Package built gives tests of the whole product its executable.
package built

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Run builds carillon from the working tree, leaves its path in binary, and runs the tests. It returns what TestMain exits with.
func Run(m *testing.M, binary *string) (code int) {
	dir, err := os.MkdirTemp("", "carillon-built")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	*binary = filepath.Join(dir, "carillon")
	build := exec.Command("go", "build", "-o", *binary, "github.com/carillon-mq/carillon/cmd/carillon")
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "go build:", err)
		return 1
	}
	return m.Run()
}
