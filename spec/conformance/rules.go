package conformance

import (
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/carillon-mq/carillon/spec"
)

// Rule is one rule of the spec.
type Rule struct {
	ID        string
	Text      string // in one line
	Behaviour bool   // proven by sessions; every other rule has vectors
}

var (
	definition = regexp.MustCompile(`^- \*\*\[([A-Z]{3}-\d+)\]\*\* (\*\(behaviour\)\* )?(.*)$`)
	// reference is a link of the text to one of its own sections.
	reference = regexp.MustCompile(`\[([^\]]*)\]\(#[^)]*\)`)
)

// Rules returns every rule of spec/protocol.md in its order.
func Rules() []Rule { return slices.Clone(rules()) }

// RuleText returns the text of the rule of that id, and whether there is one.
func RuleText(id string) (string, bool) {
	for _, r := range rules() {
		if r.ID == id {
			return r.Text, true
		}
	}
	return "", false
}

var rules = sync.OnceValue(func() []Rule { return parseRules(spec.Protocol) })

// parseRules reads the rules of the text; a line that is indented goes on with the rule above it.
func parseRules(text string) []Rule {
	var all []Rule
	within := false
	for line := range strings.Lines(text) {
		line = reference.ReplaceAllString(strings.TrimRight(line, "\n"), "$1")
		if m := definition.FindStringSubmatch(line); m != nil {
			all = append(all, Rule{ID: m[1], Text: m[3], Behaviour: m[2] != ""})
			within = true
			continue
		}
		if within = within && strings.HasPrefix(line, "  "); within {
			all[len(all)-1].Text += " " + strings.TrimSpace(line)
		}
	}
	return all
}
