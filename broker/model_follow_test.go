package broker_test

import (
	"fmt"
	"slices"
	"testing/synctest"

	"pgregory.net/rapid"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/brokertest"
	"github.com/carillon-mq/carillon/protocol"
)

// modelFollower is one client that follows, over all its connections.
type modelFollower struct {
	m        *model
	name     int
	origin   string
	retained bool
	conn     *brokertest.Conn
	session  *broker.Session
	stream   *brokertest.Stream
	subs     map[string]*modelSub
	sent     map[uint64]bool // on this connection, as messages of the log
	failed   error
	gone     bool // the broker has ended the session, or could not begin it
	history  []protocol.Packet
}

// open connects, with what goes on from after and what begins.
func (f *modelFollower) open(rt *rapid.T, r broker.FollowRequest) {
	r.NoRetained, r.Origin = !f.retained, f.origin
	f.conn = brokertest.NewConn()
	f.conn.OneWay()
	f.history, f.sent = nil, map[uint64]bool{}
	f.stream = brokertest.NewStream(r, f.m.b.Position)
	f.stream.On = f.on
	subs := map[string]*modelSub{}
	for _, filter := range r.Filters {
		if subs[filter] = f.subs[filter]; subs[filter] == nil || r.After == nil || slices.Contains(r.Fresh, filter) {
			subs[filter] = &modelSub{filter: filter, origin: f.origin, retained: f.retained, got: map[uint64]bool{}, values: map[string]string{}, named: map[string]bool{}, placeless: map[uint64]bool{}}
		}
		subs[filter].again()
	}
	for _, filter := range r.Filters {
		if r.After != nil && !slices.Contains(r.Fresh, filter) && f.m.ahead(rt, filter, r.After.Append(nil)) {
			f.ahead(r.Filters, r.Fresh, subs)
		}
	}
	f.subs, f.gone = subs, false
	var err error
	if f.session, err = f.m.b.Open(f.conn, broker.ConnInfo{Identity: broker.Everybody()}); err != nil {
		rt.Fatal(err)
	}
	if err := f.session.Follow(r); err != nil {
		if f.gone = f.m.store != nil && (code(err) == protocol.CodeStoreUnavailable || code(err) == protocol.CodeNotReady); !f.gone {
			rt.Fatal(err)
		}
		f.conn.Abort()
	}
}

// ahead notes that what goes on has to be told that its position is ahead.
func (f *modelFollower) ahead(filters, fresh []string, subs map[string]*modelSub) {
	for _, filter := range filters {
		subs[filter].ahead = !slices.Contains(fresh, filter)
	}
}

// again is a subscription that goes on on another connection. What it was handed without a place behind it comes again.
func (s *modelSub) again() {
	s.joined, s.plainGap, s.ahead = false, false, false
	for n := range s.placeless {
		delete(s.got, n)
	}
	clear(s.placeless)
	s.last = s.from
	for n := range s.got {
		s.last = max(s.last, n)
	}
}

// reopen loses the connection and goes on from the last position, with other filters perhaps.
func (f *modelFollower) reopen(rt *rapid.T) {
	r := f.leave(rt)
	if r.After != nil {
		if i := rapid.IntRange(0, 5).Draw(rt, "drop"); i < len(r.Filters) && len(r.Filters) > 1 {
			r.Fresh = slices.DeleteFunc(slices.Clone(r.Fresh), func(s string) bool { return s == r.Filters[i] })
			r.Filters = slices.Delete(slices.Clone(r.Filters), i, i+1)
		}
	}
	if filter := rapid.SampledFrom(modelFilters).Draw(rt, "new"); !slices.Contains(r.Filters, filter) && len(r.Filters) < 4 {
		r.Filters, r.Fresh = append(r.Filters, filter), append(slices.Clone(r.Fresh), filter)
	}
	f.open(rt, r)
}

// leave loses the connection, and is what goes on on the next one.
func (f *modelFollower) leave(rt *rapid.T) (r broker.FollowRequest) {
	f.read(rt)
	for _, s := range f.stream.Filters {
		r.Filters = append(r.Filters, s.Filter)
	}
	if after, fresh := f.stream.Cursor(); after != nil {
		r.After, r.Fresh = after, fresh
	}
	f.conn.Abort()
	f.session.Closed(nil)
	return r
}

