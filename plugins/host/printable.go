package host

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// printable is s with everything escaped that is no printable character of valid UTF-8, cut to about limit bytes. What plugins
// say goes through it before it reaches a log, a terminal or a list.
func printable(s string, limit int) string {
	var b strings.Builder
	for len(s) > 0 {
		if b.Len() >= limit {
			b.WriteString("…")
			break
		}
		r, width := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && width == 1:
			fmt.Fprintf(&b, `\x%02x`, s[0])
		case unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			quoted := strconv.QuoteRuneToASCII(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		}
		s = s[width:]
	}
	return b.String()
}
