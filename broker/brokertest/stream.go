package brokertest

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/protocol"
)

// Follow begins a session for id that follows r. The client leaves when the test ends.
func Follow(t testing.TB, b *broker.Broker, id *broker.Identity, r broker.FollowRequest) *Client {
	t.Helper()
	c := Open(t, b, broker.ConnInfo{Identity: id})
	c.OneWay()
	if err := c.Session.Follow(r); err != nil {
		t.Fatalf("follow %q: %v", r.Filters, err)
	}
	return c
}

// Stream makes of the packets of a session that follows what its client does, and fails when one breaks what broker.Session.Follow
// promises.
type Stream struct {
	Filters []Followed
	// On is called with everything that a filter is handed, in order.
	On func(f *Followed, e Event)

	retained bool
	cursor   *protocol.Position
	last     uint64 // seq of the last message
	epoch    protocol.RunID
	term     protocol.RunID
	present  func() protocol.Position
	opened   bool // Resumed has come for all
	replay   struct {
		filter uint64
		left   uint64
	}
}

// Followed is one filter of a stream as its client knows it.
type Followed struct {
	Number uint64
	Filter string
	Begun  bool // gets messages
	fresh  bool // begins with this stream
	owed   bool // its retained messages, after a gap
}

// NewStream is a stream that is being opened; present is the broker's Position.
func NewStream(r broker.FollowRequest, present func() protocol.Position) *Stream {
	at := present()
	epoch := at.Epoch
	s := &Stream{retained: !r.NoRetained, epoch: epoch, term: at.Term, present: present}
	for i, filter := range r.Filters {
		begun := r.After != nil && !slices.Contains(r.Fresh, filter)
		s.Filters = append(s.Filters, Followed{Number: uint64(i + 1), Filter: filter, Begun: begun, fresh: !begun})
	}
	if r.After != nil {
		at := *r.After
		s.cursor = &at
		if at.Epoch == epoch {
			s.last = at.Seq
		}
	}
	return s
}

// Cursor is where the client would go on, and the filters that would begin then: those whose place has not been told; nil: it would
// begin anew.
func (s *Stream) Cursor() (after *protocol.Position, fresh []string) {
	for _, f := range s.Filters {
		if f.fresh && !s.opened {
			fresh = append(fresh, f.Filter)
		}
	}
	return s.cursor, fresh
}

// Live reports whether everything that was missed when the stream was opened has come.
func (s *Stream) Live() bool { return s.opened }

// Handle takes a packet that the session sent.
func (s *Stream) Handle(packet protocol.Packet) error {
	switch p := packet.(type) {
	case *protocol.Ping:
		if p.Position != nil {
			return s.move(*p.Position)
		}
	case *protocol.Gap:
		return s.gap(p)
	case *protocol.Replay:
		return s.begin(p)
	case *protocol.Message:
		return s.message(p)
	case *protocol.RetainedEnd:
		f, err := s.filter(p.Subscription)
		if err != nil {
			return err
		}
		if s.replay.left > 0 || f.Begun && !f.owed {
			return fmt.Errorf("found the end of a snapshot of %q, which has none or is not whole", f.Filter)
		}
		f.Begun, f.owed = true, false
		s.on(f, Event{End: p})
	case *protocol.Resumed:
		return s.resumed(p)
	default:
		return fmt.Errorf("found %T, which no session that follows is sent", p)
	}
	return nil
}

func (s *Stream) on(f *Followed, e Event) {
	if s.On != nil {
		s.On(f, e)
	}
}

func (s *Stream) filter(number uint64) (*Followed, error) {
	if number < 1 || number > uint64(len(s.Filters)) {
		return nil, fmt.Errorf("found number %d, wanted one of %d filters", number, len(s.Filters))
	}
	return &s.Filters[number-1], nil
}

// move takes a position that is told: nothing may be owed up to it.
func (s *Stream) move(to protocol.Position) error {
	if s.cursor != nil && *s.cursor == to {
		return nil
	}
	for _, f := range s.Filters {
		if f.owed || s.cursor == nil && s.retained && !f.Begun {
			return fmt.Errorf("found a position told while retained messages of %q are missing", f.Filter)
		}
	}
	if to.Epoch == s.epoch && to.Seq < s.last {
		return fmt.Errorf("found position %d told behind message %d", to.Seq, s.last)
	}
	s.cursor = &to
	s.passed(to)
	return nil
}

