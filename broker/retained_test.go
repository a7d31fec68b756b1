package broker_test

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/brokertest"
	"github.com/carillon-mq/carillon/protocol"
)

// K2, K3
func TestASubscriptionGetsTheRetainedMessagesThatItsFilterMatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{})
		for _, topic := range []string{"a", "a.b", "a.b.c", "a.c", "ab", "b.a", "$user.x.a"} {
			retain(t, b, topic, "v")
		}
		for filter, want := range map[string][]string{
			"a":         {"a"},
			"a.*":       {"a.b", "a.c"},
			"a.>":       {"a.b", "a.b.c", "a.c"},
			"*.b.>":     {"a.b.c"},
			">":         {"a", "a.b", "a.b.c", "a.c", "ab", "b.a"},
			"*":         {"a", "ab"},
			"$user.x.*": {"$user.x.a"},
			"none":      nil,
		} {
			c := brokertest.Dial(t, b, nil)
			c.Send(&protocol.Subscribe{ID: 1, Filter: filter})
			synctest.Wait()
			var topics []string
			for _, p := range c.Packets() {
				if m, ok := p.(*protocol.Message); ok {
					topics = append(topics, m.Topic)
				}
			}
			wantLines(t, topics, want...)
		}
	})
}

// K3: the client that does not want them gets none.
func TestASubscriptionWithoutRetainedIsLiveAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{})
		retain(t, b, "a", "1")
		c := brokertest.Dial(t, b, nil)
		c.Send(&protocol.Subscribe{ID: 1, Filter: ">", NoRetained: true})
		wantArrived(t, c, "subscribed 1 @1")
	})
}

// K1: the present value, once cleared none, and the retained message of every class.
func TestARetainedMessageIsReplacedAndCleared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{Topics: []broker.TopicRule{{Match: "live", Class: broker.ClassLive}}})
		for _, topic := range []string{"a", "live"} {
			retain(t, b, topic, "1")
			retain(t, b, topic, "2")
			if m, err := b.Retained(broker.Everybody(), topic); err != nil || string(m.Payload) != "2" || !m.Retain {
				t.Errorf("found %+v, %v, wanted the second value", m, err)
			}
			retain(t, b, topic, "")
			if _, err := b.Retained(broker.Everybody(), topic); code(err) != protocol.CodeNotFound {
				t.Errorf("found %v, wanted not_found once cleared", err)
			}
			retain(t, b, topic, "") // again: nothing to clear
		}
		if st := b.Stats(); st.RetainedTopics != 0 || st.RetainedBytes != 0 {
			t.Errorf("found %d topics and %d bytes retained in the end", st.RetainedTopics, st.RetainedBytes)
		}
	})
}

// K1: the limits count what a value costs beside its payload.
func TestRetainedMessagesAreBoundedByTheirNumberAndTheirBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{Limits: broker.Limits{Retained: 100, RetainedBytes: 64 << 10}})
		try := func(topic, payload string) protocol.Code {
			_, err := b.Publish(t.Context(), broker.Everybody(), broker.PublishRequest{Topic: topic, Payload: []byte(payload), Retain: true})
			if err == nil {
				return 0
			}
			return code(err)
		}
		for i := range 100 {
			if got := try(fmt.Sprint("t.", i), "x"); got != 0 {
				t.Fatalf("found topic %d refused as %s", i, got)
			}
		}
		if got := try("never.there", ""); got != 0 {
			t.Errorf("found the clearing of nothing refused as %s", got)
		}
		if got := try("one.more", "x"); got != protocol.CodeQuota {
			t.Errorf("found %s for topic 101, wanted quota", got)
		}
		if bytes := b.Stats().RetainedBytes; bytes < 100*130 {
			t.Errorf("found 100 small values charged %d bytes, wanted their overhead counted", bytes)
		}
		try("t.0", kib(40))
		if got := try("t.1", kib(20)); got != protocol.CodeQuota {
			t.Errorf("found %s beyond the bytes, wanted quota", got)
		}
		if got := try("t.0", kib(40)[1:]); got != 0 {
			t.Errorf("found a value that replaces a larger one refused as %s", got)
		}
		if got := try("t.0", ""); got != 0 {
			t.Errorf("found a clearing refused as %s", got)
		}
		if got := try("t.1", kib(20)); got != 0 {
			t.Errorf("found %s after a clearing, wanted room", got)
		}
	})
}

