package storebolt

import (
	"math/bits"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/protocol"
)

// scanAtOnce is how many entries are looked at under one lock, and for one page.
const scanAtOnce = 1 << 18

// selection is the topics that a query asks for.
type selection struct {
	filters []string
	literal string   // the only topic
	set     *matcher // the topics, if there may be more
}

func (x *index) selection(filters []string) *selection {
	if len(filters) == 1 && protocol.IsLiteral(filters[0]) {
		return &selection{filters: filters, literal: filters[0]}
	}
	return &selection{filters: filters, set: x.matcherOf(filters)}
}

// lock takes what has to be held while sel is used with x, and returns what gives it back.
func (sel *selection) lock(x *index) (unlock func()) {
	if sel.set == nil {
		x.mu.RLock()
		return x.mu.RUnlock
	}
	sel.set.mu.RLock()
	x.mu.RLock()
	return func() { x.mu.RUnlock(); sel.set.mu.RUnlock() }
}

// collected is a page of the history before its records are read, all of one moment.
type collected struct {
	found   []located
	through uint64
	done    bool
	trimmed uint64
	floor   uint64
	head    uint64
}

// located is where a record was when it was collected.
type located struct {
	offset   uint64
	first    uint64 // its segment
	from, to uint32 // in the frozen value's records
	damaged  bool
}

// collect finds the records of a page.
func (x *index) collect(sel *selection, q *broker.HistoryQuery) *collected {
	defer sel.lock(x)()
	c := &collected{through: max(q.After, q.Through), floor: x.floor, head: x.head, trimmed: x.trimmedThrough(sel)}
	end := uint64(0)
	if sel.set == nil {
		end = x.collectTopic(c, x.ids[sel.literal], q)
	} else {
		end = x.collectSet(c, sel.set, q)
	}
	if c.done = end == 0; !c.done {
		c.through = end
	}
	return c
}

// take adds entry i of s to the page.
func (c *collected) take(s *segment, i int, size *int) {
	from, to := s.extent(i)
	c.found = append(c.found, located{offset: s.offset(i), first: s.first, from: from, to: to, damaged: s.entries[i].topic == damagedTopic})
	*size += int(to - from)
}

// collectTopic finds the records of one topic. It returns how far it has come if the page is full, else 0.
func (x *index) collectTopic(c *collected, id topicID, q *broker.HistoryQuery) (end uint64) {
	size := 0
	for offset := x.firstOf(id, q.After+1); offset != 0 && offset <= q.Through; {
		s, i := x.entryAt(offset)
		if len(c.found) == q.Limit || len(c.found) > 0 && size+int(s.size(i)) > pageBytes {
			return offset - 1
		}
		c.take(s, i, &size)
		offset = x.after(s, i)
	}
	return 0
}

// firstOf returns a topic's first record in the history at or above offset, 0 if there is none: along the topic's chain if
// it has few records, else along the log, in which they are close to each other.
func (x *index) firstOf(id topicID, offset uint64) uint64 {
	t := &x.topics[id]
	switch {
	case id == 0 || t.first == 0 || offset > t.last:
		return 0
	case offset <= t.first:
		return t.first
	}
	span := t.last - t.first + 1
	if float64(t.count)*float64(offset-t.first)/float64(span) > float64(span)/float64(t.count) {
		return x.scanFor(id, offset)
	}
	at := t.first
	for at != 0 && at < offset {
		s, i := x.entryAt(at)
		at = x.after(s, i)
	}
	return at
}

// collectSet finds the records of all topics in m. It returns how far it has come if the page is full or it has looked at much,
// else 0.
func (x *index) collectSet(c *collected, m *matcher, q *broker.HistoryQuery) (end uint64) {
	size, looked := 0, 0
	for at := max(x.segmentAt(q.After+1), 0); at < len(x.segments); at++ {
		s := x.segments[at]
		if s.live == 0 && !s.damaged || s.next <= q.After {
			continue
		}
		i, _ := s.at(q.After + 1)
		for ; i < len(s.entries); i++ {
			offset := s.offset(i)
			if offset > q.Through {
				return 0
			}
			if looked++; looked > scanAtOnce {
				return offset - 1
			}
			if !x.selects(m, s, i) {
				continue
			}
			if len(c.found) == q.Limit || len(c.found) > 0 && size+int(s.size(i)) > pageBytes {
				return offset - 1
			}
			c.take(s, i, &size)
		}
	}
	return 0
}

