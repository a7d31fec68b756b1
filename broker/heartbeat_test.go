package broker_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/brokertest"
	"github.com/carillon-mq/carillon/protocol"
)

// endsAfter fails the test unless the session ends with the code after about so long.
func endsAfter(t *testing.T, c *brokertest.Client, name string, after time.Duration) {
	t.Helper()
	began := time.Now()
	for time.Since(began) < after+5*time.Second {
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		if d, ended := c.Ended(); ended {
			if d == nil || d.Name != name {
				t.Fatalf("found the session ended with %+v, wanted %s", d, name)
			}
			if took := time.Since(began); took < after || took > after+2*time.Second {
				t.Fatalf("found the session ended after %s, wanted %s", took, after)
			}
			return
		}
	}
	t.Fatalf("found the session open after %s, wanted it ended with %s", time.Since(began), name)
}

// CON-8
func TestASessionThatDoesNotConnectEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{})
		c := brokertest.Open(t, b, broker.ConnInfo{})
		endsAfter(t, c, "connect_timeout", 10*time.Second)
		if got := b.Stats().Rejected[protocol.CodeConnectTimeout]; got != 1 {
			t.Errorf("found it counted %d times", got)
		}
	})
}

// PNG-2
func TestASessionThatDoesNotAnswerAPingEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{})
		c := brokertest.Dial(t, b, nil)
		endsAfter(t, c, "no_pong", 35*time.Second)
	})
}

// PNG-2: also when pings are to come more often than the client has time for its answer; each one is a byte that the socket accepts.
func TestAnotherPingDoesNotPutOffTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{PingEvery: 4 * time.Second, PongWait: 10 * time.Second})
		c := brokertest.Dial(t, b, nil)
		endsAfter(t, c, "no_pong", 8*time.Second)
	})
}

// PNG-1, PNG-2: any byte is a sign of life, and a client that answers stays.
func TestAClientThatAnswersPingsStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{})
		c := brokertest.Dial(t, b, nil)
		pings := 0
		for range 10 * 60 {
			time.Sleep(time.Second)
			for _, l := range arrived(c) {
				if l != "ping @0" {
					t.Fatalf("found %q", l)
				}
				pings++
				c.Send(&protocol.Pong{}) // in the same instant
			}
		}
		if pings < 22 || pings > 24 {
			t.Errorf("found %d pings in ten minutes, wanted one every 25 s", pings)
		}
	})
}

// PNG-2, R3: the wait begins again when the socket takes something.
func TestTheWaitForAPongBeginsAgainWithEveryByteTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{})
		c := brokertest.Dial(t, b, nil)
		c.Subscribe(1, "a")
		time.Sleep(33 * time.Second) // the ping left at 25
		publish(t, b, "a", "x")
		endsAfter(t, c, "no_pong", 10*time.Second)
	})
}

// R3: dead is a socket that takes no byte and sends none.
func TestASessionThatTakesNothingEndsAsStalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{})
		c := brokertest.Dial(t, b, nil)
		c.Subscribe(1, "a")
		c.Shut()
		for range 500 {
			publish(t, b, "a", kib(1))
		}
		endsAfter(t, c, "stalled", 90*time.Second)
	})
}

// R3: slow is not dead, however slow. One byte a minute keeps a session.
func TestASlowReaderIsNeverCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{})
		c := brokertest.Dial(t, b, nil)
		c.Subscribe(1, "a")
		c.Shut()
		for range 500 {
			publish(t, b, "a", kib(1))
		}
		for range 120 {
			time.Sleep(time.Minute)
			c.Allow(1)
		}
		if d, ended := c.Ended(); ended {
			t.Fatalf("found the session ended with %+v after %s", d, "two hours of a byte a minute")
		}
		// And then nothing more is heard: the wait for the pong begins when the socket takes the last byte.
		c.Open()
		wantNumbers(t, arrived(c), 1, 500)
		endsAfter(t, c, "no_pong", 10*time.Second)
	})
}

// R3: a client that sends but does not read is not dead either.
func TestAStalledReaderThatSendsIsNotCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{})
		c := brokertest.Dial(t, b, nil)
		c.Subscribe(1, "a")
		c.Shut()
		for range 500 {
			publish(t, b, "a", kib(1))
		}
		for range 10 {
			time.Sleep(80 * time.Second)
			c.Send(&protocol.Pong{})
		}
		if d, ended := c.Ended(); ended {
			t.Fatalf("found the session ended with %+v", d)
		}
	})
}

// G7: a session ends with its token, some leeway later.
func TestASessionEndsWithItsToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{})
		c := brokertest.Dial(t, b, &broker.Identity{User: "u", Expires: time.Now().Add(time.Second)})
		endsAfter(t, c, "token_expired", 31*time.Second)
	})
}

// Every kind of end at its time, while the shard has no moment of rest.
func TestABusyShardKeepsTime(t *testing.T) {
	b := start(t, broker.Options{Shards: 1, PingEvery: 50 * time.Millisecond, Limits: broker.Limits{ConnectTimeout: 100 * time.Millisecond}})
	for range 200 { // so that there is something to do
		s, err := b.Open(&brokertest.Sink{}, broker.ConnInfo{})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Closed(nil)
		for _, p := range []protocol.Packet{&protocol.Connect{Version: 1}, &protocol.Subscribe{ID: 1, Filter: ">", NoRetained: true}} {
			if err := s.Receive(p.Append(nil), false); err != nil {
				t.Fatal(err)
			}
		}
	}
	stop := make(chan struct{})
	var publishers sync.WaitGroup
	for range 3 {
		publishers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					publish(t, b, "a", "x")
				}
			}
		})
	}
	c := brokertest.Open(t, b, broker.ConnInfo{})
	d := brokertest.Expect[*protocol.Disconnect](c)
	close(stop)
	publishers.Wait()
	if d.Name != "connect_timeout" {
		t.Errorf("found %s, wanted connect_timeout", d.Name)
	}
}

