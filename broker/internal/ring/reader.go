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
	Origin string            // of the session: what excludes it is not wanted; "": it has none
	memo   map[string]uint64 // topic → lowest seq that is wanted, never for none
}

// Wanted is a filter of a Matcher and the seq from which its entries are wanted.
type Wanted struct {
	filter  string
	since   uint64
	prefix  sketch.Prefix
	literal bool
	hash    uint64 // of a literal one
}

// NewWanted wants the entries from since on that filter matches.
func NewWanted(filter string, since uint64) Wanted {
	w := Wanted{filter: filter, since: since, prefix: sketch.PrefixOf(filter), literal: protocol.IsLiteral(filter)}
	if w.literal {
		w.hash = hashTopic(filter)
	}
	return w
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

// wants reports whether e is wanted.
func (m *Matcher) wants(e *Entry) bool { return e.Seq >= m.since(e.Topic) && !e.Excludes(m.Origin) }

// Remembers is about how many bytes m holds of the topics it has seen.
func (m *Matcher) Remembers() (bytes int) {
	for topic := range m.memo {
		bytes += len(topic) + 48
	}
	return bytes
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
	now     int64  // by Ring.Now, once something was found that expires

	Chunk   uint64 // first seq of the last chunk read
	InChunk int64  // entries that matched in it, but for those that expire some time
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
		if following := at.complete(last); following != nil {
			looked += st.takeChunk(r, &at, following, m, maxBytes)
			continue
		}
		e := at.Next()
		if e == nil {
			break
		}
		st.enter(e.Chunk)
		if m.wants(e) {
			st.take(r, e)
		}
		st.Next, st.Mark = e.Seq+1, e.Watermark
	}
	return true
}

// complete moves a place from the end of a chunk to the next one. It returns what follows the place's chunk if that has all its entries,
// none of them behind last, and nil otherwise.
func (p *Place) complete(last uint64) *chunk {
	following := p.c.next.Load() // before n: once it is set, n is final
	if following != nil && p.i == p.c.n.Load() {
		*p = Place{following, 0}
		following = p.c.next.Load()
	}
	if following == nil || following.first > last {
		return nil
	}
	return following
}

// takeChunk gathers what m wants of the complete chunk at, or a part of it if that is enough, and moves at behind it. It returns how many
// entries it has looked at.
func (st *Stretch) takeChunk(r *Ring, at *Place, following *chunk, m *Matcher, maxBytes int) (looked int) {
	c := at.c
	st.enter(c.first)
	set := m.in(c, at.i)
	for i := range set.all {
		looked++
		e := &c.entries[i]
		if e.Excludes(m.Origin) {
			continue
		}
		st.take(r, e)
		if st.Bytes >= maxBytes {
			st.Next, st.Mark, at.i = e.Seq+1, e.Watermark, uint32(i+1)
			return looked
		}
	}
	st.Next, st.Mark = following.first, following.before
	*at = Place{following, 0}
	return looked
}

// enter begins to count what is in a chunk, if it is another one than before.
func (st *Stretch) enter(chunk uint64) {
	if chunk != st.Chunk {
		st.Chunk, st.InChunk, st.Stored = chunk, 0, 0
	}
}

// take gathers e, which is wanted, unless it has expired: then it is as if it had not been.
func (st *Stretch) take(r *Ring, e *Entry) {
	expires := e.Expires()
	switch {
	case expires != 0:
		if st.now == 0 {
			st.now = r.Now()
		}
		if expires <= st.now {
			return
		}
	case e.Seq >= st.Joined:
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

// NewestOfEach finds, of the entries from first to last that m wants and that have not expired, the newest of each topic, in the order of the log. It fails when
// first is no longer held.
func (r *Ring) NewestOfEach(m *Matcher, first, last uint64) (newest []*Entry, held bool) {
	at, held := r.Seek(first)
	if !held {
		return nil, false
	}
	latest := map[string]*Entry{}
	for next := first; next <= last; {
		if following := at.complete(last); following != nil {
			set := m.in(at.c, at.i)
			for i := range set.all {
				if e := &at.c.entries[i]; !e.Excludes(m.Origin) && !r.Expired(e) {
					latest[e.Topic] = e
				}
			}
			next, at = following.first, Place{following, 0}
			continue
		}
		e := at.Next()
		if e == nil {
			break
		}
		next = e.Seq + 1
		if m.wants(e) && !r.Expired(e) {
			latest[e.Topic] = e
		}
	}
	for _, e := range latest {
		newest = append(newest, e)
	}
	slices.SortFunc(newest, func(a, b *Entry) int { return cmp.Compare(a.Seq, b.Seq) })
	return newest, true
}
