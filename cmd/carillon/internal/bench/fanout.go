package bench

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/carillon-mq/carillon/protocol"
)

// FanoutOptions shape a fan-out.
type FanoutOptions struct {
	Subscribers int    `json:"subscribers"` // 1,000
	Messages    int    `json:"messages"`    // 20,000
	Window      int    `json:"window"`      // messages that the publisher's own subscription may be behind: 64
	Payload     int    `json:"payload_bytes"`
	Topic       string `json:"topic"`
	Door        Door   `json:"door"`
	Stalled     int    `json:"stalled"` // more subscribers, by WebSocket, which read nothing
	Token       string `json:"-"`       // for doors other than WebSocket
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

// Name implements Scenario.
func (FanoutOptions) Name() string { return "fanout" }

func (o FanoutOptions) String() string {
	o = o.withDefaults()
	text := fmt.Sprintf("1 publisher, %s (%s), %s of %d bytes", plural(o.Subscribers, "subscriber"), o.Door, plural(o.Messages, "message"), o.Payload)
	if o.Stalled > 0 {
		text += fmt.Sprintf(", and %d that read nothing", o.Stalled)
	}
	return text
}

// Run implements Scenario. It publishes as fast as the publisher's own subscription keeps up, over WebSocket. Every subscriber has to get
// every message, once and in order.
func (o FanoutOptions) Run(ctx context.Context, s Server, d Dialect) (Figures, error) {
	o = o.withDefaults()
	topic := func(int) string { return o.Topic }
	stalled, err := connectAll(ctx, s, d, o.Stalled, topic, 512)
	defer closeAll(stalled)
	if err != nil {
		return nil, err
	}
	subs, err := subscribeAll(ctx, s, d, o)
	defer subs.close()
	if err != nil {
		return nil, err
	}
	publisher, err := connectAll(ctx, s, d, 1, topic, 32<<10)
	defer closeAll(publisher)
	if err != nil {
		return nil, err
	}
	before, began := s.usage(), time.Now()
	err = together(ctx, func(ctx context.Context) error { return subs.read(ctx, o.Messages) }, func(ctx context.Context) error {
		stop := context.AfterFunc(ctx, func() { publisher[0].nc.Close() })
		defer stop()
		return publisher[0].publishWindowed(o)
	})
	elapsed, after := time.Since(began).Seconds(), s.usage()
	if err != nil {
		return nil, err
	}
	n := (o.Subscribers + 1) * o.Messages
	f := Figures{"deliveries": float64(n), "seconds": elapsed, PerSecond: float64(n) / elapsed}
	f.cost(n, before, after)
	return f, nil
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
		msg = c.d.Publish(msg[:0], &protocol.Publish{Topic: o.Topic, Payload: numbered(uint64(i), 0, o.Payload)})
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

// closeAll ends connections with a reset, so that no port is kept for them.
func closeAll(conns []*conn) {
	for _, c := range conns {
		if c == nil {
			continue
		}
		if l, ok := c.nc.(interface{ SetLinger(seconds int) error }); ok {
			_ = l.SetLinger(0) // then it is closed the usual way
		}
		c.nc.Close()
	}
}
