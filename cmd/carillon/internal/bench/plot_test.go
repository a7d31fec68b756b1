package bench

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestPlot(t *testing.T) {
	row := func(x float64, f Figures) Result {
		r := &Report{}
		r.Add("car & illon", f)
		r.Done()
		return Result{Series: "topics", X: x, Report: r}
	}
	results := &Results{Rows: []Result{
		row(1, Figures{CPUPerMillion: 10}), row(10, Figures{CPUPerMillion: 20}), row(100, Figures{CPUPerMillion: 40}),
		{Series: "topics", X: 1000, Error: "no run"},
		{Series: "payload", X: 1, Error: "no run"},
		{Name: "no series"},
	}}
	var b strings.Builder
	if err := Plot(&b, results); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	d := xml.NewDecoder(strings.NewReader(text))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	// 10, 20 and 40 of 40: the drawing is 192 high and ends at 248; a decade of two is 182 wide and begins at 64.
	if want := `d="M64.0 200.0L246.0 152.0L428.0 56.0"`; !strings.Contains(text, want) {
		t.Errorf("found no line %s in\n%s", want, text)
	}
	if n := strings.Count(text, "<g "); n != 1 {
		t.Errorf("found %d charts, wanted 1", n)
	}
	if err := Plot(io.Discard, &Results{Rows: results.Rows[4:]}); err == nil {
		t.Error("found a drawing of nothing")
	}
}

func TestAxesEndAtRoundNumbers(t *testing.T) {
	for v, want := range map[float64]float64{0.0013: 0.0015, 1: 1, 1.01: 1.5, 41: 50, 99: 100, 7_000_000: 8_000_000} {
		if got := roundUp(v); got < want*0.9999 || got > want*1.0001 {
			t.Errorf("%v: found %v, wanted %v", v, got, want)
		}
	}
}
