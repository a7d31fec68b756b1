package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/carillon-mq/carillon/protocol"
)

// MatchOptions shape a bench of many wildcard subscriptions.
type MatchOptions struct {
	Subscriptions int           `json:"subscriptions"`  // 100,000
	PerConnection int           `json:"per_connection"` // 1,000
	Payload       int           `json:"payload_bytes"`
	Duration      time.Duration `json:"duration_ns"` // of publishing with them, and without them: 5 s
	Settle        time.Duration `json:"settle_ns"`   // how long the server has to come to rest, with them and without them: 5 s
}

func (o MatchOptions) withDefaults() MatchOptions {
	or(&o.Subscriptions, 100_000)
	or(&o.PerConnection, 1000)
	or(&o.Payload, 128)
	or(&o.Duration, 5*time.Second)
	or(&o.Settle, 5*time.Second)
	return o
}

// Name implements Scenario.
func (MatchOptions) Name() string { return "match" }

func (o MatchOptions) String() string {
	o = o.withDefaults()
	return fmt.Sprintf("%s of mixed wildcards, %d a connection, and publishes with them and without them", plural(o.Subscriptions, "subscription"), o.PerConnection)
}

// Devices stand in regions and have kinds of values: bench.match.r<region>.d<device>.k<kind>.
const (
	regions = 16
	kinds   = 8
)

// filter is one of four sorts by turns: all devices of a region, a device wherever it is, and two of all that a device has. No two are alike.
func (MatchOptions) filter(i int) string {
	region, kind := i/4%regions, i/4%kinds
	switch i % 4 {
	case 0:
		return fmt.Sprintf("bench.match.r%d.*.own%d", region, i)
	case 1:
		return fmt.Sprintf("bench.match.*.d%d.k%d", i, kind)
	case 2:
		return fmt.Sprintf("bench.match.r%d.d%d.*", region, i)
	default:
		return fmt.Sprintf("bench.match.r%d.d%d.s.>", region, i)
	}
}

// topic is the n-th that is published to. It is of a device that has subscribers, and goes down every branch to its last level, where it is
// nobody's: what is measured is the search and not deliveries.
func (o MatchOptions) topic(publisher int, n uint64) string {
	groups := max(o.Subscriptions/4, 1)
	group := (int(n) * 7919 * (publisher + 1)) % groups
	return fmt.Sprintf("bench.match.r%d.d%d.nobody", group%regions, 4*group+1+2*int(n%2))
}

// Run implements Scenario. What matching costs is what a publish costs the server more than when the subscriptions have gone again: memory is
// looked at before anything is published, so that nothing but subscriptions is in it.
func (o MatchOptions) Run(ctx context.Context, s Server, d Dialect) (Figures, error) {
	o = o.withDefaults()
	if _, ok := d.(Floor); ok {
		return nil, errNoFloor
	}
	before, began := s.usage(), time.Now()
	conns, err := o.subscribe(ctx, s, d)
	defer func() { closeAll(conns) }()
	if err != nil {
		return nil, fmt.Errorf("subscribe: %w", err)
	}
	took := time.Since(began).Seconds()
	if err := pause(ctx, o.Settle); err != nil {
		return nil, err
	}
	after := s.usage()
	publish := PublishOptions{Publishers: 16, Inflight: 16, Payload: o.Payload, Warmup: time.Second / 2, Duration: o.Duration, topic: o.topic}
	with, err := publish.Run(ctx, s, d)
	if err != nil {
		return nil, err
	}
	closeAll(conns)
	conns = nil
	if err := pause(ctx, o.Settle); err != nil {
		return nil, err
	}
	without, err := publish.Run(ctx, s, d)
	if err != nil {
		return nil, err
	}
	f := Figures{"subscriptions": float64(o.Subscriptions), "subscribes_per_second": float64(o.Subscriptions) / took, AcksPerSecond: with[AcksPerSecond]}
	if before.ok && after.ok {
		f["publish_microseconds_without"], f[PublishWith] = without[CPUPerMillion], with[CPUPerMillion]
		f[MatchCost] = with[CPUPerMillion] - without[CPUPerMillion]
		f[BytesEachSub] = float64(after.pss-before.pss) / float64(o.Subscriptions)
		f[ServerPSS] = float64(after.pss)
	}
	return f, nil
}

// subscribe connects and subscribes. What has been connected is returned with an error, too.
func (o MatchOptions) subscribe(ctx context.Context, s Server, d Dialect) ([]*conn, error) {
	conns := make([]*conn, (o.Subscriptions+o.PerConnection-1)/o.PerConnection)
	err := each(len(conns), func(i int) error {
		c, err := dial(ctx, s, d, 512)
		if err != nil {
			return err
		}
		conns[i] = c
		return c.subscribeAll(i*o.PerConnection, min((i+1)*o.PerConnection, o.Subscriptions), o.filter)
	})
	return conns, err
}

// subscribeAll subscribes to the filters from number from to number to, some at a time.
func (c *conn) subscribeAll(from, to int, filter func(int) string) error {
	const together = 100
	for i := from; i < to; i += together {
		var packets []byte
		end := min(i+together, to)
		for n := i; n < end; n++ {
			packets = (&protocol.Subscribe{ID: uint64(n - from + 1), Filter: filter(n), NoRetained: true}).Append(packets)
		}
		if err := c.send(packets); err != nil {
			return err
		}
		for missing := end - i; missing > 0; {
			got, err := c.receive()
			if err != nil {
				return err
			}
			missing -= got.Answers
		}
	}
	return nil
}
