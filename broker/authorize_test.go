package broker_test

import (
	"context"
	"errors"
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

// authorizing is an Authenticator whose tokens are users that have to be asked about. allow decides, for a minute; calls are what it was asked.
type authorizing struct {
	mu     sync.Mutex
	allow  func(broker.Question) bool
	fail   error
	answer func([]broker.Decision) []broker.Decision // spoils answers
	calls  []string
}

const ttl = time.Minute

func (a *authorizing) Authenticate(context.Context, broker.Credentials) (*broker.Identity, error) {
	all := broker.ActionPublish | broker.ActionSubscribe | broker.ActionHistory | broker.ActionPresence | broker.ActionExclude
	return &broker.Identity{User: "ann", TokenID: "id", Grants: grants("granted.>"), Ask: all}, nil
}

var actionNames = map[broker.Action]string{
	broker.ActionPublish: "pub", broker.ActionSubscribe: "sub", broker.ActionHistory: "hist", broker.ActionPresence: "pres", broker.ActionExclude: "excl",
}

func (a *authorizing) Authorize(_ context.Context, who broker.Principal, questions []broker.Question) ([]broker.Decision, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if who.User != "ann" || who.TokenID != "id" {
		return nil, fmt.Errorf("asked about %+v", who)
	}
	var call []string
	decisions := make([]broker.Decision, len(questions))
	for i, q := range questions {
		call = append(call, actionNames[q.Action]+" "+q.Filter)
		decisions[i] = broker.Decision{Allowed: a.allow != nil && a.allow(q), TTL: ttl, Reason: "not today"}
	}
	a.calls = append(a.calls, strings.Join(call, ", "))
	if a.fail != nil {
		return nil, a.fail
	}
	if a.answer != nil {
		decisions = a.answer(decisions)
	}
	return decisions, nil
}

func (a *authorizing) set(change func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change()
}

// asked is what was asked since it was last called.
func (a *authorizing) asked() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	calls := a.calls
	a.calls = nil
	return calls
}

func under(prefix string) func(broker.Question) bool {
	return func(q broker.Question) bool { return strings.HasPrefix(q.Filter, prefix) }
}

// asking is a session of a broker with a.
func asking(t *testing.T, a *authorizing, do func(*testing.T, *broker.Broker, *brokertest.Client)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{Authenticator: a, PingEvery: time.Hour})
		c := login(t, b, "t")
		wantArrived(t, c, "connected")
		do(t, b, c)
	})
}

func TestAPublishIsAskedForOnceForItsTimeToLive(t *testing.T) {
	a := &authorizing{allow: under("yes.")}
	asking(t, a, func(t *testing.T, _ *broker.Broker, c *brokertest.Client) {
		publish := func(id uint64, topic string) { c.Send(&protocol.Publish{ID: id, Topic: topic}) }
		publish(1, "granted.a") // is not asked
		publish(2, "yes.a")
		publish(3, "no.a")
		wantArrived(t, c, "published 1 @1", "published 2 @2", "error 3 forbidden")
		wantLines(t, a.asked(), "pub yes.a", "pub no.a")
		time.Sleep(ttl - time.Second)
		publish(4, "yes.a")
		publish(5, "no.a")
		wantArrived(t, c, "published 4 @3", "error 5 forbidden")
		wantLines(t, a.asked())
		a.set(func() { a.allow = under("no.") })
		time.Sleep(time.Second)
		publish(6, "yes.a")
		publish(7, "no.a")
		wantArrived(t, c, "error 6 forbidden", "published 7 @4")
		wantLines(t, a.asked(), "pub yes.a", "pub no.a")
	})
}

