// Package house_test proves that the layout of the product is kept: the linter's floors hold, every folder stands on one,
// and the Go SDK stays light for those who import it.
package house_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/carillon-mq/carillon"

// root is the top folder of the product.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// linter returns the path of the pinned golangci-lint.
func linter(t *testing.T) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "tool", "-n", "golangci-lint")
	cmd.Dir = filepath.Join(root(t), "tools")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go tool -n golangci-lint: %v", err)
	}
	return strings.TrimSpace(string(out))
}

// folders returns the folders of the product that hold Go files, slash-separated and relative to its root.
func folders(t *testing.T) []string {
	t.Helper()
	top := root(t)
	seen := map[string]bool{}
	err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(top, path)
		if err != nil {
			return err
		}
		skip := rel == "tools" || d.Name() == "node_modules" || d.Name() == "testdata" || (d.Name()[0] == '.' && rel != ".")
		if d.IsDir() && skip {
			return fs.SkipDir
		}
		if !d.IsDir() && strings.HasSuffix(rel, ".go") {
			seen[filepath.ToSlash(filepath.Dir(rel))] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for dir := range seen {
		out = append(out, dir)
	}
	slices.Sort(out)
	return out
}

// scratch is a copy of the house with empty rooms: the same go.mod and linter configuration, the same folders.
type scratch struct{ dir string }

func newScratch(t *testing.T) scratch {
	t.Helper()
	s := scratch{t.TempDir()}
	for _, file := range []string{"go.mod", "go.sum", ".golangci.yml"} {
		text, err := os.ReadFile(filepath.Join(root(t), file))
		if err != nil {
			t.Fatal(err)
		}
		s.write(t, file, string(text))
	}
	for _, dir := range folders(t) {
		s.room(t, dir)
	}
	return s
}

func (s scratch) write(t *testing.T, file, text string) {
	t.Helper()
	path := filepath.Join(s.dir, filepath.FromSlash(file))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// room makes dir an importable package without imports.
func (s scratch) room(t *testing.T, dir string) { s.write(t, dir+"/room.go", "package room\n") }

// probe adds a file to dir that imports path.
func (s scratch) probe(t *testing.T, dir, path string) {
	name := "probe_" + strings.NewReplacer("/", "_", ".", "_").Replace(path) + ".go"
	s.write(t, dir+"/"+name, "package room\n\nimport _ \""+path+"\"\n")
}

// lint runs depguard alone and returns what it says, by "folder imports path".
func (s scratch) lint(t *testing.T) map[string]bool {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), linter(t), "run", "--enable-only=depguard", "--show-stats=false",
		"--output.json.path=stdout", "--output.text.path=stderr", "./...")
	cmd.Dir = s.dir
	out, err := cmd.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && (!ok || exit.ExitCode() != 1) {
		t.Fatalf("golangci-lint: %v\n%s", err, out)
	}
	var report struct {
		Issues []struct {
			FromLinter, Text string
			Pos              struct{ Filename string }
		}
	}
	if err := json.Unmarshal(out, &report); err != nil {
		t.Fatalf("golangci-lint: %v\n%s", err, out)
	}
	found := map[string]bool{}
	for _, issue := range report.Issues {
		// import 'PATH' is not allowed from list 'LIST'…
		parts := strings.Split(issue.Text, "'")
		if issue.FromLinter != "depguard" || len(parts) < 3 {
			t.Fatalf("%s: %s: %s", issue.FromLinter, issue.Pos.Filename, issue.Text)
		}
		a := arrow{filepath.ToSlash(filepath.Dir(issue.Pos.Filename)), parts[1]}
		found[a.String()] = true
	}
	return found
}

// arrow is an import of a package by the package in a folder.
type arrow struct{ dir, imports string }

func (a arrow) String() string { return a.dir + " imports " + a.imports }

