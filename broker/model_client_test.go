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
	conn         *brokertest.Conn
	session      *broker.Session
	tracker      brokertest.Tracker
	subs         map[uint64]*modelSub
	nextID       uint64
	sent         map[uint64]bool // messages that came for all, on this connection
	gaps         []*protocol.Gap // that came for all
	unsubscribed bool            // on this connection: counts may be unknown
	failed       error
	history      []protocol.Packet // of this connection
}

// modelSub is a subscription, over all the connections on which it was resumed.
type modelSub struct {
	filter   string
	retained bool
	from     uint64 // begins behind this entry; from and the rest are of the present beginning
	began    bool
	last     uint64 // the last entry it was handed
	got      map[uint64]bool
	gaps     [][2]uint64
	joined   bool              // the log, on this connection
	live     uint64            // behind this entry
	values   map[string]string // what its client knows of retained messages
	named    map[string]bool   // in the snapshot that is coming
}

// resumed is what a subscription goes on from; without a token it begins anew.
type resumed struct {
	sub   *modelSub
	token []byte
}

func (c *modelClient) ids() []uint64 { return sortedKeys(c.subs) }

func (c *modelClient) connect(rt *rapid.T) {
	c.conn = brokertest.NewConn()
	c.subs, c.tracker.Subs = map[uint64]*modelSub{}, nil
	c.history, c.sent, c.gaps, c.unsubscribed, c.nextID = nil, map[uint64]bool{}, nil, false, 0
	var err error
	if c.session, err = c.m.b.Open(c.conn, broker.ConnInfo{}); err != nil {
		rt.Fatal(err)
	}
	c.send(rt, &protocol.Connect{Version: 1})
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
	s := &modelSub{filter: filter, retained: retained, got: map[uint64]bool{}, values: map[string]string{}, named: map[string]bool{}}
	if goesOn != nil && goesOn.token != nil {
		s, p.Position = goesOn.sub, goesOn.token
		s.joined = false
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
	case *protocol.ErrorPacket, *protocol.Disconnect:
		return fmt.Errorf("found %T, wanted none", p)
	case *protocol.Subscribed:
		if s := c.subs[p.ID]; s != nil && !s.began {
			s.began, s.from, s.last = true, p.Position.Seq, p.Position.Seq
		}
		if s := c.subs[p.ID]; s != nil && !s.retained && c.tracker.Subs[p.ID].Live {
			s.joined, s.live = true, p.Position.Seq
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
		if !c.unsubscribed {
			return fmt.Errorf("found no count, wanted one: nothing was unsubscribed")
		}
		return nil
	}
	if c.unsubscribed {
		return nil // what the subscription that ended has missed is in the count or not, as it was live or not
	}
	var missing int64
	for seq := g.From.Seq + 1; seq <= g.To.Seq; seq++ {
		e := c.m.log[seq-1]
		if c.sent[seq] || g.Reason == protocol.GapLive && !(e.live && !e.retain) {
			continue
		}
		for _, s := range c.subs {
			if s.joined && s.live < seq && protocol.Match(s.filter, e.topic) {
				missing++
				break
			}
		}
	}
	if missing != g.Count {
		return fmt.Errorf("found count %d, wanted %d", g.Count, missing)
	}
	return nil
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
		s.gaps = append(s.gaps, [2]uint64{e.Gap.From.Seq, e.Gap.To.Seq})
		clear(s.named)
	case e.End != nil:
		for topic := range s.values {
			if e.End.Reset && !s.named[topic] {
				delete(s.values, topic)
			}
		}
	case e.Resumed != nil:
		if !s.joined { // one that has joined may be told again, after a gap
			s.joined, s.live = true, e.Resumed.Position.Seq
		}
	case e.Retained:
		s.named[e.Message.Topic] = true
		s.values[e.Message.Topic] = e.Message.Headers["n"]
	default:
		c.message(t, s, e.Message)
	}
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
	case entry.live && (n <= s.last || s.got[n]):
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
func (s *modelSub) finish(m *model) error {
	if !s.began || !s.joined {
		return errors.New("found it not live in the end")
	}
	for i, e := range m.log {
		seq := uint64(i + 1)
		if seq <= s.from || s.got[seq] || !protocol.Match(s.filter, e.topic) {
			continue
		}
		if !slices.ContainsFunc(s.gaps, func(g [2]uint64) bool { return g[0] < seq && seq <= g[1] }) {
			return fmt.Errorf("message %d was neither delivered nor told missing; gaps %v", seq, s.gaps)
		}
	}
	if !s.retained {
		return nil
	}
	want := map[string]string{}
	for i, e := range m.log {
		if !e.retain || !protocol.Match(s.filter, e.topic) {
			continue
		}
		if want[e.topic] = fmt.Sprint(i + 1); e.clear {
			delete(want, e.topic)
		}
	}
	for topic, n := range s.values {
		if want[topic] != n {
			return fmt.Errorf("found value %q of %s, wanted %q", n, topic, want[topic])
		}
		delete(want, topic)
	}
	if len(want) > 0 {
		return fmt.Errorf("found no value of %v", want)
	}
	return nil
}
