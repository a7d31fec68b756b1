package broker_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/brokertest"
	"github.com/carillon-mq/carillon/protocol"
)

// tokens are what an Authenticator knows.
type tokens map[string]*broker.Identity

func (t tokens) Authenticate(ctx context.Context, c broker.Credentials) (*broker.Identity, error) {
	switch id := t[c.Token]; {
	case id != nil:
		return id, nil
	case c.Token == "late":
		<-ctx.Done()
		return nil, ctx.Err()
	case c.Token == "away":
		return nil, errors.New("plugin is away")
	}
	return nil, protocol.Errorf(protocol.CodeTokenExpired, "old")
}

func grants(filters ...string) []broker.Grant {
	var g []broker.Grant
	for _, f := range filters {
		g = append(g, broker.Grant{Actions: broker.ActionPublish | broker.ActionSubscribe, Filter: f})
	}
	return g
}

// refreshing is a session of ada, who may do everything with a.> and b.> for a minute.
func refreshing(t *testing.T, do func(c *brokertest.Client, b *broker.Broker, began time.Time)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		b := start(t, broker.Options{Topics: []broker.TopicRule{{Match: "b.>", Class: broker.ClassLive}}, Authenticator: tokens{
			"first":    {User: "ada", Grants: grants("a.>", "b.>"), Expires: began.Add(time.Minute)},
			"longer":   {User: "ada", Grants: grants("a.>", "b.>"), Expires: began.Add(time.Hour), Limits: broker.SessionLimits{PublishRate: 7}},
			"shorter":  {User: "ada", Grants: grants("a.>", "b.>"), Expires: began.Add(10 * time.Second)},
			"narrower": {User: "ada", Grants: grants("a.>"), Expires: began.Add(time.Hour)},
			"forever":  {User: "ada", Grants: grants("a.>", "b.>")},
			"eve":      {User: "eve", Grants: grants(">")},
		}})
		c := brokertest.Open(t, b, broker.ConnInfo{})
		c.Send(&protocol.Connect{Version: 1, Token: "first"})
		wantArrived(t, c, "connected")
		do(c, b, began)
	})
}

// [REF-1]: the session lasts as long as the fresh token, not as long as the first.
func TestASessionLastsAsLongAsItsFreshToken(t *testing.T) {
	for token, lasts := range map[string]time.Duration{"longer": time.Hour, "shorter": 10 * time.Second, "forever": 0} {
		t.Run(token, func(t *testing.T) {
			refreshing(t, func(c *brokertest.Client, _ *broker.Broker, began time.Time) {
				c.Send(&protocol.Refresh{ID: 1, Token: token})
				p := brokertest.Expect[*protocol.Refreshed](c)
				want := int64(0)
				if lasts > 0 {
					want = began.Add(lasts).UnixMilli()
				}
				if p.ID != 1 || p.Expires != want {
					t.Errorf("found %+v, wanted it to expire at %d", p, want)
				}
				if got := p.Limits["publish_rate"]; (got == 7) != (token == "longer") || got == 0 {
					t.Errorf("found %d publishes a second", got)
				}
				ended := func() bool {
					_, is := c.Conn.Ended()
					return is
				}
				for !ended() && time.Since(began) < 2*time.Hour {
					time.Sleep(time.Second)
					_ = c.TrySend(&protocol.Pong{}) // it may have ended
				}
				if took := time.Since(began); ended() != (lasts > 0) || lasts > 0 && (took < lasts+25*time.Second || took > lasts+35*time.Second) {
					t.Errorf("found the session ended %t after %s, wanted %s and the leeway", ended(), took, lasts)
				}
			})
		})
	}
}