func TestAForbiddenImportFailsTheLinter(t *testing.T) {
	tests := []arrow{
		{"protocol", module + "/broker"},
		{"protocol", "github.com/coder/websocket"},
		{"protocol", "log/slog"},
		{"protocol", "net"},
		{"protocol", "os"},
		{"broker/internal/trie", module + "/plugins/kit"},
		{"broker/internal/archive", module + "/broker/internal/commit"},
		{"broker/internal/commit", module + "/broker"},
		{"broker/store", module + "/broker"},
		{"broker", module + "/broker/internal/webrules"},
		{"broker", module + "/broker/ws"},
		{"broker", module + "/plugins/host"},
		{"broker", module + "/sdk/go"},
		{"broker", "github.com/prometheus/client_golang/prometheus"},
		{"broker", "net"},
		{"broker", "os/exec"},
		{"broker/ws", module + "/broker/httpapi"},
		{"broker/ws", module + "/plugins/host"},
		{"broker/httpapi", module + "/broker/ws"},
		{"broker/admin", module + "/plugins/host"},
		{"broker/brokertest", module + "/broker/ws"},
		{"sdk/go", module + "/broker"},
		{"sdk/go", "github.com/prometheus/client_golang/prometheus"},
		{"plugins/internal/wire", module + "/plugins/host"},
		{"plugins/kit", module + "/plugins/host"},
		{"plugins/host", module + "/plugins/kit"},
		{"plugins/host", module + "/broker/ws"},
		{"plugins/auth-http/authhttp", module + "/plugins/auth-jwt/authjwt"},
		{"plugins/auth-jwt/authjwt", module + "/plugins/store-bolt/storebolt"},
		{"plugins/store-bolt/storebolt", module + "/plugins/host"},
		{"cmd/carillon", "go.etcd.io/bbolt"},
		{"examples/hostwatch", module + "/broker"},
	}
	// A package is never importer and imported in one round, or the go command would stop at the cycle.
	for len(tests) > 0 {
		importers, imported := map[string]bool{}, map[string]bool{}
		var later []arrow
		s, want := newScratch(t), map[string]bool{}
		for _, a := range tests {
			room, _ := strings.CutPrefix(a.imports, module+"/")
			if imported[a.dir] || importers[room] {
				later = append(later, a)
				continue
			}
			importers[a.dir], imported[room] = true, true
			s.room(t, a.dir)
			if room != a.imports {
				s.room(t, room)
			}
			s.probe(t, a.dir, a.imports)
			want[a.String()] = true
		}
		compare(t, s.lint(t), want)
		tests = later
	}
}

func TestAnAllowedImportPassesTheLinter(t *testing.T) {
	s := newScratch(t)
	for _, a := range []arrow{
		{"sdk/go", "github.com/vmihailenco/msgpack/v5"},
		{"broker", module + "/protocol"},
		{"broker", "net/netip"},
		{"broker/ws", module + "/broker"},
		{"sdk/go", module + "/protocol"},
		{"cmd/carillon", module + "/plugins/store-bolt/storebolt"},
	} {
		s.room(t, a.dir)
		if room, inside := strings.CutPrefix(a.imports, module+"/"); inside {
			s.room(t, room)
		}
		s.probe(t, a.dir, a.imports)
	}
	compare(t, s.lint(t), nil)
}

func TestEveryFolderStandsOnAFloor(t *testing.T) {
	s := newScratch(t)
	want := map[string]bool{}
	for _, dir := range folders(t) {
		a := arrow{dir, "go.opentelemetry.io/stranger"}
		s.probe(t, a.dir, a.imports)
		want[a.String()] = true
	}
	compare(t, s.lint(t), want)
}

func compare(t *testing.T, got, want map[string]bool) {
	t.Helper()
	for w := range want {
		if !got[w] {
			t.Errorf("the linter lets pass: %s", w)
		}
	}
	for g := range got {
		if !want[g] {
			t.Errorf("the linter refuses what it should not: %s", g)
		}
	}
}
