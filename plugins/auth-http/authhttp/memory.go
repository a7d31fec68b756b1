package authhttp

import (
	"context"
	"crypto/rand"
	"maps"
	"sync"
	"time"

	"github.com/carillon-mq/carillon/broker"
)

// maxRemembered bounds the identities that are remembered.
const maxRemembered = 10_000

// memory remembers for a short time who shows what, and has only one question under way about the same. Refusals, and that there was no
// decision, are not remembered. It is safe for concurrent use.
type memory struct {
	ttl    time.Duration // never: nothing is remembered
	secret [32]byte
	ask    func(context.Context, broker.Credentials) (*broker.Identity, error)

	ctx    context.Context // ends with close; a question is for everybody who waits for it, and so outlives each
	cancel context.CancelFunc
	asks   sync.WaitGroup

	mu     sync.Mutex
	known  map[broker.Fingerprint]remembered
	asking map[broker.Fingerprint]*question
	swept  time.Time // when what had run out was looked for
	closed bool
}

type remembered struct {
	id    *broker.Identity
	until time.Time
}

// question is one that is under way. id and err are set before done is closed.
type question struct {
	done chan struct{}
	id   *broker.Identity
	err  error
}

func newMemory(ttl time.Duration, ask func(context.Context, broker.Credentials) (*broker.Identity, error)) *memory {
	m := &memory{ttl: ttl, ask: ask, known: map[broker.Fingerprint]remembered{}, asking: map[broker.Fingerprint]*question{}}
	_, _ = rand.Read(m.secret[:]) // never fails
	m.ctx, m.cancel = context.WithCancel(context.Background())
	return m
}

// identity is what the application said a moment ago, or what it says now.
func (m *memory) identity(ctx context.Context, c broker.Credentials) (*broker.Identity, error) {
	key := c.Fingerprint(m.secret[:])
	m.mu.Lock()
	if r, ok := m.known[key]; ok && time.Now().Before(r.until) {
		m.mu.Unlock()
		return r.id, nil
	}
	q := m.asking[key]
	if q == nil {
		if m.closed {
			m.mu.Unlock()
			return nil, errClosed
		}
		q = &question{done: make(chan struct{})}
		m.asking[key] = q
		m.asks.Go(func() { m.settle(key, q, c) })
	}
	m.mu.Unlock()
	select {
	case <-q.done:
		return q.id, q.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// settle asks, and tells everybody who waits.
func (m *memory) settle(key broker.Fingerprint, q *question, c broker.Credentials) {
	q.id, q.err = m.ask(m.ctx, c)
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.asking, key)
	if q.err == nil && m.ttl > 0 {
		m.rememberLocked(key, q.id)
	}
	close(q.done)
}

func (m *memory) rememberLocked(key broker.Fingerprint, id *broker.Identity) {
	now := time.Now()
	until := now.Add(m.ttl)
	if !id.Expires.IsZero() && id.Expires.Before(until) {
		until = id.Expires
	}
	if len(m.known) >= maxRemembered && now.Sub(m.swept) >= m.ttl { // not with each: there cannot be much to find again before
		m.swept = now
		maps.DeleteFunc(m.known, func(_ broker.Fingerprint, r remembered) bool { return !now.Before(r.until) })
	}
	for k := range m.known { // any, if none had run out
		if len(m.known) < maxRemembered {
			break
		}
		delete(m.known, k)
	}
	m.known[key] = remembered{id, until}
}

// close ends what is under way and returns when nothing is.
func (m *memory) close() {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	m.cancel()
	m.asks.Wait()
}
