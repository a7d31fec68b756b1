package broker_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/brokertest"
	"github.com/carillon-mq/carillon/protocol"
)

// R1
func TestASessionGetsAMessageOnceHoweverManyFiltersMatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{})
		c := brokertest.Dial(t, b, nil)
		for i, filter := range []string{"a.b", "a.*", "a.>", ">", "*.b", "a.b"} {
			c.Subscribe(uint64(i+1), filter)
		}
		ack := publishAs(t, b, broker.PublishRequest{Topic: "a.b", Receivers: true})
		if ack.Receivers != 1 {
			t.Errorf("found %d receivers, wanted 1", ack.Receivers)
		}
		c.Shut()
		for range 200 {
			publish(t, b, "a.b", kib(1))
		}
		c.Open()
		synctest.Wait()
		seen := map[uint64]bool{}
		for _, p := range c.Packets() {
			m := p.(*protocol.Message)
			if seen[m.Seq] {
				t.Fatalf("found message %d twice", m.Seq)
			}
			seen[m.Seq] = true
		}
		if len(seen) != 201 {
			t.Errorf("found %d messages, wanted 201", len(seen))
		}
	})
}

// R1: a subscription that catches up has a position of its own, and moves no other one's.
func TestAReplayForOneSubscriptionMovesNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{})
		token := b.Position().Append(nil)
		for range 100 {
			publish(t, b, "old", kib(1))
		}
		c := brokertest.Dial(t, b, nil)
		tracker := brokertest.Tracker{}
		got := map[uint64]int{}
		tracker.On = func(s *brokertest.Tracked, e brokertest.Event) {
			if e.Message != nil {
				got[s.ID]++
			}
		}
		for _, p := range []*protocol.Subscribe{{ID: 1, Filter: "live", NoRetained: true}, {ID: 2, Filter: ">", Position: token}} {
			tracker.Subscribe(p)
			c.Allow(30 << 10)
			c.Send(p)
			publish(t, b, "live", fmt.Sprint(p.ID))
		}
		c.Open()
		synctest.Wait()
		for _, p := range c.Packets() {
			if err := tracker.Handle(p); err != nil {
				t.Fatal(err)
			}
		}
		if got[1] != 2 || got[2] != 102 {
			t.Errorf("found %v messages by subscription, wanted 2 and 102", got)
		}
	})
}

// R2
func TestAMessageLargerThanTheWindowIsDelivered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{Limits: broker.Limits{Pending: 1 << 10}})
		c := brokertest.Dial(t, b, nil)
		c.Subscribe(1, "a")
		publish(t, b, "a", kib(60))
		wantSeqs(t, c, 1, 1)
		c.Shut()
		for range 5 {
			publish(t, b, "a", kib(60))
		}
		if waiting := arrivedBytes(c); waiting > 61<<10 {
			t.Errorf("found %d bytes written to a socket that takes nothing, wanted one message", waiting)
		}
		c.Allow(70 << 10)
		wantSeqs(t, c, 2, 2)
		c.Open()
		wantSeqs(t, c, 3, 6)
	})
}

func arrivedBytes(c *brokertest.Client) int64 {
	synctest.Wait()
	return c.Waiting()
}

// wantSeqs fails the test unless exactly the messages from first to last have arrived.
func wantSeqs(t *testing.T, c *brokertest.Client, first, last uint64) {
	t.Helper()
	synctest.Wait()
	next := first
	for _, p := range c.Packets() {
		m, ok := p.(*protocol.Message)
		if !ok || m.Seq != next {
			t.Fatalf("found %s, wanted message %d", brokertest.Describe(p), next)
		}
		next++
	}
	if next != last+1 {
		t.Fatalf("found messages up to %d, wanted %d to %d", next-1, first, last)
	}
}

// R2, R3
func TestASlowSessionLagsIsHandedBackAndMissesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{Shards: 1})
		slow, quick := brokertest.Dial(t, b, nil), brokertest.Dial(t, b, nil)
		slow.Subscribe(1, "a")
		quick.Subscribe(1, "a")
		slow.Shut()
		for i := range 1000 {
			publish(t, b, "a", kib(4))
			if i%100 == 0 {
				synctest.Wait()
			}
		}
		wantSeqs(t, quick, 1, 1000)
		if got := b.Stats().Lagging; got != 1 {
			t.Errorf("found %d sessions lagging, wanted 1", got)
		}
		if waiting, held := slow.Waiting(), slow.Session.Held(); waiting > 70<<10 || held > 160<<10 {
			t.Errorf("found %d bytes written and %d held for a session whose socket is shut", waiting, held)
		}
		for range 500 { // a socket that drains slowly, while publishing goes on
			slow.Allow(9 << 10)
			publish(t, b, "a", kib(4))
			synctest.Wait()
		}
		slow.Open()
		wantSeqs(t, slow, 1, 1500)
		if got := b.Stats().Lagging; got != 0 {
			t.Errorf("found %d sessions lagging in the end, wanted 0", got)
		}
		publish(t, b, "a", "live again")
		wantSeqs(t, slow, 1501, 1501)
	})
}

// R2: a lagging session is handed back between two entries, also when something is appended at the same moment.
func TestAHandBackRacesWithPublishing(t *testing.T) {
	b := start(t, broker.Options{Shards: 2})
	c := brokertest.Dial(t, b, nil)
	c.Subscribe(1, "a")
	const n = 3000
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range n {
			publish(t, b, "a", kib(1))
		}
	}()
	c.Allow(200 << 10) // the socket's buffer
	for next := uint64(1); next <= n; next++ {
		m := brokertest.Expect[*protocol.Message](c)
		if m.Seq != next {
			t.Fatalf("found message %d, wanted %d", m.Seq, next)
		}
		c.Allow(1100) // the client has read it
	}
	<-done
}

