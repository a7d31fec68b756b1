package main

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// printable is s as it may be written to a terminal: what could move the cursor, hide or reorder text is escaped. Tabs and, in
// what is our own text, line ends stay.
func printable(s string) string {
	if !strings.ContainsFunc(s, unsafeRune) && utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for i, c := range s {
		switch {
		case c == utf8.RuneError && !strings.HasPrefix(s[i:], string(utf8.RuneError)):
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case unsafeRune(c):
			fmt.Fprintf(&b, `\u%04x`, c)
		default:
			b.WriteRune(c)
		}
	}
	return b.String()
}

func unsafeRune(c rune) bool {
	return c != '\t' && c != '\n' && (unicode.IsControl(c) || unicode.Is(unicode.Cf, c))
}
