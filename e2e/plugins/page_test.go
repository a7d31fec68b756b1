package plugins

import (
	"os"
	"strings"
	"testing"
)

// block is a fenced block of a page.
type block struct {
	line int    // of the opening fence
	lang string // first word after the fence
	how  string // the rest of that line
	text string
}

// readPage returns the fenced blocks of a Markdown file, in order.
func readPage(t *testing.T, path string) []block {
	t.Helper()
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var blocks []block
	open := false
	for i, line := range strings.Split(string(page), "\n") {
		info, fence := strings.CutPrefix(line, "```")
		switch {
		case fence && !open:
			lang, how, _ := strings.Cut(info, " ")
			blocks = append(blocks, block{line: i + 1, lang: lang, how: how})
			open = true
		case fence:
			open = false
		case open:
			blocks[len(blocks)-1].text += line + "\n"
		}
	}
	return blocks
}

// missing returns the first line of want that is no line of got. Three dots in it, or the one character for them, stand for
// anything.
func missing(want, got string) string {
	lines := strings.Split(got, "\n")
	for line := range strings.Lines(want) {
		line = strings.TrimSpace(line)
		found := false
		for _, other := range lines {
			found = found || matches(line, strings.TrimSpace(other))
		}
		if !found {
			return line
		}
	}
	return ""
}

func matches(pattern, line string) bool {
	parts := strings.Split(strings.ReplaceAll(pattern, "...", "…"), "…")
	rest, ok := strings.CutPrefix(line, parts[0])
	for _, part := range parts[1:] {
		if !ok {
			return false
		}
		_, rest, ok = strings.Cut(rest, part)
	}
	return ok && (rest == "" || strings.HasSuffix(pattern, "…") || strings.HasSuffix(pattern, "..."))
}

func TestLinesOfAPageAreFoundInWhatWasPrinted(t *testing.T) {
	const got = "ok    one (1.2 s)\nok    two (0.1 s)\nauth-x 0.1.0: 2 passed, 0 failed\n"
	for want, first := range map[string]string{
		"ok    one (…)\nauth-x …: … passed, 0 failed\n": "",
		"ok    three (…)\n":    "ok    three (…)",
		"auth-x …: … passed\n": "auth-x …: … passed",
		"...\n":                "",
	} {
		if line := missing(want, got); line != first {
			t.Errorf("%q: %q is missing, wanted %q", want, line, first)
		}
	}
}
