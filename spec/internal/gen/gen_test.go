package main

import (
	"os"
	"path/filepath"
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

// TestCitationsOfNoRuleAreFound cites a rule that there is not in each kind of file, as these files cite rules.
func TestCitationsOfNoRuleAreFound(t *testing.T) {
	for name, text := range map[string]string{
		"a/a.go": "package a // [ABC-1], [ABC-2]\n", "a/a.ts": "// [ABC-2]\n", "a/a.js": "/* [ABC-2] */\n", "a/a.mjs": "f() // [ABC-2]\n",
		"a/a.md": "- [ABC-2](b.md)\n", "a/a.yaml": "  rules: [ABC-1, ABC-2]\n", "a/b.yaml": "rules: [ABC-2]\n", "a/a.proto": "// [ABC-2]\n",
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			for file, text := range map[string]string{
				specPath: "- **[ABC-1]** *(behaviour)* Something.\n", "a/sound" + filepath.Ext(name): "[ABC-1] [XYZ-9] [ABC-1, XYZ-9]\n", name: "\n" + text,
				"node_modules/" + filepath.Base(name): text,
			} {
				path := filepath.Join(root, filepath.FromSlash(file))
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			err := citations(root)
			if want := filepath.FromSlash(name) + ":2: cites ABC-2, which spec/protocol.md does not define"; err == nil || err.Error() != want {
				t.Errorf("found %v, wanted %s", err, want)
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
