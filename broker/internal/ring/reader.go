package ring

import (
	"cmp"
	"slices"

	"github.com/carillon-mq/carillon/broker/internal/sketch"
	"github.com/carillon-mq/carillon/protocol"
)

// ScanEntries is how many entries a reader looks at before it lets others have the goroutine's turn.
const ScanEntries = 4096

// Matcher says which entries a reader of the log wants: the filters of a session's live subscriptions, each from the seq
// from which it is live, or the one filter of a starting subscription. It is used by one goroutine at a time.
type Matcher struct {
	Epoch  uint64 // Session.subsEpoch it was made for
	Wanted []Wanted
	memo   map[string]uint64 // topic → lowest seq that is wanted, never for none
}

// Wanted is a filter of a Matcher and the seq from which its entries are wanted.
type Wanted struct {
	filter  string
	since   uint64
	prefix  sketch.Prefix
	literal bool
}

// NewWanted wants the entries from since on that filter matches.
func NewWanted(filter string, since uint64) Wanted {
	return Wanted{filter: filter, since: since, prefix: sketch.PrefixOf(filter), literal: protocol.IsLiteral(filter)}
}

func (w *Wanted) matches(topic string) bool {
	if w.literal {
		last := len(topic) - 1 // topics begin alike
		return len(w.filter) == len(topic) && w.filter[last] == topic[last] && w.filter == topic
	}
	return protocol.Match(w.filter, topic)
}

// Never is a seq that no entry has.
const Never = ^uint64(0)

const (
	memoTopics  = 1024 // bounds a matcher's memory of topics
	memoFilters = 4    // so many filters are matched faster than remembered
)

// since is the seq from which entries of topic are wanted, never if none is.
func (m *Matcher) since(topic string) uint64 {
	if len(m.Wanted) > memoFilters {
		if seq, known := m.memo[topic]; known {
			return seq
		}
	}
	seq := Never
	for i := range m.Wanted {
		w := &m.Wanted[i]
		if w.since < seq && w.matches(topic) {
			seq = w.since
		}
	}
	if len(m.Wanted) <= memoFilters {
		return seq
	}
	if m.memo == nil || len(m.memo) >= memoTopics {
		m.memo = make(map[string]uint64)
	}
	m.memo[topic] = seq
	return seq
}

// Remembers is about how many bytes m holds of the topics it has seen.
func (m *Matcher) Remembers() (bytes int) {
	for topic := range m.memo {
		bytes += len(topic) + 48
	}
	return bytes
}

// wantsAny reports whether a complete chunk may have an entry that is wanted.
func (m *Matcher) wantsAny(c *chunk) bool {
	if !slices.ContainsFunc(m.Wanted, func(w Wanted) bool { return c.sketch.Has(w.prefix) }) {
		return false
	}
	for _, t := range c.topics {
		if m.since(t) != Never {
			return true
		}
	}
	return false
}

// Stretch is what a reader gathered from a part of the log.
type Stretch struct {
	Packets []*Packet
	Bytes   int
	Next    uint64 // the entry to read next
	Mark    uint64 // watermark right before it
	Count   uint64 // of packets, messages
	Missed  int64  // fleeting messages that matched and are released, or from before joined
	Joined  uint64 // 0: no bound; what is before it is not counted in inChunk either

	Chunk   uint64 // first seq of the last chunk read
	InChunk int64  // entries that matched in it
	Stored  int64  // of these, what the store has too
}

// Read gathers what m wants from st.next up to the entry last, at most about maxBytes of it. It reports false, and gathers
// nothing, when st.next is no longer held: that is a gap, never a silent skip (log.md A5). It takes no lock while it reads and
// keeps no place in the ring afterwards.
func (r *Ring) Read(st *Stretch, m *Matcher, last uint64, maxBytes int) bool {
	at, ok := r.Seek(st.Next)
	if !ok {
		return false
	}
	for looked := 0; st.Next <= last && st.Bytes < maxBytes && looked < ScanEntries; looked++ {
		if r.skip(&at, st, m, last) {
			continue
		}
		e := at.Next()
		if e == nil {
			break
		}
		st.take(e, m)
	}
	return true
}

// skip passes a whole chunk in which no topic is wanted (log.md A6).
func (r *Ring) skip(at *Place, st *Stretch, m *Matcher, last uint64) bool {
	following := at.c.next.Load()
	if following != nil && at.i == at.c.n.Load() {
		*at = Place{following, 0}
		following = at.c.next.Load()
	}
	if at.i != 0 {
		return false
	}
	if following == nil || following.first > last || m.wantsAny(at.c) {
		return false
	}
	st.Chunk, st.InChunk, st.Stored = at.c.first, 0, 0
	st.Next, st.Mark = following.first, following.before
	*at = Place{following, 0}
	return true
}

func (st *Stretch) take(e *Entry, m *Matcher) {
	if e.Chunk != st.Chunk {
		st.Chunk, st.InChunk, st.Stored = e.Chunk, 0, 0
	}
	st.Next, st.Mark = e.Seq+1, e.Watermark
	if e.Seq < m.since(e.Topic) {
		return
	}
	if e.Seq >= st.Joined {
		st.InChunk++
		if e.Stored {
			st.Stored++
		}
	}
	p := e.body.Load()
	if p == nil || e.Fleeting && e.Seq < st.Joined {
		st.Missed++
		return
	}
	st.Packets = append(st.Packets, p)
	st.Bytes += len(p.data)
	st.Count++
}

// NewestOfEach finds, of the entries from first to last that m wants, the newest of each topic, in the order of the log. It fails when
// first is no longer held.
func (r *Ring) NewestOfEach(m *Matcher, first, last uint64) (newest []*Entry, held bool) {
	at, held := r.Seek(first)
	if !held {
		return nil, false
	}
	latest := map[string]*Entry{}
	st := Stretch{Next: first}
	for st.Next <= last {
		if r.skip(&at, &st, m, last) {
			continue
		}
		e := at.Next()
		if e == nil {
			break
		}
		st.Next = e.Seq + 1
		if e.Seq >= m.since(e.Topic) {
			latest[e.Topic] = e
		}
	}
	for _, e := range latest {
		newest = append(newest, e)
	}
	slices.SortFunc(newest, func(a, b *Entry) int { return cmp.Compare(a.Seq, b.Seq) })
	return newest, true
}
