package bench

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"
)

// Results are what a suite has shown.
type Results struct {
	Machine Machine   `json:"machine"`
	Began   time.Time `json:"began"`
	Seconds float64   `json:"seconds"`
	Rows    []Result  `json:"rows"`
}

// Result is what a row has shown.
type Result struct {
	Name    string    `json:"name"`
	Title   string    `json:"title"`
	Series  string    `json:"series,omitempty"`
	X       float64   `json:"x,omitempty"`
	Report  *Report   `json:"report,omitempty"`
	Error   string    `json:"error,omitempty"` // why there is no report
	Reached []Reached `json:"reached,omitempty"`
}

// Reached is a target, and how far it was come to.
type Reached struct {
	Key     string  `json:"key"`
	Kind    Kind    `json:"kind"`
	Value   Summary `json:"value"`
	Must    float64 `json:"must,omitempty"`
	Aim     float64 `json:"aim,omitempty"`
	Verdict string  `json:"verdict,omitempty"`
}

// Result makes a row's result of its report, or of what went wrong.
func (w *Row) Result(r *Report, err error) Result {
	out := Result{Name: w.Name, Title: w.Title, Series: w.Series, X: w.X, Report: r}
	if err != nil {
		out.Report, out.Error = nil, err.Error()
		return out
	}
	for _, t := range w.Targets {
		if v, ok := t.Value(r); ok {
			out.Reached = append(out.Reached, Reached{t.Key, t.Kind, v, t.must(r), t.Aim, t.Verdict(v.Median, r)})
		}
	}
	return out
}

// Failed are the rows that have no report.
func (r *Results) Failed() []string {
	return r.those(func(row Result) bool { return row.Error != "" })
}

// Missed are the rows that have missed a target.
func (r *Results) Missed() []string {
	return r.those(func(row Result) bool {
		return slices.ContainsFunc(row.Reached, func(t Reached) bool { return t.Verdict == missed })
	})
}

func (r *Results) those(are func(Result) bool) (names []string) {
	for _, row := range r.Rows {
		if are(row) {
			names = append(names, row.Name)
		}
	}
	return names
}

// Markdown writes the results as a table.
func (r *Results) Markdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s; %s, %.0f s.\n\n", r.Machine, r.Began.UTC().Format("2006-01-02 15:04 UTC"), r.Seconds)
	b.WriteString("| what | figure | carillon | floor, or without | ratio, or difference | must | aim | reached |\n|---|---|---|---|---|---|---|---|\n")
	for _, row := range r.Rows {
		title := row.Title
		if row.Error != "" {
			fmt.Fprintf(&b, "| %s | %s | | | | | | no run |\n", title, strings.ReplaceAll(row.Error, "|", "/"))
			continue
		}
		for _, t := range row.Reached {
			fmt.Fprintf(&b, "| %s | %s |\n", title, strings.Join(t.cells(row.Report), " | "))
			title = ""
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// cells are what stands in the table of a target, behind the row's title.
func (t Reached) cells(r *Report) []string {
	f := Known(t.Key)
	other, compared := "", ""
	if len(r.Sides) > 1 {
		if v, ok := r.Sides[1].Figures[t.Key]; ok {
			other = v.format(f.short)
		}
		if v, ok := r.Sides[1].Ratios[t.Key]; ok && t.Kind != Difference {
			compared = v.format(formatRatio)
		}
	}
	bound := f.short
	switch t.Kind {
	case Ratio:
		bound = formatRatio
	case Difference:
		compared = t.Value.format(func(v float64) string { return fmt.Sprintf("%+.*f", f.Digits, v) })
	case Absolute:
	}
	return []string{f.Label, r.Sides[0].Figures[t.Key].format(f.short), other, compared, unlessZero(t.Must, bound), unlessZero(t.Aim, bound), t.Verdict}
}

func unlessZero(v float64, format func(float64) string) string {
	if v == 0 {
		return ""
	}
	return format(v)
}

// short is Format with three significant digits for what is large.
func (f Figure) short(v float64) string {
	switch a := math.Abs(v); {
	case a >= 1e6:
		return fmt.Sprintf("%.2f M", v/1e6)
	case a >= 1e4:
		return fmt.Sprintf("%.1f k", v/1e3)
	}
	return f.Format(v)
}