// G15: readiness first, then what was accepted is finished and told, then everybody is sent away at a time of their own.
func TestDrainFinishesWhatWasAccepted(t *testing.T) {
	withStore(t, broker.Options{DrainSpread: 10 * time.Second}, func(t *testing.T, x *stored) {
		x.store.Hold()
		x.retain(1, "a")
		synctest.Wait()
		drained := make(chan error, 1)
		go func() { drained <- x.b.Drain(t.Context()) }()
		synctest.Wait()
		if code(x.b.Ready()) != protocol.CodeGoingAway || code(x.b.Accepting()) != protocol.CodeGoingAway {
			t.Error("found the broker ready, or accepting, while it drains")
		}
		if _, err := x.b.Open(brokertest.NewConn(), broker.ConnInfo{}); code(err) != protocol.CodeGoingAway {
			t.Errorf("found %v for a new session, wanted going_away", err)
		}
		x.plain(2, "b")
		wantArrived(t, x.pub, "error 2 not_ready")
		time.Sleep(time.Second)
		if len(drained) > 0 {
			t.Fatal("found it drained while a publish waits for its commit")
		}
		x.store.Release()
		if err := <-drained; err != nil {
			t.Fatal(err)
		}
		wantLines(t, arrived(x.pub), "published 1 @1 committed 1", "ping @1/1", "disconnect going_away")
		d, _ := x.pub.Ended()
		if !d.Reconnect || d.After < 0 || d.After > 10*time.Second {
			t.Errorf("found %+v, wanted to be told when to come back", d)
		}
	})
}

// G15: so is a publish that waits for the count of who received it.
func TestDrainWaitsForAcknowledgements(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{Shards: 1})
		c := brokertest.Dial(t, b, nil)
		synctest.Wait()
		free := b.HoldShards()
		c.Send(&protocol.Publish{ID: 1, Topic: "a", Receivers: true})
		drained := make(chan error, 1)
		go func() { drained <- b.Drain(t.Context()) }()
		time.Sleep(100 * time.Millisecond)
		wantArrived(t, c)
		free()
		if err := <-drained; err != nil {
			t.Fatal(err)
		}
		wantArrived(t, c, "published 1 @1 receivers 0", "ping @1", "disconnect going_away")
	})
}

// G15
func TestDrainSpreadsWhoComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{DrainSpread: 10 * time.Second})
		var clients []*brokertest.Client
		for range 100 {
			clients = append(clients, brokertest.Dial(t, b, nil))
		}
		if err := b.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		seconds := map[time.Duration]int{}
		for _, c := range clients {
			d, _ := c.Ended()
			seconds[d.After/time.Second]++
		}
		if len(seconds) < 8 {
			t.Errorf("found them coming back in seconds %v, wanted them spread over ten", seconds)
		}
	})
}

// G15: a drain that cannot end ends with its context.
func TestDrainEndsWithItsContext(t *testing.T) {
	withStore(t, broker.Options{Limits: broker.Limits{StoreTimeout: time.Hour}}, func(t *testing.T, x *stored) {
		x.store.Hold()
		x.retain(1, "a")
		synctest.Wait()
		late := errors.New("too late")
		ctx, cancel := context.WithTimeoutCause(t.Context(), 5*time.Second, late)
		defer cancel()
		if err := x.b.Drain(ctx); !errors.Is(err, late) {
			t.Errorf("found %v, wanted the cause of the context", err)
		}
	})
}

// G13: sessions, subscriptions and levels of the trie are gone when their clients are.
func TestNothingIsLeftOfSessionsThatCameAndWent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{Shards: 2})
		for round := range 100 {
			c := brokertest.Dial(t, b, nil)
			for i := range 5 {
				c.Send(&protocol.Subscribe{ID: uint64(i + 1), Filter: fmt.Sprintf("a.%d.*.%d.>", round, i), NoRetained: i%2 == 0})
			}
			c.Send(&protocol.Unsubscribe{ID: 9, Subscription: 2})
			if round%2 == 0 {
				synctest.Wait()
			}
			switch round % 3 {
			case 0:
				c.Leave()
			case 1:
				c.Session.Disconnect(protocol.Errorf(protocol.CodeKicked, ""))
			case 2:
				c.Session.Revoke(protocol.Errorf(protocol.CodeRevoked, ""))
			}
		}
		synctest.Wait()
		if st := b.Stats(); st.Sessions != 0 || st.Subscriptions != 0 || st.Lagging != 0 {
			t.Errorf("found %+v", st)
		}
		if items, nodes, interest, watched := b.Leftovers(); items != 0 || nodes != 0 || interest != 0 || watched != 0 {
			t.Errorf("found %d subscriptions, %d levels, %d of interest and %d heartbeats left in the shards", items, nodes, interest, watched)
		}
	})
}
