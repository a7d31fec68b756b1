package config

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestExampleIsCompleteAndSaysTheDefaults(t *testing.T) {
	l, err := load(t, Example)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(Default(), l.Config, cmpopts.EquateEmpty()); d != "" {
		t.Errorf("the example differs from the defaults:\n%s", d)
	}
	for _, k := range Keys() {
		name := k.Path[strings.LastIndex(k.Path, ".")+1:]
		if !regexp.MustCompile(`(?m)^[ #]*` + name + `:`).MatchString(Example) {
			t.Errorf("the example does not show %s", k.Path)
		}
	}
}

func TestExampleAtTheRootIsACopy(t *testing.T) {
	root, err := os.ReadFile("../../../../carillon.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if string(root) != Example {
		t.Error("carillon.example.yaml differs from cmd/carillon/internal/config/example.yaml; copy it")
	}
}

// Every block that is commented out with three spaces passes when it stands in the place of what it shows.
func TestEveryBlockInTheExampleThatIsCommentedOutPasses(t *testing.T) {
	for _, block := range regexp.MustCompile(`(?m)(^#   .*\n|^#\n)+`).FindAllString(Example, -1) {
		for part := range strings.SplitSeq(block, "#\n") {
			text := strings.ReplaceAll("\n"+part, "\n#   ", "\n")
			if !regexp.MustCompile(`^\n[a-z_]+:`).MatchString(text) {
				continue // commands
			}
			if _, err := load(t, text); err != nil {
				t.Errorf("%s\n%v", text, err)
			}
		}
	}
}
