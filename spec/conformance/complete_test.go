package conformance

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/carillon-mq/carillon/protocol"
	"github.com/carillon-mq/carillon/spec"
)

// elsewhere are the rules about behaviour that cannot be seen from outside, each with the test that proves it.
var elsewhere = map[string]struct{ folder, test, why string }{
	"CON-10": {"broker", "TestADecisionIsTakenAsItIs", "what decides has to be away"},
	"RET-3":  {"broker", "TestNothingRetainedIsServedBeforeItIsLoaded", "the store has to be away at the start"},
	"RGT-3":  {"broker", "TestNoDecisionAboutARightIsNo", "what decides has to be away"},
	"RES-8":  {"broker", "TestALaggingSessionGoesOnFromTheStore", "the log has to pass a session that is held up"},
	"PNG-5":  {"broker", "TestASlowReaderIsNeverCut", "90 s have to pass, and what waits has to be counted"},
	"COD-2":  {"spec/conformance", "TestNoCodeHasChangedItsMeaning", "it is about versions of this page"},
}

// ofClients are the rules about what a client does, which scripts for SDKs show alone.
var ofClients = strings.Fields("REF-6 GAP-5 PNG-4 REC-1 REC-2 REC-3 REC-4 REC-5")

// ofServers are rules for both sides, of which the server's cannot be seen from outside, each with the test that proves it.
var ofServers = map[string]struct{ folder, test, why string }{
	"RES-7": {"broker", "TestStoredTopicsWaitForTheStore", "the store has to be away"},
}

// unnamed are the codes that no rule and no row of the limits names, with what they are for.
var unnamed = map[string]string{
	"going_away":             "the end of the server itself; DIS-1 and REC-2 say what a client does",
	"internal":               "a fault of the server; COD-1 says what a client does",
	"replaced":               "set aside for sessions that take another one's place; no server sends it yet",
	"session_expired":        "what authentication says of a session: REC-3",
	"token_bad_signature":    "what authentication says of a token",
	"token_wrong_audience":   "what authentication says of a token",
	"token_wrong_issuer":     "what authentication says of a token",
	"token_unknown_key":      "what authentication says of a token",
	"token_not_yet_valid":    "what authentication says of a token",
	"token_bad_claims":       "what authentication says of a token",
	"bad_origin":             "of the HTTP API and the upgrade: docs/http.md",
	"bad_host":               "of the HTTP API and the upgrade: docs/http.md",
	"upgrade_required":       "of the upgrade",
	"method_not_allowed":     "of the HTTP API: docs/http.md",
	"unsupported_media_type": "of the HTTP API: docs/http.md",
	"bad_body":               "of the HTTP API: docs/http.md",
	"headers_too_large":      "of the HTTP API and the upgrade",
	"bad_scheme":             "of the listener, before there is HTTP",
}

// shown are the rules that scripts name.
func shown(t *testing.T) map[string]bool {
	t.Helper()
	rules := shownBy(t, Sessions)
	maps.Copy(rules, shownBy(t, Clients))
	return rules
}

func shownBy(t *testing.T, of func(string) ([]*Script, error)) map[string]bool {
	t.Helper()
	rules := map[string]bool{}
	for _, s := range all(t, of) {
		for _, id := range s.Rules {
			rules[id] = true
		}
	}
	return rules
}

// exampled are the rules that vectors name.
func exampled(t *testing.T) map[string]bool {
	t.Helper()
	files, err := filepath.Glob("../vectors/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal("no vectors", err)
	}
	rules := map[string]bool{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var vectors []struct {
			Rules []string `json:"rules"`
		}
		if err := json.Unmarshal(text, &vectors); err != nil {
			t.Fatal(err)
		}
		for _, v := range vectors {
			for _, id := range v.Rules {
				rules[id] = true
			}
		}
	}
	return rules
}

func TestEveryRuleIsProven(t *testing.T) {
	vectors, scripts := exampled(t), shown(t)
	if len(Rules()) < 100 {
		t.Fatalf("found %d rules in the text", len(Rules()))
	}
	for _, r := range Rules() {
		_, listed := elsewhere[r.ID]
		switch {
		case !r.Behaviour && !vectors[r.ID]:
			t.Errorf("%s has no vector", r.ID)
		case r.Behaviour && !scripts[r.ID] && !listed:
			t.Errorf("%s has no script, and no test elsewhere: %s", r.ID, r.Text)
		case listed && scripts[r.ID]:
			t.Errorf("%s has a script: it need not be listed with what is proven elsewhere", r.ID)
		case listed && !r.Behaviour:
			t.Errorf("%s is no behaviour", r.ID)
		}
	}
}

// What a server does is shown by a server: a script for SDKs plays the server itself.
func TestRulesOfServersAreShownByServers(t *testing.T) {
	servers, sdks := shownBy(t, Sessions), shownBy(t, Clients)
	for _, r := range Rules() {
		alone := r.Behaviour && sdks[r.ID] && !servers[r.ID]
		_, listed := ofServers[r.ID]
		if known := listed || slices.Contains(ofClients, r.ID); alone != known {
			t.Errorf("%s is shown by scripts for SDKs alone: %t, and is known for that: %t", r.ID, alone, known)
		}
	}
}

