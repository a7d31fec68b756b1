package protocol

import (
	"strings"
	"unicode/utf8"
)

const hexDigits = "0123456789ABCDEF"

// EscapeLevel writes any string, such as a user id, as exactly one level of a topic, and different strings as different levels
// ([NAM-1]): the bytes `.` `*` `>` `%`, a leading `$`, and every byte of a blank, a control or format character or of invalid
// UTF-8 become %XX. The empty string becomes `%`.
func EscapeLevel(s string) string {
	if s == "" {
		return "%"
	}
	var b strings.Builder
	done := 0 // bytes of s that have been written
	for i, r := range s {
		size := escaped(s[i:], r)
		if i == 0 && r == '$' {
			size = 1
		}
		if size == 0 {
			continue
		}
		b.WriteString(s[done:i])
		done = i + size
		for _, c := range []byte(s[i:done]) {
			b.WriteByte('%')
			b.WriteByte(hexDigits[c>>4])
			b.WriteByte(hexDigits[c&15])
		}
	}
	if done == 0 {
		return s
	}
	b.WriteString(s[done:])
	return b.String()
}

// escaped is how many bytes of s, which begins with r, have to be escaped: all of r's, or none.
func escaped(s string, r rune) int {
	switch {
	case r == '.' || r == '*' || r == '>' || r == '%':
		return 1
	case r > ' ' && r < 0x7f:
		return 0
	case r == utf8.RuneError:
		if strings.HasPrefix(s, "\uFFFD") {
			return 0
		}
		return 1
	case excluded(r):
		return utf8.RuneLen(r)
	}
	return 0
}

// UnescapeLevel is the reverse of EscapeLevel. What EscapeLevel does not write is refused with bad_args, so that one name has one level
// ([NAM-2]).
func UnescapeLevel(level string) (string, error) {
	if level == "%" {
		return "", nil
	}
	var b strings.Builder
	for i := 0; i < len(level); i++ {
		if level[i] != '%' {
			b.WriteByte(level[i])
			continue
		}
		if i+2 >= len(level) {
			return "", Errorf(CodeBadArgs, "found %% at byte %d, wanted two hex digits after it", i)
		}
		hi, lo := strings.IndexByte(hexDigits, level[i+1]), strings.IndexByte(hexDigits, level[i+2])
		if hi < 0 || lo < 0 {
			return "", Errorf(CodeBadArgs, "found %% at byte %d, wanted two upper-case hex digits after it", i)
		}
		b.WriteByte(byte(hi<<4 | lo))
		i += 2
	}
	if s := b.String(); EscapeLevel(s) == level {
		return s, nil
	}
	return "", Errorf(CodeBadArgs, "found a level of %d bytes that is not escaped, or escapes more than it has to", len(level))
}
