package bench

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSummaryIsTheMedianWithTheLeastAndTheMost(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   Summary
	}{
		{[]float64{3}, Summary{Median: 3, Min: 3, Max: 3}},
		{[]float64{9, 1}, Summary{Median: 5, Min: 1, Max: 9}},
		{[]float64{9, 1, 2}, Summary{Median: 2, Min: 1, Max: 9}},
		{[]float64{4, 9, 1, 2}, Summary{Median: 3, Min: 1, Max: 9}},
	} {
		c.want.Rounds = c.values
		if diff := cmp.Diff(c.want, summarize(c.values)); diff != "" {
			t.Errorf("%v: %s", c.values, diff)
		}
	}
}

// two is a report of three rounds against a floor.
func two(key string, first, second []float64) *Report {
	r := &Report{}
	for i := range first {
		r.Add("carillon", Figures{key: first[i]})
		r.Add("floor", Figures{key: second[i]})
	}
	r.Done()
	return r
}

func TestRatiosAreOfTheSameRound(t *testing.T) {
	r := two(CPUPerMillion, []float64{2, 40, 3}, []float64{1, 20, 0})
	if diff := cmp.Diff(Summary{Median: 2, Min: 2, Max: 2, Rounds: []float64{2, 2}}, r.Sides[1].Ratios[CPUPerMillion]); diff != "" {
		t.Error(diff)
	}
	if r.Rounds != 3 || r.Sides[0].Ratios != nil {
		t.Errorf("found %d rounds, ratios %v", r.Rounds, r.Sides[0].Ratios)
	}
	if got := two(ServerPSS, []float64{1}, []float64{1}).Sides[1].Ratios; len(got) > 0 {
		t.Errorf("found the ratio of a figure that is not compared: %v", got)
	}
}

func TestAReportIsATable(t *testing.T) {
	var b strings.Builder
	if err := two(PerSecond, []float64{30, 10, 20}, []float64{10, 10, 10}).Print(&b); err != nil {
		t.Fatal(err)
	}
	want := "              carillon    floor       carillon / floor\n" +
		"deliveries/s  20 (10–30)  10 (10–10)  2.00 (1.00–3.00)\n"
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
	b.Reset()
	one := &Report{}
	one.Add("carillon", Figures{PerSecond: 7, P50: 1.2345})
	one.Done()
	if err := one.Print(&b); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("deliveries/s  7\np50 ms        1.23\n", b.String()); diff != "" {
		t.Error(diff)
	}
}

func TestTargets(t *testing.T) {
	for _, c := range []struct {
		name          string
		target        Target
		first, second float64
		value         float64
		verdict       string
	}{
		{"aim of a ratio", Target{Kind: Ratio, Must: 2, Aim: 1.5}, 3, 2, 1.5, "aim"},
		{"must of a ratio", Target{Kind: Ratio, Must: 2, Aim: 1.5}, 4, 2, 2, "must"},
		{"ratio missed", Target{Kind: Ratio, Must: 2, Aim: 1.5}, 4.1, 2, 2.05, missed},
		{"at least", Target{Must: 10, Aim: 20, AtLeast: true}, 25, 0, 25, "aim"},
		{"at least, missed", Target{Must: 10, Aim: 20, AtLeast: true}, 9, 0, 9, missed},
		{"no aim", Target{Must: 10}, 1, 0, 1, "must"},
		{"difference", Target{Kind: Difference, Must: 5}, 10, 5, 5, "must"},
		{"difference missed", Target{Kind: Difference, Must: 5}, 10, 4, 6, missed},
		{"a share that is more", Target{Kind: Difference, Must: 5, Share: 0.2}, 108, 100, 8, "must"},
		{"a share that is less", Target{Kind: Difference, Must: 5, Share: 0.2}, 18, 10, 8, missed},
		{"no target", Target{}, 1, 1, 1, ""},
	} {
		c.target.Key = P99
		r := two(P99, []float64{c.first}, []float64{c.second})
		v, ok := c.target.Value(r)
		if !ok || v.Median != c.value || c.target.Verdict(v.Median, r) != c.verdict {
			t.Errorf("%s: found %v %v, %q", c.name, ok, v.Median, c.target.Verdict(v.Median, r))
		}
	}
	if _, ok := (Target{Key: P99, Kind: Ratio}).Value(&Report{Sides: []Side{{}}}); ok {
		t.Error("found a ratio of one side")
	}
}

func TestRowsHaveNamesAndKnownFigures(t *testing.T) {
	for _, z := range []Sizes{Full, Smoke} {
		seen := map[string]bool{}
		for _, row := range append(Suite(z), Scale(z)...) {
			if seen[row.Name] {
				t.Errorf("found two rows %q", row.Name)
			}
			seen[row.Name] = true
			if len(row.Targets) == 0 {
				t.Errorf("%s tells nothing", row.Name)
			}
			for _, target := range row.Targets {
				f := Known(target.Key)
				if !slices.Contains(known, f) || target.Kind == Ratio && !f.Compared {
					t.Errorf("%s: found a target for %q", row.Name, target.Key)
				}
				if target.Kind != Absolute && !row.Floor && !row.Auth && row.Without == nil {
					t.Errorf("%s: %s is compared with nothing", row.Name, target.Key)
				}
			}
		}
	}
}

func TestResultsAreATable(t *testing.T) {
	row := Row{Title: "fan-out", Targets: []Target{{Key: CPUPerMillion, Kind: Ratio, Must: 2, Aim: 1.3}, {Key: P99, Kind: Difference, Must: 2}, {Key: "nothing"}}}
	r := &Report{}
	r.Add("carillon", Figures{CPUPerMillion: 0.3, P99: 12_345})
	r.Add("floor", Figures{CPUPerMillion: 0.2, P99: 12_340})
	r.Done()
	all := Results{Rows: []Result{row.Result(r, nil), (&Row{Name: "b", Title: "broken"}).Result(nil, errors.New("lost | found"))}}
	var b strings.Builder
	if err := all.Markdown(&b); err != nil {
		t.Fatal(err)
	}
	want := `
| fan-out | server CPU-s/million | 0.300 | 0.200 | 1.50 | 2.00 | 1.30 | must |
|  | p99 ms | 12.3 k | 12.3 k | +5.00 | 2.00 |  | missed |
| broken | lost / found | | | | | | no run |
`
	if _, got, _ := strings.Cut(b.String(), "---|"); !strings.HasSuffix(got, want) {
		t.Error(cmp.Diff(want, got))
	}
	if diff := cmp.Diff([]string{"b"}, all.Failed()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{""}, all.Missed()); diff != "" {
		t.Error(diff)
	}
}
