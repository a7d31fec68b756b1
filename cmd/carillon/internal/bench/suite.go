package bench

import (
	"fmt"
	"time"
)

// Row is a scenario of the suite, with what it is to reach.
type Row struct {
	Name     string // short, to be asked for by
	Title    string
	Scenario Scenario
	Without  Scenario // what it is compared with: the same without stalled subscribers, or what the floor does instead; nil for the same
	Stalled  int      // how many there are
	Floor    bool     // compared with the floor
	Auth     bool     // an auth plugin is asked about each connection; compared with a broker that lets everybody in
	Once     bool     // one round is enough
	Targets  []Target

	Series string  // what grows along with other rows of that name; "" for none
	X      float64 // how large it is here
}

// Kind is how a target is reckoned.
type Kind int

// The kinds. Ratio and Difference are to the second side of the report.
const (
	Absolute Kind = iota
	Ratio
	Difference
)

// Target is a figure with what it must be and what it should be. Zero is no target.
type Target struct {
	Key       string
	Kind      Kind
	Must, Aim float64
	AtLeast   bool    // else at most
	Share     float64 // of the second side's figure, by which it may be more where that is more than Must
}

// Value is what a report says of the target's figure; ok is false when it says nothing.
func (t Target) Value(r *Report) (v Summary, ok bool) {
	if len(r.Sides) == 0 || t.Kind != Absolute && len(r.Sides) < 2 {
		return v, false
	}
	first, ok := r.Sides[0].Figures[t.Key]
	switch {
	case t.Kind == Absolute || !ok:
		return first, ok
	case t.Kind == Ratio:
		v, ok = r.Sides[1].Ratios[t.Key]
		return v, ok
	}
	other := r.Sides[1].Figures[t.Key].Rounds
	var more []float64
	for i := range min(len(first.Rounds), len(other)) {
		more = append(more, first.Rounds[i]-other[i])
	}
	return summarize(more), true
}

// must is the bound that holds for a report.
func (t Target) must(r *Report) float64 {
	if t.Share == 0 || len(r.Sides) < 2 {
		return t.Must
	}
	return max(t.Must, t.Share*r.Sides[1].Figures[t.Key].Median)
}

const missed = "missed"

// Verdict says how far a value has come: "aim", "must", missed, or nothing where there is no target.
func (t Target) Verdict(v float64, r *Report) string {
	reached := func(bound float64) bool { return bound != 0 && (t.AtLeast && v >= bound || !t.AtLeast && v <= bound) }
	switch {
	case t.Must == 0 && t.Aim == 0:
		return ""
	case reached(t.Aim):
		return "aim"
	case reached(t.must(r)):
		return "must"
	}
	return missed
}

// Sizes are how large the rows are. Smoke is for seeing that all work.
type Sizes struct {
	Duration, Warmup, Settle time.Duration
	Divide                   int // of all counts
	MostLate                 time.Duration
}

// The sizes.
var (
	Full  = Sizes{Duration: 8 * time.Second, Warmup: time.Second, Settle: 6 * time.Second, Divide: 1}
	Smoke = Sizes{Duration: 100 * time.Millisecond, Warmup: 10 * time.Millisecond, Settle: time.Millisecond, Divide: 500}
)

func (z Sizes) n(n int) int { return max(n/z.Divide, 2) }

func (z Sizes) paced(topics, subscribers int, rate float64) PacedOptions {
	if z.Divide > 1 {
		rate = 30 * float64(topics) // some of each topic, in however short a time
	}
	return PacedOptions{
		Topics: topics, Subscribers: subscribers, Rate: rate, Payload: 128, Duration: z.Duration, Warmup: z.Warmup, MostLate: z.MostLate,
	}
}

func (z Sizes) publish(class Class, inflight int, separate, ids bool) PublishOptions {
	return PublishOptions{Class: class, Publishers: z.n(64), Inflight: inflight, Payload: 128, Duration: z.Duration, Warmup: z.Warmup, Separate: separate, MessageIDs: ids}
}

// Kilobyte is what memory is told in.
const Kilobyte = 1024