// passed notes that nothing up to a position of this run of the log may come any more.
func (s *Stream) passed(at protocol.Position) {
	if at.Epoch == s.epoch {
		s.last = max(s.last, at.Seq)
	}
}

func (s *Stream) gap(p *protocol.Gap) error {
	if p.Subscription != 0 || p.From == nil || s.replay.left > 0 {
		return fmt.Errorf("found gap %+v, wanted one for all", p)
	}
	if p.From.Epoch == s.epoch && p.From.Seq < s.last && p.Reason != protocol.GapLive {
		return fmt.Errorf("found a gap from %d behind message %d", p.From.Seq, s.last)
	}
	snapshots := s.retained && p.Reason != protocol.GapLive
	for i := range s.Filters {
		if f := &s.Filters[i]; f.Begun {
			f.owed = snapshots
			s.on(f, Event{Gap: p})
		}
	}
	s.passed(p.To)
	if !snapshots {
		return s.move(p.To)
	}
	return nil
}

func (s *Stream) begin(p *protocol.Replay) error {
	f, err := s.filter(p.Subscription)
	switch {
	case err != nil:
		return err
	case p.Kind != protocol.ReplayRetained || s.replay.left > 0 || f.Begun && !f.owed:
		return fmt.Errorf("found %+v, wanted retained messages that are due", p)
	}
	s.replay.filter, s.replay.left = p.Subscription, p.Count
	return nil
}

func (s *Stream) message(m *protocol.Message) error {
	retained := s.replay.left > 0
	if retained {
		s.replay.left--
		if f := s.Filters[s.replay.filter-1]; !protocol.Match(f.Filter, m.Topic) {
			return fmt.Errorf("found %q among the retained messages of %q", m.Topic, f.Filter)
		}
	} else if err := s.moveTo(m); err != nil {
		return err
	}
	handed := false
	owed := slices.ContainsFunc(s.Filters, func(f Followed) bool { return f.owed })
	for i := range s.Filters {
		f := &s.Filters[i]
		if protocol.Match(f.Filter, m.Topic) && (f.Begun && !retained || retained && f.owed || retained && !f.Begun && !owed) {
			handed = true
			s.on(f, Event{Message: m, Retained: retained})
		}
	}
	if !handed {
		return fmt.Errorf("found message %d of %q, which nothing has asked for", m.Seq, m.Topic)
	}
	return nil
}

func (s *Stream) moveTo(m *protocol.Message) error {
	if m.Seq == 0 {
		s.moveInStore(m)
		return nil
	}
	if m.Seq <= s.last {
		return fmt.Errorf("found message %d behind %d", m.Seq, s.last)
	}
	for _, f := range s.Filters {
		if f.owed {
			return errors.New("found a message before the retained ones that follow a gap")
		}
	}
	if s.cursor == nil || s.cursor.Epoch != s.epoch {
		return errors.New("found a message of the log before any position was told")
	}
	at := *s.cursor
	at.Seq, at.Offset = m.Seq, max(at.Offset, m.Offset)
	s.cursor, s.last = &at, m.Seq
	return nil
}

// moveInStore moves the cursor over a message of the store, whose place is an offset of the store's term alone. It stays while
// retained messages are owed, and when nobody knows the term.
func (s *Stream) moveInStore(m *protocol.Message) {
	if m.Offset == 0 || s.cursor == nil || s.term.IsZero() || s.term != s.present().Term || slices.ContainsFunc(s.Filters, func(f Followed) bool { return f.owed }) {
		return
	}
	at := *s.cursor
	at.Term, at.Offset = s.term, m.Offset
	s.cursor = &at
}

func (s *Stream) resumed(p *protocol.Resumed) error {
	f, err := s.filter(p.Subscription)
	if err != nil {
		return err
	}
	if s.opened || s.retained && !f.Begun {
		return fmt.Errorf("found Resumed of %q again, or before its retained messages", f.Filter)
	}
	f.Begun = true
	s.on(f, Event{Resumed: p})
	if int(p.Subscription) == len(s.Filters) {
		s.opened = true
		return s.move(p.Position)
	}
	return nil
}
