package protocol

import "strings"

// Match reports whether filter matches topic; both are valid ([FIL-4], [FIL-5]). It does not allocate.
func Match(filter, topic string) bool {
	if wildcardFirst(filter) && IsReserved(topic) {
		return false
	}
	f, t := 0, 0
	for { // f and t are at the start of a level
		switch {
		case filter[f] == '>':
			return true
		case filter[f] == '*':
			f++
			for t < len(topic) && topic[t] != '.' {
				t++
			}
		default:
			for f < len(filter) && filter[f] != '.' {
				if t == len(topic) || filter[f] != topic[t] {
					return false
				}
				f++
				t++
			}
			if t < len(topic) && topic[t] != '.' {
				return false
			}
		}
		if f == len(filter) || t == len(topic) {
			return f == len(filter) && t == len(topic)
		}
		f++
		t++
	}
}

// Covers reports whether wider matches every topic that narrower matches; both are valid filters ([FIL-6]). The number of levels a
// topic may have is taken as unbounded. It does not allocate.
func Covers(wider, narrower string) bool {
	if wildcardFirst(wider) && IsReserved(narrower) {
		return false
	}
	w, n := 0, 0
	for { // w and n are at the start of a level
		switch {
		case wider[w] == '>':
			return true
		case narrower[n] == '>':
			return false
		case wider[w] == '*':
			w++
			for n < len(narrower) && narrower[n] != '.' {
				n++
			}
		default:
			for w < len(wider) && wider[w] != '.' {
				if n == len(narrower) || wider[w] != narrower[n] {
					return false
				}
				w++
				n++
			}
			if n < len(narrower) && narrower[n] != '.' {
				return false
			}
		}
		if w == len(wider) || n == len(narrower) {
			return w == len(wider) && n == len(narrower)
		}
		w++
		n++
	}
}

// Overlaps reports whether some topic is matched by both a and b, which are valid filters ([FIL-4], [FIL-5]). The number of bytes that a
// topic may have is taken as unbounded. It does not allocate.
func Overlaps(a, b string) bool {
	if wildcardFirst(a) && IsReserved(b) || wildcardFirst(b) && IsReserved(a) {
		return false
	}
	i, j := 0, 0
	for { // i and j are at the start of a level
		if a[i] == '>' || b[j] == '>' {
			return true
		}
		m, n := levelEnd(a, i), levelEnd(b, j)
		if a[i] != '*' && b[j] != '*' && a[i:m] != b[j:n] {
			return false
		}
		if m == len(a) || n == len(b) {
			return m == len(a) && n == len(b)
		}
		i, j = m+1, n+1
	}
}

// levelEnd is where the level ends that begins at from.
func levelEnd(filter string, from int) int {
	if n := strings.IndexByte(filter[from:], '.'); n >= 0 {
		return from + n
	}
	return len(filter)
}

// wildcardFirst reports whether a filter's first level is a wildcard, which matches no reserved topic.
func wildcardFirst(filter string) bool { return filter[0] == '*' || filter[0] == '>' }