func TestTheSubscriptionsOfOnePacketAreOneQuestion(t *testing.T) {
	a := &authorizing{allow: under("yes.")}
	asking(t, a, func(t *testing.T, _ *broker.Broker, c *brokertest.Client) {
		c.Send(&protocol.Subscribes{Subscriptions: []protocol.Subscribe{
			{ID: 1, Filter: "yes.a", NoRetained: true},
			{ID: 2, Filter: "granted.a", NoRetained: true},
			{ID: 3, Filter: "no.a", NoRetained: true},
			{ID: 4, Filter: "yes.>", NoRetained: true, Join: false},
		}})
		wantArrived(t, c, "subscribed 1 @0", "subscribed 2 @0", "error 3 forbidden", "subscribed 4 @0")
		wantLines(t, a.asked(), "sub yes.a, sub no.a, sub yes.>")
	})
}

// G6: what could not be decided is not allowed, and is no denial either.
func TestNoDecisionAboutARightIsNo(t *testing.T) {
	spoilt := map[string]func(*authorizing){
		"an error": func(a *authorizing) { a.fail = errors.New("away") },
		"too few":  func(a *authorizing) { a.answer = func(d []broker.Decision) []broker.Decision { return d[:0] } },
		"too many": func(a *authorizing) {
			a.answer = func(d []broker.Decision) []broker.Decision { return append(d, d...) }
		},
		"no time": func(a *authorizing) {
			a.answer = func(d []broker.Decision) []broker.Decision { d[0].TTL = 0; return d }
		},
		"too much time": func(a *authorizing) {
			a.answer = func(d []broker.Decision) []broker.Decision { d[0].TTL = 25 * time.Hour; return d }
		},
	}
	for name, spoil := range spoilt {
		t.Run(name, func(t *testing.T) {
			a := &authorizing{allow: under("")}
			spoil(a)
			asking(t, a, func(t *testing.T, b *broker.Broker, c *brokertest.Client) {
				c.Send(&protocol.Publish{ID: 1, Topic: "a"}, &protocol.Subscribe{ID: 2, Filter: "a"}, &protocol.Presence{ID: 3, Topic: "a"},
					&protocol.Publish{ID: 4, Topic: "granted.a"}, &protocol.Subscribes{Subscriptions: []protocol.Subscribe{{ID: 5, Filter: "b"}, {ID: 6, Filter: "c"}}})
				synctest.Wait()
				wantArrived(t, c, "error 1 auth_unavailable", "error 2 auth_unavailable", "error 3 auth_unavailable", "published 4 @1",
					"error 5 auth_unavailable", "error 6 auth_unavailable")
				a.set(func() { a.fail, a.answer = nil, nil })
				c.Send(&protocol.Publish{ID: 7, Topic: "a"})
				wantArrived(t, c, "published 7 @2")
			})
		})
	}
}

func TestAnAuthenticatorWithoutThePowerAllowsNothingMore(t *testing.T) {
	a := &authorizing{fail: broker.ErrNoPower}
	asking(t, a, func(t *testing.T, _ *broker.Broker, c *brokertest.Client) {
		c.Send(&protocol.Publish{ID: 1, Topic: "a"}, &protocol.Publish{ID: 2, Topic: "granted.a"})
		wantArrived(t, c, "error 1 forbidden", "published 2 @1")
	})
}

func TestASubscriptionIsAskedForAgainAndEndsWhenItIsDenied(t *testing.T) {
	a := &authorizing{allow: under("")}
	asking(t, a, func(t *testing.T, b *broker.Broker, c *brokertest.Client) {
		c.Send(&protocol.Subscribe{ID: 1, Filter: "a", NoRetained: true}, &protocol.Subscribe{ID: 2, Filter: "b", NoRetained: true},
			&protocol.Subscribe{ID: 3, Filter: "granted.c", NoRetained: true})
		synctest.Wait()
		wantArrived(t, c, "subscribed 1 @0", "subscribed 2 @0", "subscribed 3 @0")
		wantLines(t, a.asked(), "sub a", "sub b")
		time.Sleep(ttl/5*4 + 2*time.Second)
		synctest.Wait()
		if calls := a.asked(); len(calls) == 0 || strings.Count(strings.Join(calls, ", "), "sub") != 2 {
			t.Errorf("asked again: %q, wanted each once", calls)
		}
		a.set(func() { a.allow = under("b") })
		time.Sleep(ttl/5*4 + 2*time.Second)
		synctest.Wait()
		wantLines(t, unpinged(c), "error 1 forbidden")
		publishAs(t, b, broker.PublishRequest{Topic: "granted.c"})
		if n := b.Stats().Subscriptions; n != 2 {
			t.Errorf("%d subscriptions, wanted those of b and granted.c", n)
		}
	})
}

