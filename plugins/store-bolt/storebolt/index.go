package storebolt

import (
	"slices"
	"sync"
)

// topicID names a topic in the index: its place in index.topics. 0 is none.
type topicID uint32

// damagedTopic is the topic of records that can't be read: nobody knows what it was.
const damagedTopic = ^topicID(0)

// topic is what the index knows of a topic that has a history, or had one.
type topic struct {
	name    string
	before  uint64 // its records up to here are no history: they are gone, or from before it began
	trimmed uint64 // its highest record that is not in the history, at least before
	first   uint64 // its oldest record in the history; 0: there is none
	last    uint64 // its newest record, in the history or not
	count   uint64 // of the history
	bytes   uint64
	held    uint32 // entries that name it, in the history or not
	rule    int32  // place of its rule in rules.List; -1: it has none
}

// index is the history in memory: which record of the log belongs to which topic, by columns of entries. A topic's history
// is a chain through them, from topic.first on. About 16 bytes a record and 150 a topic. Only the committer changes it.
type index struct {
	mu       sync.RWMutex
	segments []*segment
	topics   []topic // by topicID; [0] is nobody's
	ids      map[string]topicID
	free     []topicID
	rules    *rules
	ages     []ageCursor
	floor    uint64 // highest record of any topic that was forgotten
	head     uint64

	live      uint64 // records in the histories
	liveBytes uint64
	records   uint64 // held
	bytes     uint64 // these, as they are charged

	hot     int        // how many of the newest segments are not frozen, at least 1
	feed    int        // place of the first segment that Follow's window needs
	dense   uint64     // lowest offset from which on every record is held
	emptied int        // topics without an entry
	victims []*segment // those of which little is left in the history

	assigned     []topicID // ids in the order in which they were given, for the matchers
	assignedBase uint64    // how many were cut off in front
	matchers     matchers
}

// ageCursor is how far one rule's age has come: everything below next has been looked at.
type ageCursor struct {
	rule int32
	age  int64 // milliseconds
	next uint64
}

func newIndex(r *rules, floor uint64) *index {
	x := &index{topics: make([]topic, 1), ids: make(map[string]topicID), floor: floor, hot: 1}
	x.setRules(r)
	return x
}

func (x *index) setRules(r *rules) {
	x.rules, x.ages = r, nil
	for i, rule := range r.List {
		if rule.Age > 0 {
			x.ages = append(x.ages, ageCursor{rule: int32(i), age: rule.Age.Milliseconds()})
		}
	}
}

// intern returns the id of a topic, which is made if there is none.
func (x *index) intern(name string) topicID {
	if id, known := x.ids[name]; known {
		return id
	}
	var id topicID
	if n := len(x.free); n > 0 {
		id = x.free[n-1]
		x.free = x.free[:n-1]
	} else {
		id = topicID(len(x.topics))
		x.topics = append(x.topics, topic{})
	}
	since := x.rules.since(name)
	x.topics[id] = topic{name: name, before: since, trimmed: since, rule: x.rules.of(name)}
	x.ids[name] = id
	x.emptied++
	x.assigned = append(x.assigned, id)
	if len(x.assigned) > maxAssigned {
		x.assignedBase += uint64(len(x.assigned))
		x.assigned = nil
	}
	return id
}

// forget drops a topic that has no entry. What it had is below the floor from now on.
func (x *index) forget(id topicID) {
	t := &x.topics[id]
	x.floor = max(x.floor, t.last, t.trimmed)
	delete(x.ids, t.name)
	x.emptied--
	*t = topic{}
	x.free = append(x.free, id)
}

func (x *index) lastSegment() *segment {
	if n := len(x.segments); n > 0 {
		return x.segments[n-1]
	}
	return nil
}

// segmentAt returns the place of the segment that offset belongs to, -1 if it is below all of them.
func (x *index) segmentAt(offset uint64) int {
	n := len(x.segments)
	if n > 0 && x.segments[n-1].first <= offset {
		return n - 1
	}
	i, found := slices.BinarySearchFunc(x.segments, offset, func(s *segment, o uint64) int {
		switch {
		case s.first < o:
			return -1
		case s.first > o:
			return 1
		}
		return 0
	})
	if !found {
		i--
	}
	return i
}

// entryAt returns the entry of offset and its segment, nil if there is none.
func (x *index) entryAt(offset uint64) (*segment, int) {
	at := x.segmentAt(offset)
	if at < 0 {
		return nil, 0
	}
	i, found := x.segments[at].at(offset)
	if !found {
		return nil, 0
	}
	return x.segments[at], i
}

// link makes the record at offset, whose entry is there, the newest of its topic. prev is what it says of the one before.
func (x *index) link(id topicID, offset, prev uint64) {
	s, i := x.entryAt(offset)
	s.entries[i].topic = id
	if id == damagedTopic {
		s.damaged = true
		return
	}
	t := &x.topics[id]
	if t.held++; t.held == 1 {
		x.emptied--
	}
	if offset <= t.before {
		t.last = max(t.last, offset)
		return
	}
	if prev != t.last || prev <= t.before { // something between is gone: the history begins here
		x.clear(t)
		t.before = max(t.before, prev)
		t.trimmed = max(t.trimmed, t.before)
	}
	last := t.last
	t.last = offset
	if t.rule < 0 {
		t.before, t.trimmed = max(t.before, offset), max(t.trimmed, offset)
		return
	}
	if t.first == 0 {
		t.first = offset
	} else if before, j := x.entryAt(last); before != nil {
		before.entries[j].next = uint32(min(offset-last, uint64(farAway)))
	}
	size := uint64(s.size(i))
	t.count++
	t.bytes += size
	s.live++
	x.live++
	x.liveBytes += size
}

