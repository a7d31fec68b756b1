package storebolt

import (
	"slices"
	"strings"
	"sync"

	"github.com/carillon-mq/carillon/protocol"
)

const (
	maxAssigned   = 1 << 20 // newest topics that a matcher can be brought up to date with
	maxMatchers   = 64
	matchesAtOnce = 8192 // topics looked at under one lock
)

// matchers are the sets of topics of the filters that were asked for lately.
type matchers struct {
	mu  sync.Mutex
	all []*matcher // least recently used first
}

// matcher is the set of topics that filters match. Lock order: matcher.mu, then index.mu.
type matcher struct {
	key     string
	filters []string

	mu   sync.RWMutex
	bits []uint64 // by topicID
	pos  uint64   // how much of index.assigned is in it
	made bool
}

// matcherOf returns the set for filters, brought up to date.
func (x *index) matcherOf(filters []string) *matcher {
	key := strings.Join(filters, " ")
	x.matchers.mu.Lock()
	all := x.matchers.all
	at := slices.IndexFunc(all, func(m *matcher) bool { return m.key == key })
	var m *matcher
	if at >= 0 {
		m = all[at]
		all = slices.Delete(all, at, at+1)
	} else {
		m = &matcher{key: key, filters: slices.Clone(filters)}
		if len(all) == maxMatchers {
			all = slices.Delete(all, 0, 1)
		}
	}
	x.matchers.all = append(all, m)
	x.matchers.mu.Unlock()
	m.update(x)
	return m
}

// update looks at the topics that m does not know.
func (m *matcher) update(x *index) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for {
		x.mu.RLock()
		behind := !m.made || m.pos < x.assignedBase
		if !behind {
			left := x.assigned[m.pos-x.assignedBase:]
			some := left[:min(len(left), matchesAtOnce)]
			for _, id := range some {
				m.look(x, id)
			}
			m.pos += uint64(len(some))
			x.mu.RUnlock()
			if len(some) == len(left) {
				return
			}
			continue
		}
		m.pos = x.assignedBase + uint64(len(x.assigned)) // what is given meanwhile is looked at afterwards
		x.mu.RUnlock()
		m.build(x)
	}
}

// build looks at all topics.
func (m *matcher) build(x *index) {
	m.bits = nil
	for from, more := 1, true; more; from += matchesAtOnce {
		x.mu.RLock()
		to := min(from+matchesAtOnce, len(x.topics))
		for id := from; id < to; id++ {
			m.look(x, topicID(id))
		}
		more = to < len(x.topics)
		x.mu.RUnlock()
	}
	m.made = true
}

func (m *matcher) look(x *index, id topicID) {
	word := int(id / 64)
	for len(m.bits) <= word {
		m.bits = append(m.bits, make([]uint64, max(64, len(m.bits)))...)
	}
	m.bits[word] &^= 1 << (id % 64)
	if name := x.topics[id].name; name != "" && matchesAny(m.filters, name) {
		m.bits[word] |= 1 << (id % 64)
	}
}

func (m *matcher) has(id topicID) bool {
	word := int(id / 64)
	return word < len(m.bits) && m.bits[word]&(1<<(id%64)) != 0
}

func matchesAny(filters []string, name string) bool {
	for _, f := range filters {
		if protocol.Match(f, name) {
			return true
		}
	}
	return false
}
