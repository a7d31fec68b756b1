package workload

import (
	"time"

	"github.com/carillon-mq/carillon/protocol"
)

// known: nothing is shown or kept that was not sent.
func known(r *run, broken func(string, ...any)) {
	for i, e := range r.events {
		if e.Kind != Shown && e.Kind != Kept {
			continue
		}
		if m := r.sent[e.Message]; m == nil || m.first > i {
			broken("%s found message %d of %s in %s, which was not sent", e.Who, e.N, e.Publisher, e.Topic)
		}
	}
}

// durability: an acknowledgement says that the store has what belongs there, and where.
func durability(r *run, broken func(string, ...any)) {
	for _, e := range r.events {
		if e.Kind != Acked {
			continue
		}
		stored := e.Class != Memory
		if (e.Durability == protocol.Committed) != stored || (e.Position.Offset > 0) != stored {
			broken("message %d of %s in %s was acknowledged as %s at offset %d", e.N, e.Publisher, e.Topic, e.Durability, e.Position.Offset)
		}
	}
}

// order: each subscription is shown each topic in the order of the log, and what one publisher sent to a topic in the order in which
// it sent it. A publish that was repeated counts as sent when it was repeated. A retained value is never followed by an older one.
func order(r *run, broken func(string, ...any)) {
	type line struct{ topic, publisher string }
	for _, s := range r.readers {
		before := map[line]int{}     // the latest first attempt of what was shown
		latest := map[string]*sent{} // the last one shown in the topic
		seen := map[Message]bool{}
		for _, i := range s.steps {
			e := &r.events[i]
			m := r.sent[e.Message]
			if e.Kind != Shown || m == nil || m.acked < 0 || (e.Snapshot && m.class != Retained) {
				continue
			}
			if seen[m.Message] && !e.Snapshot {
				continue // unique tells it
			}
			seen[m.Message] = true
			by := line{m.Topic, m.Publisher}
			if m.last < before[by] {
				broken("%s was shown message %d of %s in %s behind one that was sent later", s.name, m.N, m.Publisher, m.Topic)
			}
			before[by] = max(before[by], m.first)
			if last := latest[m.Topic]; last != nil && r.compareSent(m, last) < 0 {
				broken("%s was shown message %d of %s in %s, at %s, behind one at %s", s.name, m.N, m.Publisher, m.Topic, place(m.at), place(last.at))
			}
			latest[m.Topic] = m
		}
	}
}

// unique: no message comes twice in the stream of a subscription, and none in it that its snapshot had.
func unique(r *run, broken func(string, ...any)) {
	for _, s := range r.readers {
		times := map[Message]int{}
		for _, i := range s.steps {
			e := &r.events[i]
			switch {
			case e.Kind != Shown:
			case e.Snapshot:
				times[e.Message] = max(times[e.Message], 1)
			case times[e.Message] > 0:
				broken("%s was shown message %d of %s in %s again", s.name, e.N, e.Publisher, e.Topic)
			default:
				times[e.Message]++
			}
		}
	}
}

// excuse is what a gap says is missing.
type excuse struct {
	reason   protocol.GapReason
	from, to protocol.Position
	count    int64
	told     int // the event
}

// covers reports whether m lies in the gap. A stored message never does: the store has it, whole, for as long as the load lasts.
func (r *run) covers(g excuse, m *sent) bool {
	if m.class == Stored {
		return false
	}
	if m.at.Seq == 0 { // of a run that ended before it could say so; only the store knew when it was asked again
		return g.from.Epoch != g.to.Epoch && m.first < g.told
	}
	return r.compare(g.from, m.at) < 0 && r.compare(m.at, g.to) <= 0
}

func (r *run) told(s *reader) []excuse {
	var out []excuse
	for _, i := range s.steps {
		if e := &r.events[i]; e.Kind == Told {
			out = append(out, excuse{e.Reason, e.From, e.Position, e.Count, i})
		}
	}
	return out
}

// shown is what the subscription was shown in its stream, and in snapshots too if these are wanted.
func (r *run) shown(s *reader, snapshots bool) map[Message]bool {
	out := map[Message]bool{}
	for _, i := range s.steps {
		if e := &r.events[i]; e.Kind == Shown && (snapshots || !e.Snapshot) {
			out[e.Message] = true
		}
	}
	return out
}

// due are the acknowledged messages of topic that the subscription should have been shown: sent when it was there, and up to the last
// one that it was shown, or to the end if it stayed.
func (r *run) due(s *reader, topic string, shown map[Message]bool) []*sent {
	all := r.topics[topic]
	end := len(all)
	for !s.stays && end > 0 && !shown[all[end-1].Message] {
		end--
	}
	var out []*sent
	for _, m := range all[:end] {
		if m.first > s.subscribed {
			out = append(out, m)
		}
	}
	return out
}

// complete: every acknowledged message that a subscription should have had was shown to it, or lies in a gap that it was told.
func complete(r *run, broken func(string, ...any)) {
	for _, s := range r.readers {
		shown, gaps := r.shown(s, true), r.told(s)
		for _, topic := range r.matching(s.filter) {
			for _, m := range r.due(s, topic, shown) {
				if !shown[m.Message] && !r.excused(gaps, m) {
					broken("%s was not shown message %d of %s in %s, seq %d, offset %d", s.name, m.N, m.Publisher, m.Topic, m.at.Seq, m.at.Offset)
				}
			}
		}
	}
}

func (r *run) excused(gaps []excuse, m *sent) bool {
	for _, g := range gaps {
		if r.covers(g, m) {
			return true
		}
	}
	return false
}

// lingers is how long after a publisher has given up a connection the broker may still apply what it sent over it.
const lingers = time.Second

// conservation: a gap within one run of the broker that says how many messages are missing says it exactly. Publishes without an
// outcome, if they can have been applied there, may be among them.
func conservation(r *run, broken func(string, ...any)) {
	var lost []*sent
	for _, m := range r.sent {
		if m.acked < 0 {
			lost = append(lost, m)
		}
	}
	for _, s := range r.readers {
		shown := r.shown(s, false)
		topics := r.matching(s.filter)
		for _, g := range r.told(s) {
			if g.count < 0 || g.from.Epoch != g.to.Epoch || g.from.Epoch.IsZero() {
				continue
			}
			missing := 0
			for _, topic := range topics {
				for _, m := range r.topics[topic] {
					if r.covers(g, m) && !shown[m.Message] {
						missing++
					}
				}
			}
			unknown := r.countInside(g, lost, s.filter)
			if n := int(g.count); n < missing || n > missing+unknown {
				broken("%s was told that %d messages are missing between seq %d and %d (%s), but %d are, and %d have no outcome",
					s.name, n, g.from.Seq, g.to.Seq, g.reason, missing, unknown)
			}
		}
	}
}

// countInside is how many of the publishes without an outcome that filter matches can have been applied within the gap: not those that
// were sent after something behind the gap was acknowledged, nor those given up long before something before the gap was sent.
func (r *run) countInside(g excuse, lost []*sent, filter string) int {
	behind, before := len(r.events), time.Duration(0)
	for _, acked := range r.topics {
		for _, m := range acked {
			if m.at.Epoch != g.to.Epoch {
				continue
			}
			if m.at.Seq >= g.to.Seq {
				behind = min(behind, m.acked)
			}
			if m.at.Seq <= g.from.Seq {
				before = max(before, r.events[m.first].When)
			}
		}
	}
	n := 0
	for _, m := range lost {
		if protocol.Match(filter, m.Topic) && m.first < behind && r.events[m.last].When+lingers >= before {
			n++
		}
	}
	return n
}
