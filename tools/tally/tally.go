package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
)

// event is one line of `go test -json` (`go doc test2json`).
type event struct {
	Action     string
	Package    string
	ImportPath string // of build output
	Test       string
	Output     string
	Elapsed    float64 // seconds
}

// name identifies a test, or a package when test is empty.
type name struct{ pkg, test string }

type timing struct {
	name
	seconds float64
}

// failure is a test that failed, with the last lines that it wrote itself.
type failure struct {
	name
	lines []string
}

type tally struct {
	passed, failed, skipped int

	output       map[name]*strings.Builder // what running tests and packages have printed
	failedInside map[string]bool           // packages with a failed test
	builds       map[string]string         // output of failed builds, by import path
	timings      []timing
	failures     []failure
	open         map[string]bool // packages that have not ended
}

// read counts the events of r and prints to w as packages end.
func read(r io.Reader, w io.Writer) (*tally, error) {
	t := &tally{
		output:       map[name]*strings.Builder{},
		failedInside: map[string]bool{},
		builds:       map[string]string{},
		open:         map[string]bool{},
	}
	dec := json.NewDecoder(r)
	for {
		var e event
		err := dec.Decode(&e)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read go test -json: %w", err)
		}
		t.take(e, w)
	}
	if len(t.open) > 0 {
		return nil, fmt.Errorf("the stream ended while %d packages were being tested", len(t.open))
	}
	return t, nil
}

func (t *tally) take(e event, w io.Writer) {
	switch e.Action {
	case "start":
		t.open[e.Package] = true
	case "output":
		t.buffer(name{e.Package, e.Test}).WriteString(e.Output)
	case "build-output":
		t.builds[e.ImportPath] += e.Output
		fmt.Fprint(w, e.Output)
	case "pass", "fail", "skip":
		if e.Test == "" {
			t.endPackage(e, w)
			return
		}
		t.endTest(e, w)
	}
}

func (t *tally) endTest(e event, w io.Writer) {
	n := name{e.Package, e.Test}
	switch e.Action {
	case "pass":
		t.passed++
		t.timings = append(t.timings, timing{n, e.Elapsed})
	case "fail":
		t.failed++
		t.failedInside[e.Package] = true
		t.failures = append(t.failures, failure{n, said(t.buffer(n).String())})
		fmt.Fprint(w, t.buffer(n))
	case "skip":
		t.skipped++
		fmt.Fprint(w, skipReason(t.buffer(n).String(), n))
	}
	delete(t.output, n)
}

func (t *tally) endPackage(e event, w io.Writer) {
	n := name{e.Package, ""}
	delete(t.open, e.Package)
	out := t.buffer(n).String()
	delete(t.output, n)
	if e.Action != "fail" {
		fmt.Fprint(w, lastLine(out))
		return
	}
	if !t.failedInside[e.Package] {
		t.failed++
		t.failures = append(t.failures, failure{n, nil})
	}
	for other, b := range t.output { // tests that a panic or a timeout left without an end
		if other.pkg == e.Package {
			fmt.Fprint(w, b)
			delete(t.output, other)
		}
	}
	fmt.Fprint(w, out)
}

func (t *tally) buffer(n name) *strings.Builder {
	b := t.output[n]
	if b == nil {
		b = &strings.Builder{}
		t.output[n] = b
	}
	return b
}

// slowest returns up to n tests that took a second or longer, without the subtests of one that is already named.
func (t *tally) slowest(n int) []timing {
	slices.SortStableFunc(t.timings, func(a, b timing) int { return cmp.Compare(b.seconds, a.seconds) })
	var out []timing
	for _, x := range t.timings {
		if len(out) == n || x.seconds < 1 {
			break
		}
		if slices.ContainsFunc(out, func(o timing) bool {
			return o.pkg == x.pkg && strings.HasPrefix(x.test, o.test+"/")
		}) {
			continue
		}
		out = append(out, x)
	}
	return out
}

// written matches the first line of what a test writes with Log, Error, Fatal or Skip.
var written = regexp.MustCompile(`^\s+[\w-]+\.go:\d+: `)

// said are the last lines that a test wrote with its own place in front.
func said(out string) []string {
	const most = 4
	var lines []string
	for line := range strings.Lines(out) {
		if written.MatchString(line) {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines[max(0, len(lines)-most):]
}

// lastLine is the go command's summary of a package: "ok  pkg  0.1s" or "?  pkg  [no test files]".
func lastLine(out string) string {
	out = strings.TrimSuffix(out, "\n")
	if out == "" {
		return ""
	}
	return out[strings.LastIndexByte(out, '\n')+1:] + "\n"
}

// skipReason is the line that a skipped test printed, with the test's name in front.
func skipReason(out string, n name) string {
	for line := range strings.Lines(out) {
		if _, reason, ok := strings.Cut(line, ".go:"); ok {
			_, reason, _ = strings.Cut(reason, ": ")
			return fmt.Sprintf("--- SKIP %s: %s\n", n.test, strings.TrimSpace(reason))
		}
	}
	return fmt.Sprintf("--- SKIP %s\n", n.test)
}
