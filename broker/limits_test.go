package broker_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/brokertest"
	"github.com/carillon-mq/carillon/protocol"
)

// anyone has every right and the broker's own limits.
func anyone() *broker.Identity {
	id := broker.Everybody()
	id.Limits = broker.SessionLimits{}
	return id
}

// count is how many of lines begin with prefix.
func count(lines []string, prefix string) int { return len(lines) - len(without(lines, prefix)) }

// Each limit has a code, and what is within it is served.
func TestALimitIsToldByItsCode(t *testing.T) {
	pub := func(p protocol.Publish) protocol.Packet { return &p }
	sub := func(id int, filter string) protocol.Packet {
		return &protocol.Subscribe{ID: uint64(id), Filter: filter, NoRetained: true}
	}
	for name, test := range map[string]struct {
		limits broker.Limits
		own    broker.SessionLimits
		send   func(i int) protocol.Packet
		within int // of the packets sent, answered without an error
		want   string
	}{
		"payload": {
			limits: broker.Limits{Payload: 100}, within: 1, want: "too_large",
			send: func(i int) protocol.Packet {
				return pub(protocol.Publish{ID: uint64(i + 1), Topic: "a", Payload: make([]byte, 100+i)})
			},
		},
		"payload, with few bytes a second": { // which is no reason to try it again later
			limits: broker.Limits{Payload: 100}, own: broker.SessionLimits{PublishBytes: 50}, within: 1, want: "too_large",
			send: func(i int) protocol.Packet {
				return pub(protocol.Publish{ID: uint64(i + 1), Topic: "a", Payload: make([]byte, 101*i)})
			},
		},
		"headers": {
			limits: broker.Limits{Headers: 100}, within: 1, want: "too_large",
			send: func(i int) protocol.Packet {
				return pub(protocol.Publish{ID: uint64(i + 1), Topic: "a", ContentType: "x/y", Headers: map[string]string{"k": strings.Repeat("v", 96+i)}})
			},
		},
		"topic": {
			within: 1, want: "bad_topic",
			send: func(i int) protocol.Packet {
				return pub(protocol.Publish{ID: uint64(i + 1), Topic: strings.Repeat("a", 255+i)})
			},
		},
		"levels": {
			within: 1, want: "bad_topic",
			send: func(i int) protocol.Packet {
				return pub(protocol.Publish{ID: uint64(i + 1), Topic: strings.Repeat("a.", 15+i) + "a"})
			},
		},
		"filter": {
			within: 1, want: "bad_filter",
			send: func(i int) protocol.Packet { return sub(i+1, strings.Repeat("*.", 15+i)+">") },
		},
		"publishes": {
			limits: broker.Limits{PublishRate: 5, PublishBurst: 10}, within: 10, want: "rate_limited",
			send: func(i int) protocol.Packet { return pub(protocol.Publish{ID: uint64(i + 1), Topic: "a"}) },
		},
		"publishes, own": {
			own: broker.SessionLimits{PublishRate: 7}, limits: broker.Limits{PublishBurst: 2}, within: 7, want: "rate_limited",
			send: func(i int) protocol.Packet { return pub(protocol.Publish{ID: uint64(i + 1), Topic: "a"}) },
		},
		"bytes": {
			limits: broker.Limits{PublishBytes: 1000, Payload: 1000}, within: 10, want: "rate_limited",
			send: func(i int) protocol.Packet {
				return pub(protocol.Publish{ID: uint64(i + 1), Topic: "a", Payload: make([]byte, 100)})
			},
		},
		"subscriptions": {
			limits: broker.Limits{Subscriptions: 3}, within: 3, want: "subscription_limit",
			send: func(i int) protocol.Packet { return sub(i+1, "a") },
		},
		"subscriptions, own": {
			own: broker.SessionLimits{Subscriptions: 4}, within: 4, want: "subscription_limit",
			send: func(i int) protocol.Packet { return sub(i+1, "a") },
		},
		"subscriptions in all": {
			limits: broker.Limits{SubscriptionsIn: 5}, within: 5, want: "subscription_limit",
			send: func(i int) protocol.Packet { return sub(i+1, "a") },
		},
		"subscribes": {
			limits: broker.Limits{SubscribeRate: 1, SubscribeBurst: 6}, within: 6, want: "rate_limited",
			send: func(i int) protocol.Packet { return sub(i+1, "a") },
		},
		"ids": {
			within: 1, want: "duplicate_id",
			send: func(int) protocol.Packet { return sub(1, "a") },
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := start(t, broker.Options{Limits: test.limits})
				id := anyone()
				id.Limits = test.own
				c := brokertest.Dial(t, b, id)
				for i := range test.within + 1 {
					c.Send(test.send(i))
				}
				lines := arrived(c)
				if good := count(lines, "subscribed") + count(lines, "published"); good != test.within {
					t.Errorf("found %d served, wanted %d:\n%s", good, test.within, strings.Join(lines, "\n"))
				}
				if count(lines, "error") != 1 || !strings.HasSuffix(strings.Join(without(without(lines, "published"), "subscribed"), ""), " "+test.want) {
					t.Errorf("found %q, wanted one error %s", lines, test.want)
				}
				if got := b.Stats().Rejected[codeOf(test.want)]; got != 1 {
					t.Errorf("found it counted %d times", got)
				}
				time.Sleep(time.Second) // of the bubble, for what is a rate
				c.Publish(99, "still", "")
			})
		})
	}
}