func TestWhatIsProvenElsewhereIs(t *testing.T) {
	proven := maps.Clone(elsewhere)
	maps.Copy(proven, ofServers)
	for id, e := range proven {
		if _, known := RuleText(id); !known {
			t.Errorf("there is no rule %s", id)
		}
		if e.why == "" {
			t.Errorf("%s: why is missing", id)
		}
		if !slices.Contains(tests(t, filepath.Join("../..", e.folder)), e.test) {
			t.Errorf("%s: %s has no %s", id, e.folder, e.test)
		}
	}
}

// tests are the names of the tests in a folder.
func tests(t *testing.T, folder string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, file := range files {
		tree, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range tree.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil {
				names = append(names, f.Name.Name)
			}
		}
	}
	return names
}

func TestEveryCodeIsNamedByARule(t *testing.T) {
	var text strings.Builder
	for _, r := range Rules() {
		text.WriteString(r.Text)
	}
	_, growth, _ := strings.Cut(spec.Protocol, "## 14. Growth")
	limits, _, _ := strings.Cut(growth, "## 15.")
	text.WriteString(limits)
	left := maps.Clone(unnamed)
	for _, c := range protocol.Codes() {
		named := strings.Contains(text.String(), "`"+c.Name+"`")
		if _, reason := unnamed[c.Name]; named == reason {
			t.Errorf("%s: named by a rule: %t, with a reason why not: %t", c.Name, named, reason)
		}
		delete(left, c.Name)
	}
	for name := range left {
		t.Errorf("there is no code %s", name)
	}
}

// published are the codes as they have been since they were first there. New ones are added here; none is changed ([COD-2]).
const published = `
4000 going_away 4001 stalled 4002 no_pong 4003 unavailable 4004 session_limit 4005 flooding 4006 internal 4007 connect_timeout 4008 replaced
4100 token_expired 4101 session_expired
4200 bad_packet 4201 token_missing 4202 token_malformed 4203 token_bad_signature 4204 token_wrong_audience 4205 token_wrong_issuer 4206 token_unknown_key
4207 token_not_yet_valid 4208 token_bad_claims 4209 bad_version 4210 bad_order 4211 message_too_large 4212 bad_frame 4213 revoked 4214 kicked 4215 wrong_user
4300 rate_limited 4301 store_unavailable 4302 not_ready 4303 quota 4304 timeout 4305 auth_unavailable
4400 bad_topic 4401 bad_filter 4402 forbidden 4403 too_large 4404 unknown_type 4405 bad_args 4406 duplicate_id 4407 bad_position 4408 not_found
4409 subscription_limit 4410 unsupported
4500 bad_origin 4501 bad_host 4502 bad_subprotocol 4503 upgrade_required 4504 method_not_allowed 4505 unsupported_media_type 4506 bad_body 4507 token_in_url
4508 headers_too_large 4509 bad_scheme
`

func TestNoCodeHasChangedItsMeaning(t *testing.T) {
	var have []string
	for _, c := range protocol.Codes() {
		have = append(have, show(int(c.Code)), c.Name)
	}
	if want := strings.Fields(published); !slices.Equal(have, want) {
		t.Errorf("the table has\n%s\nand it was\n%s", strings.Join(have, " "), strings.Join(want, " "))
	}
}

func TestScriptsThatAreWrongAreRefused(t *testing.T) {
	const sound = "- {name: a, about: b, rules: [TRA-1], steps: [{connect: {}}]}"
	if _, err := Parse("x", []byte(sound)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, from, to, want string }{
		{"another rule", "TRA-1", "TRA-99", "no rule TRA-99"},
		{"no rule", "[TRA-1]", "[]", "names no rule"},
		{"a name with blanks", "name: a", "name: A b", "lower-case"},
		{"no step", "[{connect: {}}]", "[]", "no steps"},
		{"a key that is not known", "connect: {}", "conect: {}", "conect"},
		{"two actions", "connect: {}", "connect: {}, drop: true", "2 actions"},
		{"no action", "connect: {}", "by: b", "0 actions"},
		{"a need that is not known", "about: b", "about: b, needs: [luck]", "luck"},
		{"a fault of a packet that no server sends", "connect: {}", "faults: {Publish: lost}", "Publish is no packet of a server"},
		{"a fault that is not known", "connect: {}", "faults: {Published: eaten}", "eaten"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := Parse("x", []byte(strings.Replace(sound, c.from, c.to, 1))); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("found %v, wanted %q", err, c.want)
			}
		})
	}
	if _, err := Parse("x", []byte(sound+"\n"+sound)); err == nil || !strings.Contains(err.Error(), "is taken") {
		t.Errorf("found %v for a name that comes twice", err)
	}
}