// selects reports whether entry i of s is in a history that m asks for (nil: in any), or damaged, so that nobody knows.
func (x *index) selects(m *matcher, s *segment, i int) bool {
	id := s.entries[i].topic
	if id == 0 {
		return false
	}
	if id == damagedTopic {
		return true
	}
	t := &x.topics[id]
	return t.first != 0 && s.offset(i) >= t.first && (m == nil || m.has(id))
}

// trimmedThrough is the highest offset of any record of a selected topic that is not in its history.
func (x *index) trimmedThrough(sel *selection) uint64 {
	high := uint64(0)
	for _, f := range sel.filters {
		high = max(high, x.rules.sinceAny(f))
	}
	if sel.set == nil {
		if id, known := x.ids[sel.literal]; known {
			high = max(high, x.topics[id].trimmed)
		}
		return high
	}
	for w, word := range sel.set.bits {
		for ; word != 0; word &= word - 1 {
			if id := w*64 + bits.TrailingZeros64(word); id < len(x.topics) {
				high = max(high, x.topics[id].trimmed)
			}
		}
	}
	return high
}

// beginOf returns the offset after which the newest q.Last of the records that q asks for are.
func (x *index) beginOf(sel *selection, q *broker.HistoryQuery) uint64 {
	if sel.set == nil {
		unlock := sel.lock(x)
		begin, known := x.beginOfTopic(x.ids[sel.literal], q)
		unlock()
		if known {
			return begin
		}
	}
	left := q.Last
	for through := q.Through; through > q.After; {
		unlock := sel.lock(x)
		only := x.ids[sel.literal]
		begin, found := x.scanBack(through, q.After, func(s *segment, i int) bool {
			if id := s.entries[i].topic; id == damagedTopic || sel.set == nil && id != only {
				return false
			}
			if x.selects(sel.set, s, i) {
				left--
			}
			return left == 0
		})
		unlock()
		if found {
			return begin - 1
		}
		through = begin
	}
	return q.After
}

// beginOfTopic is beginOf for one topic, if its chain is the shorter way than the log.
func (x *index) beginOfTopic(id topicID, q *broker.HistoryQuery) (after uint64, known bool) {
	t := &x.topics[id]
	if id == 0 || t.first == 0 {
		return q.After, true
	}
	span := t.last - t.first + 1
	if float64(q.Last)*float64(span)/float64(t.count) < float64(t.count) {
		return 0, false
	}
	var newest []uint64 // a ring, oldest at at
	at := 0
	for offset := x.firstOf(id, q.After+1); offset != 0 && offset <= q.Through; {
		if len(newest) < q.Last {
			newest = append(newest, offset)
		} else {
			newest[at] = offset
			at = (at + 1) % len(newest)
		}
		s, i := x.entryAt(offset)
		offset = x.after(s, i)
	}
	if len(newest) == 0 {
		return q.After, true
	}
	return max(q.After, newest[at]-1), true
}

// scanBack calls on for entries at or below through and above after, from the highest down, until it returns true or
// scanAtOnce have been looked at. It returns the offset it has come to.
func (x *index) scanBack(through, after uint64, on func(s *segment, i int) bool) (offset uint64, found bool) {
	looked := 0
	for at := x.segmentAt(through); at >= 0; at-- {
		s := x.segments[at]
		if s.next <= after {
			break
		}
		if s.live == 0 {
			continue
		}
		i, exact := s.at(through)
		if !exact {
			i--
		}
		for ; i >= 0; i-- {
			offset := s.offset(i)
			if offset <= after {
				return after, false
			}
			if on(s, i) {
				return offset, true
			}
			if looked++; looked == scanAtOnce {
				return offset - 1, false
			}
		}
	}
	return after, false
}
