package broker_test

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing/synctest"

	"pgregory.net/rapid"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/brokertest"
	"github.com/carillon-mq/carillon/protocol"
)

// modelClient is one client, over all its connections.
type modelClient struct {
	m            *model
	name         int
	origin       string
	conn         *brokertest.Conn
	session      *broker.Session
	tracker      brokertest.Tracker
	subs         map[uint64]*modelSub
	nextID       uint64
	sent         map[uint64]bool // messages that came for all, on this connection
	gaps         []*protocol.Gap // that came for all
	unsubscribed bool            // on this connection: counts may be unknown
	failed       error
	gone         bool              // the broker has ended the session, or has refused a subscription for now
	history      []protocol.Packet // of this connection
}

// modelSub is a subscription, over all the connections on which it was resumed.
type modelSub struct {
	filter    string
	origin    string
	retained  bool
	from      uint64 // begins behind this entry; from and the rest are of the present beginning
	began     bool
	last      uint64 // the last entry it was handed
	got       map[uint64]bool
	gaps      []toldGap
	ahead     bool              // has to be told so, before anything else
	whileAway bool              // it went on while nobody knew
	plainGap  bool              // was told what is not stored, on this connection
	joined    bool              // the log, on this connection
	live      uint64            // behind this entry
	values    map[string]string // what its client knows of retained messages
	named     map[string]bool   // in the snapshot that is coming

	placeless map[uint64]bool // of got, those that a client which follows cannot go on behind
}

// resumed is what a subscription goes on from; without a token it begins anew.
type resumed struct {
	sub      *modelSub
	token    []byte
	snapshot bool
}

func (c *modelClient) ids() []uint64 { return sortedKeys(c.subs) }

func (c *modelClient) connect(rt *rapid.T) {
	c.conn = brokertest.NewConn()
	c.subs, c.tracker.Subs = map[uint64]*modelSub{}, nil
	c.history, c.sent, c.gaps, c.unsubscribed, c.nextID, c.gone = nil, map[uint64]bool{}, nil, false, 0, false
	var err error
	if c.session, err = c.m.b.Open(c.conn, broker.ConnInfo{}); err != nil {
		rt.Fatal(err)
	}
	c.send(rt, &protocol.Connect{Version: 1, Origin: c.origin})
}

// leave loses the connection, and is what goes on on the next one.
func (c *modelClient) leave(rt *rapid.T) (goesOn []*resumed) {
	c.read(rt)
	for _, id := range c.ids() {
		r := &resumed{sub: c.subs[id]}
		if s := c.tracker.Subs[id]; s != nil {
			r.token, r.snapshot = c.tracker.Token(s), s.Waits()
		}
		goesOn = append(goesOn, r)
	}
	c.conn.Abort()
	c.session.Closed(nil)
	return goesOn
}

func (c *modelClient) resume(rt *rapid.T, goesOn []*resumed) {
	c.connect(rt)
	for _, r := range goesOn {
		c.subscribe(rt, r.sub.filter, r.sub.retained, r)
	}
}

func (c *modelClient) send(rt *rapid.T, p protocol.Packet) {
	if c.session.Queued() > 6<<10 { // or the session would not read from who does not read
		c.conn.Open()
		synctest.Wait()
	}
	if err := c.session.Receive(p.Append(nil), false); err != nil {
		rt.Fatal(err)
	}
}

func (c *modelClient) subscribe(rt *rapid.T, filter string, retained bool, goesOn *resumed) {
	c.nextID++
	p := &protocol.Subscribe{ID: c.nextID, Filter: filter, NoRetained: !retained}
	s := &modelSub{filter: filter, origin: c.origin, retained: retained, got: map[uint64]bool{}, values: map[string]string{}, named: map[string]bool{}}
	if goesOn != nil && goesOn.token != nil {
		s, p.Position, p.Snapshot = goesOn.sub, goesOn.token, goesOn.snapshot
		s.joined, s.plainGap, s.ahead, s.whileAway = false, false, c.m.ahead(rt, filter, p.Position), c.m.away
	}
	c.subs[p.ID] = s
	c.tracker.Subscribe(p)
	c.send(rt, p)
}

