package bench

import (
	"context"
	"fmt"
	"time"
)

// ConnectOptions shape a bench of idle connections.
type ConnectOptions struct {
	Connections int           // 10,000
	Settle      time.Duration // how long the server has to come to rest before memory is read: 5 s
	Topics      int           // 1,000; connection i subscribes to bench.idle.<i mod Topics>
}

func (o ConnectOptions) withDefaults() ConnectOptions {
	or(&o.Connections, 10_000)
	or(&o.Settle, 5*time.Second)
	or(&o.Topics, 1000)
	return o
}

// ConnectResult is what the connections cost.
type ConnectResult struct {
	Connections      int     `json:"connections"`
	Seconds          float64 `json:"seconds"`
	PerSecond        float64 `json:"connects_per_second"`
	ServerCPU        float64 `json:"server_cpu_seconds,omitempty"`
	CPUPerConnection float64 `json:"server_cpu_microseconds_per_connection,omitempty"`
	BytesEach        float64 `json:"server_pss_bytes_per_connection,omitempty"`
}

// Connect opens connections, each with one subscription, and leaves them idle.
func Connect(ctx context.Context, s Server, d Dialect, o ConnectOptions) (ConnectResult, error) {
	o = o.withDefaults()
	before := s.usage()
	began := time.Now()
	conns, err := connectAll(ctx, s, d, o.Connections, func(i int) string { return fmt.Sprintf("bench.idle.%d", i%o.Topics) }, 512)
	elapsed := time.Since(began)
	connected := s.usage()
	defer closeAll(conns)
	if err != nil {
		return ConnectResult{}, err
	}
	select {
	case <-time.After(o.Settle):
	case <-ctx.Done():
		return ConnectResult{}, ctx.Err()
	}
	after := s.usage()
	n := float64(o.Connections)
	r := ConnectResult{Connections: o.Connections, Seconds: elapsed.Seconds(), PerSecond: n / elapsed.Seconds()}
	if before.ok && after.ok {
		r.ServerCPU = (connected.cpu - before.cpu).Seconds()
		r.CPUPerConnection = r.ServerCPU / n * 1e6
		r.BytesEach = float64(after.pss-before.pss) / n
	}
	return r, nil
}
