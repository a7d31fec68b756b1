package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/carillon-mq/carillon/cmd/carillon/internal/bench"
)

// benchCmd measures a broker. Without --server it starts one of its own, with a storage plugin, and can then tell what it cost.
type benchCmd struct {
	Fanout  benchFanoutCmd  `cmd:"" help:"One publisher, many subscribers of its topic."`
	Publish benchPublishCmd `cmd:"" help:"Many publishers that wait for their acknowledgements."`
	Resume  benchResumeCmd  `cmd:"" help:"Clients that are cut off, miss messages, and all come back at once."`
	Connect benchConnectCmd `cmd:"" help:"Many idle subscribed connections: memory and CPU of each."`
}

// benchTarget is what every bench takes.
type benchTarget struct {
	Server string `env:"CARILLON_SERVER" help:"Measure the broker at this address (ws://HOST:PORT/ws) and not one started for the purpose." placeholder:"URL"`
	Token  string `env:"CARILLON_TOKEN" help:"Token for that broker." placeholder:"TOKEN"`
	JSON   bool   `help:"Print the result as one JSON object."`
	trustFlags
}

// measure runs f against the chosen broker.
func (b *benchTarget) measure(ctx context.Context, s streams, f func(bench.Server, bench.Dialect) (any, error), show func(any)) error {
	trusted, err := b.config()
	if err != nil {
		return err
	}
	server := bench.Server{URL: b.Server, TLS: trusted}
	if b.Server == "" {
		own, stop, err := startOwnBroker(ctx, s)
		if err != nil {
			return err
		}
		defer stop()
		server = own
	}
	result, err := f(server, bench.Carillon{Token: b.Token})
	if err != nil {
		return err
	}
	if b.JSON {
		return json.NewEncoder(s.out).Encode(result)
	}
	show(result)
	return nil
}

type benchFanoutCmd struct {
	benchTarget `embed:""`
	Subscribers int `default:"1000" help:"Subscribers of the topic."`
	Messages    int `default:"20000" help:"Messages to publish."`
	Payload     int `default:"128" help:"Bytes of each."`
	Window      int `default:"64" help:"Messages that the publisher's own subscription may be behind."`

	Door string `default:"ws" enum:"ws,sse,poll" help:"How the subscribers receive: ${enum}."`
}

// Run implements the verb.
func (c *benchFanoutCmd) Run(ctx context.Context, s streams) error {
	o := bench.FanoutOptions{Subscribers: c.Subscribers, Messages: c.Messages, Payload: c.Payload, Window: c.Window, Door: bench.Door(c.Door), Token: c.Token}
	return c.measure(ctx, s, func(server bench.Server, d bench.Dialect) (any, error) {
		fmt.Fprintf(s.err, "1 publisher, %d subscribers (%s), %d messages of %d bytes …\n", c.Subscribers, c.Door, c.Messages, c.Payload)
		return bench.Fanout(ctx, server, d, o)
	}, func(result any) {
		r := result.(bench.FanoutResult)
		fmt.Fprintf(s.out, "deliveries            %d in %.2f s\ndeliveries/s          %.0f\n", r.Deliveries, r.Seconds, r.PerSecond)
		if r.ServerCPU > 0 {
			fmt.Fprintf(s.out, "server CPU-s          %.2f, plugins included\nserver CPU-s/million  %.3f\n", r.ServerCPU, r.CPUPerMillion)
		}
	})
}

type benchConnectCmd struct {
	benchTarget `embed:""`
	Connections int           `default:"5000" help:"Connections to open; each end of each is a descriptor (see ulimit -n)."`
	Settle      time.Duration `default:"8s" help:"How long the broker has to come to rest before its memory is read."`
}

// Run implements the verb.
func (c *benchConnectCmd) Run(ctx context.Context, s streams) error {
	o := bench.ConnectOptions{Connections: c.Connections, Settle: c.Settle}
	return c.measure(ctx, s, func(server bench.Server, d bench.Dialect) (any, error) {
		fmt.Fprintf(s.err, "%d connections, each with one subscription …\n", c.Connections)
		return bench.Connect(ctx, server, d, o)
	}, func(result any) {
		r := result.(bench.ConnectResult)
		fmt.Fprintf(s.out, "connections           %d in %.2f s\nconnects/s            %.0f\n", r.Connections, r.Seconds, r.PerSecond)
		if r.ServerCPU > 0 {
			fmt.Fprintf(s.out, "server CPU each       %.0f µs, plugins included\nserver PSS each       %.0f bytes\n", r.CPUPerConnection, r.BytesEach)
		}
	})
}
