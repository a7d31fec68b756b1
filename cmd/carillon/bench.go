package main

import (
	"context"
	"time"

	"github.com/carillon-mq/carillon/cmd/carillon/internal/bench"
)

// benchCmd measures a broker. Without --server it starts one of its own for each round, with a storage plugin, and can then tell what it cost.
type benchCmd struct {
	Fanout  benchFanoutCmd  `cmd:"" help:"One publisher, many subscribers of its topic, as fast as they go."`
	Latency benchLatencyCmd `cmd:"" help:"One publisher, many subscribers of its topic, at a given pace: how long messages take."`
	Topics  benchTopicsCmd  `cmd:"" help:"Many topics with a few subscribers each, at a given pace."`
	Publish benchPublishCmd `cmd:"" help:"Many publishers that wait for their acknowledgements."`
	Connect benchConnectCmd `cmd:"" help:"Many idle subscribed connections: memory and CPU of each."`
	Resume  benchResumeCmd  `cmd:"" help:"Clients that are cut off, miss messages, and all come back at once."`
	Match   benchMatchCmd   `cmd:"" help:"Many wildcard subscriptions: their memory, and what they add to a publish."`
	Suite   benchSuiteCmd   `cmd:"" help:"All that has a target, with the floor where there is one, as a table in Markdown: about 16 minutes for three rounds."`
	Scale   benchScaleCmd   `cmd:"" help:"How cost grows with connections, topics, subscriptions and the size of messages: about 7 minutes a round."`
	Plot    benchPlotCmd    `cmd:"" help:"Draw what suite and scale have written."`
	Floor   benchFloorCmd   `cmd:"" hidden:"" help:"Be the bare server that --baseline compares with."`
}

type benchFanoutCmd struct {
	benchTarget   `embed:""`
	benchBaseline `embed:""`
	Subscribers   int    `default:"1000" help:"Subscribers of the topic."`
	Messages      int    `default:"20000" help:"Messages to publish."`
	Payload       int    `default:"128" help:"Bytes of each."`
	Window        int    `default:"64" help:"Messages that the publisher's own subscription may be behind."`
	Door          string `default:"ws" enum:"ws,sse,poll" help:"How the subscribers receive: ${enum}."`
	Stalled       int    `help:"That many more subscribers stop reading; the same without them is run in turns."`
}

// Run implements the verb.
func (c *benchFanoutCmd) Run(ctx context.Context, s streams) error {
	if c.Baseline && c.Door != string(bench.WebSocket) {
		return usage("--baseline: the floor has no door %s", c.Door)
	}
	o := bench.FanoutOptions{
		Subscribers: c.Subscribers, Messages: c.Messages, Payload: c.Payload, Window: c.Window, Door: bench.Door(c.Door), Token: c.Token, Stalled: c.Stalled,
	}
	without := o
	without.Stalled = 0
	return c.measure(ctx, s, c.sides(&c.benchTarget, c.Baseline, o, without, o.Stalled))
}

// benchPace is what the benches take that publish at a given pace.
type benchPace struct {
	Payload  int           `default:"128" help:"Bytes of each."`
	Duration time.Duration `default:"10s" help:"How long is measured."`
	Warmup   time.Duration `default:"1s" help:"How long is published before that."`
	MostLate time.Duration `default:"100ms" help:"A run in which more than one message in a hundred is published later than this, or the client takes longer to read what is there, is invalid."`
}

type benchLatencyCmd struct {
	benchTarget   `embed:""`
	benchBaseline `embed:""`
	benchPace     `embed:""`
	Subscribers   int     `default:"1000" help:"Subscribers of the topic."`
	Rate          float64 `default:"50" help:"Messages a second."`
	Stalled       int     `help:"That many more subscribers stop reading; the same without them is run in turns."`
}

// Run implements the verb.
func (c *benchLatencyCmd) Run(ctx context.Context, s streams) error {
	o := bench.PacedOptions{Subscribers: c.Subscribers, Rate: c.Rate, Payload: c.Payload, Duration: c.Duration, Warmup: c.Warmup, Stalled: c.Stalled, MostLate: c.MostLate}
	without := o
	without.Stalled = 0
	return c.measure(ctx, s, c.sides(&c.benchTarget, c.Baseline, o, without, o.Stalled))
}

