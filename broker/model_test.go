package broker_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/brokertest"
	"github.com/carillon-mq/carillon/protocol"
)

// TestSubscribersGetTheLog is G1, G4, G5 and G10 in small: random publishes, subscribes, resumes, stalls, unsubscribes, cuts and
// restarts over a few topics, with a ring of some tens of messages and a store that goes away, loses answers, drops what its rules do
// not keep and is replaced by an older copy of itself, against the plain list of what was published. Some messages exclude a client, some expire.
//
// A subscription has to get what matches it, from where it began, in order and once, or be told of a gap around it; across cuts and
// restarts, too. What the store still has of a stored topic has to come in any case. The counts of gaps are exact. In the end a
// client that wants retained messages knows exactly those that there are.
func TestSubscribersGetTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rapid.Check(struct{ testing.TB }{t}, func(rt *rapid.T) { // a bubble has no deadline to ask for
			m := newModel(rt)
			defer func() { m.b.Close() }()
			rt.Repeat(map[string]func(*rapid.T){
				"publish":     m.publish,
				"burst":       m.burst,
				"subscribe":   m.subscribe,
				"unsubscribe": m.unsubscribe,
				"shut":        func(rt *rapid.T) { m.conn(rt).Shut() },
				"allow":       func(rt *rapid.T) { m.conn(rt).Allow(rapid.Int64Range(1, 20_000).Draw(rt, "bytes")) },
				"open":        func(rt *rapid.T) { m.conn(rt).Open() },
				"cut":         func(rt *rapid.T) { m.cut(rt, m.client(rt)) },
				"reopen":      m.reopen,
				"locate":      m.locate,
				"rest":        func(*rapid.T) { synctest.Wait() },
				"time":        func(rt *rapid.T) { time.Sleep(time.Duration(rapid.IntRange(1, 20).Draw(rt, "seconds")) * time.Second) },
				"restart":     m.restart,
				"store":       m.storeFault,
				"":            m.check,
			})
			m.finish(rt)
		})
	})
}

var (
	modelTopics  = []string{"a.x", "a.y", "b.x", "live.x", "kept.x", "kept.y", "aged.x"}
	modelFilters = []string{"a.x", "a.*", "*.x", ">", "live.x", "b.>", "c", "kept.x", "kept.*", "*.y", "aged.>"}
	modelStored  = []string{"kept.*", "aged.>"}
)

type model struct {
	opt       broker.Options
	b         *broker.Broker
	run       modelRun
	runs      map[protocol.RunID]modelRun // by epoch
	store     *brokertest.Store           // nil: none
	keeps     bool                        // it has histories
	terms     bool                        // it knows them
	copy      *brokertest.State
	restored  uint64 // the newest message when a copy was last put in the store's place: that may bring back what had been dropped
	away      bool   // the store is, or was since the sessions were looked at last
	log       []published
	clients   []*modelClient
	followers []*modelFollower
}

func newModel(rt *rapid.T) *model {
	m := &model{runs: map[protocol.RunID]modelRun{}}
	m.opt = broker.Options{
		RingBytes: 64 << 10, Shards: rapid.IntRange(1, 2).Draw(rt, "shards"),
		Topics: []broker.TopicRule{{Match: "live.>", Class: broker.ClassLive}},
		Limits: broker.Limits{Pending: 8 << 10}, PingEvery: 24 * time.Hour, Stalled: 240 * time.Hour, // time goes by while a feed is cut
		DrainSpread: 1,
	}
	if rapid.Bool().Draw(rt, "store") {
		m.openStore(rt)
	}
	m.start(rt, nil)
	for i := range 3 {
		c := &modelClient{m: m, name: i, origin: []string{"c0", "c1", ""}[i], subs: map[uint64]*modelSub{}}
		c.tracker.On = c.on
		m.clients = append(m.clients, c)
		c.connect(rt)
	}
	for i := range 2 {
		f := &modelFollower{m: m, name: i, origin: []string{"f0", ""}[i], retained: i == 0}
		m.followers = append(m.followers, f)
		f.open(rt, broker.FollowRequest{Filters: []string{rapid.SampledFrom(modelFilters).Draw(rt, "filter")}})
	}
	return m
}

func (m *model) client(rt *rapid.T) *modelClient {
	return m.clients[rapid.IntRange(0, len(m.clients)-1).Draw(rt, "client")]
}

// conn is somebody's connection.
func (m *model) conn(rt *rapid.T) *brokertest.Conn {
	i := rapid.IntRange(0, len(m.clients)+len(m.followers)-1).Draw(rt, "connection")
	if i < len(m.clients) {
		return m.clients[i].conn
	}
	return m.followers[i-len(m.clients)].conn
}

func (m *model) publish(rt *rapid.T) {
	size := rapid.SampledFrom([]int{1, 100, 1000, 6000}).Draw(rt, "size")
	m.append(rt, rapid.SampledFrom(modelTopics).Draw(rt, "topic"), size, rapid.SampledFrom([]string{"", "", "retain", "clear"}).Draw(rt, "kind"))
}

func (m *model) burst(rt *rapid.T) {
	topics := [][]string{modelTopics, {"kept.x", "aged.x"}, {"aged.x"}}[rapid.IntRange(0, 2).Draw(rt, "what")]
	for range rapid.IntRange(2, 60).Draw(rt, "messages") {
		m.append(rt, rapid.SampledFrom(topics).Draw(rt, "topic"), 1000, "")
	}
}