// [REF-2], G6: a token that is refused changes nothing, and no decision is told as such.
func TestARefusedTokenLeavesTheSessionAsItIs(t *testing.T) {
	refreshing(t, func(c *brokertest.Client, b *broker.Broker, _ time.Time) {
		c.Send(&protocol.Subscribe{ID: 1, Filter: "a.>", NoRetained: true})
		wantArrived(t, c, "subscribed 1 @0")
		for i, test := range []struct{ token, want string }{
			{"old", "forbidden"}, {"away", "auth_unavailable"}, {"late", "auth_unavailable"},
		} {
			id := uint64(i + 2)
			c.Send(&protocol.Refresh{ID: id, Token: test.token}, &protocol.Publish{Topic: "a.b", Payload: []byte(fmt.Sprint(i))})
			wantSet(t, arrived(c), fmt.Sprintf("error %d %s", id, test.want), fmt.Sprintf(`message %d a.b "%d"`, i+1, i))
		}
	})
}

// [REF-3]: a session stays its user's.
func TestATokenOfSomebodyElseEndsTheSession(t *testing.T) {
	refreshing(t, func(c *brokertest.Client, b *broker.Broker, _ time.Time) {
		if err := c.TrySend(&protocol.Refresh{ID: 1, Token: "eve"}, &protocol.Publish{Topic: "c"}); err == nil {
			t.Error("found the session going on")
		}
		wantArrived(t, c, "disconnect wrong_user")
		if b.Position().Seq != 0 {
			t.Error("found a publish with eve's rights")
		}
	})
}

// [REF-4]: what the fresh token does not cover ends at once, in words; the rest goes on.
func TestWhatTheFreshTokenDoesNotCoverEnds(t *testing.T) {
	refreshing(t, func(c *brokertest.Client, b *broker.Broker, _ time.Time) {
		inbox := "$inbox." + c.Session.ID() + ".>"
		for i, filter := range []string{"a.>", "b.>", "b.c", inbox} {
			c.Send(&protocol.Subscribe{ID: uint64(i + 1), Filter: filter, NoRetained: true, Latest: filter == "b.c"})
		}
		wantSet(t, arrived(c), "subscribed 1 @0", "subscribed 2 @0", "subscribed 3 @0", "subscribed 4 @0", "resumed 3 @0")
		c.Send(&protocol.Refresh{ID: 5, Token: "narrower"})
		wantArrived(t, c, "refreshed 5", "error 3 forbidden", "error 2 forbidden")
		c.Send(&protocol.Publish{ID: 6, Topic: "b.c"}, &protocol.Subscribe{ID: 2, Filter: "b.c"}, &protocol.Unsubscribe{ID: 7, Subscription: 3})
		wantSet(t, arrived(c), "error 6 forbidden", "error 2 forbidden", "error 7 not_found") // the shard has the last one answered
		for _, topic := range []string{"b.c", "a.b"} {
			if _, err := b.Publish(t.Context(), broker.Everybody(), broker.PublishRequest{Topic: topic}); err != nil {
				t.Fatal(err)
			}
		}
		wantArrived(t, c, `message 2 a.b ""`)
		if items, _, _, _ := b.Leftovers(); items != 2 {
			t.Errorf("found %d subscriptions in the shards, wanted 2", items)
		}
	})
}

// [REF-5]: refreshing is limited, and gives no publishes that the rate would not.
func TestRefreshingIsLimited(t *testing.T) {
	refreshing(t, func(c *brokertest.Client, b *broker.Broker, _ time.Time) {
		refused, published := 0, 0
		for i := range uint64(300) {
			c.Send(&protocol.Refresh{ID: 2*i + 1, Token: "forever"}, &protocol.Publish{ID: 2*i + 2, Topic: "a.b"})
		}
		for _, p := range c.Conn.Packets() {
			switch p := p.(type) {
			case *protocol.ErrorPacket:
				if p.ID%2 == 1 && p.Code == protocol.CodeRateLimited {
					refused++
				}
			case *protocol.Published:
				published++
			}
		}
		if refused < 300-128-10 || published > 110 {
			t.Errorf("found %d of 300 refused, and %d published", refused, published)
		}
	})
}