func codeOf(name string) protocol.Code {
	c, _ := protocol.CodeByName(name)
	return c
}

// A rate is filled up again.
func TestARateIsFilledUpAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{Limits: broker.Limits{PublishRate: 5, PublishBurst: 10}})
		c := brokertest.Dial(t, b, anyone())
		for round := range 3 {
			for i := range 20 {
				c.Send(&protocol.Publish{ID: uint64(i + 1), Topic: "a"})
			}
			if got, want := count(arrived(c), "published"), []int{10, 10, 5}[round]; got != want {
				t.Errorf("found %d publishes taken in round %d, wanted %d", got, round, want)
			}
			time.Sleep([]time.Duration{10, 1, 0}[round] * time.Second)
		}
	})
}

// Unlimited is none, by that word alone; 0 is the default.
func TestUnlimitedIsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const none = broker.Unlimited
		b := start(t, broker.Options{
			PingEvery: time.Hour,
			Limits: broker.Limits{
				Packet: none, Payload: none, Headers: none, Pending: none, Subscriptions: none, SubscribeRate: none, SubscribeBurst: none,
				PublishRate: none, PublishBurst: none, PublishBytes: none, PingRate: none, Inflight: none, Sessions: none,
				SubscriptionsIn: none, SessionsOfUser: none, SessionsOfAddr: none, Retained: none, RetainedBytes: none, StorePending: none,
				MessageIDs: none, Revocations: none,
				AuthTimeout: none, StoreTimeout: none, ConnectTimeout: none,
			},
			Authenticator: decide(nil), Anonymous: anyone(),
		})
		late := brokertest.Open(t, b, broker.ConnInfo{Remote: "10.0.0.1"})
		time.Sleep(30 * time.Minute)
		late.Send(&protocol.Connect{Version: 1})
		wantArrived(t, late, "connected")
		c := brokertest.Dial(t, b, nil)
		c.Shut()
		for i := range 300 {
			c.Send(&protocol.Subscribe{ID: uint64(i + 1), Filter: fmt.Sprintf("a.%d", i)}, &protocol.Ping{},
				&protocol.Publish{ID: uint64(1000 + i), Topic: "a.0", Payload: []byte(kib(100)), Retain: true})
		}
		if st := b.Stats(); st.Lagging != 0 {
			t.Error("found the session lagging, its window has no limit")
		}
		c.Open()
		lines := arrived(c)
		if count(lines, "error") != 0 || count(lines, "published") != 300 || count(lines, "message") < 300 || count(lines, "pong") != 300 {
			t.Errorf("found %d lines, %d errors", len(lines), count(lines, "error"))
		}
	})
}

