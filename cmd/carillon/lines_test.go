package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestLines(t *testing.T) {
	long := strings.Repeat("x", 200_000)
	for _, tc := range []struct {
		name, in string
		want     []string
		errs     int
	}{
		{"nothing", "", nil, 0},
		{"one", "a\n", []string{"a"}, 0},
		{"without a line end", "a\nb", []string{"a", "b"}, 0},
		{"blank lines", "\n\na\n\n", []string{"", "", "a", ""}, 0},
		{"of another system", "a\r\nb\r\n", []string{"a", "b"}, 0},
		{"longer than the buffer", long + "\nb\n", []string{long, "b"}, 0},
		{"too long", "a\n" + strings.Repeat("x", maxLineBytes+3) + "\nb\n", []string{"a", "b"}, 1},
		{"too long at the end", "a\n" + strings.Repeat("x", maxLineBytes+3), []string{"a"}, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var got []string
			errs := 0
			for in := newLineReader(strings.NewReader(tc.in)); ; {
				line, err := in.next()
				if line == nil && err == nil {
					break
				}
				if err != nil {
					errs++
					continue
				}
				got = append(got, string(line))
			}
			if d := cmp.Diff(tc.want, got); d != "" || errs != tc.errs {
				t.Errorf("%d errors, want %d\n%s", errs, tc.errs, d)
			}
		})
	}
}

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"plain\ttext\n": "plain\ttext\n", "\x1b[2J": `\u001b[2J`, "a\rb": `a\u000db`, "\xff": `\xff`, "\u202eabc": `\u202eabc`, "ü€": "ü€", "\ufffd": "\ufffd",
	} {
		if got := printable(in); got != want {
			t.Errorf("printable(%q) = %q, want %q", in, got, want)
		}
	}
}
