package bench

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// FanoutOptions shape a fan-out.
type FanoutOptions struct {
	Subscribers int // 1,000
	Messages    int // 20,000
	Window      int // messages that the publisher's own subscription may be behind: 64
	Payload     int // bytes: 128, and at least 32
	Topic       string
	Door        Door
	Token       string // for doors other than WebSocket
}

func (o FanoutOptions) withDefaults() FanoutOptions {
	or(&o.Subscribers, 1000)
	or(&o.Messages, 20_000)
	or(&o.Window, 64)
	or(&o.Payload, 128)
	or(&o.Topic, "bench.fanout")
	or(&o.Door, WebSocket)
	o.Payload = max(o.Payload, minNumbered)
	return o
}

func or[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// FanoutResult is what a fan-out has shown.
type FanoutResult struct {
	Door          Door    `json:"door"`
	Subscribers   int     `json:"subscribers"`
	Messages      int     `json:"messages"`
	Payload       int     `json:"payload_bytes"`
	Window        int     `json:"window"`
	Deliveries    int64   `json:"deliveries"`
	Seconds       float64 `json:"seconds"`
	PerSecond     float64 `json:"deliveries_per_second"`
	ServerCPU     float64 `json:"server_cpu_seconds,omitempty"`
	CPUPerMillion float64 `json:"server_cpu_seconds_per_million,omitempty"`
}

// Fanout publishes to many subscribers of one topic, as fast as the publisher's own subscription keeps up, over WebSocket. Every
// subscriber has to get every message, once and in order.
func Fanout(ctx context.Context, s Server, d Dialect, o FanoutOptions) (FanoutResult, error) {
	o = o.withDefaults()
	var received atomic.Int64
	subs, err := subscribeAll(ctx, s, d, o)
	defer func() {
		for _, c := range subs {
			c.close()
		}
	}()
	if err != nil {
		return FanoutResult{}, err
	}
	pub, err := connectAll(ctx, s, d, 1, func(int) string { return o.Topic }, 32<<10)
	defer closeAll(pub)
	if err != nil {
		return FanoutResult{}, err
	}
	before := s.usage()
	began := time.Now()
	failed := make(chan error, o.Subscribers+1)
	var readers sync.WaitGroup
	for _, c := range subs {
		readers.Go(func() {
			n, err := c.messages(o.Messages)
			received.Add(int64(n))
			if err != nil {
				failed <- err
			}
		})
	}
	if err := pub[0].publishWindowed(o); err != nil {
		for _, c := range subs {
			c.close()
		}
		readers.Wait()
		return FanoutResult{}, err
	}
	readers.Wait()
	elapsed := time.Since(began)
	after := s.usage()
	select {
	case err := <-failed:
		return FanoutResult{}, err
	default:
	}
	r := FanoutResult{
		Door: o.Door, Subscribers: o.Subscribers, Messages: o.Messages, Payload: o.Payload, Window: o.Window,
		Deliveries: received.Load() + int64(o.Messages), Seconds: elapsed.Seconds(),
	}
	r.PerSecond = float64(r.Deliveries) / r.Seconds
	if before.ok && after.ok {
		r.ServerCPU = (after.cpu - before.cpu).Seconds()
		r.CPUPerMillion = r.ServerCPU / float64(r.Deliveries) * 1e6
	}
	if received.Load() != int64(o.Subscribers)*int64(o.Messages) {
		return r, errShort
	}
	return r, nil
}

// countMessages reads until n messages have come, and tells got of each step.
func (c *conn) countMessages(n int, got func(int)) (int, error) {
	total := 0
	for total < n {
		counts, err := c.receive()
		if err != nil {
			return total, fmt.Errorf("after %d of %d messages: %w", total, n, err)
		}
		total += counts.Messages
		if got != nil && counts.Messages > 0 {
			got(counts.Messages)
		}
	}
	return total, nil
}

// publishWindowed publishes and keeps the messages that have not come back to this connection within the window.
func (c *conn) publishWindowed(o FanoutOptions) error {
	back := make(chan int, o.Messages)
	failed := make(chan error, 1)
	var reader sync.WaitGroup
	reader.Go(func() {
		if _, err := c.countMessages(o.Messages, func(n int) { back <- n }); err != nil {
			failed <- err
		}
	})
	defer reader.Wait()
	writer := &conn{nc: c.nc, d: c.d}
	open := 0
	var msg []byte
	for i := range o.Messages {
		for open >= o.Window {
			select {
			case n := <-back:
				open -= n
			case err := <-failed:
				return err
			}
		}
		msg = c.d.Publish(msg[:0], o.Topic, appendNumbered(nil, uint64(i), o.Payload))
		if err := writer.send(msg); err != nil {
			c.nc.Close()
			return err
		}
		open++
	}
	return nil
}

// connectAll connects n clients, a few at a time, each subscribed to its topic.
func connectAll(ctx context.Context, s Server, d Dialect, n int, topic func(int) string, buf int) ([]*conn, error) {
	conns := make([]*conn, n)
	err := each(n, func(i int) error {
		c, err := dial(ctx, s, d, buf)
		if err != nil {
			return err
		}
		conns[i] = c
		return c.ask(d.Subscribe(topic(i)))
	})
	return conns, err
}

// each calls f for 0 to n-1, a few at a time, and stops after an error.
func each(n int, f func(int) error) error {
	work := make(chan int, n)
	for i := range n {
		work <- i
	}
	close(work)
	errs := make(chan error, 64)
	var workers sync.WaitGroup
	for range 64 {
		workers.Go(func() {
			for i := range work {
				if err := f(i); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	workers.Wait()
	select {
	case err := <-errs:
		return err
	default:
		return nil
	}
}

func closeAll(conns []*conn) {
	for _, c := range conns {
		if c != nil {
			c.nc.Close()
		}
	}
}
