package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// patience is how long a run goes on in which nothing more comes.
const patience = 20 * time.Second

// A pump reads from many connections until each is done, with as few goroutines as it can: a client that costs more than the
// server hides what it measures.
type pump struct {
	conns []*conn
	// got is called after each read, by the goroutine that reads from c, and reports whether c is done. now is the client's clock.
	got func(c *conn, counts Counts, now int64) (done bool, err error)
	// timed has each goroutine keep the times of what it reads; see latencies. With last it keeps those of that many messages' last deliveries.
	timed bool
	last  int

	mu    sync.Mutex
	times []*times
}

func (p *pump) newTimes() *times {
	if !p.timed {
		return nil
	}
	t := &times{each: newHistogram(), batches: newHistogram(), last: make([]int64, p.last)}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.times = append(p.times, t)
	return t
}

// latencies are the times that all goroutines have kept, when run has returned: of each delivery, and of each message's last one.
func (p *pump) latencies() *times {
	all := &times{each: newHistogram(), batches: newHistogram(), last: make([]int64, p.last)}
	for _, t := range p.times {
		all.each.Merge(t.each)
		all.batches.Merge(t.batches)
		for i, ns := range t.last {
			all.last[i] = max(all.last[i], ns)
		}
	}
	return all
}

// run returns when every connection is done, or with the first error.
func (p *pump) run(ctx context.Context) error {
	raw, plain := split(p.conns)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var running sync.WaitGroup
	for _, conns := range raw {
		running.Go(func() {
			if err := p.poll(ctx, conns); err != nil {
				cancel(err)
			}
		})
	}
	for _, c := range plain {
		running.Go(func() {
			if err := p.read(ctx, c); err != nil {
				cancel(err)
			}
		})
	}
	running.Wait()
	return context.Cause(ctx)
}

// read reads from one connection that has to be waited for by a goroutine of its own: one with TLS, or where there is no poll.
func (p *pump) read(ctx context.Context, c *conn) error {
	stop := context.AfterFunc(ctx, func() { c.nc.Close() })
	defer stop()
	c.times = p.newTimes()
	for {
		_ = c.nc.SetReadDeadline(time.Now().Add(patience))
		counts, err := c.receive()
		now := clock()
		if c.times != nil {
			c.times.now = now
		}
		var done bool
		if err == nil {
			done, err = p.got(c, counts, now)
		}
		if err != nil {
			return c.failed(err)
		}
		if done {
			return nil
		}
	}
}

// failed says of an error how far the connection had come.
func (c *conn) failed(err error) error {
	var late interface{ Timeout() bool }
	if errors.As(err, &late) && late.Timeout() {
		err = errStuck
	}
	return fmt.Errorf("after %d messages: %w", c.next, err)
}

// errStuck ends a run in which nothing comes any more.
var errStuck = fmt.Errorf("nothing more came for %s: the run is invalid", patience)

// until is what a pump calls for connections that are done when they have n messages.
func until(n int) func(*conn, Counts, int64) (bool, error) {
	return func(c *conn, _ Counts, _ int64) (bool, error) { return c.next >= uint64(n), nil }
}
