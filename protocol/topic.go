package protocol

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// ValidateTopic checks the name of a topic ([TOP-1] to [TOP-6]): 1 to MaxLevels levels separated by dots, none empty, at most
// MaxTopicBytes bytes of valid UTF-8 without blanks, control or format characters, and without `*` and `>`. The error is bad_topic.
func ValidateTopic(topic string) error { return validate(topic, false) }

// ValidateFilter checks a filter ([FIL-1] to [FIL-3]): a topic in which a level may be `*`, and the last one `>`. The error is bad_filter.
func ValidateFilter(filter string) error { return validate(filter, true) }

func validate(name string, filter bool) error {
	code := CodeBadTopic
	if filter {
		code = CodeBadFilter
	}
	if len(name) > MaxTopicBytes {
		return Errorf(code, "found %d bytes, wanted at most %d", len(name), MaxTopicBytes)
	}
	if isPlain(name) {
		return nil
	}
	levels := 0
	for rest, more := name, true; more; {
		var level string
		level, rest, more = strings.Cut(rest, ".")
		levels++
		if level == "" {
			return Errorf(code, "level %d is empty, wanted at least one character", levels)
		}
		if filter && (level == "*" || level == ">" && !more) {
			continue
		}
		if filter && level == ">" {
			return Errorf(code, "level %d of several is '>', wanted it as the last level only", levels)
		}
		if err := validateLevel(code, level, levels); err != nil {
			return err
		}
	}
	if levels > MaxLevels {
		return Errorf(code, "found %d levels, wanted at most %d", levels, MaxLevels)
	}
	return nil
}

// isPlain reports whether name is without a fault and without a wildcard, as nearly all are; it need not say so.
func isPlain(name string) bool {
	levels, empty := 1, true
	for i := range len(name) {
		switch c := name[i]; {
		case c == '.':
			if empty {
				return false
			}
			levels++
			empty = true
		case c <= ' ' || c >= 0x7f || c == '*' || c == '>':
			return false
		default:
			empty = false
		}
	}
	return !empty && levels <= MaxLevels
}

// validateLevel checks a level that is no wildcard. n is its place for the error.
func validateLevel(code Code, level string, n int) error {
	for i, r := range level {
		switch {
		case r == '*' || r == '>':
			if code == CodeBadFilter {
				return Errorf(code, "level %d has %q at byte %d, wanted a wildcard to be a whole level", n, r, i)
			}
			return Errorf(code, "level %d has %q at byte %d, wanted no wildcard in the name of a topic", n, r, i)
		case r > ' ' && r < utf8.RuneSelf && r != 0x7f:
		case r == utf8.RuneError && !strings.HasPrefix(level[i:], "\uFFFD"):
			return Errorf(code, "level %d has an invalid byte %#02x at byte %d, wanted UTF-8", n, level[i], i)
		case excluded(r):
			return Errorf(code, "level %d has %U at byte %d, wanted no blank, control or format character", n, r, i)
		}
	}
	return nil
}

// excluded reports whether no level may hold r: Unicode's White_Space and the categories Cc and Cf ([TOP-4]).
func excluded(r rune) bool {
	return unicode.IsSpace(r) || unicode.In(r, unicode.Cc, unicode.Cf)
}

// IsReserved reports whether a topic or filter is in the reserved space: its first byte is `$` ([TOP-7]).
func IsReserved(name string) bool { return name != "" && name[0] == '$' }

// IsLiteral reports whether a valid filter has no wildcard, so that it matches the one topic of its name.
func IsLiteral(filter string) bool { return !strings.ContainsAny(filter, "*>") }
