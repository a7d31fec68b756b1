package broker_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"pgregory.net/rapid"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/protocol"
)

// published is one message as the model knows it; its number is its place in the list, from 1, over all runs of the broker.
type published struct {
	topic  string
	live   bool
	retain bool
	clear  bool
	offset uint64 // of the store, 0: not committed
	stored bool   // the store keeps it in a history
	lost   bool   // an older copy of the store was restored since

	exclude string    // the origin that is not sent it
	expires time.Time // zero: never
}

// notFor reports whether who has origin is not sent e.
func (e *published) notFor(origin string) bool { return origin != "" && e.exclude == origin }

func (e *published) expired() bool { return !e.expires.IsZero() && !time.Now().Before(e.expires) }

// modelRun is one run of the broker: the message number n has the seq base + n - first + 1.
type modelRun struct {
	base  uint64 // what the log began with
	first uint64
}

// numberAt is the number of the newest message that is not behind pos. In another run it was published, or not at all: what the log
// begins with counts as older than everything published since.
func (m *model) numberAt(pos *protocol.Position) uint64 {
	if pos == nil {
		return 0
	}
	r, known := m.runs[pos.Epoch]
	if !known {
		if pos.Epoch != m.b.Epoch() {
			return 0
		}
		r = m.run // in which the broker has begun a new epoch
		m.runs[pos.Epoch] = r
	}
	return r.first - 1 + pos.Seq - min(pos.Seq, r.base)
}

func (m *model) seqOf(n uint64) uint64 { return m.run.base + n - m.run.first + 1 }

// toldGap is a gap that a subscription was told.
type toldGap struct {
	why      protocol.GapReason
	from, to uint64 // numbers
	low, top uint64 // offsets
	until    uint64 // the newest message then
	jump     bool   // over what the store has, because it does not know the token's term
}

func (m *model) told(g *protocol.Gap) toldGap {
	t := toldGap{why: g.Reason, from: m.numberAt(g.From), to: m.numberAt(&g.To), top: g.To.Offset, until: uint64(len(m.log))}
	if g.From != nil {
		t.low = g.From.Offset
		t.jump = g.Reason == protocol.GapAhead && g.To.Epoch != g.From.Epoch || g.Reason == protocol.GapTrimmed && (!m.terms || !m.knows(g.From.Term))
	}
	return t
}

// knows reports whether the store, which is not away, lists a term: it does not after an older copy has taken its place.
func (m *model) knows(term protocol.RunID) bool {
	terms, err := m.store.ListTerms(context.Background())
	return err != nil || slices.ContainsFunc(terms, func(t broker.Term) bool { return t.ID == term })
}

// covers reports whether message number n is among what the gap says is missing: what is stored by its offset, what is not by its
// place in the log.
func (m *model) covers(g toldGap, n uint64) bool {
	e := &m.log[n-1]
	switch {
	case n > g.until:
		return false
	case g.why == protocol.GapLive:
		return e.live && !e.retain && g.from < n && n <= g.to
	case e.stored && g.why != protocol.GapNotStored && g.low < e.offset && e.offset <= g.top:
		return true
	case e.stored && !g.jump:
		return false
	}
	return g.from < n && n <= g.to
}

// held are the numbers of the messages that the store gives who asks for its histories now.
func (m *model) held(rt *rapid.T) map[uint64]bool {
	held := map[uint64]bool{}
	if m.store == nil || !m.keeps {
		return held
	}
	q := broker.HistoryQuery{Filters: []string{">"}}
	for done := false; !done; {
		p, err := m.store.ReadHistory(rt.Context(), q)
		if err != nil {
			rt.Fatal(err)
		}
		for _, r := range p.Records {
			n, err := strconv.ParseUint(r.Headers["n"], 10, 64)
			if err != nil {
				rt.Fatal(err)
			}
			held[n] = true
		}
		q.After, done = p.Through, p.Done
	}
	return held
}

// values are the numbers of the retained messages, by topic.
func (m *model) values() map[string]string {
	values := map[string]string{}
	if m.store != nil {
		for topic, r := range m.store.Retained() {
			values[topic] = r.Headers["n"]
		}
		return values
	}
	for i, e := range m.log[m.run.first-1:] {
		switch {
		case e.clear:
			delete(values, e.topic)
		case e.retain:
			values[e.topic] = fmt.Sprint(m.run.first + uint64(i))
		}
	}
	return values
}

// unseen are the topics of which who has origin was not sent a change of the retained message, so that it may know another one.
func (m *model) unseen(origin string) map[string]bool {
	unseen := map[string]bool{}
	for i := range m.log {
		if e := &m.log[i]; e.retain && e.notFor(origin) {
			unseen[e.topic] = true
		}
	}
	return unseen
}

// counts reports whether a gap that has left out what wants says may have the given count: what has expired by now had done so when it was
// told, or not.
func (m *model) counts(g *protocol.Gap, wants func(n uint64, e *published) bool) error {
	var missing, perhaps int64
	for n := m.numberAt(g.From) + 1; n <= m.numberAt(&g.To); n++ {
		e := &m.log[n-1]
		switch {
		case e.stored || g.Reason == protocol.GapLive && !(e.live && !e.retain): // what is stored comes from the store, or lies in a gap of offsets
		case !wants(n, e):
		case e.expired():
			perhaps++
		default:
			missing++
		}
	}
	if g.Count < missing || g.Count > missing+perhaps {
		return fmt.Errorf("found count %d, wanted %d, and %d at most that have expired", g.Count, missing, perhaps)
	}
	return nil
}

// common is the last offset that who holds pos has in common with the store.
func (m *model) common(rt *rapid.T, pos protocol.Position) (offset uint64, known bool) {
	terms, err := m.store.ListTerms(rt.Context())
	if err != nil {
		return 0, false // it has no such power
	}
	for i, t := range terms {
		if t.ID != pos.Term {
			continue
		}
		end := m.store.Copy().Head
		if i+1 < len(terms) {
			end = terms[i+1].First - 1
		}
		return min(pos.Offset, end), true
	}
	return 0, false
}

// mayBeStored and mayBePlain report whether a filter matches topics of which the store keeps a history, and others.
func (m *model) mayBeStored(filter string) bool {
	return m.store != nil && m.keeps && slices.ContainsFunc(modelStored, func(s string) bool { return protocol.Overlaps(s, filter) })
}

func (m *model) mayBePlain(filter string) bool {
	return m.store == nil || !m.keeps || !slices.ContainsFunc(modelStored, func(s string) bool { return protocol.Covers(s, filter) })
}
