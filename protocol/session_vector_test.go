package protocol

import (
	"slices"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// step is one step of a session vector. What it does not name is not checked.
type step struct {
	Send          any                `json:"send"`
	Receive       any                `json:"receive"`
	Session       string             `json:"session"`
	Subscriptions map[string]*string `json:"subscriptions"`
	Delivered     []uint64           `json:"delivered"`
}

// tracker moves positions as a client does: [POS-5] to [POS-9].
type tracker struct {
	session Position
	subs    map[uint64]*tracked
	replay  Replay // what is left of it
}

type tracked struct {
	filter   string
	retained bool
	resumes  bool
	starting bool // it does not begin live
	never    bool // live, because it is conflated
	live     bool
	awaits   bool // retained messages, up to RetainedEnd
	own      *Position
}

func (k *tracker) send(p Packet) {
	switch p := p.(type) {
	case *Subscribe:
		sub := &tracked{filter: p.Filter, retained: p.WantsRetained(), never: p.Conflated()}
		sub.starting = sub.retained || sub.never || p.Last > 0
		if p.Position != nil {
			own, _ := ParsePosition(p.Position)
			sub.own, sub.resumes, sub.awaits = &own, true, sub.retained && p.Snapshot
		}
		k.subs[p.ID] = sub
	case *Unsubscribe:
		delete(k.subs, p.Subscription)
	}
}

// receive moves the positions by p and returns the subscriptions that a message is for.
func (k *tracker) receive(p Packet) (delivered []uint64) {
	switch p := p.(type) {
	case *Connected:
		k.session = p.Position
	case *Ping:
		if p.Position != nil {
			k.session = *p.Position
		}
	case *Subscribed:
		if sub := k.subs[p.ID]; sub != nil && !sub.resumes {
			sub.own, sub.awaits, sub.live = &p.Position, sub.retained, !sub.starting
		}
	case *Resumed:
		if sub := k.subs[p.Subscription]; sub != nil {
			sub.own, sub.live, sub.awaits = &p.Position, !sub.never, false
		}
	case *RetainedEnd:
		if sub := k.subs[p.Subscription]; sub != nil {
			sub.awaits = false
		}
	case *Gap:
		k.gap(p)
	case *Replay:
		k.replay = *p
	case *Message:
		delivered = k.message(p)
	case *ErrorPacket:
		k.ended(p)
	}
	k.share()
	return delivered
}

// ended is the end of a subscription; one that is to be asked for again keeps its place ([RGT-5]).
func (k *tracker) ended(p *ErrorPacket) {
	sub := k.subs[p.ID]
	if sub == nil || !p.Code.Retry() {
		delete(k.subs, p.ID)
		return
	}
	if sub.own == nil {
		own := k.session
		sub.own = &own
	}
	sub.live = false
}

func (k *tracker) gap(p *Gap) {
	if p.Subscription == 0 {
		k.session = p.To
	}
	for id, sub := range k.subs {
		if id == p.Subscription {
			sub.own = &p.To
		}
		if id == p.Subscription || p.Subscription == 0 && sub.live {
			sub.awaits = sub.awaits || sub.retained && p.Reason != GapLive
		}
	}
}

func (k *tracker) message(m *Message) (delivered []uint64) {
	if k.replay.Count > 0 {
		k.replay.Count--
		return k.replayed(m, k.subs[k.replay.Subscription])
	}
	for id, sub := range k.subs {
		if sub.live && !k.had(sub.own, m) && Match(sub.filter, m.Topic) {
			delivered = append(delivered, id)
		}
		if sub.live && m.Seq == 0 && k.behind(sub.own, m) {
			own := *sub.own
			own.Offset = m.Offset
			sub.own = &own
		}
	}
	if m.Seq > 0 {
		k.session.Seq = m.Seq
	}
	if m.Offset > 0 {
		k.session.Offset = m.Offset
	}
	slices.Sort(delivered)
	return delivered
}

// had reports whether a live subscription has had m, by its own position ([MSG-2]).
func (k *tracker) had(own *Position, m *Message) bool {
	if own == nil || m.Seq == 0 && m.Offset == 0 {
		return false
	}
	if m.Seq > 0 {
		return own.Epoch == k.session.Epoch && m.Seq <= own.Seq
	}
	return own.Term == k.session.Term && m.Offset <= own.Offset
}

// behind reports whether an own position of the session's term has a lower offset than m.
func (k *tracker) behind(own *Position, m *Message) bool {
	return own != nil && own.Term == k.session.Term && own.Offset < m.Offset
}

// replayed moves the own position of sub over m ([POS-8]). sub is nil if it has ended.
func (k *tracker) replayed(m *Message, sub *tracked) (delivered []uint64) {
	if sub == nil || k.replay.Kind == ReplayHistory {
		return nil
	}
	if k.replay.Kind != ReplayLog {
		sub.awaits = true
		return []uint64{k.replay.Subscription}
	}
	own := *sub.own
	if m.Seq > 0 && own.Epoch == k.session.Epoch {
		own.Seq = m.Seq
	}
	if m.Offset > 0 {
		own.Offset, own.Term = m.Offset, k.session.Term
	}
	sub.own = &own
	return []uint64{k.replay.Subscription}
}

// share lets the live subscriptions that the session has reached join its position ([POS-7]).
func (k *tracker) share() {
	for _, sub := range k.subs {
		if sub.live && sub.own != nil && sub.own.Epoch == k.session.Epoch && k.session.Seq >= sub.own.Seq {
			k.join(*sub.own)
			sub.own = nil
		}
	}
}

// join takes the higher of two offsets of the same term into the session's position, and a term if that has none.
func (k *tracker) join(own Position) {
	if k.session.Term.IsZero() {
		k.session.Term = own.Term
	}
	if k.session.Term == own.Term {
		k.session.Offset = max(k.session.Offset, own.Offset)
	}
}

// resumesFrom is where a subscription would go on after a cut, with "snapshot" behind it if the retained messages are to be sent again;
// nil if there is no such subscription.
func (k *tracker) resumesFrom(id string) *string {
	n, _ := strconv.ParseUint(id, 10, 64)
	sub := k.subs[n]
	if sub == nil {
		return nil
	}
	p := k.session
	if sub.own != nil {
		p = *sub.own
	}
	s := place(p)
	if sub.awaits {
		s += " snapshot"
	}
	return &s
}

func TestSessionVectors(t *testing.T) {
	eachVector(t, "session", func(t *testing.T, v *vector) {
		k := &tracker{subs: make(map[uint64]*tracked)}
		for i, s := range v.Steps {
			if s.Send != nil {
				k.send(build(t, s.Send))
				continue
			}
			p := build(t, s.Receive)
			if diff := cmp.Diff(s.Receive, describe(t, p)); diff != "" {
				t.Fatalf("step %d is no packet:\n%s", i, diff)
			}
			delivered := k.receive(p)
			if p.Type() == TypeMessage && !slices.Equal(delivered, s.Delivered) {
				t.Errorf("step %d: delivered to %v, wanted %v", i, delivered, s.Delivered)
			}
			if s.Session != "" && place(k.session) != s.Session {
				t.Errorf("step %d: the session is at %s, wanted %s", i, place(k.session), s.Session)
			}
			for id, want := range s.Subscriptions {
				if diff := cmp.Diff(want, k.resumesFrom(id)); diff != "" {
					t.Errorf("step %d: subscription %s (-wanted +found):\n%s", i, id, diff)
				}
			}
		}
	})
}
