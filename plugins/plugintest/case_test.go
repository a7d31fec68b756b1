package plugintest_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/carillon-mq/carillon/plugins/plugintest"
)

// A case that fails sends its reader to a sentence of the contract; it has to stand there.
func TestEveryCaseNamesASentenceOfTheContract(t *testing.T) {
	texts := map[string]string{}
	blanks := regexp.MustCompile(`(?m)\s*\n\s*(//)?\s*(- )?|\s+`)
	flat := func(s string) string { return strings.TrimSpace(blanks.ReplaceAllString(s, " ")) }
	document := func(where string) string {
		if texts[where] == "" {
			text, err := os.ReadFile("../../" + where)
			if err != nil {
				t.Fatal(err)
			}
			texts[where] = flat(string(text))
		}
		return texts[where]
	}
	for _, s := range plugintest.OwnSentences() {
		if len(s.Says) < 20 || !strings.Contains(document(s.Where), flat(s.Says)) {
			t.Errorf("%s does not say %q", s.Where, s.Says)
		}
	}
	names := map[string]string{}
	for _, kind := range []string{plugintest.KindAuth, plugintest.KindStore} {
		for _, c := range plugintest.Cases(kind) {
			if len(c.Says) < 20 || !strings.Contains(document(c.Where), flat(c.Says)) {
				t.Errorf("%s: %s does not say %q", c.ID(), c.Where, c.Says)
			}
			if c.Does == "" {
				t.Errorf("%s does not say what it does", c.ID())
			}
			if other := names[kind+c.Name]; other != "" {
				t.Errorf("%s is there twice", c.ID())
			}
			names[kind+c.Name] = c.Name
		}
	}
}