type benchTopicsCmd struct {
	benchTarget   `embed:""`
	benchBaseline `embed:""`
	benchPace     `embed:""`
	Topics        int     `default:"1000" help:"Topics."`
	Subscribers   int     `default:"5" help:"Subscribers of each; each end of each is a descriptor (see ulimit -n)."`
	Rate          float64 `default:"10000" help:"Messages a second, all topics together."`
}

// Run implements the verb.
func (c *benchTopicsCmd) Run(ctx context.Context, s streams) error {
	o := bench.PacedOptions{Topics: c.Topics, Subscribers: c.Subscribers, Rate: c.Rate, Payload: c.Payload, Duration: c.Duration, Warmup: c.Warmup, MostLate: c.MostLate}
	return c.measure(ctx, s, c.sides(&c.benchTarget, c.Baseline, o, nil, 0))
}

type benchPublishCmd struct {
	benchTarget   `embed:""`
	benchBaseline `embed:""`
	Class         string        `default:"memory" enum:"live,memory,stored,retained" help:"What is published: ${enum}. With --server the topics bench.live.> and bench.stored.> need rules of that class."`
	Publishers    int           `default:"64" help:"Connections that publish, each to a topic of its own."`
	Inflight      int           `default:"1" help:"Publishes of each that wait for their acknowledgement."`
	Payload       int           `default:"128" help:"Bytes of each."`
	Duration      time.Duration `default:"10s" help:"How long is measured."`
	Warmup        time.Duration `default:"1s" help:"How long is published before that."`
	Separate      bool          `help:"Send each publish as a WebSocket message of its own and by itself, as things happen, and not all that there is room for together."`
	MessageIDs    bool          `name:"message-ids" default:"true" negatable:"" help:"Give each an id that makes its repetition safe, as the SDKs do."`
}

// Run implements the verb.
func (c *benchPublishCmd) Run(ctx context.Context, s streams) error {
	o := bench.PublishOptions{
		Class: bench.Class(c.Class), Publishers: c.Publishers, Inflight: c.Inflight, Payload: c.Payload, Warmup: c.Warmup, Duration: c.Duration,
		MessageIDs: c.MessageIDs, Separate: c.Separate,
	}
	return c.measure(ctx, s, c.sides(&c.benchTarget, c.Baseline, o, nil, 0))
}

type benchConnectCmd struct {
	benchTarget   `embed:""`
	benchBaseline `embed:""`
	Connections   int           `default:"5000" help:"Connections to open; each end of each is a descriptor (see ulimit -n)."`
	Settle        time.Duration `default:"8s" help:"How long the broker has to come to rest before its memory is read."`
	Auth          bool          `help:"Each connection has a token that auth-jwt is asked about; the same without is run in turns. Not with --server."`
}

// Run implements the verb.
func (c *benchConnectCmd) Run(ctx context.Context, s streams) error {
	o := bench.ConnectOptions{Connections: c.Connections, Settle: c.Settle}
	if c.Auth && (c.Server != "" || c.Baseline) {
		return usage("--auth is compared with a broker that lets everybody in, not with --server or --baseline")
	}
	if c.Auth {
		return c.measure(ctx, s, authSides(o))
	}
	return c.measure(ctx, s, c.sides(&c.benchTarget, c.Baseline, o, nil, 0))
}

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
	return c.measure(ctx, s, c.only(o))
}

type benchMatchCmd struct {
	benchTarget   `embed:""`
	Subscriptions int           `default:"100000" help:"Subscriptions, each with a filter of its own."`
	PerConnection int           `default:"1000" help:"Subscriptions of one connection."`
	Payload       int           `default:"128" help:"Bytes of each message."`
	Duration      time.Duration `default:"5s" help:"How long is published with them, and again without them."`
	Settle        time.Duration `default:"8s" help:"How long the broker has to come to rest: before its memory is read, and when they have gone again."`
}

// Run implements the verb.
func (c *benchMatchCmd) Run(ctx context.Context, s streams) error {
	o := bench.MatchOptions{Subscriptions: c.Subscriptions, PerConnection: c.PerConnection, Payload: c.Payload, Duration: c.Duration, Settle: c.Settle}
	return c.measure(ctx, s, c.only(o))
}
