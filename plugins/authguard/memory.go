package authguard

import (
	"container/list"
	"sync"
	"time"

	"github.com/carillon-mq/carillon/broker"
)

// memory is the last good answer to each of the credentials that were shown lately, bounded in number and bytes. Those go first whose
// answer is the oldest.
type memory struct {
	ttl   time.Duration
	most  int
	bytes int64

	mu     sync.Mutex
	byKey  map[key]*list.Element
	byTok  map[key]map[key]struct{} // keys of what was let in by a token, from wherever
	oldest *list.List               // of *known, by the time of the answer
	taken  int64
}

// known is one answer.
type known struct {
	key, token key
	id         *broker.Identity
	at         time.Time
	bytes      int64
}

func newMemory(o *Options) *memory {
	return &memory{
		ttl: o.LastKnownGood, most: o.Remembered, bytes: o.Bytes,
		byKey: map[key]*list.Element{}, byTok: map[key]map[key]struct{}{}, oldest: list.New(),
	}
}

func (m *memory) size() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.byKey)
}

// find is the answer to k that may be given again now; nil: there is none.
func (m *memory) find(k key, now time.Time) *broker.Identity {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.byKey[k]
	if e == nil {
		return nil
	}
	a := e.Value.(*known)
	if now.Sub(a.at) >= m.ttl || !a.id.Expires.IsZero() && !now.Before(a.id.Expires) {
		m.dropLocked(e)
		return nil
	}
	return a.id
}

// put remembers id as the answer to k, by the token of that key, the zero key for none.
func (m *memory) put(k, token key, id *broker.Identity, now time.Time) {
	a := &known{key: k, token: token, id: id, at: now, bytes: footprint(id)}
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.byKey[k]; e != nil {
		m.dropLocked(e)
	}
	m.byKey[k] = m.oldest.PushBack(a)
	m.taken += a.bytes
	if token != (key{}) {
		if m.byTok[token] == nil {
			m.byTok[token] = map[key]struct{}{}
		}
		m.byTok[token][k] = struct{}{}
	}
	for len(m.byKey) > m.most || m.taken > m.bytes {
		m.dropLocked(m.oldest.Front())
	}
}

// forget drops what is known of k and of everything by its token.
func (m *memory) forget(k, token key) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.byKey[k]; e != nil {
		m.dropLocked(e)
	}
	for other := range m.byTok[token] {
		m.dropLocked(m.byKey[other])
	}
}

// clear drops everything.
func (m *memory) clear() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for m.oldest.Len() > 0 {
		m.dropLocked(m.oldest.Front())
	}
}

func (m *memory) dropLocked(e *list.Element) {
	a := m.oldest.Remove(e).(*known)
	delete(m.byKey, a.key)
	m.taken -= a.bytes
	if keys := m.byTok[a.token]; keys != nil {
		if delete(keys, a.key); len(keys) == 0 {
			delete(m.byTok, a.token)
		}
	}
}

// footprint is about what an answer takes of memory.
func footprint(id *broker.Identity) int64 {
	n := 1024 + len(id.User) + len(id.TokenID)
	for _, g := range id.Grants {
		n += 32 + len(g.Filter)
	}
	for k, v := range id.Attributes {
		n += 64 + len(k) + len(v)
	}
	return int64(n)
}
