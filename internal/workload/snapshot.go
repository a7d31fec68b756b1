package workload

// whole: with the end of a snapshot a subscription has a value of every retained topic that had one when it subscribed, or was told of a gap:
// that one or a later one, in the snapshot or, if it came while the snapshot was made, in the stream behind it. It is about subscriptions
// that stay: others may leave before that.
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
		if !found {
			broken("%s has no value of %s in the snapshot that ended at event %d, and message %d of %s had been acknowledged before", s.name, topic, ended, had.N, had.Publisher)
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
