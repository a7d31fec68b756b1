package carillon

import (
	"bytes"
	"maps"
	"slices"
	"time"

	"github.com/carillon-mq/carillon/protocol"
)

// phase is where a subscription is on the wire ([SUB-5]).
type phase uint8

const (
	phaseIdle     phase = iota // not asked for: no connection, parked, or waiting to ask again
	phaseAsked                 // Subscribe is queued or sent
	phaseStarting              // Subscribed; only what is addressed to it is for it
	phaseLive                  // plain messages are for it too
	phaseEnded
)

// stream is the wire side of a subscription. It is guarded by Client.mu.
type stream struct {
	phase phase
	id    uint64            // of the subscription in this session; 0 when idle or ended
	own   protocol.Position // up to where it has been served, unless it shares the session's position
	// shared: it is live and the session has reached its own position, which does not count any more ([POS-7]).
	shared bool

	placed   bool // own is a position to resume from
	awaiting bool // the end of a snapshot: one that is cut before that is asked for again ([SUB-15])

	// mark is the highest seq delivered, and the epoch it counts in: nothing up to it is delivered again.
	markEpoch protocol.RunID
	markSeq   uint64

	back     bool // a gap has been told, and of what it covers something may follow, at lower offsets ([GAP-1])
	caughtUp bool // Resumed has been told since Subscribed; a conflated subscription gets more of them

	refusals  int
	notBefore time.Time // ask again then
}

// subscribe is the packet that asks for the stream from where it is.
func (s *Subscription) subscribe(id uint64) *protocol.Subscribe {
	p := &protocol.Subscribe{ID: id, Filter: s.filter, NoRetained: s.noRetained, Latest: s.latest, MaxRate: s.maxRate, Join: s.join}
	if s.placed {
		p.Position, p.Snapshot = s.own.Append(nil), s.awaiting
	} else {
		p.Last = s.last
	}
	return p
}

// conflated reports whether the broker may leave out messages for newer ones. Such a subscription never goes live ([SUB-12]).
func (s *Subscription) conflated() bool { return s.latest || s.maxRate > 0 }

// serving reports whether packets for the subscription are its own. s may be nil.
func (s *Subscription) serving() bool {
	return s != nil && (s.phase == phaseStarting || s.phase == phaseLive)
}

// subscribed begins the stream. It reports whether the subscription is live at once.
func (s *Subscription) subscribed(p *protocol.Subscribed, session protocol.Position) (live bool) {
	s.refusals = 0
	s.phase, s.caughtUp, s.back = phaseStarting, false, false
	if s.placed {
		if s.own.Epoch == session.Epoch {
			s.setMark(s.own)
		}
		return false
	}
	s.own, s.placed = p.Position, true
	s.setMark(p.Position)
	s.awaiting = !s.noRetained
	return s.noRetained && s.last == 0 && !s.conflated()
}

func (s *Subscription) retainedEnd(p *protocol.RetainedEnd, session protocol.Position) Event {
	s.awaiting = false
	return &SnapshotEnd{Reset: p.Reset, Cursor: s.cursor(session)}
}

// resumed takes the position at which the subscription has caught up, and goes live unless it is conflated.
func (s *Subscription) resumed(p *protocol.Resumed) Event {
	s.own, s.shared, s.placed, s.awaiting = p.Position, false, true, false
	s.setMark(p.Position)
	return &Resumed{Cursor: s.cursor(p.Position)}
}

// gapped moves the subscription over what is missing. After most gaps the retained messages are sent again ([GAP-4]).
func (s *Subscription) gapped(p *protocol.Gap) {
	if p.Subscription != 0 {
		s.own, s.shared, s.placed, s.back = p.To, false, true, true
	}
	if p.Reason != protocol.GapLive && !s.noRetained {
		s.awaiting = true
	}
}

func (s *Subscription) gap(reason GapReason, from *protocol.Position, to protocol.Position, count int64) *GapError {
	g := &GapError{Filter: s.filter, Reason: reason, To: cursorOf(to), Count: count}
	if from != nil {
		g.From = cursorOf(*from)
	}
	return g
}

// position is up to where the subscription has been served.
func (s *Subscription) position(session protocol.Position) protocol.Position {
	if s.shared {
		return session
	}
	return s.own
}

