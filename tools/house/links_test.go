package house_test

import (
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"
)

// A relative link in a page leads to a file or folder of the product, and what stands behind # to a heading there.
func TestTheLinksInThePagesLeadSomewhere(t *testing.T) {
	known := map[string][]string{}
	links := 0
	for _, page := range pages(t) {
		text := withoutCode(read(t, page))
		for _, target := range targets(text) {
			links++
			file, anchor, _ := strings.Cut(target, "#")
			to := page
			if file != "" {
				to = filepath.Join(filepath.Dir(page), filepath.FromSlash(file))
			}
			if _, err := os.Stat(filepath.Join(root(t), to)); err != nil {
				t.Errorf("%s: %s: there is no %s", page, target, to)
				continue
			}
			if anchor == "" {
				continue
			}
			if known[to] == nil {
				known[to] = anchors(read(t, to))
			}
			if !slices.Contains(known[to], anchor) {
				t.Errorf("%s: %s: %s has no heading #%s", page, target, to, anchor)
			}
		}
	}
	if links < 100 {
		t.Errorf("found %d links", links)
	}
}

// The test of the links finds what is wrong.
func TestLinksAndHeadingsAreRead(t *testing.T) {
	text := "# One `two` [three](x.md) & four\n\n## Same\n## Same\n\n<a id=\"here\"></a>[a](b.md#c) `[no](no.md)` ![i](<p q.png>) [m](https://x.test/) [r][1]\n\n```\n[no](no.md)\n# no\n```\n\n[1]: e%20f.md 'T'\n"
	if got, want := targets(withoutCode(text)), []string{"x.md", "b.md#c", "p q.png", "e f.md"}; !slices.Equal(got, want) {
		t.Errorf("links %q, wanted %q", got, want)
	}
	if got, want := anchors(text), []string{"one-two-three--four", "same", "same-1", "here"}; !slices.Equal(got, want) {
		t.Errorf("headings %q, wanted %q", got, want)
	}
}

// pages are the Markdown files of the product, relative to its root.
func pages(t *testing.T) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(root(t), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "node_modules" || d.Name()[0] == '.') {
			return fs.SkipDir
		}
		if d.Type().IsRegular() && filepath.Ext(path) == ".md" {
			name, err := filepath.Rel(root(t), path)
			if err != nil {
				return err
			}
			found = append(found, name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root(t), file))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var (
	inlineCode = regexp.MustCompile("`[^`\n]*`")
	inlineLink = regexp.MustCompile(`\]\((?:<([^>\n]*)>|([^()\s]*(?:\([^()\s]*\))?[^()\s]*))(?:\s+["'][^\n]*?["'])?\)`)
	reference  = regexp.MustCompile(`(?m)^ {0,3}\[[^\]\n]+\]:[ \t]+(\S+)`)
	linkText   = regexp.MustCompile(`!?\[([^\]]*)\]\([^)]*\)`)
	placed     = regexp.MustCompile(`<a (?:id|name)="([^"]+)"`)
	scheme     = regexp.MustCompile(`^[a-z][a-z0-9+.-]*:`)
	fence      = regexp.MustCompile("^\\s*(```+|~~~+)")
)

// withoutCode is text without its blocks of code and with inline code emptied.
func withoutCode(text string) string {
	var b strings.Builder
	for line := range proseLines(text) {
		b.WriteString(inlineCode.ReplaceAllString(line, "``"))
	}
	return b.String()
}

// proseLines are the lines of text outside of fenced code.
func proseLines(text string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		open := ""
		for line := range strings.Lines(text) {
			mark := fence.FindStringSubmatch(line)
			switch {
			case mark != nil && open == "":
				open = mark[1]
			case mark != nil && strings.HasPrefix(mark[1], open) && strings.TrimSpace(line) == mark[1]:
				open = ""
			case open == "" && !yield(line):
				return
			}
		}
	}
}

// targets are the relative links in text, decoded.
func targets(text string) []string {
	var all []string
	for _, found := range slices.Concat(inlineLink.FindAllStringSubmatch(text, -1), reference.FindAllStringSubmatch(text, -1)) {
		target := strings.Join(found[1:], "")
		if decoded, err := url.PathUnescape(target); err == nil {
			target = decoded
		}
		if target != "" && !scheme.MatchString(target) && !strings.HasPrefix(target, "//") {
			all = append(all, target)
		}
	}
	return all
}

// anchors are the names of the headings of a page, as GitHub makes them, and those that stand in its HTML.
func anchors(text string) []string {
	var all []string
	times := map[string]int{}
	for line := range proseLines(text) {
		for _, found := range placed.FindAllStringSubmatch(line, -1) {
			all = append(all, found[1])
		}
		level := len(line) - len(strings.TrimLeft(line, "#"))
		if level < 1 || level > 6 || !strings.HasPrefix(line[level:], " ") {
			continue
		}
		name := anchor(linkText.ReplaceAllString(strings.TrimSpace(line[level:]), "$1"))
		n := times[name]
		times[name]++
		if n > 0 {
			name += "-" + strconv.Itoa(n)
		}
		all = append(all, name)
	}
	return all
}

// anchor is a heading in lower case, with hyphens for spaces and without the rest of its punctuation.
func anchor(heading string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case unicode.IsLetter(r), unicode.IsNumber(r), unicode.IsMark(r), r == '-', r == '_':
			return unicode.ToLower(r)
		}
		return -1
	}, heading)
}
