package storebolt

import (
	"errors"
	"fmt"
	"slices"

	bolt "go.etcd.io/bbolt"
)

// How much of the log one commit may put in order beside its own work, so that nobody waits long for it.
const (
	freezesAtOnce  = 2
	dropsAtOnce    = 8
	compactsAtOnce = 1
	forgetsAtOnce  = 256
)

// upkeep is what a commit does to old segments, for the index to take over when it is durable.
type upkeep struct {
	frozen  []*segment
	removed []*segment // dropped, or replaced
	merged  []*segment // what replaces some of them
	forgot  []topicID
	floor   uint64 // records up to here whose topic nobody knows are gone
}

func (u *upkeep) isEmpty() bool { return len(u.frozen)+len(u.removed)+len(u.forgot) == 0 }

// errStuck is a segment with a record that is damaged and in a history. It stays as it is, so that the damage is told.
var errStuck = errors.New("a damaged record is in the way")

// maintain freezes segments that are full, drops those of which nothing is needed anymore, and merges those of which little is.
func (c *commit) maintain() error {
	x := c.store.index
	if c.rules != nil || c.store.backups.Load() > 0 {
		return nil // the rules decide anew what is in a history; a backup wants to find what it has not copied yet
	}
	if c.how == whole {
		if err := c.freezeSome(x); err != nil {
			return fmt.Errorf("freeze a segment: %w", err)
		}
	}
	if x.feed >= len(x.segments) {
		return nil
	}
	window := x.segments[x.feed].first
	drops, compacts := dropsAtOnce, compactsAtOnce
	if c.how == tight {
		drops = c.only(1)
	}
	for _, s := range x.victims {
		var err error
		switch {
		case s.first >= window || s.stuck && s.live > 0 || slices.Contains(c.upkeep.removed, s) || slices.Contains(c.upkeep.frozen, s):
		case s.live == 0 && drops > 0:
			drops--
			err = c.drop(s)
		case s.live > 0 && compacts > 0 && c.how == whole:
			compacts--
			err = c.compact(x, s)
		}
		if err != nil {
			return fmt.Errorf("segment of offset %d: %w", s.first, err)
		}
	}
	return c.noteGone(x)
}

// hasWork reports whether maintain would do something.
func (x *index) hasWork() bool {
	if x.toFreeze() >= 0 {
		return true
	}
	if x.feed >= len(x.segments) {
		return false
	}
	window := x.segments[x.feed].first
	return slices.ContainsFunc(x.victims, func(s *segment) bool { return s.first < window && (s.live == 0 || !s.stuck) })
}

// freezeSome freezes the oldest segments that are not frozen and not among the newest: of those much may soon be dropped.
func (c *commit) freezeSome(x *index) error {
	for at := x.toFreeze(); at >= 0 && at < len(x.segments)-x.hot && len(c.upkeep.frozen) < freezesAtOnce; at++ {
		s := x.segments[at]
		if !s.freezable() {
			continue
		}
		key := key64(s.first)
		b := c.log.log.Bucket(key)
		if b == nil {
			return fmt.Errorf("%w: the segment of offset %d is gone", ErrDamaged, s.first)
		}
		f := newFreezer(s.first)
		if err := c.freeze(x, s, b, f); err != nil {
			s.stuck = true // a damaged record: it stays readable as it is
			continue
		}
		if err := c.put(key, f.value()); err != nil {
			return err
		}
		c.upkeep.frozen = append(c.upkeep.frozen, s)
	}
	return nil
}

// freeze adds every record of s to f.
func (c *commit) freeze(x *index, s *segment, b *bolt.Bucket, f *freezer) error {
	cursor := b.Cursor()
	i := 0
	for k, v := cursor.First(); k != nil; k, v = cursor.Next() {
		if i >= len(s.entries) {
			return errMalformed
		}
		if _, err := checkRecord(v); err != nil {
			return err
		}
		if err := f.add(v, x.inHistory(s, i, false)); err != nil {
			return err
		}
		i++
	}
	return nil
}

// put makes v the whole content of the segment key.
func (c *commit) put(key, v []byte) error {
	if err := c.log.log.DeleteBucket(key); err != nil {
		return err
	}
	b, err := c.log.log.CreateBucket(key)
	if err != nil {
		return err
	}
	return b.Put(keyFrozen, v)
}

func (c *commit) drop(s *segment) error {
	c.upkeep.removed = append(c.upkeep.removed, s)
	return c.log.log.DeleteBucket(key64(s.first))
}

// compact rewrites what is still in a history of s, together with the segment before it if both fit one.
func (c *commit) compact(x *index, s *segment) error {
	old := []*segment{s}
	if at := x.segmentAt(s.first); at > 0 {
		before := x.segments[at-1]
		if c.mergeable(before, s) {
			old = []*segment{before, s}
		}
	}
	f, merged := newFreezer(old[0].first), &segment{first: old[0].first, frozen: true}
	for _, o := range old {
		err := c.survivors(x, o, f, merged)
		if errors.Is(err, errStuck) {
			o.stuck = true
			return nil
		}
		if err != nil {
			return err
		}
	}
	for _, o := range old[1:] {
		if err := c.log.log.DeleteBucket(key64(o.first)); err != nil {
			return err
		}
	}
	if err := c.put(key64(merged.first), f.value()); err != nil {
		return err
	}
	merged.live, merged.next = merged.records, s.next
	c.upkeep.removed = append(c.upkeep.removed, old...)
	c.upkeep.merged = append(c.upkeep.merged, merged)
	return nil
}

