package host

import (
	"context"
	"strings"
	"sync"
	"time"
	"unicode"

	"google.golang.org/grpc"

	"github.com/carillon-mq/carillon/broker"
)

// callBounds are the upper bounds of the buckets of a call's time, in seconds.
var callBounds = [...]float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}

// calls counts the calls of a plugin by name. The zero value is ready. It is safe for concurrent use.
type calls struct {
	mu     sync.Mutex
	byName map[string]*callTimes
}

type callTimes struct {
	counts [len(callBounds) + 1]uint64
	sum    time.Duration
	errors uint64
}

// CallFigures are the times that one call of a plugin took, over all its processes.
type CallFigures struct {
	Call    string // authenticate, append, read_history, health, …
	Seconds broker.Histogram
	Errors  uint64 // of these calls: without an answer that could be used. A refusal is an answer
}

// note counts a call that took d.
func (c *calls) note(name string, d time.Duration, err error) {
	bucket := 0
	for bucket < len(callBounds) && d.Seconds() > callBounds[bucket] {
		bucket++
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.byName[name]
	if t == nil {
		if c.byName == nil {
			c.byName = map[string]*callTimes{}
		}
		t = &callTimes{}
		c.byName[name] = t
	}
	t.counts[bucket]++
	t.sum += d
	if err != nil {
		t.errors++
	}
}

// intercept is a grpc.UnaryClientInterceptor that counts what passes.
func (c *calls) intercept(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	began := time.Now()
	err := invoke(ctx, method, req, reply, conn, opts...)
	c.note(callName(method), time.Since(began), err)
	return err
}

// callName is the label of a gRPC method: /carillon.plugin.store.v1.StoreService/ReadHistory is read_history.
func callName(method string) string {
	var b strings.Builder
	for i, r := range method[strings.LastIndexByte(method, '/')+1:] {
		if unicode.IsUpper(r) && i > 0 {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// figures is what was counted so far.
func (c *calls) figures() []CallFigures {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []CallFigures
	for name, t := range c.byName {
		f := CallFigures{Call: name, Errors: t.errors, Seconds: broker.Histogram{Sum: t.sum.Seconds(), Buckets: map[float64]uint64{}}}
		for i, n := range t.counts {
			f.Seconds.Count += n
			if i < len(callBounds) {
				f.Seconds.Buckets[callBounds[i]] = f.Seconds.Count
			}
		}
		all = append(all, f)
	}
	return all
}
