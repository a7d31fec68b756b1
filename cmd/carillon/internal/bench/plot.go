package bench

import (
	"fmt"
	"html"
	"io"
	"math"
	"slices"
	"strings"
)

// chart is what a plot shows of a series.
type chart struct {
	series, title, x string
	key, y           string
	scale            float64 // that figures are multiplied by
}

// charts are drawn in this order, as far as there are results for them.
var charts = []chart{
	{"connections", "Cost of a delivery", "subscribers of one topic, 50,000 deliveries/s in all", CPUPerMillion, "server CPU µs a delivery", 1},
	{"connections", "Latency", "subscribers of one topic, 50,000 deliveries/s in all", P99, "p99 ms", 1},
	{"topics", "Many topics", "topics with 5 subscribers each, 5,000 messages/s in all", CPUPerMillion, "server CPU µs a delivery", 1},
	{"payload", "Size of messages", "bytes, to 1,000 subscribers, as fast as they go", CPUPerMillion, "server CPU µs a delivery", 1},
	{"subscriptions", "Wildcard subscriptions", "subscriptions of mixed wildcards", PublishWith, "server CPU µs a publish that reaches nobody", 1},
	{"subscriptions", "Memory of subscriptions", "subscriptions of mixed wildcards", BytesEachSub, "bytes each", 1},
	{"memory", "Memory of idle connections", "connections with one subscription each", BytesEach, "KiB each", 1.0 / Kilobyte},
	{"memory", "Connecting", "connections with one subscription each", CPUEach, "server CPU µs each", 1},
}

// point is a figure at one size.
type point struct {
	x float64
	y Summary
}

// line is what one side has shown in a series.
type line struct {
	name   string
	points []point
}

func (c chart) lines(r *Results) (lines []line) {
	for _, row := range r.Rows {
		if row.Series != c.series || row.Report == nil {
			continue
		}
		for _, side := range row.Report.Sides {
			v, ok := side.Figures[c.key]
			if !ok {
				continue
			}
			i := slices.IndexFunc(lines, func(l line) bool { return l.name == side.Name })
			if i < 0 {
				i = len(lines)
				lines = append(lines, line{name: side.Name})
			}
			v.Median, v.Min, v.Max = v.Median*c.scale, v.Min*c.scale, v.Max*c.scale
			lines[i].points = append(lines[i].points, point{row.X, v})
		}
	}
	return lines
}

// A panel is one chart in the plot, in the units of the drawing.
const (
	panelWidth, panelHeight = 460, 300
	left, right, above      = 64, 32, 56
	below                   = 52
)

var colors = []string{"#1f6f8b", "#c0504d", "#7f9f3f", "#8064a2"}

// Plot draws the series of results as one SVG, two charts beside each other.
func Plot(w io.Writer, r *Results) error {
	var panels []string
	for _, c := range charts {
		if lines := c.lines(r); len(lines) > 0 {
			at := fmt.Sprintf("%d,%d", len(panels)%2*panelWidth, len(panels)/2*panelHeight)
			panels = append(panels, fmt.Sprintf("<g transform=\"translate(%s)\">\n%s</g>\n", at, c.draw(lines)))
		}
	}
	if len(panels) == 0 {
		return fmt.Errorf("there is no series to plot; those of `carillon bench scale` have some")
	}
	width, height := 2*panelWidth, (len(panels)+1)/2*panelHeight+24
	_, err := fmt.Fprintf(w, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" font-family=\"sans-serif\" font-size=\"12\" fill=\"#222\">\n"+
		"<rect width=\"%[1]d\" height=\"%[2]d\" fill=\"#fff\"/>\n%[3]s<text x=\"%[4]d\" y=\"%[5]d\" font-size=\"10\" fill=\"#666\">%[6]s</text>\n</svg>\n",
		width, height, strings.Join(panels, ""), left, height-8, html.EscapeString(r.Machine.String()))
	return err
}

