package scaffold_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/carillon-mq/carillon/cmd/carillon/internal/config"
	"github.com/carillon-mq/carillon/cmd/carillon/internal/scaffold"
)

// That each project compiles and passes the contract is shown by e2e/plugins, with the commands that Write returns.
func TestAProjectIsWhole(t *testing.T) {
	for _, lang := range scaffold.Languages() {
		for _, kind := range []string{"auth", "store"} {
			t.Run(kind+" in "+lang, func(t *testing.T) {
				dir := filepath.Join(t.TempDir(), "project")
				steps, err := scaffold.Write(scaffold.Project{Name: kind + "-x", Kind: kind, Lang: lang, Dir: dir, Version: "1.2.3"})
				if err != nil {
					t.Fatal(err)
				}
				if got := written(t, dir); !slices.Equal(got, steps.Files) {
					t.Errorf("wrote %q, said %q", got, steps.Files)
				}
				for _, name := range []string{".gitignore", "README.md", "carillon.yaml", "test/config.json"} {
					if !slices.Contains(steps.Files, name) {
						t.Errorf("no %s", name)
					}
				}
				for _, name := range steps.Files {
					if strings.Contains(read(t, dir, name), "{{.") {
						t.Errorf("%s is not filled in", name)
					}
				}
				if !strings.Contains(read(t, dir, "README.md"), steps.Build+"\n") || !strings.Contains(steps.Build+steps.Test, kind+"-x") && lang != "node" {
					t.Errorf("the README does not build it with %q", steps.Build)
				}
			})
		}
	}
}

func TestTheExampleConfigurationIsGoodOnceItHasTheSum(t *testing.T) {
	for _, kind := range []string{"auth", "store"} {
		dir := t.TempDir()
		if _, err := scaffold.Write(scaffold.Project{Name: "x", Kind: kind, Lang: "python", Dir: dir}); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, "carillon.yaml")
		if err := check(file); err == nil || !strings.Contains(err.Error(), kind+".sha256") {
			t.Errorf("%s without a sum: %v", kind, err)
		}
		if err := check(file, "CARILLON_"+strings.ToUpper(kind)+"_SHA256="+strings.Repeat("ab", 32)); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

// check loads a configuration and finds its mistakes.
func check(file string, environ ...string) error {
	l, err := config.Load(config.Source{File: file, Environ: environ})
	if err != nil {
		return err
	}
	return l.Check()
}

func TestNothingIsWrittenForAMistake(t *testing.T) {
	used := t.TempDir()
	if err := os.WriteFile(filepath.Join(used, "mine"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	good := scaffold.Project{Name: "x", Kind: "auth", Lang: "python", Dir: filepath.Join(t.TempDir(), "x")}
	for says, change := range map[string]func(*scaffold.Project){
		"name \"\"":                  func(p *scaffold.Project) { p.Name = "" },
		"name \"../x\"":              func(p *scaffold.Project) { p.Name = "../x" },
		"name \"X\"":                 func(p *scaffold.Project) { p.Name = "X" },
		"name \"1x\"":                func(p *scaffold.Project) { p.Name = "1x" },
		"want 1 to 64 bytes":         func(p *scaffold.Project) { p.Name = strings.Repeat("x", 65) },
		"kind \"log\"":               func(p *scaffold.Project) { p.Kind = "log" },
		"language \"cobol\"":         func(p *scaffold.Project) { p.Lang = "cobol" },
		"is not empty":               func(p *scaffold.Project) { p.Dir = used },
		"development build":          func(p *scaffold.Project) { p.Lang, p.Version = "go", "0.1.0-dev" },
		"is no source of Carillon: ": func(p *scaffold.Project) { p.Lang, p.Carillon = "go", used },
	} {
		p := good
		change(&p)
		if _, err := scaffold.Write(p); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, wanted %s", err, says)
		}
	}
	if _, err := os.Stat(good.Dir); err == nil {
		t.Error("a folder was made")
	}
	if got := written(t, used); !slices.Equal(got, []string{"mine"}) {
		t.Errorf("the folder in use has %q", got)
	}
}

// written lists the files below dir, slash-separated and sorted.
func written(t *testing.T, dir string) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(dir, path)
			names = append(names, filepath.ToSlash(rel))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	return names
}

func read(t *testing.T, dir, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