// R1: a subscription that begins while its session lags gets nothing from before, also not for the session to sort out.
func TestALaggingSessionIsNotSentWhatANewSubscriptionBeganBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{Shards: 1})
		c := brokertest.Dial(t, b, nil)
		c.Subscribe(1, "a")
		c.Shut()
		for i := range 400 {
			publish(t, b, []string{"a", "b"}[i%2], kib(1))
		}
		c.Send(&protocol.Subscribe{ID: 2, Filter: "b", NoRetained: true})
		synctest.Wait()
		publish(t, b, "b", "first")
		c.Open()
		synctest.Wait()
		for _, p := range c.Packets() {
			if m, ok := p.(*protocol.Message); ok && m.Topic == "b" && m.Seq != 401 {
				t.Fatalf("found message %d of b, which the session has subscribed to behind message 400", m.Seq)
			}
		}
	})
}

// R2: a window that is wider than what a reader takes at a time.
func TestAHandBackIntoAWideWindowSkipsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{Shards: 1, Limits: broker.Limits{Pending: 4 << 20}})
		c := brokertest.Dial(t, b, nil)
		c.Subscribe(1, "a")
		c.Shut()
		for range 200 {
			publish(t, b, "a", kib(60))
		}
		c.Open()
		wantSeqs(t, c, 1, 200)
	})
}

// R2: a session that never catches up does not keep a new subscription waiting.
func TestASubscriptionOfALaggingSessionGetsItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{Shards: 1})
		for i := range 10 {
			retain(t, b, fmt.Sprintf("kept.%d", i), "x")
		}
		c := brokertest.Dial(t, b, nil)
		c.Subscribe(1, "a")
		c.Shut()
		for range 1000 {
			publish(t, b, "a", kib(1))
		}
		c.Send(&protocol.Subscribe{ID: 2, Filter: "kept.*"})
		for range 20 {
			c.Allow(32 << 10)
			for range 50 { // more than it takes
				publish(t, b, "a", kib(1))
			}
			synctest.Wait()
		}
		if lines := strings.Join(brokertest.Describe(c.Packets()...), "\n"); !strings.Contains(lines, "end 2") {
			t.Error("found the new subscription without its retained messages while the session lags")
		}
		if b.Stats().Lagging != 1 {
			t.Error("found the session caught up, wanted it lagging all the time")
		}
	})
}

// However a lagging session ends, it is counted out.
func TestALaggingSessionThatEndsIsCountedOut(t *testing.T) {
	for name, end := range map[string]func(c *brokertest.Client){
		"left":         func(c *brokertest.Client) { c.Leave() },
		"revoked":      func(c *brokertest.Client) { c.Session.Revoke(protocol.Errorf(protocol.CodeRevoked, "")) },
		"disconnected": func(c *brokertest.Client) { c.Session.Disconnect(protocol.Errorf(protocol.CodeKicked, "")) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := start(t, broker.Options{Shards: 1})
				for range 3 {
					c := brokertest.Dial(t, b, nil)
					c.Subscribe(1, "a")
					c.Shut()
					for range 200 {
						publish(t, b, "a", kib(1))
					}
					synctest.Wait()
					if got := b.Stats().Lagging; got != 1 {
						t.Fatalf("found %d sessions lagging, wanted 1", got)
					}
					end(c)
					publish(t, b, "a", "") // while it is on its way out
					synctest.Wait()
					if st := b.Stats(); st.Lagging != 0 || st.Sessions != 0 || st.Subscriptions != 0 {
						t.Fatalf("found %+v, wanted nothing left of the session", st)
					}
				}
			})
		})
	}
}

// G2 of the list of promises, and outbox: a connection that breaks while its reader waits for room ends the session at once.
func TestABrokenConnectionFreesAReaderThatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{})
		c := brokertest.Dial(t, b, nil)
		c.Shut()
		ended := make(chan error, 1)
		go func() {
			for {
				if err := c.TrySend(&protocol.Unsubscribe{ID: 9, Subscription: 9}); err != nil {
					ended <- err
					return
				}
			}
		}()
		synctest.Wait()
		if len(ended) > 0 || c.Session.Held() < 64<<10 {
			t.Fatalf("found the reader not waiting, with %d bytes of answers held", c.Session.Held())
		}
		began := time.Now()
		c.Abort() // by the peer
		if err := <-ended; err == nil {
			t.Error("found the reader going on")
		}
		if waited := time.Since(began); waited > 0 {
			t.Errorf("found the reader waiting for %s after its connection broke", waited)
		}
	})
}

// How far the session is behind that lags most is known.
func TestTheFurthestLagIsMeasured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{PingEvery: time.Hour})
		c := brokertest.Dial(t, b, nil)
		c.Subscribe(1, "a")
		c.Shut()
		for range 100 {
			publish(t, b, "a", kib(1))
		}
		time.Sleep(10 * time.Second)
		if st := b.Stats(); st.LagEntries < 30 || st.LagEntries > 100 || st.LagSpan != 10*time.Second {
			t.Errorf("found a lag of %d entries and %s, wanted some tens and 10 s", st.LagEntries, st.LagSpan)
		}
		c.Open()
		synctest.Wait()
		if st := b.Stats(); st.LagEntries != 0 || st.LagSpan != 0 {
			t.Errorf("found a lag of %d entries and %s of nobody", st.LagEntries, st.LagSpan)
		}
	})
}
