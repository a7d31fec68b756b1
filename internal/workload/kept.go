package workload

import "github.com/carillon-mq/carillon/protocol"

// reading is one audit.
type reading struct {
	name, filter string
	began        int
	found        map[Message]int // how often
	complete     bool
}

func (r *run) readings() []*reading {
	var all []*reading
	open := map[string]*reading{}
	for i, e := range r.events {
		switch e.Kind {
		case Reading:
			open[e.Who] = &reading{name: e.Who, filter: e.Filter, began: i, found: map[Message]int{}}
			all = append(all, open[e.Who])
		case Kept:
			if a := open[e.Who]; a != nil {
				a.found[e.Message]++
			}
		case Read:
			if a := open[e.Who]; a != nil {
				a.complete = true
			}
		default:
		}
	}
	return all
}

// kept: whatever was acknowledged as committed, or shown to anybody, before an audit is found by it: stored messages each once, of
// retained topics that value or a later one.
func kept(r *run, broken func(string, ...any)) {
	shown := map[Message]int{} // where first
	for i, e := range r.events {
		if _, ok := shown[e.Message]; e.Kind == Shown && !ok {
			shown[e.Message] = i
		}
	}
	for _, a := range r.readings() {
		if !a.complete {
			broken("audit %s of %s did not come to its end", a.name, a.filter)
			continue
		}
		for m, times := range a.found {
			if times > 1 {
				broken("audit %s found message %d of %s in %s %d times", a.name, m.N, m.Publisher, m.Topic, times)
			}
		}
		for _, m := range r.sent {
			if m.Publisher == opener || !protocol.Match(a.filter, m.Topic) {
				continue
			}
			at, was := shown[m.Message]
			switch {
			case m.acked >= 0 && m.acked < a.began:
				r.wantKept(a, m, "acknowledged", broken)
			case was && at < a.began:
				r.wantKept(a, m, "shown", broken)
			}
		}
	}
}

func (r *run) wantKept(a *reading, m *sent, why string, broken func(string, ...any)) {
	if a.found[m.Message] > 0 {
		return
	}
	if m.class == Retained {
		for found := range a.found {
			later := r.sent[found]
			if later != nil && later.Topic == m.Topic && (later.acked < 0 || m.acked < 0 || later.at.Offset > m.at.Offset) {
				return
			}
		}
	}
	broken("audit %s did not find message %d of %s in %s, offset %d, which was %s", a.name, m.N, m.Publisher, m.Topic, m.at.Offset, why)
}
