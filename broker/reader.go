package broker

import (
	"slices"

	"github.com/carillon-mq/carillon/broker/internal/sketch"
	"github.com/carillon-mq/carillon/protocol"
)

// scanEntries is how many entries a reader looks at before it lets others have the goroutine's turn.
const scanEntries = 4096

// matcher says which entries a reader of the log wants: the filters of a session's live subscriptions, each from the seq
// from which it is live, or the one filter of a starting subscription. It is used by one goroutine at a time.
type matcher struct {
	epoch  uint64 // Session.subsEpoch it was made for
	wanted []wanted
	memo   map[string]uint64 // topic → lowest seq that is wanted, never for none
}

type wanted struct {
	filter  string
	since   uint64
	prefix  sketch.Prefix
	literal bool
}

func newWanted(filter string, since uint64) wanted {
	return wanted{filter: filter, since: since, prefix: sketch.PrefixOf(filter), literal: protocol.IsLiteral(filter)}
}

func (w *wanted) matches(topic string) bool {
	if w.literal {
		return w.filter == topic
	}
	return protocol.Match(w.filter, topic)
}

const never = ^uint64(0)

const (
	memoTopics  = 1024 // bounds a matcher's memory of topics
	memoFilters = 4    // so many filters are matched faster than remembered
)

// since is the seq from which entries of topic are wanted, never if none is.
func (m *matcher) since(topic string) uint64 {
	if len(m.wanted) > memoFilters {
		if seq, known := m.memo[topic]; known {
			return seq
		}
	}
	seq := never
	for i := range m.wanted {
		w := &m.wanted[i]
		if w.since < seq && w.matches(topic) {
			seq = w.since
		}
	}
	if len(m.wanted) <= memoFilters {
		return seq
	}
	if m.memo == nil || len(m.memo) >= memoTopics {
		m.memo = make(map[string]uint64)
	}
	m.memo[topic] = seq
	return seq
}

// wantsAny reports whether a complete chunk may have an entry that is wanted.
func (m *matcher) wantsAny(c *chunk) bool {
	if !slices.ContainsFunc(m.wanted, func(w wanted) bool { return c.sketch.Has(w.prefix) }) {
		return false
	}
	for _, t := range c.topics {
		if m.since(t) != never {
			return true
		}
	}
	return false
}

// stretch is what a reader gathered from a part of the log.
type stretch struct {
	packets []*Packet
	bytes   int
	next    uint64 // the entry to read next
	mark    uint64 // watermark right before it
	count   uint64 // of packets, messages
	missed  int64  // fleeting messages that matched and are released, or from before joined
	joined  uint64 // 0: no bound; what is before it is not counted in inChunk either

	chunk   uint64 // first seq of the last chunk read
	inChunk int64  // entries that matched in it
	stored  int64  // of these, what the store has too
}

// read gathers what m wants from st.next up to the entry last, at most about maxBytes of it. It reports false, and gathers
// nothing, when st.next is no longer held: that is a gap, never a silent skip (log.md A5). It takes no lock while it reads and
// keeps no place in the ring afterwards.
func (r *ring) read(st *stretch, m *matcher, last uint64, maxBytes int) bool {
	at, ok := r.seek(st.next)
	if !ok {
		return false
	}
	for looked := 0; st.next <= last && st.bytes < maxBytes && looked < scanEntries; looked++ {
		if r.skip(&at, st, m, last) {
			continue
		}
		e := at.next()
		if e == nil {
			break
		}
		st.take(e, m)
	}
	return true
}

// skip passes a whole chunk in which no topic is wanted (log.md A6).
func (r *ring) skip(at *place, st *stretch, m *matcher, last uint64) bool {
	following := at.c.next.Load()
	if following != nil && at.i == at.c.n.Load() {
		*at = place{following, 0}
		following = at.c.next.Load()
	}
	if at.i != 0 {
		return false
	}
	if following == nil || following.first > last || m.wantsAny(at.c) {
		return false
	}
	st.chunk, st.inChunk, st.stored = at.c.first, 0, 0
	st.next, st.mark = following.first, following.before
	*at = place{following, 0}
	return true
}

func (st *stretch) take(e *entry, m *matcher) {
	if e.chunk != st.chunk {
		st.chunk, st.inChunk, st.stored = e.chunk, 0, 0
	}
	st.next, st.mark = e.seq+1, e.watermark
	if e.seq < m.since(e.topic) {
		return
	}
	if e.seq >= st.joined {
		st.inChunk++
		if e.stored {
			st.stored++
		}
	}
	p := e.body.Load()
	if p == nil || e.fleeting && e.seq < st.joined {
		st.missed++
		return
	}
	st.packets = append(st.packets, p)
	st.bytes += len(p.data)
	st.count++
}
