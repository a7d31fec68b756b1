package webrules

import (
	"slices"
	"strings"
)

// forwardedFor yields the `for` of each element of Forwarded (RFC 7239 section 4), the last first: "" for an element without one.
// Of a line that is not well formed only the last element is read, which a proxy has put behind what it was sent; the rest
// yields "".
func forwardedFor(lines []string) func(yield func(int, string) bool) {
	return func(yield func(int, string) bool) {
		n := 0
		for _, line := range slices.Backward(lines) {
			nodes, ok := parseForwarded(line)
			if !ok {
				nodes, ok = parseForwarded(line[strings.LastIndexByte(line, ',')+1:])
				if nodes = append([]string{""}, nodes...); !ok {
					nodes = nodes[:1]
				}
			}
			for _, node := range slices.Backward(nodes) {
				if !yield(n, node) {
					return
				}
				n++
			}
		}
	}
}

// parseForwarded reads one line of Forwarded and returns each element's `for`. ok is false when the line is not well formed.
func parseForwarded(line string) (nodes []string, ok bool) {
	node, has, began := "", false, false
	end := func() {
		if began {
			nodes = append(nodes, node)
		}
		node, has, began = "", false, false
	}
	for rest := line; ; {
		rest = strings.TrimLeft(rest, " \t")
		if rest == "" {
			end()
			return nodes, true
		}
		switch rest[0] {
		case ',':
			end()
			rest = rest[1:]
			continue
		case ';':
			if !began {
				return nil, false
			}
			rest = rest[1:]
			continue
		}
		name, value, after, ok := parsePair(rest)
		if !ok {
			return nil, false
		}
		if rest, began = after, true; strings.EqualFold(name, "for") {
			if has { // each parameter at most once
				return nil, false
			}
			node, has = value, true
		}
		if rest = strings.TrimLeft(rest, " \t"); rest != "" && rest[0] != ',' && rest[0] != ';' {
			return nil, false
		}
	}
}

// parsePair reads token "=" (token / quoted-string) from the start of s.
func parsePair(s string) (name, value, rest string, ok bool) {
	at := tokenLength(s)
	if at == 0 || at == len(s) || s[at] != '=' {
		return "", "", "", false
	}
	name, s = s[:at], s[at+1:]
	if !strings.HasPrefix(s, `"`) {
		at = tokenLength(s)
		if at < len(s) && (s[at] == ':' || s[at] == '[') { // an address without the quotes that it needs, which is often seen
			at = strings.IndexAny(s, ",; \t")
			if at < 0 {
				at = len(s)
			}
		}
		return name, s[:at], s[at:], at > 0
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '"':
			return name, b.String(), s[i+1:], true
		case s[i] == '\\' && i+1 < len(s):
			i++
		}
		b.WriteByte(s[i])
	}
	return "", "", "", false
}

// tokenLength is how many bytes at the start of s are of a token (RFC 9110 section 5.6.2).
func tokenLength(s string) int {
	n := 0
	for n < len(s) && isTokenByte(s[n]) {
		n++
	}
	return n
}

func isTokenByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}
