package authguard

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"maps"
	"slices"
	"sync"

	"github.com/carillon-mq/carillon/broker"
)

// key stands for credentials: everything the plugin is told of a client. The credentials themselves are not kept, and without the
// secret of this run nobody can try what a key stands for.
type key [sha256.Size]byte

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
func (f *flights) keyOf(c *broker.Credentials) (k key) {
	h := f.hash("client")
	for _, part := range []string{c.Token, c.Transport, c.Remote} {
		writePart(h, part)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Header)) {
		if slices.Contains(noise, name) {
			continue
		}
		writePart(h, name)
		writeCount(h, len(c.Header[name]))
		for _, value := range c.Header[name] {
			writePart(h, value)
		}
	}
	h.Sum(k[:0])
	return k
}

// tokenOf is the key of c's token alone; the zero key without one.
func (f *flights) tokenOf(c *broker.Credentials) (k key) {
	if c.Token != "" {
		h := f.hash("token")
		writePart(h, c.Token)
		h.Sum(k[:0])
	}
	return k
}

func (f *flights) hash(purpose string) hash.Hash {
	f.once.Do(func() { rand.Read(f.secret[:]) })
	h := hmac.New(sha256.New, f.secret[:])
	writePart(h, purpose)
	return h
}

// writePart writes s so that no two lists of parts are the same bytes.
func writePart(h hash.Hash, s string) {
	writeCount(h, len(s))
	h.Write([]byte(s))
}

func writeCount(h hash.Hash, n int) {
	h.Write(binary.BigEndian.AppendUint64(nil, uint64(n)))
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