// Suite are the rows of the targets table.
func Suite(z Sizes) []Row {
	rows := []Row{
		{
			Name: "fanout", Title: "fan-out, 1 → 1,000, 64 in flight", Floor: true,
			Scenario: FanoutOptions{Subscribers: z.n(1000), Messages: z.n(20_000), Window: 64, Payload: 128},
			Targets:  []Target{{Key: CPUPerMillion, Kind: Ratio, Must: 2, Aim: 1.3}, {Key: PerSecond}},
		},
		{
			Name: "paced", Title: "paced, 50 messages/s × 1,000", Floor: true, Scenario: z.paced(1, z.n(1000), 50),
			Targets: []Target{{Key: CPUPerMillion, Kind: Ratio, Must: 1.25, Aim: 1.1}, {Key: P99, Kind: Difference, Must: 2}, {Key: P99}},
		},
		{
			Name: "topics", Title: "1,000 topics × 5, 10,000 messages/s", Floor: true, Scenario: z.paced(z.n(1000), 5, 10_000),
			Targets: []Target{{Key: CPUPerMillion, Kind: Ratio, Must: 1.4, Aim: 1.15}, {Key: P99}},
		},
		{
			Name: "idle", Title: "idle and subscribed, 10,000", Floor: true, Scenario: ConnectOptions{Connections: z.n(10_000), Settle: z.Settle},
			Targets: []Target{{Key: BytesEach, Must: 14 * Kilobyte, Aim: 5 * Kilobyte}},
		},
		{
			Name: "last", Title: "one message to 10,000, to the last", Floor: true, Scenario: z.paced(1, z.n(10_000), 2),
			Targets: []Target{{Key: LastP50, Must: 85, Aim: 70}},
		},
	}
	rows = append(rows, z.publishRows()...)
	rows = append(rows,
		Row{
			Name: "storm", Title: "storm, 5,000 fresh", Floor: true, Scenario: ConnectOptions{Connections: z.n(5000), Settle: time.Millisecond},
			Targets: []Target{{Key: CPUEach, Must: 100, Aim: 80}, {Key: "seconds"}},
		},
		Row{
			Name: "auth", Title: "storm, 5,000 fresh, auth-jwt asked about each; without", Auth: true, Scenario: ConnectOptions{Connections: z.n(5000), Settle: time.Millisecond},
			Targets: []Target{{Key: ConnectsPerSecond, Kind: Ratio, Must: 0.6, AtLeast: true}, {Key: CPUEach}},
		},
		Row{
			Name: "resume", Title: "storm, 5,000 back with 10 missed each", Scenario: ResumeOptions{Clients: z.n(5000), Missed: 10, Class: Memory},
			Targets: []Target{{Key: ResumedEach, Must: 110, Aim: 90}, {Key: "resumed_to_fresh", Must: 1.5}},
		},
		Row{
			Name: "match", Title: "100,000 wildcard subscriptions", Scenario: MatchOptions{Subscriptions: z.n(100_000), Duration: z.Duration / 2, Settle: z.Settle},
			Targets: []Target{{Key: MatchCost, Must: 2, Aim: 0.5}, {Key: BytesEachSub}},
		},
		Row{
			Name: "million", Title: "1,000,000 wildcard subscriptions", Once: true,
			Scenario: MatchOptions{Subscriptions: z.n(1_000_000), Duration: z.Duration / 2, Settle: z.Settle},
			Targets:  []Target{{Key: MatchCost}, {Key: BytesEachSub}},
		},
	)
	for _, n := range []int{1, 10, 100} {
		o := z.paced(1, z.n(500), 1000)
		o.Payload = 1024
		with := o
		with.Stalled = n
		rows = append(rows, Row{
			Name: fmt.Sprintf("stalled-%d", n), Title: fmt.Sprintf("%d stalled beside 500, 1,000 messages/s of 1 KiB", n), Scenario: with, Without: o, Stalled: n,
			Targets: []Target{{Key: P99, Kind: Difference, Must: 5, Share: 0.2}, {Key: StalledEach}},
		})
	}
	return rows
}