// resumeAt is the position from which the application can go on, none while a snapshot is awaited.
func (s *Subscription) resumeAt(p protocol.Position) protocol.Position {
	if s.awaiting {
		return protocol.Position{}
	}
	return p
}

func (s *Subscription) cursor(session protocol.Position) Cursor {
	return cursorOf(s.resumeAt(s.position(session)))
}

// after is the subscription's own position after m, which came in a Replay ([POS-8]). While the position is of an earlier run of
// the broker only its offset moves: seq counts in another epoch until Resumed. An offset is of the store's present term.
func (s *Subscription) after(m *protocol.Message, session protocol.Position) protocol.Position {
	p := s.own
	if m.Seq > 0 && p.Epoch == session.Epoch {
		p.Seq = m.Seq
	}
	if m.Offset > 0 {
		p.Offset, p.Term = m.Offset, session.Term
	}
	return p
}

// repeated reports whether m has been delivered before, by its seq. session is the session's position.
func (s *Subscription) repeated(m *protocol.Message, session protocol.Position) bool {
	return m.Seq > 0 && s.markEpoch == session.Epoch && m.Seq <= s.markSeq
}

// had reports whether m has been delivered before, by its seq or, if it comes from the store, by its offset ([MSG-2]).
func (s *Subscription) had(m *protocol.Message, session protocol.Position) bool {
	return s.repeated(m, session) || fromStore(m) && !s.shared && s.own.Term == session.Term && m.Offset <= s.own.Offset
}

// moveInStore moves the own position of a live subscription over m, if it comes from the store for all of them ([POS-7]).
func (s *Subscription) moveInStore(m *protocol.Message, session protocol.Position) {
	if fromStore(m) && !s.shared && s.own.Term == session.Term {
		s.own.Offset = max(s.own.Offset, m.Offset)
	}
}

// fromStore reports whether a message has been read from the store.
func fromStore(m *protocol.Message) bool { return m.Seq == 0 && m.Offset > 0 }

func (s *Subscription) markDelivered(m *protocol.Message, session protocol.Position) {
	if m.Seq > 0 {
		s.setMark(protocol.Position{Epoch: session.Epoch, Seq: m.Seq})
	}
}

func (s *Subscription) setMark(p protocol.Position) {
	if s.markEpoch != p.Epoch || s.markSeq < p.Seq {
		s.markEpoch, s.markSeq = p.Epoch, p.Seq
	}
}

// idle takes the subscription off the wire and keeps its place, if it has one to resume from.
func (s *Subscription) idle(session protocol.Position) {
	s.own, s.shared = s.position(session), false
	if s.phase != phaseEnded {
		s.phase = phaseIdle
	}
	s.id = 0
}

// liveLocked lets plain messages come to s.
func (c *Client) liveLocked(s *Subscription) {
	if s.phase != phaseLive {
		s.phase = phaseLive
		c.live.add(s)
	}
	if !slices.Contains(c.joining, s) {
		c.joining = append(c.joining, s)
	}
	c.joinLocked()
}

// joinLocked lets live subscriptions share the session's position once it has reached their own ([POS-7]). Of two offsets of the
// same term the session's is the higher one then, since nothing up to there is missing; a session without a term takes theirs.
func (c *Client) joinLocked() {
	if len(c.joining) == 0 {
		return
	}
	c.joining = slices.DeleteFunc(c.joining, func(s *Subscription) bool {
		if s.phase != phaseLive || s.shared {
			return true
		}
		if s.own.Epoch != c.pos.Epoch || s.own.Seq > c.pos.Seq {
			return false
		}
		if c.pos.Term.IsZero() {
			c.pos.Term = s.own.Term
		}
		if c.pos.Term == s.own.Term {
			c.pos.Offset = max(c.pos.Offset, s.own.Offset)
		}
		s.shared = true
		return true
	})
}

// deliverable makes the application's own message of m.
func deliverable(m *protocol.Message, retained bool, at protocol.Position) *Message {
	return &Message{
		Topic: m.Topic, Payload: bytes.Clone(m.Payload), ContentType: m.ContentType, Headers: maps.Clone(m.Headers),
		Time: time.UnixMilli(m.Time), Retain: m.Retain, Retained: retained, position: at,
	}
}
