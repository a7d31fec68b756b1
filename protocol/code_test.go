package protocol

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var constant = regexp.MustCompile(`(?m)^\t(Code\w+) +Code = (\d+)$`)

// constants are the Code constants of code.go by number.
func constants(t *testing.T) map[int]string {
	t.Helper()
	source, err := os.ReadFile("code.go")
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[int]string)
	for _, m := range constant.FindAllStringSubmatch(string(source), -1) {
		n, _ := strconv.Atoi(m[2])
		found[n] = m[1]
	}
	return found
}

func TestEveryConstantHasItsRowAndEveryRowItsConstant(t *testing.T) {
	rows := make(map[int]string)
	for _, c := range Codes() {
		name := "Code"
		for word := range strings.SplitSeq(c.Name, "_") {
			switch word {
			case "id", "url":
				name += strings.ToUpper(word)
			default:
				name += strings.ToUpper(word[:1]) + word[1:]
			}
		}
		rows[int(c.Code)] = name
	}
	if diff := cmp.Diff(constants(t), rows); diff != "" {
		t.Errorf("(-constants +rows):\n%s", diff)
	}
}

func TestTheTableIsSortedWholeAndWithoutDoubles(t *testing.T) {
	names := make(map[string]bool)
	last := Code(0)
	for _, c := range Codes() {
		if c.Code <= last || c.Code < 4000 || c.Code > 4599 {
			t.Errorf("%d stands behind %d", c.Code, last)
		}
		last = c.Code
		if names[c.Name] {
			t.Errorf("%s comes twice", c.Name)
		}
		names[c.Name] = true
		for _, text := range []string{c.Meaning, c.Cause, c.Action} {
			if !strings.HasSuffix(text, ".") || strings.Contains(text, "|") {
				t.Errorf("%s: %q is no sentence for a table", c.Name, text)
			}
		}
		if back, ok := CodeByName(c.Name); !ok || back != c.Code || c.Code.String() != c.Name || !c.Code.Known() || c.Code.Hint() != c.Action {
			t.Errorf("%d is not found by its name or number", c.Code)
		}
		if c.HTTP != 0 && (c.HTTP < 400 || c.HTTP > 599) || c.Code >= 4500 && c.HTTP == 0 {
			t.Errorf("%s: HTTP status %d", c.Name, c.HTTP)
		}
	}
}

func TestUnknownCodesGoByTheirRange(t *testing.T) {
	type advice struct {
		Closes, Retry, NeedsToken bool
		HTTP                      int
	}
	want := map[Code]advice{
		1006: {true, true, false, 503},
		4099: {true, true, false, 503},
		4199: {true, true, true, 401},
		4299: {true, false, false, 400},
		4399: {false, true, false, 503},
		4499: {false, false, false, 400},
		4599: {false, false, false, 400},
		5000: {false, false, false, 400},
	}
	for _, c := range slices.Sorted(maps.Keys(want)) {
		got := advice{c.Closes(), c.Retry(), c.NeedsToken(), c.HTTPStatus()}
		if got != want[c] || c.Known() || c.Hint() != "" || c.String() != "code_"+strconv.Itoa(int(c)) {
			t.Errorf("%d: found %+v, wanted %+v", c, got, want[c])
		}
	}
	if _, ok := CodeByName("code_4099"); ok {
		t.Error("a made-up name is found")
	}
}
