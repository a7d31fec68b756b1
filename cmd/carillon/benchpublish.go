package main

import (
	"context"
	"fmt"
	"time"

	"github.com/carillon-mq/carillon/cmd/carillon/internal/bench"
)

type benchPublishCmd struct {
	benchTarget `embed:""`
	Class       string        `default:"memory" enum:"live,memory,stored,retained" help:"What is published: ${enum}. With --server the topics bench.live.> and bench.stored.> need rules of that class."`
	Publishers  int           `default:"64" help:"Connections that publish, each to a topic of its own."`
	Inflight    int           `default:"1" help:"Publishes of each that wait for their acknowledgement."`
	Payload     int           `default:"128" help:"Bytes of each."`
	Duration    time.Duration `default:"10s" help:"How long is measured."`
	Warmup      time.Duration `default:"1s" help:"How long is published before that."`
	MessageIDs  bool          `name:"message-ids" default:"true" negatable:"" help:"Give each an id that makes its repetition safe, as the SDKs do."`
}

// Run implements the verb.
func (c *benchPublishCmd) Run(ctx context.Context, s streams) error {
	o := bench.PublishOptions{
		Class: bench.Class(c.Class), Publishers: c.Publishers, Inflight: c.Inflight, Payload: c.Payload, Warmup: c.Warmup, Duration: c.Duration,
		MessageIDs: c.MessageIDs, Token: c.Token,
	}
	return c.measure(ctx, s, func(server bench.Server, _ bench.Dialect) (any, error) {
		fmt.Fprintf(s.err, "%d publishers, %d in flight each, %s, %d bytes, %s …\n", c.Publishers, c.Inflight, c.Class, c.Payload, c.Duration)
		return bench.Publish(ctx, server, o)
	}, func(result any) {
		r := result.(bench.PublishResult)
		fmt.Fprintf(s.out, "acknowledged          %d in %.2f s\nacks/s                %.0f\np50, p99, p99.9       %.2f, %.2f, %.2f ms\n",
			r.Acks, r.Seconds, r.PerSecond, millis(r.P50), millis(r.P99), millis(r.P999))
		if r.ServerCPU > 0 {
			fmt.Fprintf(s.out, "server CPU-s          %.2f, plugins included\nserver CPU-s/million  %.1f\nbroker memory, peak   %d MiB\n",
				r.ServerCPU, r.CPUPerMillion, r.BrokerPeak>>20)
		}
	})
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

type benchResumeCmd struct {
	benchTarget `embed:""`
	Clients     int    `default:"5000" help:"Connections, each with one subscription; each end of each is a descriptor (see ulimit -n)."`
	Missed      int    `default:"10" help:"Messages that each misses."`
	Topics      int    `default:"0" help:"Topics that they share; 0: each has its own."`
	Class       string `default:"memory" enum:"memory,stored" help:"What they miss: ${enum}. With --server the topics bench.stored.> need a rule of that class."`
	Payload     int    `default:"128" help:"Bytes of each message."`
}

// Run implements the verb.
func (c *benchResumeCmd) Run(ctx context.Context, s streams) error {
	o := bench.ResumeOptions{Clients: c.Clients, Missed: c.Missed, Topics: c.Topics, Class: bench.Class(c.Class), Payload: c.Payload, Token: c.Token}
	return c.measure(ctx, s, func(server bench.Server, _ bench.Dialect) (any, error) {
		fmt.Fprintf(s.err, "%d clients, %d messages (%s) missed by each …\n", c.Clients, c.Missed, c.Class)
		return bench.Resume(ctx, server, o)
	}, func(result any) {
		r := result.(bench.ResumeResult)
		fmt.Fprintf(s.out, "connected, all live   %.2f s\nresumed, all live     %.2f s\nratio                 %.2f\n", r.Fresh, r.Resumed, r.Ratio)
		if r.ResumedCPU > 0 {
			fmt.Fprintf(s.out, "server CPU each       %.0f µs fresh, %.0f µs resumed, plugins included\nbroker memory, peak   %d MiB\n",
				r.FreshCPU, r.ResumedCPU, r.BrokerPeak>>20)
		}
	})
}
