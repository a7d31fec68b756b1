package protocol

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// definedName is [TOP-2] to [TOP-5], and [FIL-1] and [FIL-2] for filters, said with lists of levels.
func definedName(name string, filter bool) bool {
	levels := strings.Split(name, ".")
	if len(name) > 255 || len(levels) > 16 || !utf8.ValidString(name) {
		return false
	}
	for i, level := range levels {
		if filter && (level == "*" || level == ">" && i == len(levels)-1) {
			continue
		}
		if level == "" || strings.ContainsAny(level, "*>") || strings.ContainsFunc(level, func(r rune) bool {
			return unicode.Is(unicode.White_Space, r) || unicode.Is(unicode.Cc, r) || unicode.Is(unicode.Cf, r)
		}) {
			return false
		}
	}
	return true
}

// A name is a topic or a filter exactly if the rules say so, and says with its code which it is not.
func FuzzName(f *testing.F) {
	for _, s := range []string{
		"a.b", "", ".", "a..b", "*", ">", "a.>", "a>", "a.*.b", "a.>.b", "$sys.x", "a\u202eb", "a b", "a\u00a0b", "\u00e9", "e\u0301", "a\uff0eb", "\xff", "a.\xc3",
		"a\x00", "a\u0085", strings.Repeat("a", 255), strings.Repeat("a", 256), strings.Repeat("a.", 15) + "a", strings.Repeat("a.", 16) + "a", strings.Repeat("\u00e9", 128),
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if err := ValidateTopic(name); (err == nil) != definedName(name, false) || err != nil && CodeOf(err) != CodeBadTopic {
			t.Fatalf("%q as a topic: %v", name, err)
		}
		if err := ValidateFilter(name); (err == nil) != definedName(name, true) || err != nil && CodeOf(err) != CodeBadFilter {
			t.Fatalf("%q as a filter: %v", name, err)
		} else if err == nil && !Covers(name, name) {
			t.Fatalf("%q does not cover itself", name)
		}
	})
}