// clear takes everything out of t's history.
func (x *index) clear(t *topic) {
	for t.first != 0 {
		x.pop(t)
	}
}

// pop takes the oldest record out of t's history.
func (x *index) pop(t *topic) {
	s, i := x.entryAt(t.first)
	size := uint64(s.size(i))
	t.count--
	t.bytes -= size
	s.live--
	x.live--
	x.liveBytes -= size
	t.trimmed = t.first
	t.first = x.after(s, i)
	if !s.victim && s.live*4 <= s.records {
		s.victim = true
		x.victims = append(x.victims, s)
	}
}

// after returns the offset of the record that follows entry i of s in its topic, 0 if it is the last one.
func (x *index) after(s *segment, i int) uint64 {
	offset := s.offset(i)
	switch next := s.entries[i].next; next {
	case 0:
		return 0
	case farAway:
		return x.scanFor(s.entries[i].topic, offset+uint64(farAway))
	default:
		return offset + uint64(next)
	}
}

// scanFor returns the first record of a topic at or above offset, 0 if there is none.
func (x *index) scanFor(id topicID, offset uint64) uint64 {
	for at := max(x.segmentAt(offset), 0); at < len(x.segments); at++ {
		s := x.segments[at]
		if s.live == 0 {
			continue
		}
		for i, _ := s.at(offset); i < len(s.entries); i++ {
			if s.entries[i].topic == id {
				return s.offset(i)
			}
		}
	}
	return 0
}

// bound takes out of t's history what is beyond its rule's count and bytes.
func (x *index) bound(t *topic) {
	if t.first == 0 || t.rule < 0 {
		return
	}
	rule := &x.rules.List[t.rule]
	for t.first != 0 && (rule.Count > 0 && t.count > rule.Count || rule.Bytes > 0 && t.bytes > rule.Bytes) {
		x.pop(t)
	}
}

// expire takes out of the histories what has become too old by now, looking at most at budget entries. It reports whether
// it has come to the end.
func (x *index) expire(now int64, budget int) (done bool) {
	for i := range x.ages {
		c := &x.ages[i]
		for ; ; c.next++ {
			s, j := x.entryFrom(c.next)
			if s == nil || s.stamp(j) >= now-c.age {
				break
			}
			if budget--; budget < 0 {
				return false
			}
			c.next = s.offset(j)
			id := s.entries[j].topic
			if id == 0 || id == damagedTopic {
				continue
			}
			if t := &x.topics[id]; t.rule == c.rule && t.first == c.next {
				x.pop(t)
			}
		}
	}
	return true
}

// due reports whether expire would find something.
func (x *index) due(now int64) bool {
	for _, c := range x.ages {
		if s, j := x.entryFrom(c.next); s != nil && s.stamp(j) < now-c.age {
			return true
		}
	}
	return false
}

// entryFrom returns the first entry at or above offset, nil if there is none.
func (x *index) entryFrom(offset uint64) (*segment, int) {
	for at := max(x.segmentAt(offset), 0); at < len(x.segments); at++ {
		s := x.segments[at]
		if i, _ := s.at(offset); i < len(s.entries) {
			return s, i
		}
	}
	return nil, 0
}

// relink makes all histories anew, by the present rules, from what is held.
func (x *index) relink() {
	for i := range x.topics {
		t := &x.topics[i]
		if t.name == "" {
			continue
		}
		since := x.rules.since(t.name)
		t.before = max(t.before, since)
		t.trimmed, t.rule = max(t.before, since), x.rules.of(t.name)
		t.first, t.count, t.bytes, t.held = 0, 0, 0, 0
		if t.rule < 0 {
			t.before, t.trimmed = max(t.before, t.last), max(t.trimmed, t.last)
		}
	}
	x.live, x.liveBytes, x.victims, x.emptied = 0, 0, nil, 0
	for _, s := range x.segments {
		s.live, s.victim = 0, false
		for i := range s.entries {
			s.entries[i].next = 0
		}
	}
	lasts := make([]uint64, len(x.topics))
	for _, s := range x.segments {
		for i := range s.entries {
			x.relinkEntry(s, i, lasts)
		}
	}
	for i := range x.topics {
		t := &x.topics[i]
		x.bound(t)
		if t.name != "" && t.held == 0 {
			x.emptied++
		}
	}
	for _, s := range x.segments {
		if !s.victim && s.live*4 <= s.records {
			s.victim = true
			x.victims = append(x.victims, s)
		}
	}
}

// relinkEntry puts one entry back into its topic's chain. lasts are the topics' newest records so far.
func (x *index) relinkEntry(s *segment, i int, lasts []uint64) {
	id := s.entries[i].topic
	if id == 0 || id == damagedTopic {
		return
	}
	t, offset := &x.topics[id], s.offset(i)
	t.held++
	if t.rule < 0 || offset <= t.before {
		return
	}
	if t.first == 0 {
		t.first = offset
	} else if before, j := x.entryAt(lasts[id]); before != nil {
		before.entries[j].next = uint32(min(offset-lasts[id], uint64(farAway)))
	}
	lasts[id] = offset
	size := uint64(s.size(i))
	t.count++
	t.bytes += size
	s.live++
	x.live++
	x.liveBytes += size
}
