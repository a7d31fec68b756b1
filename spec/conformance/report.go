package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/carillon-mq/carillon/internal/junit"
)

// Result is what became of one script.
type Result struct {
	Script  *Script
	Outcome Outcome
	Reason  string   // of a skip
	Step    string   // at which it failed, as it is counted: 3, or 3.2 in a repetition; "" before the first
	Told    string   // that step, as the script has it
	Failure string   // what was found and what was wanted
	Log     []string // what happened last
	Took    time.Duration
}

// Outcome is passed, failed or skipped.
type Outcome string

// The outcomes.
const (
	Passed  Outcome = "passed"
	Failed  Outcome = "failed"
	Skipped Outcome = "skipped"
)

// scriptTime bounds a script, but for the time that it waits for a window of the server's to pass.
const scriptTime = time.Minute

// playAll plays all scripts, so many at once, those that want to be alone at the end and one by one.
func playAll(
	ctx context.Context, scripts []*Script, atOnce int, alone func(*Script) bool, tell func(*Result), play func(context.Context, *Script, *transcript) error,
) []*Result {
	results := make([]*Result, len(scripts))
	var telling sync.Mutex
	one := func(i int) {
		r := playOne(ctx, scripts[i], play)
		results[i] = r
		telling.Lock()
		defer telling.Unlock()
		if tell != nil {
			tell(r)
		}
	}
	var group sync.WaitGroup
	room := make(chan struct{}, atOnce)
	for _, slow := range []bool{true, false} { // what takes longest begins first
		for i, s := range scripts {
			if s.Slow == slow && !alone(s) {
				room <- struct{}{}
				group.Go(func() {
					defer func() { <-room }()
					one(i)
				})
			}
		}
	}
	group.Wait()
	for i, s := range scripts {
		if alone(s) {
			one(i)
		}
	}
	return results
}

func playOne(ctx context.Context, s *Script, play func(context.Context, *Script, *transcript) error) *Result {
	log := &transcript{began: time.Now()}
	err := play(ctx, s, log)
	r := &Result{Script: s, Outcome: Passed, Took: time.Since(log.began)}
	var skipped *skip
	switch {
	case errors.As(err, &skipped):
		r.Outcome, r.Reason = Skipped, skipped.reason
	case err != nil:
		r.Outcome, r.Failure, r.Log = Failed, err.Error(), log.text()
		if at, ok := errors.AsType[*stepError](err); ok {
			r.Step, r.Told, r.Failure = at.path, at.step.String(), at.err.Error()
		}
	}
	return r
}

// Text writes a result for people: a line, and of a failure the step, what was wanted and found, the rules, and what happened before.
func (r *Result) Text(w io.Writer) {
	switch r.Outcome {
	case Passed:
		fmt.Fprintf(w, "ok    %s (%.1f s)\n", r.Script.ID(), r.Took.Seconds())
	case Skipped:
		fmt.Fprintf(w, "SKIP  %s: %s\n", r.Script.ID(), r.Reason)
	case Failed:
		r.textOfFailure(w)
	}
}

func (r *Result) textOfFailure(w io.Writer) {
	fmt.Fprintf(w, "FAIL  %s (%.1f s): %s\n", r.Script.ID(), r.Took.Seconds(), r.Script.About)
	if r.Step != "" {
		fmt.Fprintf(w, "      step %s: %s\n", r.Step, r.Told)
	}
	fmt.Fprintf(w, "      %s\n", r.Failure)
	for _, id := range r.Script.Rules {
		text, _ := RuleText(id)
		fmt.Fprintf(w, "      [%s] %s\n", id, text)
	}
	for _, line := range r.Log {
		fmt.Fprintf(w, "        %s\n", line)
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
	return fmt.Sprintf("%d passed, %d failed, %d skipped", Count(results, Passed), Count(results, Failed), Count(results, Skipped))
}

// jsonResult is a result in JSON. Names are a promise to scripts.
type jsonResult struct {
	Script  string            `json:"script"`
	About   string            `json:"about"`
	Outcome Outcome           `json:"outcome"`
	Seconds float64           `json:"seconds"`
	Rules   map[string]string `json:"rules"`
	Reason  string            `json:"reason,omitempty"`
	Step    string            `json:"step,omitempty"`
	Told    string            `json:"told,omitempty"`
	Failure string            `json:"failure,omitempty"`
	Log     []string          `json:"log,omitempty"`
}

// JSON writes all results as one JSON object.
func JSON(w io.Writer, results []*Result) error {
	all := struct {
		Passed  int          `json:"passed"`
		Failed  int          `json:"failed"`
		Skipped int          `json:"skipped"`
		Scripts []jsonResult `json:"scripts"`
	}{Count(results, Passed), Count(results, Failed), Count(results, Skipped), []jsonResult{}}
	for _, r := range results {
		rules := map[string]string{}
		for _, id := range r.Script.Rules {
			rules[id], _ = RuleText(id)
		}
		all.Scripts = append(all.Scripts, jsonResult{
			Script: r.Script.ID(), About: r.Script.About, Outcome: r.Outcome, Seconds: r.Took.Seconds(), Rules: rules,
			Reason: r.Reason, Step: r.Step, Told: r.Told, Failure: r.Failure, Log: r.Log,
		})
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(all)
}

// JUnit writes all results as a JUnit report.
func JUnit(w io.Writer, results []*Result) error {
	cases := make([]junit.Case, 0, len(results))
	for _, r := range results {
		c := junit.Case{Class: r.Script.File, Name: r.Script.Name, Seconds: r.Took.Seconds()}
		switch r.Outcome {
		case Failed:
			var text strings.Builder
			r.Text(&text)
			c.Failure = &junit.Message{Short: r.Failure, Whole: text.String()}
		case Skipped:
			c.Skipped = &junit.Message{Short: r.Reason}
		case Passed:
		}
		cases = append(cases, c)
	}
	return junit.Write(w, "conformance", cases)
}