func (f *modelFollower) read(rt *rapid.T) {
	if err := f.conn.Fault(); err != nil {
		rt.Fatalf("follower %d: %v", f.name, err)
	}
	for _, p := range f.conn.Packets() {
		f.history = append(f.history, p)
		if d, ended := p.(*protocol.Disconnect); ended && d.Code == protocol.CodeUnavailable { // the log has begun anew, or has passed what was to begin
			f.gone = true
			continue
		}
		before, _ := f.stream.Cursor()
		err := f.stream.Handle(p)
		if after, _ := f.stream.Cursor(); after != before { // it goes on behind everything that has come
			for _, s := range f.subs {
				clear(s.placeless)
			}
		}
		if g, ok := p.(*protocol.Gap); ok && err == nil {
			err = f.count(g)
		}
		if err == nil {
			err = f.failed
		}
		if err != nil {
			rt.Fatalf("follower %d of %v: %v, after\n%s", f.name, sortedNames(f.subs), err, lastOf(f.history))
		}
	}
}

// count checks a count that is told: it is of what this connection was not sent since it began, and unknown before.
func (f *modelFollower) count(g *protocol.Gap) error {
	if g.Count < 0 {
		return nil
	}
	return f.m.counts(g, func(n uint64, e *published) bool {
		return !f.sent[n] && !e.notFor(f.origin) &&
			slices.ContainsFunc(f.stream.Filters, func(s brokertest.Followed) bool { return s.Begun && protocol.Match(s.Filter, e.topic) })
	})
}

func (f *modelFollower) on(s *brokertest.Followed, e brokertest.Event) {
	sub := f.subs[s.Filter]
	switch {
	case e.Gap != nil:
		if err := sub.gap(f.m, e.Gap); err != nil {
			f.fail("%q: %v", s.Filter, err)
		}
	case e.End != nil:
		for topic := range sub.values {
			if e.End.Reset && !sub.named[topic] {
				delete(sub.values, topic)
			}
		}
	case e.Resumed != nil:
		if sub.ahead {
			f.fail("%q: found it resumed, wanted to be told first that the position is ahead", s.Filter)
		}
		if sub.joined = true; !sub.began {
			sub.began, sub.from = true, f.m.numberAt(&e.Resumed.Position)
			sub.last = sub.from
		}
	case e.Retained:
		sub.named[e.Message.Topic], sub.values[e.Message.Topic] = true, e.Message.Headers["n"]
	default:
		f.sent[number(e.Message)] = true
		f.message(sub, e.Message)
		if after, _ := f.stream.Cursor(); e.Message.Seq == 0 && e.Message.Offset > 0 && (after == nil || after.Offset != e.Message.Offset) {
			sub.placeless[number(e.Message)] = true
		}
	}
}

func (f *modelFollower) message(s *modelSub, m *protocol.Message) {
	n := number(m)
	if m.Retain {
		if s.values[m.Topic] = m.Headers["n"]; len(m.Payload) == 0 {
			delete(s.values, m.Topic)
		}
	}
	entry := f.m.log[n-1]
	switch {
	case s.ahead:
		f.fail("found message %d, wanted to be told first that the position is ahead", n)
	case entry.topic != m.Topic || !protocol.Match(s.filter, m.Topic):
		f.fail("found message %d of %q for %q", n, m.Topic, s.filter)
	case entry.notFor(f.origin):
		f.fail("found message %d, which excludes %s", n, f.origin)
	case entry.live && (n <= s.last || s.got[n]):
		s.got[n] = true
		return // without a place it may come again where the stream goes on
	case n <= s.last || s.got[n] || n <= s.from:
		f.fail("found message %d behind %d, begun behind %d", n, s.last, s.from)
	}
	s.last, s.got[n] = n, true
}

func (f *modelFollower) fail(format string, a ...any) {
	if f.failed == nil {
		f.failed = fmt.Errorf(format, a...)
	}
}

func (f *modelFollower) finish(rt *rapid.T, held map[uint64]bool, values map[string]string) {
	for _, filter := range sortedNames(f.subs) {
		if err := f.subs[filter].finish(f.m, held, values); err != nil {
			rt.Fatalf("follower %d, %q: %v, after\n%s", f.name, filter, err, lastOf(f.history))
		}
	}
	f.conn.Abort()
	f.session.Closed(nil)
}

func (m *model) follower(rt *rapid.T) *modelFollower {
	return m.followers[rapid.IntRange(0, len(m.followers)-1).Draw(rt, "follower")]
}

func (m *model) reopen(rt *rapid.T) { m.follower(rt).reopen(rt) }

func (m *model) locate(rt *rapid.T) {
	m.follower(rt).session.Locate()
	if rapid.Bool().Draw(rt, "rest") {
		synctest.Wait()
	}
}

func sortedNames[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for k := range m {
		names = append(names, k)
	}
	slices.Sort(names)
	return names
}