// Sessions: in all, of a user, of an address; loopback and anonymous clients have no limit of their own.
func TestSessionsAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{Limits: broker.Limits{Sessions: 12, SessionsOfUser: 2, SessionsOfAddr: 3}})
		open := func(remote string) error {
			s, err := b.Open(brokertest.NewConn(), broker.ConnInfo{Remote: remote})
			if err == nil {
				t.Cleanup(func() { s.Closed(nil) })
			}
			return err
		}
		for i := range 4 {
			remote := []string{"10.0.0.1", "::ffff:10.0.0.1", "10.0.0.1", "::ffff:a00:1"}[i]
			if err := open(remote); (err != nil) != (i == 3) || err != nil && code(err) != protocol.CodeSessionLimit {
				t.Errorf("found %v for session %d of an address", err, i+1)
			}
		}
		for range 5 {
			if err := open([]string{"127.0.0.1", "::1", "::ffff:127.0.0.1"}[b.Stats().Sessions%3]); err != nil {
				t.Errorf("found %v for loopback", err)
			}
		}
		user := &broker.Identity{User: "u"}
		one, _ := brokertest.Dial(t, b, user), brokertest.Dial(t, b, user)
		three := brokertest.Open(t, b, broker.ConnInfo{Identity: user})
		if err := three.TrySend(&protocol.Connect{Version: 1}); code(err) != protocol.CodeSessionLimit {
			t.Errorf("found %v for the third session of a user", err)
		}
		wantArrived(t, three, "disconnect session_limit")
		three.Leave()
		one.Leave()
		brokertest.Dial(t, b, user)
		brokertest.Dial(t, b, &broker.Identity{})
		brokertest.Dial(t, b, &broker.Identity{})
		if err := open("10.0.0.2"); code(err) != protocol.CodeSessionLimit {
			t.Errorf("found %v for session 13, wanted session_limit", err)
		}
	})
}

// PUB-12: beyond its publishes without an answer a session is not read from, and goes on when they are answered.
func TestASessionWithItsLimitOfUnansweredPublishesWaits(t *testing.T) {
	withStore(t, broker.Options{Limits: broker.Limits{Inflight: 4}}, func(t *testing.T, x *stored) {
		x.store.Hold()
		var reader sync.WaitGroup
		taken := 0
		reader.Go(func() {
			for id := range uint64(7) {
				x.retain(id+1, "a")
				taken++
			}
		})
		synctest.Wait()
		if taken != 4 {
			t.Errorf("found %d publishes taken, wanted 4", taken)
		}
		for x.store.Step() {
			synctest.Wait()
		}
		reader.Wait()
		x.store.Release()
		if lines := arrived(x.pub); len(lines) != 7 || count(lines, "published") != 7 {
			t.Errorf("found %q, wanted seven acknowledgements", lines)
		}
	})
}

// PUB-12, SUB-2
func TestARequestIDIsInUseUntilItsAnswer(t *testing.T) {
	withStore(t, broker.Options{}, func(t *testing.T, x *stored) {
		x.store.Hold()
		x.retain(7, "a")
		x.plain(7, "b")
		x.pub.Send(&protocol.Subscribe{ID: 7, Filter: "a"}, &protocol.Unsubscribe{ID: 7, Subscription: 1})
		wantArrived(t, x.pub, "error 7 duplicate_id", "error 7 duplicate_id", "error 7 duplicate_id")
		x.store.Release()
		wantArrived(t, x.pub, "published 7 @1 committed 1")
		x.plain(7, "b")
		wantArrived(t, x.pub, "published 7 @2")
	})
}

// PUB-9
func TestAPublishWithoutAnIDIsNotAcknowledged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{})
		c := brokertest.Dial(t, b, nil)
		c.Send(&protocol.Publish{Topic: "a"}, &protocol.Publish{Topic: "a..b"})
		wantArrived(t, c, "error 0 bad_topic")
	})
}