func (z Sizes) publishRows() []Row {
	rows := []Row{
		{
			Name: "publish-1", Title: "publish, 64 × 1 in flight", Floor: true, Scenario: z.publish(Memory, 1, false, false),
			Targets: []Target{{Key: CPUPerMillion, Kind: Ratio, Must: 1.25, Aim: 1.1}, {Key: AcksPerSecond}},
		},
		{
			Name: "publish-16", Title: "publish, 64 × 16 in flight, each by itself", Floor: true, Scenario: z.publish(Memory, 16, true, false),
			Targets: []Target{{Key: CPUPerMillion, Kind: Ratio, Must: 1.1, Aim: 0.8}, {Key: AcksPerSecond}},
		},
		{
			Name: "publish-joined", Title: "publish, 64 × 16 in flight, joined; the floor's each by itself", Floor: true,
			Scenario: z.publish(Memory, 16, false, false), Without: z.publish(Memory, 16, true, false),
			Targets: []Target{{Key: CPUPerMillion, Kind: Ratio, Must: 1.1, Aim: 0.8}, {Key: AcksPerSecond}},
		},
		{
			Name: "publish-ids", Title: "publish, 64 × 1 in flight, with message ids", Floor: true, Scenario: z.publish(Memory, 1, false, true),
			Targets: []Target{{Key: CPUPerMillion, Kind: Ratio}, {Key: AcksPerSecond}},
		},
	}
	for _, class := range []Class{Stored, Retained} {
		rows = append(rows,
			Row{
				Name: string(class) + "-1", Title: string(class) + ", fsync first, 64 × 1", Scenario: z.publish(class, 1, false, true),
				Targets: []Target{{Key: AcksPerSecond, Must: 25_000, Aim: 50_000, AtLeast: true}, {Key: CPUPerMillion, Must: 18, Aim: 12}, {Key: P50, Must: 3}},
			},
			Row{
				Name: string(class) + "-16", Title: string(class) + ", fsync first, 64 × 16", Scenario: z.publish(class, 16, false, true),
				Targets: []Target{{Key: AcksPerSecond, Must: 100_000, Aim: 200_000, AtLeast: true}, {Key: CPUPerMillion}},
			})
	}
	return rows
}

// Scale are rows that show how cost grows, in series.
func Scale(z Sizes) []Row {
	var rows []Row
	add := func(series string, x int, baseline bool, s Scenario, keys ...string) {
		row := Row{Name: fmt.Sprintf("%s-%d", series, x), Title: fmt.Sprintf("%s: %d", series, x), Scenario: s, Floor: baseline, Series: series, X: float64(x)}
		for _, key := range keys {
			row.Targets = append(row.Targets, Target{Key: key})
		}
		rows = append(rows, row)
	}
	for _, n := range []int{100, 300, 1000, 3000, 10_000} {
		add("connections", n, true, z.paced(1, z.n(n), 50_000/float64(n)), CPUPerMillion, P99)
	}
	for _, n := range []int{1000, 3000, 10_000} {
		add("memory", n, true, ConnectOptions{Connections: z.n(n), Settle: z.Settle}, BytesEach, CPUEach)
	}
	for _, n := range []int{1, 10, 100, 1000} {
		add("topics", n, true, z.paced(z.n(n), 5, 5000), CPUPerMillion, P99)
	}
	for _, n := range []int{1000, 10_000, 100_000, 1_000_000} {
		add("subscriptions", n, false, MatchOptions{Subscriptions: z.n(n), Duration: z.Duration / 2, Settle: z.Settle}, PublishWith, BytesEachSub)
	}
	for _, n := range []int{32, 128, 512, 2048, 8192, 32_768} {
		const bytes = 2 << 30 // to be delivered at most
		add("payload", n, true, FanoutOptions{Subscribers: z.n(1000), Messages: z.n(min(10_000, bytes/1000/n)), Window: 64, Payload: n}, CPUPerMillion, PerSecond)
	}
	return rows
}
