package brokertest

import (
	"fmt"

	"github.com/carillon-mq/carillon/protocol"
)

// Tracker makes of a session's packets what an SDK does: it hands messages to subscriptions and keeps the positions from which
// they would resume (spec/protocol.md, POS-5 to POS-10, MSG-2, SUB-6).
type Tracker struct {
	Session protocol.Position
	Subs    map[uint64]*Tracked
	// On is called with everything that a subscription is handed, in order.
	On func(sub *Tracked, e Event)

	replay struct {
		sub  uint64
		left uint64
		kind protocol.ReplayKind
	}
}

// Tracked is a subscription as its client knows it.
type Tracked struct {
	ID      uint64
	Filter  string
	Live    bool
	own     *protocol.Position // nil: the session's
	never   bool               // live, because it is conflated
	wants   bool               // retained messages
	waits   bool               // for RetainedEnd: resumed with a snapshot until then
	started bool               // Subscribed has come
}

// Event is one thing that a subscription is handed: a message, a gap or the end of a snapshot.
type Event struct {
	Message  *protocol.Message
	Retained bool // the message is of a snapshot
	Gap      *protocol.Gap
	End      *protocol.RetainedEnd
	Resumed  *protocol.Resumed
}

// Subscribe notes a Subscribe that is being sent.
func (t *Tracker) Subscribe(p *protocol.Subscribe) *Tracked {
	if t.Subs == nil {
		t.Subs = map[uint64]*Tracked{}
	}
	wants := p.WantsRetained()
	s := &Tracked{ID: p.ID, Filter: p.Filter, never: p.Conflated(), wants: wants, waits: wants && (p.Position == nil || p.Snapshot)}
	if p.Position != nil {
		pos, _ := protocol.ParsePosition(p.Position)
		s.own = &pos
	}
	s.Live = p.Position == nil && !wants && p.Last == 0 && !s.never // once it is answered
	t.Subs[p.ID] = s
	return s
}

// Token is what the subscription would resume from; nil for nothing.
func (t *Tracker) Token(s *Tracked) []byte {
	switch {
	case !s.started && s.own == nil:
		return nil
	case s.own != nil:
		return s.own.Append(nil)
	}
	return t.Session.Append(nil)
}

// Waits reports whether the subscription would be resumed with a snapshot, because the end of one has not come (SUB-15).
func (s *Tracked) Waits() bool { return s.waits }

// Replaying reports whether the next message is for one subscription alone.
func (t *Tracker) Replaying() bool { return t.replay.left > 0 }

// Handle takes a packet that the session sent. It fails when the packet breaks the protocol.
func (t *Tracker) Handle(packet protocol.Packet) error {
	switch p := packet.(type) {
	case *protocol.Connected:
		t.Session = p.Position
	case *protocol.Ping:
		if p.Position != nil {
			t.moveSession(*p.Position)
		}
	case *protocol.Subscribed:
		return t.with(p.ID, func(s *Tracked) { s.subscribed(p.Position); t.share() })
	case *protocol.Replay:
		if t.replay.left > 0 {
			return fmt.Errorf("found a Replay while %d messages of the one before are missing", t.replay.left)
		}
		t.replay.sub, t.replay.left, t.replay.kind = p.Subscription, p.Count, p.Kind
	case *protocol.Message:
		return t.message(p)
	case *protocol.RetainedEnd:
		return t.with(p.Subscription, func(s *Tracked) { s.waits = false; t.on(s, Event{End: p}) })
	case *protocol.Resumed:
		return t.with(p.Subscription, func(s *Tracked) {
			s.move(p.Position)
			s.Live, s.waits = !s.never, false
			t.on(s, Event{Resumed: p})
			t.share()
		})
	case *protocol.Gap:
		return t.gap(p)
	case *protocol.ErrorPacket:
		if s := t.Subs[p.ID]; s != nil && s.started {
			t.ended(s, p.Code)
		}
	}
	return nil
}

// ended is the end of a subscription that was confirmed (RGT-5): one that is to be asked for again keeps its place.
func (t *Tracker) ended(s *Tracked, code protocol.Code) {
	if !code.Retry() {
		delete(t.Subs, s.ID)
		return
	}
	if s.own == nil {
		at := t.Session
		s.own = &at
	}
	s.Live, s.started = false, false
}

func (t *Tracker) on(s *Tracked, e Event) {
	if t.On != nil {
		t.On(s, e)
	}
}