// K2: no value of a snapshot overtakes a newer one, and none is missed, however both race. A register for each topic.
func TestNoSnapshotValueFollowsANewerOne(t *testing.T) {
	b := start(t, broker.Options{RingBytes: 8 << 20})
	const topics, rounds = 700, 4000
	for i := range topics {
		retain(t, b, fmt.Sprintf("r.%d", i), "0")
	}
	stop := make(chan struct{})
	var publishers sync.WaitGroup
	for part := range 2 {
		publishers.Go(func() {
			for n := range rounds {
				topic := 2*rand.IntN(topics/2) + part
				publishAs(t, b, broker.PublishRequest{Topic: fmt.Sprintf("r.%d", topic), Payload: fmt.Append(nil, n+1), Retain: true})
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	defer publishers.Wait()
	defer close(stop)
	for i := range 30 {
		c := brokertest.Dial(t, b, nil)
		if i%3 == 0 {
			c.Allow(20 << 10) // the snapshot takes its time
		}
		c.Send(&protocol.Subscribe{ID: 1, Filter: "r.*"})
		values := map[string]int{}
		resumed := false
		for n := 0; !resumed || len(values) < topics; n++ { // what the walk found changed may come behind Resumed
			if n == 5 {
				c.Open()
			}
			p, err := c.Next()
			if err != nil {
				t.Fatal(err)
			}
			if m, ok := p.(*protocol.Message); ok {
				n, err := strconv.Atoi(string(m.Payload))
				if err != nil {
					t.Fatal(err)
				}
				if n < values[m.Topic] {
					t.Fatalf("found value %d of %s behind %d", n, m.Topic, values[m.Topic])
				}
				values[m.Topic] = n
			}
			if _, ok := p.(*protocol.Resumed); ok {
				resumed = true
			}
		}
		c.Leave()
	}
}

// K2: a value that changes behind the walk comes from the log, in its place.
func TestASnapshotIsAsOfItsBeginning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{})
		for i := range 600 {
			retain(t, b, fmt.Sprintf("r.%03d", i), kib(1))
		}
		c := brokertest.Dial(t, b, nil)
		c.Shut()
		c.Send(&protocol.Subscribe{ID: 1, Filter: "r.*"})
		synctest.Wait() // some pages are read, others not
		retain(t, b, "r.000", "new")
		retain(t, b, "r.599", "new")
		retain(t, b, "r.598", "")
		c.Open()
		var order []string
		for _, l := range arrived(c) {
			if !strings.Contains(l, "0123456789") {
				order = append(order, l)
			}
		}
		wantLines(t, without(without(order, "replay"), "resumed"), "subscribed 1 @600", "end 1",
			`message 601 r.000 "new"`, `message 602 r.599 "new"`, `message 603 r.598 ""`)
		if count(order, "resumed 1") != 1 {
			t.Errorf("found %q, wanted it resumed once", order)
		}
	})
}

func without(lines []string, prefix string) []string {
	var kept []string
	for _, l := range lines {
		if !strings.HasPrefix(l, prefix) {
			kept = append(kept, l)
		}
	}
	return kept
}

// K2: what was appended behind a Subscribe comes from the log alone, however late the shard is.
func TestAValueBehindASubscribeComesOnce(t *testing.T) {
	for _, filter := range []string{"a", "*"} {
		synctest.Test(t, func(t *testing.T) {
			b := start(t, broker.Options{Shards: 1})
			retain(t, b, "a", "old")
			c := brokertest.Dial(t, b, nil)
			synctest.Wait()
			free := b.HoldShards()
			c.Send(&protocol.Subscribe{ID: 1, Filter: filter})
			retain(t, b, "a", "new")
			free()
			wantLines(t, without(without(arrived(c), "replay 1 log"), "resumed 1"), "subscribed 1 @1", "end 1", `message 2 a "new"`)
		})
	}
}

