package authguard

import (
	"context"
	"crypto/rand"
	"sync"

	"github.com/carillon-mq/carillon/broker"
)

// key stands for credentials: everything the plugin is told of a client.
type key = broker.Fingerprint

// flights has one question at a time asked for the same credentials.
type flights struct {
	once   sync.Once
	secret [32]byte

	mu  sync.Mutex
	now map[key]*flight
}

// flight is a question that is being asked. id and err may be read when done is closed.
type flight struct {
	done chan struct{}
	id   *broker.Identity
	err  error
}

// noise are headers that differ from request to request and that no plugin decides by.
var noise = []string{
	"Accept", "Accept-Encoding", "Accept-Language", "Cache-Control", "Cf-Ray", "Connection", "Content-Length", "Date", "Pragma",
	"Sec-Websocket-Extensions", "Sec-Websocket-Key", "Sec-Websocket-Version", "Traceparent", "Tracestate", "Upgrade", "X-Amzn-Trace-Id",
	"X-Correlation-Id", "X-Request-Id",
}

// keyOf is the key of c. A header that the list of noise does not have counts: who shows another cookie is somebody else.
func (f *flights) keyOf(c *broker.Credentials) key {
	f.once.Do(func() { rand.Read(f.secret[:]) })
	return c.Fingerprint(f.secret[:], noise...)
}

// tokenOf is the key of c's token alone; the zero key without one.
func (f *flights) tokenOf(c *broker.Credentials) key {
	if c.Token == "" {
		return key{}
	}
	return f.keyOf(&broker.Credentials{Token: c.Token})
}

// do asks, or waits for who is asking already, until ctx ends. The question is for everybody who waits for its answer: it has the
// deadline of who asked first, but does not end when that one goes away.
func (f *flights) do(ctx context.Context, k key, ask func(context.Context) (*broker.Identity, error)) (*broker.Identity, error) {
	f.mu.Lock()
	if other := f.now[k]; other != nil {
		f.mu.Unlock()
		select {
		case <-other.done:
			return other.id, other.err
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	own := &flight{done: make(chan struct{}), err: ErrHangs} // which a panic leaves there
	if f.now == nil {
		f.now = map[key]*flight{}
	}
	f.now[k] = own
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		delete(f.now, k)
		f.mu.Unlock()
		close(own.done)
	}()
	asked := context.WithoutCancel(ctx)
	if deadline, bounded := ctx.Deadline(); bounded {
		var cancel context.CancelFunc
		asked, cancel = context.WithDeadline(asked, deadline)
		defer cancel()
	}
	own.id, own.err = ask(asked)
	return own.id, own.err
}
