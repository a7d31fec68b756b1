package house_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Each line of a ```flow block in docs/ARCHITECTURE.md is a folder and functions that stand in it.
func TestTheFlowsInTheDocsExist(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root(t), "docs", "ARCHITECTURE.md"))
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]map[string]bool{}
	flows := strings.Split(string(text), "```flow\n")[1:]
	if len(flows) == 0 {
		t.Fatal("no flow found")
	}
	for _, flow := range flows {
		body, _, _ := strings.Cut(flow, "```")
		for line := range strings.Lines(body) {
			folder, names, _ := strings.Cut(strings.TrimSpace(line), " ")
			if known[folder] == nil {
				known[folder] = functions(t, filepath.Join(root(t), filepath.FromSlash(folder)))
			}
			for name := range strings.SplitSeq(names, " -> ") {
				if !known[folder][name] {
					t.Errorf("%s has no function %q", folder, name)
				}
			}
		}
	}
}

// A promise in the README names the test that tries to break it.
func TestThePromisesInTheReadmeAreTested(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root(t), "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, folder := range folders(t) {
		for name := range functions(t, filepath.Join(root(t), filepath.FromSlash(folder))) {
			known[name] = true
		}
	}
	names := regexp.MustCompile("`(Test|Fuzz)[A-Za-z0-9]+`").FindAllString(string(text), -1)
	if len(names) == 0 {
		t.Fatal("no test is named")
	}
	for _, name := range names {
		if !known[strings.Trim(name, "`")] {
			t.Errorf("there is no %s", name)
		}
	}
}

// functions returns the functions of a folder: Name, or Receiver.Name.
func functions(t *testing.T, folder string) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil || len(files) == 0 {
		t.Errorf("no Go files in %s: %v", folder, err)
	}
	names := map[string]bool{}
	for _, file := range files {
		tree, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range tree.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok {
				names[receiver(f)+f.Name.Name] = true
			}
		}
	}
	return names
}

func receiver(f *ast.FuncDecl) string {
	if f.Recv == nil {
		return ""
	}
	kind := f.Recv.List[0].Type
	if star, ok := kind.(*ast.StarExpr); ok {
		kind = star.X
	}
	if ident, ok := kind.(*ast.Ident); ok {
		return ident.Name + "."
	}
	return ""
}
