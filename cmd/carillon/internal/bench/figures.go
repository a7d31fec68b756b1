package bench

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Scenario is a load, and what is measured under it.
type Scenario interface {
	Name() string
	// String says in words what is done.
	String() string
	// Run runs it once. An error says that the run is worth nothing.
	Run(ctx context.Context, s Server, d Dialect) (Figures, error)
}

// Figures are what one run has shown, by key.
type Figures map[string]float64

// Figure says what a key means.
type Figure struct {
	Key    string
	Label  string
	Digits int
	// Compared figures are told as a ratio, one server's to another's.
	Compared bool
}

// The keys that others ask for by name.
const (
	PerSecond         = "deliveries_per_second"
	AcksPerSecond     = "acks_per_second"
	CPUPerMillion     = "server_cpu_seconds_per_million"
	CPUEach           = "server_cpu_microseconds_per_connection"
	ConnectsPerSecond = "connects_per_second"
	BytesEach         = "server_pss_bytes_per_connection"
	P50               = "p50_ms"
	P99               = "p99_ms"
	LastP50           = "last_p50_ms"
	ServerPSS         = "server_pss_bytes"
	ResumedEach       = "resumed_server_cpu_microseconds_each"
	MatchCost         = "match_microseconds"
	PublishWith       = "publish_microseconds_with"
	BytesEachSub      = "server_pss_bytes_per_subscription"
	StalledEach       = "server_pss_bytes_per_stalled"
	P99More           = "p99_more_ms"
)

// known are the figures that there are, in the order in which they are told.
var known = []Figure{
	{Key: "deliveries", Label: "deliveries"},
	{Key: "acks", Label: "acknowledged"},
	{Key: "connections", Label: "connections"},
	{Key: "subscriptions", Label: "subscriptions"},
	{Key: "seconds", Label: "seconds", Digits: 2},
	{Key: PerSecond, Label: "deliveries/s", Compared: true},
	{Key: AcksPerSecond, Label: "acks/s", Compared: true},
	{Key: ConnectsPerSecond, Label: "connects/s", Compared: true},
	{Key: "subscribes_per_second", Label: "subscribes/s"},
	{Key: P50, Label: "p50 ms", Digits: 2, Compared: true},
	{Key: "p90_ms", Label: "p90 ms", Digits: 2, Compared: true},
	{Key: P99, Label: "p99 ms", Digits: 2, Compared: true},
	{Key: "p999_ms", Label: "p99.9 ms", Digits: 2, Compared: true},
	{Key: "max_ms", Label: "max ms", Digits: 2},
	{Key: P99More, Label: "p99 ms, more than without", Digits: 2},
	{Key: LastP50, Label: "to the last p50 ms", Digits: 2, Compared: true},
	{Key: "last_p99_ms", Label: "to the last p99 ms", Digits: 2, Compared: true},
	{Key: "fresh_seconds", Label: "connected, all live s", Digits: 2, Compared: true},
	{Key: "resumed_seconds", Label: "resumed, all live s", Digits: 2},
	{Key: "resumed_to_fresh", Label: "resumed to fresh", Digits: 2},
	{Key: "fresh_server_cpu_microseconds_each", Label: "server CPU µs each, fresh", Digits: 1, Compared: true},
	{Key: ResumedEach, Label: "server CPU µs each, resumed", Digits: 1},
	{Key: "publish_microseconds_without", Label: "server CPU µs a publish without", Digits: 2},
	{Key: PublishWith, Label: "server CPU µs a publish with", Digits: 2},
	{Key: MatchCost, Label: "server CPU µs a publish more", Digits: 2},
	{Key: "server_cpu_seconds", Label: "server CPU-s", Digits: 2},
	{Key: CPUPerMillion, Label: "server CPU-s/million", Digits: 3, Compared: true},
	{Key: CPUEach, Label: "server CPU µs each", Digits: 1, Compared: true},
	{Key: "client_cpu_seconds_per_million", Label: "client CPU-s/million", Digits: 3},
	{Key: BytesEach, Label: "server PSS bytes each", Compared: true},
	{Key: BytesEachSub, Label: "server PSS bytes each"},
	{Key: StalledEach, Label: "server PSS bytes, stalled each"},
	{Key: ServerPSS, Label: "server PSS bytes"},
	{Key: "server_peak_bytes", Label: "server memory bytes, peak"},
	{Key: "publisher_late_p99_ms", Label: "publisher late p99 ms", Digits: 2},
	{Key: "reader_batch_p99_ms", Label: "reading a batch p99 ms", Digits: 2},
}

// Known returns what a key means.
func Known(key string) Figure {
	if i := slices.IndexFunc(known, func(f Figure) bool { return f.Key == key }); i >= 0 {
		return known[i]
	}
	return Figure{Key: key, Label: key, Digits: 3}
}

// Format writes a value of the figure's.
func (f Figure) Format(v float64) string { return strconv.FormatFloat(v, 'f', f.Digits, 64) }

// percentiles puts in what h has recorded.
func (f Figures) percentiles(h *hdrhistogram.Histogram) {
	for key, q := range map[string]float64{P50: 50, "p90_ms": 90, P99: 99, "p999_ms": 99.9} {
		f[key] = float64(h.ValueAtQuantile(q)) / 1000
	}
	f["max_ms"] = float64(h.Max()) / 1000
}

// cost puts in what n deliveries or acknowledgements have cost the server and the client.
func (f Figures) cost(n int, before, after usage) {
	if n == 0 {
		return
	}
	if client := after.client - before.client; client > 0 {
		f["client_cpu_seconds_per_million"] = client.Seconds() / float64(n) * 1e6
	}
	if before.ok && after.ok {
		cpu := (after.cpu - before.cpu).Seconds()
		f["server_cpu_seconds"] = cpu
		f[CPUPerMillion] = cpu / float64(n) * 1e6
		f[ServerPSS] = float64(after.pss)
	}
}

// peak puts in the most memory that the server has held.
func (f Figures) peak(s Server) {
	if n := s.peak(); n > 0 {
		f["server_peak_bytes"] = float64(n)
	}
}

// plural is a count with its noun.
func plural(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}

// Stalled puts in what so many subscribers that read nothing have cost; without is a run without them.
func (f Figures) Stalled(without Figures, n int) {
	f[StalledEach] = (f[ServerPSS] - without[ServerPSS]) / float64(n)
	if p99, ok := f[P99]; ok {
		f[P99More] = p99 - without[P99]
	}
}