func TestASubscriptionEndsWhenNoDecisionCanBeHadInTime(t *testing.T) {
	a := &authorizing{allow: under("")}
	asking(t, a, func(t *testing.T, b *broker.Broker, c *brokertest.Client) {
		c.Send(&protocol.Subscribe{ID: 1, Filter: "a", NoRetained: true})
		synctest.Wait()
		wantArrived(t, c, "subscribed 1 @0")
		a.set(func() { a.fail = errors.New("away") })
		time.Sleep(ttl - time.Second)
		synctest.Wait()
		if got := unpinged(c); len(got) > 0 {
			t.Errorf("found %q before the answer has ended", got)
		}
		if n := b.Stats().Subscriptions; n != 1 {
			t.Error("the subscription has ended before its answer did")
		}
		if n := len(a.asked()); n < 5 || n > 20 {
			t.Errorf("tried %d times", n)
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		wantLines(t, unpinged(c), "error 1 auth_unavailable")
		if n := b.Stats().Subscriptions; n != 0 {
			t.Errorf("%d subscriptions", n)
		}
	})
}

// A session that follows is one stream: it ends as a whole.
func TestASessionThatFollowsEndsWithItsRight(t *testing.T) {
	a := &authorizing{allow: under("")}
	asking(t, a, func(t *testing.T, b *broker.Broker, _ *brokertest.Client) {
		id, err := b.Authenticate(t.Context(), broker.Credentials{Token: "t"})
		if err != nil {
			t.Fatal(err)
		}
		c := brokertest.Open(t, b, broker.ConnInfo{Identity: id})
		if err := c.Session.Follow(broker.FollowRequest{Filters: []string{"a", "b"}}); err != nil {
			t.Fatal(err)
		}
		wantLines(t, a.asked(), "sub a, sub b")
		a.set(func() { a.allow = under("a") })
		time.Sleep(ttl)
		synctest.Wait()
		if got := endedBy(c); got != protocol.CodeRevoked {
			t.Errorf("ended by %v", got)
		}
	})
}

// Soundness: an answer allows its own action on its own name, and nothing that no grant could.
func TestAnAnswerWidensNothingElse(t *testing.T) {
	a := &authorizing{allow: func(q broker.Question) bool {
		return q == broker.Question{Action: broker.ActionSubscribe, Filter: "a.>"} || strings.HasPrefix(q.Filter, "$")
	}}
	asking(t, a, func(t *testing.T, b *broker.Broker, c *brokertest.Client) {
		other := login(t, b, "t").Session.ID()
		c.Send(&protocol.Subscribe{ID: 1, Filter: "a.>", NoRetained: true})
		synctest.Wait()
		wantArrived(t, c, "subscribed 1 @0")
		for i, filter := range []string{"a.b", "a.*", ">", "$inbox." + other + ".>", "$inbox.>", "$presence.a.>", "$presence.$sys.>"} {
			c.Send(&protocol.Subscribe{ID: uint64(10 + i), Filter: filter, NoRetained: true})
			synctest.Wait()
			wantArrived(t, c, fmt.Sprintf("error %d forbidden", 10+i))
		}
		for i, topic := range []string{"a.b", "$sys.a", "$presence.a"} {
			c.Send(&protocol.Publish{ID: uint64(20 + i), Topic: topic})
			synctest.Wait()
			wantArrived(t, c, fmt.Sprintf("error %d forbidden", 20+i))
		}
		for _, call := range a.asked() {
			if strings.Contains(call, "$") {
				t.Errorf("asked %q, which no grant could allow", call)
			}
		}
	})
}
