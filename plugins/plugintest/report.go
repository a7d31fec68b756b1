package plugintest

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/carillon-mq/carillon/internal/junit"
)

// Result is what became of a case.
type Result struct {
	Case     *Case
	Outcome  Outcome
	Reason   string     // of a skip
	Failures []string   // what was expected and what came
	Reads    []Sentence // what the failures break, each once: of the case, or of the finding itself where that differs
	Warnings []string   // of a case that passed: what its reader should know all the same
	Notes    []string   // of a case that passed: what was done, in figures
	Words    []string   // what the plugin printed last
	Took     time.Duration
}

// Outcome is passed, failed or skipped.
type Outcome string

// The outcomes.
const (
	Passed  Outcome = "passed"
	Failed  Outcome = "failed"
	Skipped Outcome = "skipped"
)

// Text writes a result for people: a line, and of a failure what was done, what came, what the contract says and where, and what
// the plugin printed. With verbose the other results say what they did, too.
func (r *Result) Text(w io.Writer, verbose bool) {
	switch r.Outcome {
	case Passed:
		fmt.Fprintf(w, "ok    %s (%.1f s)\n", r.Case.ID(), r.Took.Seconds())
	case Skipped:
		fmt.Fprintf(w, "SKIP  %s: %s\n", r.Case.ID(), r.Reason)
	case Failed:
		fmt.Fprintf(w, "FAIL  %s (%.1f s)\n", r.Case.ID(), r.Took.Seconds())
	}
	if r.Outcome != Failed {
		for _, warning := range r.Warnings {
			fmt.Fprintf(w, "      note: %s\n", warning)
		}
		if !verbose {
			return
		}
	}
	fmt.Fprintf(w, "      done: %s\n", r.Case.Does)
	for _, f := range r.Failures {
		fmt.Fprintf(w, "      came: %s\n", strings.ReplaceAll(f, "\n", "\n            "))
	}
	for _, n := range r.Notes {
		fmt.Fprintf(w, "      note: %s\n", n)
	}
	reads := r.Reads
	if len(reads) == 0 {
		reads = []Sentence{{r.Case.Where, r.Case.Says}}
	}
	for _, s := range reads {
		fmt.Fprintf(w, "      read: %s: %q\n", s.Where, s.Says)
	}
	if r.Outcome == Failed {
		for _, line := range r.Words {
			fmt.Fprintf(w, "      it printed: %s\n", line)
		}
	}
}

// Count counts the results of an outcome.
func Count(results []*Result, o Outcome) int {
	n := 0
	for _, r := range results {
		if r.Outcome == o {
			n++
		}
	}
	return n
}

// Summary is the line that ends a report.
func Summary(results []*Result) string {
	text := fmt.Sprintf("%d passed, %d failed, %d skipped", Count(results, Passed), Count(results, Failed), Count(results, Skipped))
	if Count(results, Skipped) == len(results) {
		text += ": nothing was tested"
	}
	return text
}

// jsonResult is a result in JSON. Names are a promise to scripts.
type jsonResult struct {
	Case     string     `json:"case"`
	Outcome  Outcome    `json:"outcome"`
	Seconds  float64    `json:"seconds"`
	Does     string     `json:"does"`
	Says     string     `json:"says"`
	Where    string     `json:"where"`
	Reason   string     `json:"reason,omitempty"`
	Failures []string   `json:"failures,omitempty"`
	Reads    []Sentence `json:"reads,omitempty"`
	Warnings []string   `json:"warnings,omitempty"`
	Notes    []string   `json:"notes,omitempty"`
	Words    []string   `json:"printed,omitempty"`
}

// JSON writes what the plugin is and all results as one JSON object.
func JSON(w io.Writer, about *About, results []*Result) error {
	all := struct {
		Plugin       string       `json:"plugin"`
		Version      string       `json:"version"`
		Kind         string       `json:"kind"`
		Capabilities []string     `json:"capabilities"`
		Passed       int          `json:"passed"`
		Failed       int          `json:"failed"`
		Skipped      int          `json:"skipped"`
		Cases        []jsonResult `json:"cases"`
	}{
		about.Name, about.Version, about.Kind, append([]string{}, about.Capabilities...),
		Count(results, Passed), Count(results, Failed), Count(results, Skipped),
		[]jsonResult{},
	}
	for _, r := range results {
		all.Cases = append(all.Cases, jsonResult{
			Case: r.Case.ID(), Outcome: r.Outcome, Seconds: r.Took.Seconds(), Does: r.Case.Does, Says: r.Case.Says, Where: r.Case.Where,
			Reason: r.Reason, Failures: r.Failures, Reads: r.Reads, Warnings: r.Warnings, Notes: r.Notes, Words: r.Words,
		})
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(all)
}

// JUnit writes all results as a JUnit report.
func JUnit(w io.Writer, about *About, results []*Result) error {
	cases := make([]junit.Case, 0, len(results))
	for _, r := range results {
		class, name, _ := strings.Cut(r.Case.ID(), "/")
		c := junit.Case{Class: class, Name: name, Seconds: r.Took.Seconds()}
		switch r.Outcome {
		case Failed:
			var text strings.Builder
			r.Text(&text, true)
			c.Failure = &junit.Message{Short: r.Failures[0], Whole: text.String()}
		case Skipped:
			c.Skipped = &junit.Message{Short: r.Reason}
		case Passed:
		}
		cases = append(cases, c)
	}
	return junit.Write(w, "plugin "+about.Name, cases)
}
