package plugintest_test

import (
	"bytes"
	"regexp"
	"strings"
	"testing"

	"github.com/carillon-mq/carillon/plugins/kit"
	"github.com/carillon-mq/carillon/plugins/plugintest"
)

// playOnly plays one case against a handmade auth plugin without logins that say what may not be done.
func playOnly(t *testing.T, fault, id string) *plugintest.Result {
	t.Helper()
	p := handmadePlugin(kit.KindAuth, fault)
	for i := range p.Logins {
		p.Logins[i].MayNot = nil
	}
	_, results, err := plugintest.Play(t.Context(), p, plugintest.Options{Only: regexp.MustCompile("^" + regexp.QuoteMeta(id) + "$")})
	if err != nil || len(results) != 1 {
		t.Fatalf("%d results, %v", len(results), err)
	}
	return results[0]
}

// A mistake in every answer is one finding, with how often it was made and the sentence that it breaks.
func TestAFindingIsToldOnceWithItsOwnSentence(t *testing.T) {
	for _, one := range []struct{ fault, id, words, sentence string }{
		{"no-expiry", "auth/every login gets its answer", "neither expires_at_ms nor never_expires is set (x4)", "True if the credentials do not expire."},
		{"ttl-in-seconds", "auth/what it is asked to authorize is decided, question by question", "a time to live of 60ms", "For how long the answer holds"},
		{"until-missing", "auth/what is revoked is told to every broker, and refused", "until_ms is missing", "Until when the broker has to remember it"},
	} {
		t.Run(one.fault, func(t *testing.T) {
			t.Parallel()
			r := playOnly(t, one.fault, one.id)
			of := 0
			for _, failure := range r.Failures {
				if strings.Contains(failure, one.words) {
					of++
				}
				if strings.Count(failure, "breaks the contract") > 1 {
					t.Errorf("said twice: %s", failure)
				}
			}
			var text bytes.Buffer
			r.Text(&text, false)
			if of != 1 || !strings.Contains(text.String(), one.sentence) {
				t.Errorf("expected %q once, with %q, got:\n%s", one.words, one.sentence, &text)
			}
		})
	}
}

// A plugin that allows everything to everybody may mean it; who reads the report is told.
func TestAYesToEverybodyIsToldWithoutBeingAsked(t *testing.T) {
	const id = "auth/what it is asked to authorize is decided, question by question"
	for fault, want := range map[string]bool{"yes-to-everybody": true, none: false} {
		var text bytes.Buffer
		r := playOnly(t, fault, id)
		r.Text(&text, false)
		if told := strings.Contains(text.String(), "note: every answer was yes"); told != want || r.Outcome != plugintest.Passed {
			t.Errorf("%s: told is %t, want %t:\n%s", fault, told, want, &text)
		}
	}
}
