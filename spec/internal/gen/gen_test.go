package main

import (
	"strings"
	"testing"
)

func TestNothingHasDrifted(t *testing.T) {
	if err := run(true); err != nil {
		t.Error(err)
	}
}

func TestFaultsInTheTextAreFound(t *testing.T) {
	const rule = "- **[ABC-1]** Something.\n"
	block := func(v string) string { return "```vector gate\n" + v + "\n```\n" }
	example := block(`{"name": "a", "rules": ["ABC-1"], "hex": "c0"}`)
	for _, test := range []struct{ name, text, want string }{
		{"sound", rule + example, ""},
		{"behaviour needs no vector", "- **[ABC-1]** *(behaviour)* Something.\n", ""},
		{"rule without vector", rule, "ABC-1 has no vector"},
		{"rule twice", rule + rule, "defined twice"},
		{"vector of no rule", rule + example + block(`{"name": "b", "hex": "c0"}`), "names no rule"},
		{"vector of an unknown rule", rule + example + block(`{"name": "b", "rules": ["ABC-2"], "hex": "c0"}`), "ABC-2"},
		{"vector of a behaviour", "- **[ABC-1]** *(behaviour)* X.\n" + example, "no rule that has examples"},
		{"vector name twice", rule + example + example, "is taken"},
		{"mention of no rule", rule + example + "See [ABC-3].\n", "refers to ABC-3"},
		{"broken hex", rule + block(`{"name": "a", "rules": ["ABC-1"], "hex": "c"}`), "odd length"},
		{"broken JSON", rule + block(`{"name": }`), "invalid character"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, err := parse(test.text)
			if err == nil {
				err = s.check()
			}
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("found %v, wanted %q", err, test.want)
			}
		})
	}
}

func TestHexIsWrittenInFull(t *testing.T) {
	if got, err := expandHex("91*3 C0"); err == nil && got != "919191C0" {
		t.Errorf("expandHex = %q, %v", got, err)
	}
	if got, err := expandHex("81a1*2 00"); got != "81a181a100" || err != nil {
		t.Errorf("expandHex = %q, %v", got, err)
	}
}

func TestVectorsKeepTheirOrderAndHexInFull(t *testing.T) {
	s, err := parse("```vector gate\n" + `{"name": "b", "rules": ["ABC-1"], "hex": "90 90", "length": 1}{"name": "a", "rules": [], "hex": ""}` + "\n```\n")
	if err != nil {
		t.Fatal(err)
	}
	want := `[
{"name":"b","rules":["ABC-1"],"hex":"9090","length":1},
{"name":"a","rules":null,"hex":""}
]
`
	if got := string(s.byKind()["gate"]); got != want {
		t.Errorf("found %s, wanted %s", got, want)
	}
}
