package bench

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// Report is a scenario run against one or more servers in turns.
type Report struct {
	Scenario string `json:"scenario"`
	What     string `json:"what"`
	Options  any    `json:"options"` // the Scenario
	Rounds   int    `json:"rounds"`
	Sides    []Side `json:"sides"`
}

// Side is one of the servers, or one of the ways in which the server was put under load.
type Side struct {
	Name    string             `json:"name"`
	Figures map[string]Summary `json:"figures"`
	// Ratios are the first side's figures by this one's, round by round; the first side has none.
	Ratios map[string]Summary `json:"ratios,omitempty"`

	rounds []Figures
}

// Summary is a figure over all rounds.
type Summary struct {
	Median float64   `json:"median"`
	Min    float64   `json:"min"`
	Max    float64   `json:"max"`
	Rounds []float64 `json:"rounds"`
}

func summarize(values []float64) Summary {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return Summary{Median: (sorted[(n-1)/2] + sorted[n/2]) / 2, Min: sorted[0], Max: sorted[n-1], Rounds: values}
}

// Add puts a round's figures into the report. Every round has to add the same sides, in the same order.
func (r *Report) Add(side string, f Figures) {
	i := slices.IndexFunc(r.Sides, func(s Side) bool { return s.Name == side })
	if i < 0 {
		i = len(r.Sides)
		r.Sides = append(r.Sides, Side{Name: side})
	}
	r.Sides[i].rounds = append(r.Sides[i].rounds, f)
	r.Rounds = max(r.Rounds, len(r.Sides[i].rounds))
}

// Done reckons the medians and ratios.
func (r *Report) Done() {
	for i := range r.Sides {
		s := &r.Sides[i]
		s.Figures = map[string]Summary{}
		if i > 0 {
			s.Ratios = map[string]Summary{}
		}
		for key := range s.rounds[0] {
			values := column(s.rounds, key)
			s.Figures[key] = summarize(values)
			if i == 0 || !Known(key).Compared {
				continue
			}
			if ratios := divide(column(r.Sides[0].rounds, key), values); len(ratios) > 0 {
				s.Ratios[key] = summarize(ratios)
			}
		}
	}
}

func column(rounds []Figures, key string) (values []float64) {
	for _, f := range rounds {
		values = append(values, f[key])
	}
	return values
}

// divide is a by b, without what cannot be divided.
func divide(a, b []float64) (ratios []float64) {
	for i := range min(len(a), len(b)) {
		if b[i] != 0 {
			ratios = append(ratios, a[i]/b[i])
		}
	}
	return ratios
}

// Print writes the report as a table: the figures down, the sides across, and the ratios behind.
func (r *Report) Print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if len(r.Sides) > 1 {
		for _, s := range r.Sides {
			fmt.Fprint(t, "\t"+s.Name)
		}
		for _, s := range r.Sides[1:] {
			fmt.Fprintf(t, "\t%s / %s", r.Sides[0].Name, s.Name)
		}
		fmt.Fprintln(t)
	}
	for _, f := range known {
		if row, ok := r.row(f); ok {
			fmt.Fprintln(t, f.Label+row)
		}
	}
	return t.Flush()
}

func (r *Report) row(f Figure) (row string, ok bool) {
	var b strings.Builder
	for _, s := range r.Sides {
		b.WriteByte('\t')
		if v, found := s.Figures[f.Key]; found {
			ok = true
			b.WriteString(v.format(f.Format))
		}
	}
	for _, s := range r.Sides[1:] {
		b.WriteByte('\t')
		if v, found := s.Ratios[f.Key]; found {
			b.WriteString(v.format(formatRatio))
		}
	}
	return strings.TrimRight(b.String(), "\t"), ok
}

func formatRatio(v float64) string { return fmt.Sprintf("%.2f", v) }

// enoughRounds is from how many rounds on the least and the most are told, too.
const enoughRounds = 3

func (s Summary) format(format func(float64) string) string {
	text := format(s.Median)
	if len(s.Rounds) >= enoughRounds {
		text += fmt.Sprintf(" (%s–%s)", format(s.Min), format(s.Max))
	}
	return text
}