// axes turn values into places. x is logarithmic, y begins at 0.
type axes struct {
	minX, maxX, maxY float64
}

func newAxes(lines []line) axes {
	a := axes{minX: math.Inf(1)}
	for _, l := range lines {
		for _, p := range l.points {
			a.minX, a.maxX = min(a.minX, p.x), max(a.maxX, p.x)
			a.maxY = max(a.maxY, p.y.Max)
		}
	}
	a.maxY = roundUp(max(a.maxY, 1e-9))
	return a
}

// roundUp is the next of 1, 1.5, 2, 3, 4, 5, 6, 8 and 10 times a power of ten.
func roundUp(v float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{1, 1.5, 2, 3, 4, 5, 6, 8} {
		if v <= m*power {
			return m * power
		}
	}
	return 10 * power
}

func (a axes) x(v float64) float64 {
	if a.maxX <= a.minX {
		return (left + panelWidth - right) / 2
	}
	return left + (panelWidth-left-right)*math.Log(v/a.minX)/math.Log(a.maxX/a.minX)
}

func (a axes) y(v float64) float64 {
	return panelHeight - below - (panelHeight-above-below)*max(v, 0)/a.maxY
}

func (c chart) draw(lines []line) string {
	var b strings.Builder
	a := newAxes(lines)
	fmt.Fprintf(&b, "<text x=\"%d\" y=\"20\" font-size=\"14\" font-weight=\"bold\">%s</text>\n", left, html.EscapeString(c.title))
	fmt.Fprintf(&b, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">%s</text>\n", (left+panelWidth-right)/2, panelHeight-14, html.EscapeString(c.x))
	fmt.Fprintf(&b, "<text transform=\"translate(14,%d) rotate(-90)\" text-anchor=\"middle\">%s</text>\n", (above+panelHeight-below)/2, html.EscapeString(c.y))
	const steps = 4
	for i := range steps + 1 {
		v := a.maxY * float64(i) / steps
		fmt.Fprintf(&b, "<path d=\"M%d %.1fH%d\" stroke=\"#ddd\"/><text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%s</text>\n",
			left, a.y(v), panelWidth-right, left-6, a.y(v)+4, tick(v))
	}
	for _, p := range longest(lines).points {
		fmt.Fprintf(&b, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%s</text>\n", a.x(p.x), panelHeight-below+16, tick(p.x))
	}
	for i, l := range lines {
		l.draw(&b, a, colors[i%len(colors)])
		fmt.Fprintf(&b, "<text x=\"%d\" y=\"40\" fill=\"%s\">%s</text>\n", left+i*110, colors[i%len(colors)], html.EscapeString(l.name))
	}
	return b.String()
}

func longest(lines []line) line {
	return slices.MaxFunc(lines, func(a, b line) int { return len(a.points) - len(b.points) })
}

// draw draws the medians, and from the least to the most.
func (l line) draw(b *strings.Builder, a axes, color string) {
	var path strings.Builder
	for i, p := range l.points {
		x, command := a.x(p.x), "L"
		if i == 0 {
			command = "M"
		}
		fmt.Fprintf(&path, "%s%.1f %.1f", command, x, a.y(p.y.Median))
		fmt.Fprintf(b, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\" fill=\"%s\"/><path d=\"M%.1f %.1fV%.1f\" stroke=\"%s\"/>\n",
			x, a.y(p.y.Median), color, x, a.y(p.y.Min), a.y(p.y.Max), color)
	}
	fmt.Fprintf(b, "<path d=\"%s\" fill=\"none\" stroke=\"%s\" stroke-width=\"2\"/>\n", path.String(), color)
}

// tick is a number as short as it goes.
func tick(v float64) string {
	switch {
	case v >= 1e6:
		return fmt.Sprintf("%g M", math.Round(v/1e4)/100)
	case v >= 1e4:
		return fmt.Sprintf("%g k", math.Round(v/10)/100)
	}
	return fmt.Sprintf("%g", math.Round(v*1000)/1000)
}
