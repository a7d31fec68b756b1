//go:build unix

package main

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/plugins/host"
	"github.com/carillon-mq/carillon/plugins/plugintest"
	"github.com/carillon-mq/carillon/plugins/store-bolt/storebolt"
)

var discard = slog.New(slog.DiscardHandler)

// BenchmarkRetainedPublish is what the boundary of the process costs: publishes of publishers with one in flight each, to a topic of
// their own, acknowledged after fsync, with the store as a plugin and with the same store called in this process. The two take turns, so
// that what else the machine does meets both: the times are the medians of the turns, ratio is that of these, and ratio-of-least that of the
// quickest turns, which a busy machine disturbed least. The CPU is that of all processes.
func BenchmarkRetainedPublish(b *testing.B) {
	plugin, direct := behindBoundary(b), inProcess(b)
	for _, publishers := range []int{1, 16, 64, 256} {
		b.Run(fmt.Sprintf("publishers=%d", publishers), func(b *testing.B) {
			var p, d turns
			before := plugin.used()
			for left := b.N; left > 0; left -= turnOf * publishers {
				n := min(left, turnOf*publishers)
				p.take(b, plugin, publishers, n)
				d.take(b, direct, publishers, n)
			}
			p.cpu += plugin.used() - before
			slices.Sort(p.each)
			slices.Sort(d.each)
			median := len(p.each) / 2
			b.ReportMetric(0, "ns/op") // of both: says nothing
			b.ReportMetric(p.each[median], "plugin-ns/op")
			b.ReportMetric(d.each[median], "in-process-ns/op")
			b.ReportMetric(p.each[median]/d.each[median], "ratio")
			b.ReportMetric(p.each[0]/d.each[0], "ratio-of-least")
			b.ReportMetric(float64(p.cpu)/float64(b.N), "plugin-cpu-ns/op")
			b.ReportMetric(float64(d.cpu)/float64(b.N), "in-process-cpu-ns/op")
		})
	}
}

// turnOf is how often each publisher publishes in a turn.
const turnOf = 30

// side is a broker with its store.
type side struct {
	broker *broker.Broker
	used   func() time.Duration // CPU of the plugin's process so far
}

// turns are what a side needed.
type turns struct {
	each []float64     // ns of a publish, by turn
	cpu  time.Duration // of this process
}

// take has publishers publish n times, all together.
func (t *turns) take(b *testing.B, s side, publishers, n int) {
	payload := make([]byte, 128)
	var next atomic.Int64
	var all sync.WaitGroup
	used, began := ownCPU(), time.Now()
	for i := range publishers {
		all.Go(func() {
			r := broker.PublishRequest{Topic: fmt.Sprintf("bench.%d", i), Payload: payload, Retain: true}
			for next.Add(1) <= int64(n) {
				if _, err := s.broker.Publish(b.Context(), broker.Everybody(), r); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	t.each = append(t.each, float64(time.Since(began))/float64(n))
	t.cpu += ownCPU() - used
}

func behindBoundary(b *testing.B) side {
	h, err := host.New(host.Options{Logger: discard})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = h.Close(context.Background()) })
	spec := host.Spec{Name: "store-bolt", Path: plugintest.Build(b, "."), Bundled: true, Config: fmt.Appendf(nil, `{"dir":%q}`, b.TempDir())}
	s, err := h.Store(spec)
	if err != nil {
		b.Fatal(err)
	}
	if err := s.Wait(b.Context()); err != nil {
		b.Fatal(err)
	}
	return side{start(b, s), func() time.Duration { return h.Figures()[0].Usage.CPU }}
}

func inProcess(b *testing.B) side {
	s, err := storebolt.Open(storebolt.Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	return side{broker: start(b, s)}
}

// start runs a broker on s until the benchmark ends.
func start(b *testing.B, s broker.Store) *broker.Broker {
	br, err := broker.New(broker.Options{Store: s, Logger: discard})
	if err != nil {
		b.Fatal(err)
	}
	br.Start()
	b.Cleanup(br.Close)
	if err := br.WaitReady(b.Context()); err != nil {
		b.Fatal(err)
	}
	return br
}

// ownCPU is what this process has used.
func ownCPU() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // it cannot fail
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