// with calls f with a subscription; one that the client has ended is passed over.
func (t *Tracker) with(id uint64, f func(*Tracked)) error {
	if s := t.Subs[id]; s != nil {
		f(s)
	}
	return nil
}

func (s *Tracked) subscribed(at protocol.Position) {
	s.started = true
	if s.own == nil {
		s.own = &at
	}
}

func (s *Tracked) move(to protocol.Position) { s.own = &to }

func (t *Tracker) moveSession(to protocol.Position) {
	t.Session = to
	t.share()
}

// share ends the own positions that the session's has reached (POS-7).
func (t *Tracker) share() {
	for _, s := range t.Subs {
		if s.Live && s.started && s.own != nil && s.own.Epoch == t.Session.Epoch && s.own.Seq <= t.Session.Seq {
			t.join(*s.own)
			s.own = nil
		}
	}
}

// join gives the session the offset of a subscription that shares its position from now on, if it is higher and they compare.
func (t *Tracker) join(own protocol.Position) {
	if t.Session.Term.IsZero() {
		t.Session.Term = own.Term
	}
	if t.Session.Term == own.Term {
		t.Session.Offset = max(t.Session.Offset, own.Offset)
	}
}

func (t *Tracker) gap(p *protocol.Gap) error {
	if p.Subscription != 0 {
		return t.with(p.Subscription, func(s *Tracked) {
			s.move(p.To)
			s.waits = s.waits || s.wants && p.Reason != protocol.GapLive
			t.on(s, Event{Gap: p})
			t.share()
		})
	}
	t.moveSession(p.To)
	for _, s := range t.Subs {
		if s.Live && s.started {
			s.waits = s.waits || s.wants && p.Reason != protocol.GapLive
			t.on(s, Event{Gap: p})
		}
	}
	return nil
}

func (t *Tracker) message(m *protocol.Message) error {
	if t.replay.left > 0 {
		t.replay.left--
		return t.replayed(m)
	}
	for _, s := range t.Subs {
		if !s.Live || !s.started {
			continue
		}
		if protocol.Match(s.Filter, m.Topic) && !t.had(s.own, m) {
			t.on(s, Event{Message: m})
		}
		s.moveInStore(t.Session.Term, m)
	}
	if m.Seq > 0 {
		if m.Seq <= t.Session.Seq {
			return fmt.Errorf("found message %d behind position %d", m.Seq, t.Session.Seq)
		}
		t.Session.Seq = m.Seq
	}
	if m.Offset > 0 {
		t.Session.Offset = m.Offset
	}
	t.share()
	return nil
}

// had reports whether a live subscription has had m, by its own position: by seq or, for a message of the store, by offset (MSG-2).
func (t *Tracker) had(own *protocol.Position, m *protocol.Message) bool {
	switch {
	case own == nil:
		return false
	case m.Seq > 0:
		return own.Epoch == t.Session.Epoch && m.Seq <= own.Seq
	}
	return m.Offset > 0 && own.Term == t.Session.Term && m.Offset <= own.Offset
}

// moveInStore moves the own position of a live subscription over a message of the store, which has no seq (POS-7).
func (s *Tracked) moveInStore(term protocol.RunID, m *protocol.Message) {
	if own := s.own; own != nil && m.Seq == 0 && own.Term == term && own.Offset < m.Offset {
		moved := *own
		moved.Offset = m.Offset
		s.own = &moved
	}
}

func (t *Tracker) replayed(m *protocol.Message) error {
	s := t.Subs[t.replay.sub]
	if s == nil || t.replay.kind == protocol.ReplayHistory {
		return nil
	}
	if !protocol.Match(s.Filter, m.Topic) {
		return fmt.Errorf("found %q in a replay for %q", m.Topic, s.Filter)
	}
	kept := t.replay.kind != protocol.ReplayLog
	t.on(s, Event{Message: m, Retained: kept})
	if kept {
		return nil
	}
	if s.own == nil {
		return fmt.Errorf("found a replay of the log for subscription %d, which is live", s.ID)
	}
	own := *s.own
	if m.Seq > 0 && own.Epoch == t.Session.Epoch {
		if m.Seq <= own.Seq {
			return fmt.Errorf("found message %d in a replay behind position %d", m.Seq, own.Seq)
		}
		own.Seq = m.Seq
	}
	if m.Offset > 0 {
		own.Offset, own.Term = m.Offset, t.Session.Term
	}
	s.own = &own
	return nil
}