// K3: retained items move no position.
func TestASnapshotMovesNoPosition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{})
		retain(t, b, "a.x", "1")
		publish(t, b, "a.y", "2")
		c := brokertest.Dial(t, b, nil)
		var tracker brokertest.Tracker
		if err := tracker.Handle(&c.Connected); err != nil {
			t.Fatal(err)
		}
		p := &protocol.Subscribe{ID: 1, Filter: "a.*"}
		sub := tracker.Subscribe(p)
		c.Send(p)
		synctest.Wait()
		for _, p := range c.Packets() {
			if err := tracker.Handle(p); err != nil {
				t.Fatal(err)
			}
			if m, ok := p.(*protocol.Message); ok && (m.Seq != 1 || !sub.Waits() || tracker.Session.Seq != 2) {
				t.Errorf("found %s behind which the subscription waits for its snapshot: %t, at session position %d", brokertest.Describe(p), sub.Waits(), tracker.Session.Seq)
			}
		}
		if tracker.Token(sub) == nil || sub.Waits() {
			t.Error("found nothing to resume from in the end")
		}
	})
}

// K4
func TestNothingRetainedIsServedBeforeItIsLoaded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := brokertest.NewStore()
		store.Commit(broker.Record{Topic: "a", Payload: []byte("kept"), Retain: true})
		store.GoAway()
		b := start(t, broker.Options{Store: store})
		synctest.Wait()
		if err := b.Ready(); code(err) != protocol.CodeNotReady {
			t.Errorf("found ready: %v, wanted not_ready", err)
		}
		c := brokertest.Dial(t, b, nil)
		c.Send(&protocol.Subscribe{ID: 1, Filter: "a"})
		wantArrived(t, c, "error 1 not_ready")
		c.Send(&protocol.Publish{ID: 2, Topic: "a", Payload: []byte("x"), Retain: true})
		wantArrived(t, c, "error 2 not_ready")
		if _, err := b.Retained(broker.Everybody(), "a"); code(err) != protocol.CodeNotReady {
			t.Errorf("found %v for the value, wanted not_ready", err)
		}
		c.Subscribe(3, "a") // who wants none is served, and what is not retained goes on
		c.Publish(4, "b", "")
		store.ComeBack()
		time.Sleep(2 * time.Second)
		c.Send(&protocol.Subscribe{ID: 5, Filter: "a"})
		wantLines(t, unpinged(c), "subscribed 5 @1/1", "replay 5 retained 1", `message 0/1 a "kept"`, "end 5", "resumed 5 @1/1")
		if err := b.Ready(); err != nil {
			t.Errorf("found %v, wanted ready", err)
		}
	})
}

// K4: clearing is a commit like any other.
func TestAClearingWaitsForItsCommit(t *testing.T) {
	withStore(t, broker.Options{}, func(t *testing.T, x *stored) {
		x.retain(1, "a")
		wantArrived(t, x.pub, "published 1 @1 committed 1")
		x.store.Hold()
		x.pub.Send(&protocol.Publish{ID: 2, Topic: "a", Retain: true})
		wantArrived(t, x.pub)
		if _, err := x.b.Retained(broker.Everybody(), "a"); err != nil {
			t.Errorf("found %v before the clearing is committed", err)
		}
		x.store.Release()
		wantArrived(t, x.pub, "published 2 @2 committed 2")
		if _, err := x.b.Retained(broker.Everybody(), "a"); code(err) != protocol.CodeNotFound {
			t.Errorf("found %v, wanted not_found", err)
		}
	})
}

// A snapshot walk does not stop the others: half the CPUs walk, one page at a time.
func TestManySnapshotsAtATimeAllEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{})
		for i := range 1000 {
			retain(t, b, fmt.Sprintf("r.%d", i), "x")
		}
		var clients []*brokertest.Client
		for range 50 {
			c := brokertest.Dial(t, b, nil)
			c.Send(&protocol.Subscribe{ID: 1, Filter: "*.*"})
			clients = append(clients, c)
		}
		for _, c := range clients {
			lines := arrived(c)
			if n := len(without(without(lines, "replay"), "message")); len(lines)-n < 1000 || lines[len(lines)-1] != "resumed 1 @1000" {
				t.Fatalf("found %d lines, the last one %q", len(lines), lines[len(lines)-1])
			}
		}
	})
}