// read takes what has arrived.
func (c *modelClient) read(rt *rapid.T) {
	if err := c.conn.Fault(); err != nil {
		rt.Fatalf("client %d: %v", c.name, err)
	}
	for _, p := range c.conn.Packets() {
		c.history = append(c.history, p)
		if err := c.handle(p); err != nil {
			rt.Fatalf("client %d: %v, after\n%s", c.name, err, c.last())
		}
	}
}

// last is the end of what has arrived on this connection.
func (c *modelClient) last() string { return lastOf(c.history) }

func lastOf(history []protocol.Packet) string {
	var lines []string
	for _, p := range history[max(0, len(history)-60):] {
		line := brokertest.Describe(p)[0]
		if m, ok := p.(*protocol.Message); ok {
			line = fmt.Sprintf("%s #%s", line[:min(len(line), 30)], m.Headers["n"])
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

func (c *modelClient) handle(packet protocol.Packet) error {
	switch p := packet.(type) {
	case *protocol.Disconnect:
		if c.gone = c.m.store != nil && p.Code == protocol.CodeUnavailable; !c.gone {
			return fmt.Errorf("found the session ended as %s", p.Name)
		}
	case *protocol.ErrorPacket:
		if c.gone && p.Code == protocol.CodeNotFound {
			return nil // it has unsubscribed what was refused, and did not know yet
		}
		if c.gone = c.m.store != nil && (p.Code == protocol.CodeStoreUnavailable || p.Code == protocol.CodeNotReady); !c.gone {
			return fmt.Errorf("found %s: %s", p.Name, p.Detail)
		}
	case *protocol.Subscribed:
		if s := c.subs[p.ID]; s != nil && !s.began {
			s.began, s.from = true, c.m.numberAt(&p.Position)
			s.last = s.from
		}
		if s := c.subs[p.ID]; s != nil && !s.retained && c.tracker.Subs[p.ID].Live {
			s.joined, s.live = true, c.m.numberAt(&p.Position)
		}
	case *protocol.Message:
		if !c.tracker.Replaying() {
			c.sent[number(p)] = true
		}
	case *protocol.Gap:
		if p.Subscription == 0 {
			if err := c.count(p); err != nil {
				return err
			}
		}
	}
	if err := c.tracker.Handle(packet); err != nil {
		return err
	}
	return c.failed
}

// count checks the count of a gap for all: what no connection of this client was sent of what its live subscriptions want.
func (c *modelClient) count(g *protocol.Gap) error {
	if g.Count < 0 {
		if !c.unsubscribed && g.From.Seq < g.To.Seq {
			return fmt.Errorf("found no count, wanted one: nothing was unsubscribed")
		}
		return nil
	}
	if c.unsubscribed {
		return nil // what the subscription that ended has missed is in the count or not, as it was live or not
	}
	return c.m.counts(g, func(n uint64, e *published) bool {
		if c.sent[n] || e.notFor(c.origin) {
			return false
		}
		for _, s := range c.subs {
			if s.joined && s.live < n && protocol.Match(s.filter, e.topic) {
				return true
			}
		}
		return false
	})
}

// number is the entry that a message is.
func number(m *protocol.Message) uint64 {
	n, err := strconv.ParseUint(m.Headers["n"], 10, 64)
	if err != nil {
		panic(err)
	}
	return n
}

func (c *modelClient) on(t *brokertest.Tracked, e brokertest.Event) {
	s := c.subs[t.ID]
	switch {
	case s == nil:
	case e.Gap != nil:
		if err := s.gap(c.m, e.Gap); err != nil {
			c.fail(t, "%v", err)
		}
	case e.End != nil:
		for topic := range s.values {
			if e.End.Reset && !s.named[topic] {
				delete(s.values, topic)
			}
		}
	case e.Resumed != nil:
		if s.ahead {
			c.fail(t, "found it resumed, wanted to be told first that the token is ahead")
		}
		if !s.joined { // one that has joined may be told again, after a gap
			s.joined, s.live = true, c.m.numberAt(&e.Resumed.Position)
		}
	case e.Retained:
		s.named[e.Message.Topic] = true
		s.values[e.Message.Topic] = e.Message.Headers["n"]
	default:
		c.message(t, s, e.Message)
	}
}

// gap notes a gap, and checks that it is one of those that there may be.
func (s *modelSub) gap(m *model, g *protocol.Gap) error {
	s.gaps = append(s.gaps, m.told(g))
	clear(s.named)
	named := g.Subscription != 0
	switch g.Reason {
	case protocol.GapAhead:
		if !s.ahead && !s.whileAway && named {
			return errors.New("found ahead, of a token that the store knows")
		}
		s.ahead = false
	case protocol.GapEpoch, protocol.GapNotStored:
		if !m.mayBePlain(s.filter) && named {
			return fmt.Errorf("found %s for a filter that only stored topics match", g.Reason)
		}
		if g.From.Epoch == g.To.Epoch {
			break // the log has passed it before it was live
		}
		if s.plainGap && named {
			return fmt.Errorf("found %s again", g.Reason)
		}
		s.plainGap = true
	case protocol.GapTrimmed, protocol.GapLive:
	case protocol.GapForbidden:
		return errors.New("found forbidden, nothing is")
	}
	if s.ahead {
		return fmt.Errorf("found %s before ahead", g.Reason)
	}
	return nil
}

func (c *modelClient) message(t *brokertest.Tracked, s *modelSub, m *protocol.Message) {
	n := number(m)
	if m.Retain {
		if s.values[m.Topic] = m.Headers["n"]; len(m.Payload) == 0 {
			delete(s.values, m.Topic)
		}
	}
	entry := c.m.log[n-1]
	switch {
	case entry.topic != m.Topic || !protocol.Match(s.filter, m.Topic):
		c.fail(t, "found message %d of %q", n, m.Topic)
	case entry.notFor(s.origin):
		c.fail(t, "found message %d, which excludes %s", n, s.origin)
	case s.ahead:
		c.fail(t, "found message %d, wanted to be told first that the token is ahead", n)
	case entry.live && (n <= s.last || s.got[n]):
		s.got[n] = true
		return // a message without a place may come to a subscription twice where it joins: POS-7 has nothing to tell it by
	case n <= s.last || s.got[n] || n <= s.from:
		c.fail(t, "found message %d behind %d, begun behind %d", n, s.last, s.from)
	}
	s.last, s.got[n] = n, true
}

func (c *modelClient) fail(t *brokertest.Tracked, format string, a ...any) {
	if c.failed == nil {
		c.failed = fmt.Errorf("subscription %d: "+format, append([]any{t.ID}, a...)...)
	}
}

// finish checks that the subscription has everything, and the retained messages.
func (s *modelSub) finish(m *model, held map[uint64]bool, values map[string]string) error {
	if !s.began || !s.joined {
		return errors.New("found it not live in the end")
	}
	for i := range m.log {
		n, e := uint64(i+1), &m.log[i]
		if n <= s.from || s.got[n] || e.lost || e.notFor(s.origin) || e.expired() || !protocol.Match(s.filter, e.topic) {
			continue
		}
		if held[n] && !slices.ContainsFunc(s.gaps, func(g toldGap) bool { return (g.jump || g.until <= m.restored) && m.covers(g, n) }) {
			return fmt.Errorf("message %d was not delivered, and the store has it; gaps %+v", n, s.gaps)
		}
		if !slices.ContainsFunc(s.gaps, func(g toldGap) bool { return m.covers(g, n) }) {
			return fmt.Errorf("message %d %+v was neither delivered nor told missing; gaps %+v", n, *e, s.gaps)
		}
	}
	if !s.retained {
		return nil
	}
	want, unseen := map[string]string{}, m.unseen(s.origin)
	for topic, n := range values {
		if protocol.Match(s.filter, topic) && !unseen[topic] {
			want[topic] = n
		}
	}
	for topic, n := range s.values {
		if want[topic] != n && !unseen[topic] {
			return fmt.Errorf("found value %q of %s, wanted %q", n, topic, want[topic])
		}
		delete(want, topic)
	}
	if len(want) > 0 {
		return fmt.Errorf("found no value of %v", want)
	}
	return nil
}
