package plugins

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/carillon-mq/carillon/internal/built"
	"github.com/carillon-mq/carillon/internal/require"
)

// binary is the path of the broker that is tested.
var binary string

func TestMain(m *testing.M) {
	os.Exit(built.Run(m, &binary))
}

// root is the top folder of the product.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// needs skips the test unless the machine can build and run plugins of the language.
func needs(t *testing.T, lang string) {
	t.Helper()
	require.Program(t, "bash", "bash")
	switch lang {
	case "node":
		require.Program(t, "node", "npm")
	case "python":
		err := exec.Command("/usr/bin/python3", "-I", "-c", "import grpc, google.protobuf").Run()
		require.That(t, "python3-grpcio", err == nil, "/usr/bin/python3 has no grpc and protobuf")
		require.Program(t, "openssl", "openssl")
	}
}

// shell runs commands in a folder, as a reader of the documents does: carillon is on the path.
type shell struct {
	dir string
	env []string
}

func newShell(t *testing.T, env ...string) *shell {
	t.Helper()
	return &shell{dir: t.TempDir(), env: append(append(os.Environ(),
		"PATH="+filepath.Dir(binary)+string(os.PathListSeparator)+os.Getenv("PATH"),
		"CARILLON_SOURCE="+root(t), "GOFLAGS=-mod=mod", "GOWORK=off",
		"npm_config_audit=false", "npm_config_fund=false", "npm_config_prefer_offline=true", "npm_config_update_notifier=false",
	), env...)}
}

// command is bash with commands of which each must succeed.
func (s *shell) command(t *testing.T, commands string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "bash", "-e", "-o", "pipefail", "-c", commands)
	cmd.Dir, cmd.Env = s.dir, s.env
	return cmd
}

// run runs commands, stays in the folder where they end, and returns what they printed.
func (s *shell) run(t *testing.T, commands string) (output string, err error) {
	t.Helper()
	end := filepath.Join(t.TempDir(), "pwd")
	var out bytes.Buffer
	cmd := s.command(t, "trap 'pwd > "+end+"' EXIT\n"+commands)
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	if pwd, readErr := os.ReadFile(end); readErr == nil {
		s.dir = strings.TrimSpace(string(pwd))
	}
	return out.String(), err
}
