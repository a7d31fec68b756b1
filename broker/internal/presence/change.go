package presence

import (
	"slices"
	"time"

	"github.com/carillon-mq/carillon/protocol"
)

// Change is what has changed in a topic since the last one.
type Change struct {
	Topic string
	protocol.PresenceChange
}

// Tell calls tell, without a lock, with the changes that are due, and returns when it is to be called next; zero: when a Join or a Leave
// says so. wanted says whether anybody is there to be told of a topic; of others the changes are only taken note of. It is called by
// one goroutine at a time.
func (t *Table) Tell(now time.Time, wanted func(topic string) bool, tell func(Change)) (next time.Time) {
	for {
		t.mu.Lock()
		for m := t.lost.first; m != nil && !m.until.After(now); m = t.lost.first {
			t.giveUpLocked(m, now)
		}
		tp := t.soon.pop(now)
		if tp == nil {
			tp = t.resting.pop(now)
		}
		if tp == nil {
			t.look = t.nextLocked()
			next = t.look
			t.mu.Unlock()
			return next
		}
		before := len(tp.members)
		c, found := tp.take(wanted)
		t.held -= before - len(tp.members)
		switch {
		case found:
			t.resting.push(tp, now.Add(Every))
		case len(tp.members) == 0:
			delete(t.topics, tp.name)
		}
		t.mu.Unlock()
		if c.Topic != "" {
			tell(c)
		}
	}
}

// nextLocked is when something is due.
func (t *Table) nextLocked() (next time.Time) {
	sooner := func(due time.Time) {
		if next.IsZero() || due.Before(next) {
			next = due
		}
	}
	if tp := t.soon.first; tp != nil {
		sooner(tp.due)
	}
	if tp := t.resting.first; tp != nil {
		sooner(tp.due)
	}
	if m := t.lost.first; m != nil {
		sooner(m.until)
	}
	return next
}

// take takes note of what has changed, if anything has, as told. c is empty when nobody wants it.
func (tp *topic) take(wanted func(topic string) bool) (c Change, found bool) {
	named, tells := max(tp.count, tp.told) <= protocol.MaxUsers, len(tp.changed) > 0 && wanted(tp.name)
	for i, m := range tp.changed {
		here := m.there()
		joined, left := here && (!m.told || m.hidden), !here && (m.told || m.shown)
		m.told, m.listed, m.shown, m.hidden = here, false, false, false
		if !here {
			delete(tp.members, m.user)
		}
		found = found || joined || left
		switch {
		case !tells || !named:
		case joined:
			c.Joined = append(c.Joined, m.user)
		case left:
			c.Left = append(c.Left, m.user)
		}
		tp.changed[i] = nil
	}
	tp.told = tp.count
	if tp.changed = tp.changed[:0]; !found || cap(tp.changed) > keptChanged {
		tp.changed = nil
	}
	if !tells || !found {
		return Change{}, found
	}
	c.Topic, c.Count, c.Named = tp.name, uint64(tp.count), named
	slices.Sort(c.Joined)
	slices.Sort(c.Left)
	return c, true
}

// keptChanged is how much room a topic keeps for its next changes.
const keptChanged = 64