// appendPlain publishes what needs no store.
func (m *model) appendPlain(rt *rapid.T) {
	m.append(rt, rapid.SampledFrom([]string{"a.x", "b.x"}).Draw(rt, "topic"), 100, "")
}

func (m *model) append(rt *rapid.T, topic string, size int, kind string) {
	p := published{topic: topic, live: topic == "live.x", retain: kind != "", clear: kind == "clear"}
	p.stored = m.mayBeStored(topic)
	p.exclude = rapid.SampledFrom([]string{"", "", "", "", "c0", "f0"}).Draw(rt, "exclude")
	ttl := time.Duration(0)
	if kind == "" {
		ttl = rapid.SampledFrom([]time.Duration{0, 0, 0, time.Second, 20 * time.Second}).Draw(rt, "ttl")
	}
	if ttl > 0 {
		p.expires = time.Now().Add(ttl)
	}
	m.log = append(m.log, p)
	e, n := &m.log[len(m.log)-1], uint64(len(m.log))
	payload := make([]byte, size)
	if p.clear {
		payload = nil
	}
	number := map[string]string{"n": fmt.Sprint(n)} // not every message has a seq to know it by
	fault := 9
	if m.store != nil && !m.away {
		fault = rapid.IntRange(0, 9).Draw(rt, "fault")
	}
	switch fault {
	case 0:
		m.store.LoseAnswers(1)
	case 1: // another broker publishes it
		if !p.stored && !p.retain {
			break
		}
		m.awaitStore()
		r := broker.Record{Topic: topic, Retain: p.retain, Payload: payload, Headers: number, Exclude: p.exclude}
		if ttl > 0 {
			r.Expires = p.expires.UnixMilli()
		}
		e.offset = m.store.Commit(r)
		synctest.Wait()
		return
	}
	r := broker.PublishRequest{Topic: topic, Payload: payload, Headers: number, Retain: p.retain, MessageID: number["n"], Exclude: p.exclude, TTL: ttl}
	ack, err := m.b.Publish(rt.Context(), broker.Everybody(), r)
	if err != nil {
		rt.Fatal(err)
	}
	if want := m.seqOf(n); !p.live && ack.Seq != want || p.live && ack.Seq != 0 || ack.Duplicate || p.stored && ack.Offset == 0 {
		rt.Fatalf("found message %d, the log's %d, acknowledged as %+v", n, want, ack)
	}
	e.offset = ack.Offset
	if fault == 2 {
		again, err := m.b.Publish(rt.Context(), broker.Everybody(), r)
		if ack.Duplicate = true; err != nil || again != ack {
			rt.Fatalf("found the repetition of %+v acknowledged as %+v, %v", ack, again, err)
		}
	}
}

func (m *model) subscribe(rt *rapid.T) {
	c := m.client(rt)
	if len(c.subs) < 4 {
		c.subscribe(rt, rapid.SampledFrom(modelFilters).Draw(rt, "filter"), rapid.Bool().Draw(rt, "retained"), nil)
	}
}

func (m *model) unsubscribe(rt *rapid.T) {
	c := m.client(rt)
	if len(c.subs) == 0 {
		return
	}
	id := rapid.SampledFrom(c.ids()).Draw(rt, "subscription")
	c.nextID++
	delete(c.subs, id)
	delete(c.tracker.Subs, id) // from here on the client passes over what comes for it
	c.send(rt, &protocol.Unsubscribe{ID: c.nextID, Subscription: id})
	c.unsubscribed = true
}

// cut loses a connection and resumes everything on another one.
func (m *model) cut(rt *rapid.T, c *modelClient) {
	goesOn := c.leave(rt)
	c.resume(rt, goesOn)
}

func (m *model) check(rt *rapid.T) {
	for _, c := range m.clients {
		c.read(rt)
	}
	for _, f := range m.followers {
		f.read(rt)
	}
}

// finish opens every socket and checks that everybody has got, or been told of, everything.
func (m *model) finish(rt *rapid.T) {
	m.mend(rt)
	for some := true; some; some = m.bringBack(rt) {
		for _, c := range m.clients {
			c.conn.Open()
		}
		for _, f := range m.followers {
			f.conn.Open()
		}
		time.Sleep(time.Second) // who could not read the store tries again
		synctest.Wait()
		m.check(rt)
	}
	held, values := m.held(rt), m.values()
	for _, c := range m.clients {
		for _, id := range sortedKeys(c.subs) {
			if err := c.subs[id].finish(m, held, values); err != nil {
				rt.Fatalf("client %d, subscription %d, %q: %v, after\n%s", c.name, id, c.subs[id].filter, err, c.last())
			}
		}
		c.conn.Abort()
		c.session.Closed(nil)
	}
	for _, f := range m.followers {
		f.finish(rt, held, values)
	}
	if got := m.b.Stats().Lagging; got != 0 {
		rt.Fatalf("found %d sessions lagging in the end", got)
	}
	synctest.Wait()
	if items, nodes, interest, watched := m.b.Leftovers(); items+nodes+interest+watched != 0 {
		rt.Fatalf("found %d subscriptions, %d levels, %d of interest, %d heartbeats left", items, nodes, interest, watched)
	}
	if charged, held := m.b.RingBytes(); charged != held {
		rt.Fatalf("found the ring charged %d bytes for %d", charged, held)
	}
}

func sortedKeys[V any](m map[uint64]V) []uint64 {
	keys := make([]uint64, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
