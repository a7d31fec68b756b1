package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// run feeds the tests of a module made of files through tally and returns what it printed.
func run(t *testing.T, files map[string]string) (*tally, string) {
	t.Helper()
	dir := t.TempDir()
	files["go.mod"] = "module example.com/m\n\ngo 1.26\n"
	for file, text := range files {
		path := filepath.Join(dir, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "go", "test", "-json", "./...")
	cmd.Dir = dir
	stream, err := cmd.Output() // fails when a test fails
	if len(stream) == 0 {
		t.Fatalf("go test: %v", err)
	}
	var out strings.Builder
	tal, err := read(strings.NewReader(string(stream)), &out)
	if err != nil {
		t.Fatalf("read: %v\n%s", err, stream)
	}
	tal.report(&out, 1)
	return tal, out.String()
}

func TestTally(t *testing.T) {
	const head = "package a\n\nimport \"testing\"\n\n"
	tests := []struct {
		name  string
		files map[string]string
		want  []string // in the output
	}{
		{
			name: "passes and skips with its reason",
			files: map[string]string{"a/a_test.go": head + `
func TestOne(t *testing.T) { t.Run("sub", func(t *testing.T) {}) }
func TestTwo(t *testing.T) { t.Skip("SKIP root: not running as root") }`},
			want: []string{"ok  \texample.com/m/a", "--- SKIP TestTwo: SKIP root: not running as root", "2 passed, 0 failed, 1 skipped\n"},
		},
		{
			name: "a failure with its output, the output of the rest left out",
			files: map[string]string{"a/a_test.go": head + `
func TestBad(t *testing.T) { t.Error("broken here") }
func TestGood(t *testing.T) { t.Log("chatter") }`},
			want: []string{"a_test.go:6: broken here", "--- FAIL: TestBad", "FAIL\texample.com/m/a", "failed: example.com/m/a TestBad\n        a_test.go:6: broken here\n1 passed, 1 failed, 0 skipped\n", "!chatter"},
		},
		{
			name: "a package that does not build is one failure",
			files: map[string]string{
				"a/a_test.go": head + "func TestX(t *testing.T) { undefined() }",
				"b/b.go":      "package b",
			},
			want: []string{"undefined: undefined", "[build failed]", "0 passed, 1 failed, 0 skipped\n", "?   \texample.com/m/b"},
		},
		{
			name: "a panic is one failure, with the trace",
			files: map[string]string{"a/a_test.go": head + `
func TestPanics(t *testing.T) { panic("on purpose") }`},
			want: []string{"panic: on purpose", "0 passed, 1 failed, 0 skipped\n"},
		},
		{
			name: "a failing TestMain is one failure",
			files: map[string]string{"a/a_test.go": "package a\n\nimport (\n\"os\"\n\"testing\"\n)\n" + `
func TestMain(m *testing.M) { m.Run(); println("a goroutine is left"); os.Exit(1) }
func TestGood(t *testing.T) {}`},
			want: []string{"a goroutine is left", "1 passed, 1 failed, 0 skipped\n"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, out := run(t, tt.files)
			for _, want := range tt.want {
				unwanted, not := strings.CutPrefix(want, "!")
				switch {
				case not && strings.Contains(out, unwanted):
					t.Errorf("the output holds %q:\n%s", unwanted, out)
				case !not && !strings.Contains(out, want):
					t.Errorf("the output lacks %q:\n%s", want, out)
				}
			}
		})
	}
}

func TestACutStreamIsAnError(t *testing.T) {
	stream := `{"Action":"start","Package":"p"}` + "\n" + `{"Action":"run","Package":"p","Test":"TestX"}` + "\n"
	if _, err := read(strings.NewReader(stream), &strings.Builder{}); err == nil {
		t.Error("no error")
	}
	if _, err := read(strings.NewReader(stream[:40]), &strings.Builder{}); err == nil {
		t.Error("no error for half an event")
	}
}
