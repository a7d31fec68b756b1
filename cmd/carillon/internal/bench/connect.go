package bench

import (
	"context"
	"fmt"
	"time"
)

// ConnectOptions shape a bench of idle connections.
type ConnectOptions struct {
	Connections int           `json:"connections"` // 10,000
	Settle      time.Duration `json:"settle_ns"`   // how long the server has to come to rest before memory is read: 5 s
	Topics      int           `json:"topics"`      // 1,000; connection i subscribes to bench.idle.<i mod Topics>
}

func (o ConnectOptions) withDefaults() ConnectOptions {
	or(&o.Connections, 10_000)
	or(&o.Settle, 5*time.Second)
	or(&o.Topics, 1000)
	return o
}

// Name implements Scenario.
func (ConnectOptions) Name() string { return "connect" }

func (o ConnectOptions) String() string {
	o = o.withDefaults()
	return plural(o.Connections, "connection") + ", each with one subscription, idle"
}

// Run implements Scenario. It opens connections, each with one subscription, and leaves them idle.
func (o ConnectOptions) Run(ctx context.Context, s Server, d Dialect) (Figures, error) {
	o = o.withDefaults()
	before, began := s.usage(), time.Now()
	conns, err := connectAll(ctx, s, d, o.Connections, func(i int) string { return fmt.Sprintf("bench.idle.%d", i%o.Topics) }, 512)
	defer closeAll(conns)
	elapsed, connected := time.Since(began).Seconds(), s.usage()
	if err != nil {
		return nil, err
	}
	if err := pause(ctx, o.Settle); err != nil {
		return nil, err
	}
	after, n := s.usage(), float64(o.Connections)
	f := Figures{"connections": n, "seconds": elapsed, ConnectsPerSecond: n / elapsed}
	if before.ok && after.ok {
		f["server_cpu_seconds"] = (connected.cpu - before.cpu).Seconds()
		f[CPUEach] = f["server_cpu_seconds"] / n * 1e6
		f[BytesEach] = float64(after.pss-before.pss) / n
		f[ServerPSS] = float64(after.pss)
	}
	return f, nil
}

// pause lets d pass.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
