package protocol

import (
	"math/bits"
	"strings"
	"testing"
)

// refMatch is [FIL-4] and [FIL-5] said with lists of levels.
func refMatch(filter, topic string) bool {
	f, t := strings.Split(filter, "."), strings.Split(topic, ".")
	if strings.HasPrefix(topic, "$") && (f[0] == "*" || f[0] == ">") {
		return false
	}
	for i, level := range f {
		if level == ">" {
			return len(t) > i
		}
		if i >= len(t) || level != "*" && level != t[i] {
			return false
		}
	}
	return len(f) == len(t)
}

// names returns every name of up to depth levels; rest allows `>` as the last one.
func names(levels []string, depth int, rest bool) []string {
	var all []string
	before := []string{""}
	for range depth {
		var longer []string
		for _, b := range before {
			for _, l := range levels {
				longer = append(longer, b+l+".")
			}
			if rest {
				all = append(all, b+">")
			}
		}
		for _, l := range longer {
			all = append(all, strings.TrimSuffix(l, "."))
		}
		before = longer
	}
	return all
}

func TestMatchAgreesWithItsDefinition(t *testing.T) {
	filters := names([]string{"a", "b", "ab", "$x", "*"}, 4, true)
	topics := names([]string{"a", "b", "ab", "$x"}, 5, false)
	for _, f := range filters {
		for _, topic := range topics {
			if got := Match(f, topic); got != refMatch(f, topic) {
				t.Fatalf("Match(%q, %q) = %t", f, topic, got)
			}
		}
	}
}

// matchedTopics are the filters to depth 4 over {a, b, $x, *, >} and, for each, the set of topics that it matches. c and $y are levels
// that no filter names, so they stand for all others, and topics one level deeper than the filters stand for all deeper ones.
func matchedTopics(t *testing.T) (filters []string, matched [][]uint64) {
	filters = names([]string{"a", "b", "$x", "*"}, 4, true)
	topics := names([]string{"a", "b", "c", "$x", "$y"}, 5, false)
	matched = make([][]uint64, len(filters))
	for i, f := range filters {
		if ValidateFilter(f) != nil {
			t.Fatalf("%q is not valid", f)
		}
		matched[i] = make([]uint64, (len(topics)+63)/64)
		for j, topic := range topics {
			if refMatch(f, topic) {
				matched[i][j/64] |= 1 << (j % 64)
			}
		}
	}
	return filters, matched
}

func TestCoversIsExactlyInclusion(t *testing.T) {
	filters, matched := matchedTopics(t)
	covering := 0
	for i, wider := range filters {
		for j, narrower := range filters {
			missed := 0
			for w := range matched[i] {
				missed += bits.OnesCount64(matched[j][w] &^ matched[i][w])
			}
			if got := Covers(wider, narrower); got != (missed == 0) {
				t.Fatalf("Covers(%q, %q) = %t, %d topics are missed", wider, narrower, got, missed)
			} else if got {
				covering++
			}
		}
	}
	t.Logf("%d pairs, %d covering", len(filters)*len(filters), covering)
}

func TestOverlapsIsExactlyIntersection(t *testing.T) {
	filters, matched := matchedTopics(t)
	for i, a := range filters {
		for j, b := range filters {
			both := 0
			for w := range matched[i] {
				both += bits.OnesCount64(matched[i][w] & matched[j][w])
			}
			if got := Overlaps(a, b); got != (both > 0) {
				t.Fatalf("Overlaps(%q, %q) = %t, %d topics are matched by both", a, b, got, both)
			}
		}
	}
	// Levels that begin alike, which the alphabet above does not have.
	for _, test := range []struct {
		a, b string
		want bool
	}{
		{"a", "ab", false}, {"ab", "a", false}, {"a.*", "ab.*", false}, {"*.ab", "a.*", true}, {"*.ab.c", "a.*.cd", false},
	} {
		if got := Overlaps(test.a, test.b); got != test.want {
			t.Errorf("Overlaps(%q, %q) = %t", test.a, test.b, got)
		}
	}
	if n := testing.AllocsPerRun(10, func() { Overlaps("orders.*.paid.>", "*.eu.*.x") }); n != 0 {
		t.Errorf("it allocates %v times", n)
	}
}

func TestReservedAndLiteralNames(t *testing.T) {
	for _, test := range []struct {
		name              string
		reserved, literal bool
	}{
		{"a.b", false, true},
		{"a.$b", false, true},
		{"$sys", true, true},
		{"$sys.>", true, false},
		{"*", false, false},
		{"a.＊", false, true},
		{"", false, true},
	} {
		if IsReserved(test.name) != test.reserved || IsLiteral(test.name) != test.literal {
			t.Errorf("%q: reserved %t, literal %t", test.name, IsReserved(test.name), IsLiteral(test.name))
		}
	}
}

func TestRefusedNamesSayWhere(t *testing.T) {
	for _, test := range []struct{ name, want string }{
		{"a..b", "bad_topic: level 2 is empty, wanted at least one character"},
		{"a.b c", "bad_topic: level 2 has U+0020 at byte 1, wanted no blank, control or format character"},
		{"a.b*", "bad_topic: level 2 has '*' at byte 1, wanted no wildcard in the name of a topic"},
		{"a.\xff", "bad_topic: level 2 has an invalid byte 0xff at byte 0, wanted UTF-8"},
		{strings.Repeat("a.", 16) + "a", "bad_topic: found 17 levels, wanted at most 16"},
		{strings.Repeat("a", 256), "bad_topic: found 256 bytes, wanted at most 255"},
	} {
		if err := ValidateTopic(test.name); err == nil || err.Error() != test.want {
			t.Errorf("%q: found %v, wanted %s", test.name, err, test.want)
		}
	}
}
