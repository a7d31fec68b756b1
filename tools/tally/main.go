// Command tally reads the stream of `go test -json` and prints what a person wants of it: the go command's own line per
// package, the output of the tests that failed, and the reason of each that was skipped.
//
//	go test -json ./... | tally [-counts FILE] [-slow N]
//	tally -junit REPORT [-counts FILE] [-slow N]
//
// With -junit it counts a report in JUnit's form instead, which test runners of other languages write.
//
// It ends with the N slowest tests, what failed with the last lines that each wrote itself, and a line
// `N passed, N failed, N skipped`; tests and subtests are counted alike, and a package that fails outside of any test (build
// error, TestMain, panic, timeout) is one failure. -counts adds the three numbers, separated by blanks, as a line to FILE.
// The exit code is 1 if anything failed or the stream was cut.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
)

func main() {
	counts := flag.String("counts", "", "add a line `passed failed skipped` to this file")
	slow := flag.Int("slow", 5, "print so many of the slowest tests")
	junit := flag.String("junit", "", "count this report in JUnit's form instead of go test's stream")
	flag.Parse()
	t, err := count(*junit)
	if err == nil && *counts != "" {
		err = t.save(*counts)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "tally:", err)
		os.Exit(1)
	}
	t.report(os.Stdout, *slow)
	if t.failed > 0 {
		os.Exit(1)
	}
}

// count reads the report, or the stream of go test if there is none.
func count(junit string) (*tally, error) {
	if junit == "" {
		return read(os.Stdin, os.Stdout)
	}
	f, err := os.Open(junit)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readJUnit(f, os.Stdout)
}

func (t *tally) save(file string) error {
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(f, t.passed, t.failed, t.skipped); err != nil {
		return err
	}
	return f.Close()
}

func (t *tally) report(w io.Writer, slow int) {
	for _, s := range t.slowest(slow) {
		fmt.Fprintf(w, "slow: %6.1f s  %s %s\n", s.seconds, s.pkg, s.test)
	}
	for _, f := range t.failures {
		fmt.Fprintf(w, "failed: %s\n", strings.TrimSpace(f.pkg+" "+f.test))
		for _, line := range f.lines {
			fmt.Fprintf(w, "        %s\n", line)
		}
	}
	fmt.Fprintf(w, "%d passed, %d failed, %d skipped\n", t.passed, t.failed, t.skipped)
}
