package ring

import (
	"hash/maphash"
	"math/bits"
	"unsafe"
)

// topics finds the entries of a chunk by their topic: a hash table of the topics' first and last entries, and of each entry the next one
// of its topic. The appender fills it; it may be read once the chunk is complete.
type topics struct {
	slots []ofTopic // a power of two, at most half of them in use
	next  []uint16  // of each entry, 1 + the next one of its topic; 0: there is none
	first marks     // the entries that are the first of their topic
}

// ofTopic is a topic in the table: 1 + its first entry and 1 + its last; of zeros it is free.
type ofTopic struct{ first, last uint16 }

var topicSeed = maphash.MakeSeed()

func hashTopic(topic string) uint64 { return maphash.String(topicSeed, topic) }

func newTopics(entries int) topics {
	return topics{slots: make([]ofTopic, 1<<bits.Len(uint(2*entries-1))), next: make([]uint16, entries)}
}

// size is how many bytes it takes.
func (t *topics) size() int64 {
	return int64(len(t.slots))*int64(unsafe.Sizeof(ofTopic{})) + int64(len(t.next))*2
}

// slot is the place of topic among entries, or the free one that it would have.
func (t *topics) slot(hash uint64, topic string, entries []Entry) *ofTopic {
	mask := uint64(len(t.slots) - 1)
	for at := hash & mask; ; at = (at + 1) & mask {
		s := &t.slots[at]
		if s.first == 0 || entries[s.first-1].Topic == topic {
			return s
		}
	}
}

// add notes the newest of entries, and reports whether it is the first one of its topic.
func (t *topics) add(newest int, entries []Entry) bool {
	topic := entries[newest].Topic
	s, place := t.slot(hashTopic(topic), topic, entries), uint16(newest+1)
	before := s.last
	s.last = place
	if before == 0 {
		s.first = place
		t.first[newest/64] |= 1 << (newest % 64)
		return true
	}
	t.next[before-1] = place
	return false
}

// marks is a set of entries of a chunk.
type marks [chunkEntries / 64]uint64

// all are the entries' indexes in their order.
func (s *marks) all(yield func(i int) bool) {
	for word, in := range s {
		for ; in != 0; in &= in - 1 {
			if !yield(word*64 + bits.TrailingZeros64(in)) {
				return
			}
		}
	}
}

func (s *marks) has(i int) bool { return s[i/64]&(1<<(i%64)) != 0 }

// in finds the entries of complete chunk c, from index from on, that m wants.
func (m *Matcher) in(c *chunk, from uint32) (set marks) {
	if !m.mayWant(c) {
		return set
	}
	if m.literal() {
		for i := range m.Wanted {
			w := &m.Wanted[i]
			c.mark(c.topics.slot(w.hash, w.filter, c.entries).first, from, w.since, &set)
		}
		return set
	}
	for i := range c.topics.first.all {
		if since := m.since(c.entries[i].Topic); since != Never {
			c.mark(uint16(i+1), from, since, &set)
		}
	}
	return set
}

// mark puts the entries of one topic into set, whose first one is at place first, from index from and seq since on.
func (c *chunk) mark(first uint16, from uint32, since uint64, set *marks) {
	for place := first; place != 0; place = c.topics.next[place-1] {
		if i := uint32(place - 1); i >= from && c.first+uint64(i) >= since {
			set[i/64] |= 1 << (i % 64)
		}
	}
}

// mayWant reports whether a complete chunk may have an entry that is wanted (log.md A6).
func (m *Matcher) mayWant(c *chunk) bool {
	for i := range m.Wanted {
		if c.sketch.Has(m.Wanted[i].prefix) {
			return true
		}
	}
	return false
}

func (m *Matcher) literal() bool {
	for i := range m.Wanted {
		if !m.Wanted[i].literal {
			return false
		}
	}
	return true
}