func (c *commit) mergeable(before, s *segment) bool {
	limit := c.store.cfg.segmentRecords
	return before.frozen && !before.stuck && before.live > 0 && before.live <= limit/2 && before.live+s.live <= limit &&
		before.bytes+s.bytes <= 2*segmentBytes && s.newest-before.base <= segmentSpan && !slices.Contains(c.upkeep.removed, before) &&
		!slices.Contains(c.upkeep.frozen, before)
}

// survivors adds the records of s that are in a history to f and to merged.
func (c *commit) survivors(x *index, s *segment, f *freezer, merged *segment) error {
	b := c.log.log.Bucket(key64(s.first))
	if b == nil {
		return fmt.Errorf("%w: it is gone", ErrDamaged)
	}
	add := func(i int, v []byte) error {
		if !x.inHistory(s, i, true) {
			return nil
		}
		if id, err := checkRecord(v); err != nil || id.offset != s.offset(i) {
			return errStuck
		}
		if err := f.add(v, true); err != nil {
			return err
		}
		merged.add(s.offset(i), len(v), s.stamp(i))
		e := &merged.entries[len(merged.entries)-1]
		e.topic, e.next = s.entries[i].topic, s.entries[i].next
		return nil
	}
	frozen := b.Get(keyFrozen)
	if frozen == nil {
		i := 0
		cursor := b.Cursor()
		for k, v := cursor.First(); k != nil && i < len(s.entries); k, v = cursor.Next() {
			if err := add(i, v); err != nil {
				return err
			}
			i++
		}
		return nil
	}
	data := frozenData(frozen)
	for i := range s.entries {
		from, to := s.extent(i)
		if to < from || int(to) > len(data) {
			return errMalformed
		}
		if err := add(i, data[from:to]); err != nil {
			return err
		}
	}
	return nil
}

// noteGone writes down how far the topics had come whose newest record the log does not hold from now on: nothing that comes
// after tells of it.
func (c *commit) noteGone(x *index) error {
	for _, s := range c.upkeep.removed {
		for i := range s.entries {
			id, offset := s.entries[i].topic, s.offset(i)
			switch {
			case id == damagedTopic:
				c.upkeep.floor = max(c.upkeep.floor, offset)
				c.state.floor = max(c.state.floor, c.upkeep.floor)
			case id != 0 && x.topics[id].last == offset && !x.inHistory(s, i, true):
				if err := c.gone.Put([]byte(x.topics[id].name), sealNumbers(offset)); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// inHistory reports whether entry i of s is in its topic's history; with now false, whether it could be by other rules.
func (x *index) inHistory(s *segment, i int, now bool) bool {
	id := s.entries[i].topic
	if id == 0 || id == damagedTopic {
		return false
	}
	t := &x.topics[id]
	if !now {
		return s.offset(i) > t.before
	}
	return t.first != 0 && s.offset(i) >= t.first
}

func (s *segment) freezable() bool { return !s.frozen && !s.stuck && !s.victim }

// toFreeze returns the place of the oldest segment that is to be frozen, -1 if there is none.
func (x *index) toFreeze() int {
	first := -1
	for i := len(x.segments) - 1 - x.hot; i >= 0 && !x.segments[i].frozen; i-- {
		if x.segments[i].freezable() {
			first = i
		}
	}
	return first
}

// applyMaintenance takes over what was done to old segments.
func (x *index) applyMaintenance(u *upkeep) {
	for _, s := range u.frozen {
		s.frozen = true
		if !slices.ContainsFunc(s.entries, func(e entry) bool { return e.topic != 0 }) {
			s.entries, s.offsets = nil, nil
		}
	}
	for _, s := range u.removed {
		x.remove(s)
	}
	for _, m := range u.merged {
		at := x.segmentAt(m.first) + 1
		x.segments = slices.Insert(x.segments, at, m)
		if at <= x.feed {
			x.feed++
		}
		x.records += uint64(m.records)
		x.bytes += uint64(m.bytes)
	}
	for _, id := range u.forgot {
		x.forget(id)
	}
	x.floor = max(x.floor, u.floor)
	x.victims = slices.DeleteFunc(x.victims, func(s *segment) bool { return slices.Contains(u.removed, s) })
}

// remove takes a segment out. What of it is in a history is in a merged one.
func (x *index) remove(s *segment) {
	for i := range s.entries {
		id := s.entries[i].topic
		if id == 0 || id == damagedTopic || x.inHistory(s, i, true) {
			continue
		}
		t := &x.topics[id]
		t.before = max(t.before, s.offset(i))
		if t.held--; t.held == 0 {
			x.emptied++
		}
	}
	at := x.segmentAt(s.first)
	x.segments = slices.Delete(x.segments, at, at+1)
	if at < x.feed {
		x.feed--
	}
	x.dense = max(x.dense, s.next)
	x.records -= uint64(s.records)
	x.bytes -= uint64(s.bytes)
}
