package storebolt

import (
	"encoding/binary"
	"fmt"

	bolt "go.etcd.io/bbolt"
)

// loadIndex reads the log's index: of frozen segments only what stands in front of their records, of others every record.
// The last record has to be head.
func loadIndex(tx *bolt.Tx, st state, r *rules) (*index, error) {
	x := newIndex(r, st.floor)
	if err := x.loadGone(tx.Bucket(bucketGone)); err != nil {
		return nil, err
	}
	log := tx.Bucket(bucketLog)
	err := log.ForEach(func(k, v []byte) error {
		if v != nil {
			return fmt.Errorf("%w: an entry is no segment", ErrDamaged)
		}
		if len(k) != 8 {
			return fmt.Errorf("%w: a segment's key has %d bytes", ErrDamaged, len(k))
		}
		s := &segment{first: binary.BigEndian.Uint64(k)}
		if s.first <= x.head {
			return fmt.Errorf("%w: a segment begins at offset %d, after %d", ErrDamaged, s.first, x.head)
		}
		s.next = s.first
		x.segments = append(x.segments, s)
		b := log.Bucket(k)
		var err error
		if frozen := b.Get(keyFrozen); frozen != nil {
			err = x.loadFrozen(s, frozen)
		} else {
			err = x.loadHot(s, b)
		}
		if err != nil {
			return fmt.Errorf("segment of offset %d: %w", s.first, err)
		}
		x.records += uint64(s.records)
		x.bytes += uint64(s.bytes)
		x.head = s.next - 1
		return nil
	})
	if err == nil && x.head != st.head {
		err = fmt.Errorf("%w: it ends at offset %d and should at %d", ErrDamaged, x.head, st.head)
	}
	if err != nil {
		return nil, fmt.Errorf("log: %w", err)
	}
	for i := range x.topics {
		x.bound(&x.topics[i])
	}
	x.dense = x.head + 1
	for i := len(x.segments) - 1; i >= 0 && x.segments[i].dense() && x.segments[i].next == x.dense; i-- {
		x.dense = x.segments[i].first
	}
	return x, nil
}

// loadGone reads the topics whose newest record the log does not hold.
func (x *index) loadGone(gone *bolt.Bucket) error {
	if gone == nil { // a file of format 1
		return nil
	}
	return gone.ForEach(func(k, v []byte) error {
		var last uint64
		if err := unsealNumbers(v, &last); err != nil {
			return fmt.Errorf("topic %q that is gone: %w", k, err)
		}
		t := &x.topics[x.intern(string(k))]
		t.last = last
		t.before, t.trimmed = max(t.before, last), max(t.trimmed, last)
		return nil
	})
}

func (x *index) loadFrozen(s *segment, v []byte) error {
	t, err := thaw(v, s.first)
	if err != nil {
		return err
	}
	s.frozen = true
	s.entries = make([]entry, 0, t.total)
	ids := make([]topicID, len(t.topics))
	for r, ok := t.next(); ok; r, ok = t.next() {
		s.add(r.offset, len(r.value), r.stamp)
		if r.topic == 0 {
			continue
		}
		id := ids[r.topic-1]
		if id == 0 {
			name := t.topics[r.topic-1]
			known := false
			if id, known = x.ids[string(name)]; !known {
				id = x.intern(string(name))
			}
			ids[r.topic-1] = id
		}
		x.link(id, r.offset, r.prev)
	}
	if t.bad || t.left != 0 {
		return errMalformed
	}
	if len(ids) == 0 {
		s.entries, s.offsets = nil, nil
	}
	return nil
}

func (x *index) loadHot(s *segment, b *bolt.Bucket) error {
	c := b.Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		if len(k) != 8 || binary.BigEndian.Uint64(k) != s.next {
			return fmt.Errorf("%w: the record at offset %d is missing", ErrDamaged, s.next)
		}
		offset := s.next
		id, checkErr := checkRecord(v)
		p, err := peek(v)
		var name []byte
		if err == nil {
			name, err = p.topic()
		}
		if err != nil || checkErr != nil || id.offset != offset {
			s.add(offset, len(v), s.newest)
			x.link(damagedTopic, offset, 0)
			continue
		}
		s.add(offset, len(v), max(p.stamp, s.newest))
		if p.history {
			x.link(x.intern(string(name)), offset, p.prev)
		}
	}
	if end := b.Sequence(); s.records == 0 || end != 0 && end != s.next { // 0: it is the last, or has been copied, or is of format 1
		return fmt.Errorf("%w: the record at offset %d is missing", ErrDamaged, s.next)
	}
	return nil
}

// added is a record that a commit has added.
type added struct {
	place
	size  int
	topic string  // empty without history
	id    topicID // of the topic; 0: to be looked up
}

// apply takes over what c has committed.
func (x *index) apply(c *commit) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if c.rules != nil {
		x.setRules(c.rules)
		x.relink()
	}
	x.applyMaintenance(&c.upkeep)
	opened := c.log.opened
	for i := range c.added {
		a := &c.added[i]
		if len(opened) > 0 && opened[0] == a.offset {
			opened = opened[1:]
			x.segments = append(x.segments, &segment{first: a.offset, next: a.offset})
		}
		s := x.segments[len(x.segments)-1]
		charged := s.bytes
		s.add(a.offset, a.size, a.stamp)
		x.records++
		x.bytes += uint64(s.bytes - charged)
		if a.topic != "" {
			id := a.id
			if id == 0 {
				id = x.intern(a.topic)
			}
			x.link(id, a.offset, a.prev)
			x.bound(&x.topics[id])
		}
	}
	x.head, x.floor = c.state.head, c.state.floor
	x.slide(c.store.cfg.KeepRecords, c.store.cfg.KeepBytes)
}

// slide moves the beginning of Follow's window on: at least the newest keepRecords records, or keepBytes of them, stay in it.
// What falls out of it and is not much of any history becomes a victim.
func (x *index) slide(keepRecords int, keepBytes int64) {
	records, bytes := 0, int64(0)
	from := len(x.segments)
	for from > x.feed && (records < keepRecords && bytes < keepBytes || from == len(x.segments)) {
		from--
		records += x.segments[from].records
		bytes += x.segments[from].bytes
	}
	for ; x.feed < from; x.feed++ {
		s := x.segments[x.feed]
		if !s.victim && s.live*4 <= s.records {
			s.victim = true
			x.victims = append(x.victims, s)
		}
	}
}