// What comes by HTTP may be anything: a message that clients cannot read is not published.
func TestAMessageThatClientsCannotReadIsRefused(t *testing.T) {
	many := map[string]string{}
	for i := range 17 {
		many[fmt.Sprint(i)] = ""
	}
	b := start(t, broker.Options{})
	for name, r := range map[string]broker.PublishRequest{
		"content type not UTF-8": {ContentType: "text/\xff"},
		"content type too long":  {ContentType: strings.Repeat("x", 256)},
		"header name not UTF-8":  {Headers: map[string]string{"\xc3(": "v"}},
		"header not UTF-8":       {Headers: map[string]string{"k": "\xff"}},
		"too many headers":       {Headers: many},
	} {
		r.Topic = "a"
		if _, err := b.Publish(t.Context(), broker.Everybody(), r); err == nil {
			t.Errorf("%s: found it published", name)
		}
	}
}

// P12, F27: a client that pings without end is sent away.
func TestPingsAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{})
		c := brokertest.Dial(t, b, nil)
		for range 20 {
			c.Send(&protocol.Ping{})
		}
		if err := c.TrySend(&protocol.Ping{}); code(err) != protocol.CodeFlooding {
			t.Errorf("found %v, wanted flooding", err)
		}
		lines := arrived(c)
		if count(lines, "pong") != 20 || lines[len(lines)-1] != "disconnect flooding" {
			t.Errorf("found %q", lines)
		}
	})
}

// P12: a client that goes on far above its rate is sent away, whatever it asks for.
func TestAClientThatGoesOnAboveItsRateIsSentAway(t *testing.T) {
	for name, p := range map[string]protocol.Packet{
		"publish":     &protocol.Publish{ID: 1, Topic: "a"},
		"subscribe":   &protocol.Subscribe{ID: 1, Filter: "a"},
		"unsubscribe": &protocol.Unsubscribe{ID: 1, Subscription: 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := start(t, broker.Options{})
				c := brokertest.Dial(t, b, anyone())
				var err error
				n := 0
				for ; err == nil && n < 10_000; n++ {
					err = c.TrySend(p)
				}
				if code(err) != protocol.CodeFlooding || n < 1000 || n > 1500 {
					t.Errorf("found %v after %d requests, wanted flooding after a thousand refusals", err, n)
				}
				if lines := arrived(c); lines[len(lines)-1] != "disconnect flooding" {
					t.Errorf("found %q in the end", lines[len(lines)-1])
				}
				slow := brokertest.Dial(t, b, anyone()) // one that is refused now and then stays
				for range 5000 {
					slow.Send(p)
					time.Sleep(10 * time.Millisecond)
					slow.Packets()
				}
			})
		})
	}
}

// A ring too small to hold a message, or no shard at all, is a mistake of the operator's.
func TestABrokerThatCannotWorkIsNotMade(t *testing.T) {
	for _, opt := range []broker.Options{
		{RingBytes: 1000},
		{RingBytes: broker.Unlimited},
		{Shards: -1},
		{Topics: []broker.TopicRule{{Match: "a..b"}}},
		{Topics: []broker.TopicRule{{Match: "a", Class: broker.ClassStored}}},
	} {
		if _, err := broker.New(opt); err == nil {
			t.Errorf("found a broker made of %+v", opt)
		}
	}
}

// The broker's own memory: a client that asks and does not read waits for itself.
func TestAClientThatDoesNotReadItsAnswersIsNotReadFrom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{})
		c := brokertest.Dial(t, b, nil)
		c.Shut()
		var sent int
		var reader sync.WaitGroup
		reader.Go(func() {
			for range 20_000 {
				c.Send(&protocol.Publish{ID: 1, Topic: "bad..topic"})
				sent++
			}
		})
		synctest.Wait()
		if held := c.Session.Held(); sent == 20_000 || held > 300<<10 {
			t.Errorf("found %d requests taken and %d bytes held", sent, held)
		}
		c.Open()
		reader.Wait()
		if lines := arrived(c); len(lines) != 20_000 {
			t.Errorf("found %d answers, wanted 20,000", len(lines))
		}
	})
}
