package workload

import "slices"

// whole: with the end of a snapshot a subscription has a value of every retained topic that had one when it subscribed, or was told of a gap:
// that one or a later one, in the snapshot or, if it came while the snapshot was made, in the stream behind it (log.md K2), as does one that
// was acknowledged before the client had seen the gap, but has its place behind the snapshot's. Where that stream
// breaks off with a gap, the snapshot behind the gap has it. It is about subscriptions that stay: others may leave before that.
func whole(r *run, broken func(string, ...any)) {
	for _, s := range r.readers {
		if !s.stays || s.noRetained {
			continue
		}
		shown := map[string][]int{} // by topic, the events
		for _, i := range s.steps {
			if e := &r.events[i]; e.Kind == Shown && e.Class == Retained {
				shown[e.Topic] = append(shown[e.Topic], i)
			}
		}
		began := s.subscribed
		for _, i := range s.steps {
			switch kind := r.events[i].Kind; {
			case kind == Told && began < 0: // of several gaps before one snapshot the first
				began = i
			case kind == Snapshot && began >= 0:
				r.wantWhole(s, shown, began, i, broken)
				began = -1
			}
		}
	}
}

// wantWhole looks at the snapshot that began and ended at these events.
func (r *run) wantWhole(s *reader, shown map[string][]int, began, ended int, broken func(string, ...any)) {
	for _, topic := range r.matching(s.filter) {
		had := r.latest(topic, began)
		if had == nil || had.class != Retained {
			continue
		}
		found := false
		for _, i := range shown[topic] {
			m := r.sent[r.events[i].Message]
			if found = i > began && m != nil && m.first < ended && (m.acked < 0 || r.compareSent(m, had) >= 0); found {
				break
			}
		}
		later := r.events[ended].Position.Offset < had.at.Offset // the snapshot is of a place before it
		if !found && !((later || r.replaced(topic, began, ended)) && s.toldBehind(r, ended)) {
			broken("%s has no value of %s in the snapshot that ended at event %d, and message %d of %s, at %s, had been acknowledged before",
				s.name, topic, ended, had.N, had.Publisher, place(had.at))
		}
	}
}

// latest is the message with the highest place of those of topic that had been acknowledged before an event.
func (r *run) latest(topic string, before int) (last *sent) {
	for _, m := range r.topics[topic] {
		if m.acked < before {
			last = m // they are in the order of their places
		}
	}
	return last
}

// replaced reports whether a message of topic that had not been acknowledged by began was under way before ended.
func (r *run) replaced(topic string, began, ended int) bool {
	for _, m := range r.sent {
		if m.Topic == topic && m.first < ended && (m.acked < 0 || m.acked > began) {
			return true
		}
	}
	return false
}

// toldBehind reports whether s was told of a gap behind an event.
func (s *reader) toldBehind(r *run, event int) bool {
	return slices.ContainsFunc(s.steps, func(i int) bool { return i > event && r.events[i].Kind == Told })
}
