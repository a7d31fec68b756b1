package config

import (
	"fmt"
	"strings"
)

// KeyError is one mistake in a configuration.
type KeyError struct {
	File   string // "" when the value did not come from a file
	Line   int    // from 1, in File; 0 when unknown
	Column int
	Key    string // the key, the environment variable or the flag, as it was written
	Text   string // what was found, and what was wanted
	Fix    string // lines to write instead, or ""
}

// Error is one line, but for the lines of Fix.
func (p KeyError) Error() string {
	var b strings.Builder
	switch {
	case p.Line > 0 && p.File != "":
		fmt.Fprintf(&b, "%s:%d:%d: ", p.File, p.Line, p.Column)
	case p.File != "":
		fmt.Fprintf(&b, "%s: ", p.File)
	}
	if p.Key != "" {
		b.WriteString(p.Key + ": ")
	}
	b.WriteString(p.Text)
	if p.Fix != "" {
		b.WriteString("\n\n    " + strings.ReplaceAll(strings.TrimSpace(p.Fix), "\n", "\n    ") + "\n")
	}
	return b.String()
}

// KeyErrors is what Load and Check found wrong, in the order of the file.
type KeyErrors []KeyError

func (ps KeyErrors) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// err is nil when nothing is wrong.
func (ps KeyErrors) err() error {
	if len(ps) == 0 {
		return nil
	}
	return ps
}

// suggest is `; did you mean "x"?` for the name nearest to got, or "" when none is near.
func suggest(got string, names []string) string {
	if best := nearest(got, names, 1+len(got)/3); best != "" {
		return fmt.Sprintf("; did you mean %q?", best)
	}
	return ""
}

// nearest is the name nearest to got, within a distance; "" when there is none.
func nearest(got string, names []string, within int) string {
	best := ""
	for _, n := range names {
		if d := distance(strings.ToLower(got), strings.ToLower(n)); d < within || d == within && best == "" {
			best, within = n, d
		}
	}
	return best
}

// distance is the number of inserted, removed, replaced or swapped letters between a and b (optimal string alignment).
func distance(a, b string) int {
	var before []int
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		next := make([]int, len(b)+1)
		next[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			next[j] = min(row[j]+1, next[j-1]+1, row[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				next[j] = min(next[j], before[j-2]+1)
			}
		}
		before, row = row, next
	}
	return row[len(b)]
}
