package config

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestTopicRules(t *testing.T) {
	newest := History{Count: 1000}
	for _, tc := range []struct {
		name, yaml string
		want       Topic
	}{
		{"what only looks like the broker's own", "{match: $system, class: stored}", Topic{Match: "$system", Class: stored, History: newest}},
		{"memory", "{match: a, class: memory}", Topic{Match: "a", Class: "memory"}},
		{"the newest thousand without a history", "{match: a, class: stored}", Topic{Match: "a", Class: stored, History: newest}},
		{
			"the class may come last", "{history: {age: 1h}, match: a, class: stored}",
			Topic{Match: "a", Class: stored, History: History{Age: Duration(time.Hour)}},
		},
		{
			"every bound", "{match: a, class: stored, history: {count: 5, age: 24h, bytes: 3MiB}}",
			Topic{Match: "a", Class: stored, History: History{Count: 5, Age: Duration(24 * time.Hour), Bytes: 3 * MiB}},
		},
		{"sync always", "{match: a, class: stored, sync: always}", Topic{Match: "a", Class: stored, History: newest}},
		{
			"sync by an interval", "{match: a, class: stored, sync: {interval: 20ms}}",
			Topic{Match: "a", Class: stored, History: newest, Sync: Sync{Interval: Duration(20 * time.Millisecond)}},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l, err := load(t, "", "CARILLON_TOPICS=["+tc.yaml+"]")
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff([]Topic{tc.want}, l.Topics); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestMistakesInTopicRulesSayWhatToWrite(t *testing.T) {
	const rule = "topics:\n  - match: a\n    class: stored\n"
	for _, tc := range []struct {
		name, yaml string
		want       []string
	}{
		{"history of a topic in memory", "topics: [{match: a, class: memory, history: {count: 5}}]\n", []string{
			`c.yaml:1:45: topics[0].history: is for class stored; this rule is of class memory, whose topics have no history: write class: stored, or leave it out`,
		}},
		{"sync of a live topic", "topics: [{match: a, class: live, sync: always}]\n", []string{
			`c.yaml:1:40: topics[0].sync: is for class stored; this rule is of class live, which nothing commits: write class: stored, or leave it out`,
		}},
		{"history of a class that is not known", "topics: [{match: a, class: sotred, history: {count: 5}}]\n", []string{
			`c.yaml:1:28: topics[0].class: "sotred" is not known; did you mean "stored"?`,
		}},
		{"no store", "store: {plugin: none}\n" + rule, []string{
			`c.yaml:4:12: topics[0].class: stored needs a store, and store.plugin is none; write store.plugin: store-bolt, or class: memory`,
		}},
		{"empty history", rule + "    history: {}\n", []string{`c.yaml:4:14: topics[0].history: bounds nothing; write count, age or bytes, such as`}},
		{"history of nothing", rule + "    history:\n", []string{`c.yaml:4:14: topics[0].history: bounds nothing; write count, age or bytes`}},
		{"history that is a number", rule + "    history: 1000\n", []string{`c.yaml:4:14: topics[0].history: is a value, want a section with keys`}},
		{"mistyped bound", rule + "    history: {cuont: 5}\n", []string{`c.yaml:4:15: unknown key "topics[0].history.cuont"; did you mean "count"?`}},
		{"a count of nothing", rule + "    history: {count: 0}\n", []string{`c.yaml:4:22: topics[0].history.count: 0 is below the least, 1`}},
		{"a negative count", rule + "    history: {count: -5}\n", []string{`c.yaml:4:22: topics[0].history.count: is "-5", want a whole number from 1`}},
		{"a negative count that means unlimited elsewhere", rule + "    history: {count: -1}\n", []string{
			`c.yaml:4:22: topics[0].history.count: is "-1", want a whole number from 1`,
		}},
		{"a half", rule + "    history: {count: 1.5}\n", []string{`c.yaml:4:22: topics[0].history.count: is "1.5", want a whole number from 1`}},
		{"stored topics of the broker's own", "topics: [{match: $sys.>, class: stored}]\n", []string{
			`c.yaml:1:18: topics[0].match: "$sys.>" is of the broker's own topics, to which nobody publishes: there is nothing to store`,
		}},
		{"a count without a bound", rule + "    history: {count: unlimited}\n", []string{
			`c.yaml:4:22: topics[0].history.count: cannot be unlimited`,
		}},
		{"a negative age", rule + "    history: {age: -5s}\n", []string{`c.yaml:4:20: topics[0].history.age: -5s is below the least, 1s`}},
		{"an age in days", rule + "    history: {age: 7d}\n", []string{`c.yaml:4:20: topics[0].history.age: "7d": days are written in hours; write 168h`}},
		{"an age of no unit", rule + "    history: {age: 60}\n", []string{`c.yaml:4:20: topics[0].history.age: "60" has no unit; write 60ms, 60s or 60m`}},
		{"bytes of nothing", rule + "    history: {bytes: 0}\n", []string{`c.yaml:4:22: topics[0].history.bytes: 0B is below the least, 1KiB`}},
		{"sync as a duration", rule + "    sync: 20ms\n", []string{`c.yaml:4:11: topics[0].sync: "20ms" is not known; write {interval: 20ms}, or always`}},
		{"sync as another word", rule + "    sync: alway\n", []string{`c.yaml:4:11: topics[0].sync: "alway" is not known; did you mean "always"?; want always, or {interval: 20ms}`}},
		{"empty sync", rule + "    sync: {}\n", []string{`c.yaml:4:11: topics[0].sync: is empty; want always, or {interval: 20ms}`}},
		{"sync never", rule + "    sync: {interval: 1h}\n", []string{`c.yaml:4:22: topics[0].sync.interval: 1h is above the most, 1s`}},
		{"mistyped interval", rule + "    sync: {intervall: 1ms}\n", []string{`c.yaml:4:12: unknown key "topics[0].sync.intervall"; did you mean "interval"?`}},
		{"more rules than a store takes", "topics:\n" + strings.Repeat("  - {match: a, class: stored}\n", 1001), []string{
			`c.yaml:2:3: topics: has 1001 rules, of which some are of class stored; a store takes at most 1000`,
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := load(t, tc.yaml)
			got := messages(t, err)
			if len(got) != len(tc.want) {
				t.Fatalf("found %d problems, want %d:\n%s", len(got), len(tc.want), strings.Join(got, "\n"))
			}
			for i := range got {
				if !strings.HasPrefix(got[i], tc.want[i]) {
					t.Errorf("problem %d\n got %s\nwant %s…", i, got[i], tc.want[i])
				}
			}
		})
	}
}

func TestRulesThatAreNeverReachedAreTold(t *testing.T) {
	for _, tc := range []struct{ rules, want string }{
		{"{match: a.>, class: live}, {match: a.b, class: stored}", `topics[1]: is never reached: topics[0], "a.>", matches all that "a.b" does`},
		{"{match: b, class: live}, {match: a, class: live}, {match: a, class: memory}", `topics[2]: is never reached: topics[1], "a", matches all that "a" does`},
		{"{match: a.b, class: live}, {match: a.>, class: stored}", ""},
		{"{match: a.*, class: live}, {match: a.>, class: stored}", ""},
		{"{match: '>', class: live}, {match: $user.>, class: stored}", ""}, // [FIL-5]
	} {
		l, err := load(t, "topics: ["+tc.rules+"]\n")
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Join(l.IdleRules(), "\n")
		if !strings.HasPrefix(got, tc.want) || tc.want == "" && got != "" {
			t.Errorf("%s: found %q, wanted %q…", tc.rules, got, tc.want)
		}
	}
}
