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

// N1, G11: what a grant covers, and what none does.
func TestAGrantAllowsWhatItCovers(t *testing.T) {
	user := func(name string, grants ...string) *broker.Identity {
		id := &broker.Identity{User: name}
		for _, g := range grants {
			id.Grants = append(id.Grants, broker.Grant{Actions: broker.ActionPublish | broker.ActionSubscribe, Filter: g})
		}
		return id
	}
	for _, test := range []struct {
		id                 *broker.Identity
		name               string
		publish, subscribe bool
	}{
		{user("u"), "a", false, false},
		{user("u", "a"), "a", true, true},
		{user("u", "a"), "a.b", false, false},
		{user("u", "a.*"), "a.b", true, true},
		{user("u", "a.*", "b"), "b", true, true},
		{user("u", "a.>"), "a.b.c", true, true},
		{user("u", "tenant1.>"), "tenant2.a", false, false},
		{user("u", ">"), "$sys.load", false, false},
		{user("u", "$sys.>"), "$sys.load", false, true}, // clients never publish there
		{user("u", "*.load"), "$sys.load", false, false},
		{user("u", ">"), "$user.u.a", false, true},
		{user("u"), "$user.u.a.b", false, true},
		{user("u"), "$user.v.a", false, false},
		{user("u"), "$user.u", false, false},
		{user("u", "$user.v.>"), "$user.v.a", true, true},
		{user(""), "$user.a", false, false},
		{user("", ">"), "$user.x.a", false, false},
		{user("john"), "$user.john.doe.a", false, true},
		{user("john.doe@x.com"), "$user.john.doe@x.com.a", false, false}, // another level: it is john's
		{user("john.doe@x.com"), "$user.john%2Edoe@x%2Ecom.a", false, true},
		{user("*"), "$user.john.a", false, false},
		{user(">"), "$user.john.a", false, false},
		{user("*"), "$user.%2A.a", false, true},
		{user("u", ">", "$inbox.>"), "$inbox.0123.a", true, false},
		{user(""), "$inbox.0123.a", true, false}, // if that session is there
		{user("", "$inbox.>"), "$inbox.0123", false, false},
		{user("u", ">", "$presence.>"), "$presence.a", false, false},
	} {
		if got := test.id.CanPublish(test.name); got != test.publish {
			t.Errorf("%q with %v may publish to %q: %v", test.id.User, test.id.Grants, test.name, got)
		}
		if got := test.id.CanSubscribe(test.name); got != test.subscribe {
			t.Errorf("%q with %v may subscribe to %q: %v", test.id.User, test.id.Grants, test.name, got)
		}
	}
	for _, test := range []struct {
		grant, filter string
		want          bool
	}{
		{"tenant1.>", ">", false},
		{"tenant1.>", "tenant1.>", true},
		{"tenant1.>", "*.a", false},
		{"public.*", "*.secret", false},
		{"tenant1.a.>", "tenant1.*.x", false},
		{"tenant1.*.x", "tenant1.a.x", true},
		{"a.*", "a.>", false},
		{">", "$user.*", false},
		{"$user.>", "$user.*.a", true},
		{"$inbox.>", "$inbox.>", false},
		{"$inbox.>", "$inbox.*.a", false},
	} {
		if got := user("u", test.grant).CanSubscribe(test.filter); got != test.want {
			t.Errorf("a grant of %q allows subscribing to %q: %v", test.grant, test.filter, got)
		}
	}
}

// A grant is for its actions alone.
func TestAGrantIsForItsActions(t *testing.T) {
	id := &broker.Identity{Grants: []broker.Grant{{Actions: broker.ActionPublish, Filter: "in"}, {Actions: broker.ActionSubscribe, Filter: "out"}}}
	if !id.CanPublish("in") || id.CanSubscribe("in") || id.CanPublish("out") || !id.CanSubscribe("out") || id.CanReadHistory("out") {
		t.Error("found an action allowed that was not granted, or one refused that was")
	}
}

// R6: rights are asked at subscribe, at resume and at publish; nothing of a refused request happens.
func TestWhatIsNotGrantedIsForbidden(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{})
		retain(t, b, "secret", "x")
		c := brokertest.Dial(t, b, &broker.Identity{User: "u", Grants: []broker.Grant{{Actions: broker.ActionSubscribe, Filter: "open"}}})
		c.Send(&protocol.Subscribe{ID: 1, Filter: "secret"}, &protocol.Subscribe{ID: 2, Filter: ">", Position: protocol.Position{}.Append(nil)},
			&protocol.Publish{ID: 3, Topic: "open", Payload: []byte("x")}, &protocol.Publish{Topic: "open"})
		wantArrived(t, c, "error 1 forbidden", "error 2 forbidden", "error 3 forbidden", "error 0 forbidden")
		if got := b.Position().Seq; got != 1 {
			t.Errorf("found %d entries in the log, wanted 1", got)
		}
		if _, err := b.Retained(&broker.Identity{}, "secret"); code(err) != protocol.CodeForbidden {
			t.Errorf("found %v for a retained value, wanted forbidden", err)
		}
	})
}

// N1, [REQ-2]: an inbox is its session's.
func TestAnInboxIsReadByItsSessionAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{})
		all := &broker.Identity{Grants: []broker.Grant{{Actions: broker.ActionPublish | broker.ActionSubscribe, Filter: "$inbox.>"}}}
		one, two := brokertest.Dial(t, b, all), brokertest.Dial(t, b, all)
		inbox := "$inbox." + one.Session.ID()
		one.Send(&protocol.Subscribe{ID: 1, Filter: inbox + ".>", NoRetained: true})
		two.Send(&protocol.Subscribe{ID: 1, Filter: inbox + ".>", NoRetained: true}, &protocol.Subscribe{ID: 2, Filter: "$inbox.>", NoRetained: true},
			&protocol.Subscribe{ID: 3, Filter: "$inbox.*.a", NoRetained: true}, &protocol.Publish{ID: 4, Topic: inbox + ".a", Payload: []byte("reply")})
		wantArrived(t, two, "error 1 forbidden", "error 2 forbidden", "error 3 forbidden", "published 4 @0")
		wantArrived(t, one, "subscribed 1 @0", fmt.Sprintf(`message 0 %s.a "reply"`, inbox))
	})
}

// R6: a revocation drops what waits.
func TestARevokedSessionGetsNothingThatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{Shards: 1})
		c := brokertest.Dial(t, b, nil)
		c.Subscribe(1, "a")
		c.Shut()
		for range 50 {
			publish(t, b, "a", kib(1))
		}
		synctest.Wait()
		c.Session.Revoke(protocol.Errorf(protocol.CodeRevoked, "rights withdrawn"))
		c.Open()
		if d, ended := c.Ended(); d != nil || !ended {
			t.Errorf("found the connection ended: %v, with %+v; wanted it cut", ended, d)
		}
		wantArrived(t, c)
		if b.Stats().Rejected[protocol.CodeRevoked] != 1 {
			t.Error("found the revocation not counted")
		}
	})
}

// R6: not even what the same message of the transport still has is done for a session that was revoked.
func TestARevokedSessionPublishesNothingMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{})
		c := brokertest.Dial(t, b, nil)
		c.Session.Revoke(protocol.Errorf(protocol.CodeRevoked, "rights withdrawn"))
		if err := c.Session.Receive((&protocol.Publish{ID: 1, Topic: "a"}).Append(nil), false); err == nil {
			t.Error("found a publish of a revoked session taken")
		}
		if got := b.Position().Seq; got != 0 {
			t.Errorf("found %d entries in the log, wanted none", got)
		}
	})
}

// decide is an Authenticator that does what the test says.
type decide func(ctx context.Context, c broker.Credentials) (*broker.Identity, error)

func (f decide) Authenticate(ctx context.Context, c broker.Credentials) (*broker.Identity, error) {
	return f(ctx, c)
}

// G6: no decision is unavailable, never a refusal and never a grant.
func TestADecisionIsTakenAsItIs(t *testing.T) {
	for name, test := range map[string]struct {
		token  string
		answer decide
		want   string
	}{
		"allowed": {"good", func(context.Context, broker.Credentials) (*broker.Identity, error) {
			return &broker.Identity{User: "u"}, nil
		}, "connected"},
		"refused": {"old", func(context.Context, broker.Credentials) (*broker.Identity, error) {
			return nil, protocol.Errorf(protocol.CodeTokenExpired, "old")
		}, "disconnect token_expired"},
		"missing": {"", func(context.Context, broker.Credentials) (*broker.Identity, error) {
			return nil, protocol.Errorf(protocol.CodeTokenMissing, "none")
		}, "disconnect token_missing"},
		"nobody": {"x", func(context.Context, broker.Credentials) (*broker.Identity, error) { return nil, nil }, "disconnect unavailable"},
		"failed": {"x", func(context.Context, broker.Credentials) (*broker.Identity, error) {
			return nil, errors.New("plugin is away")
		}, "disconnect unavailable"},
		"allowed, but failed": {"x", func(context.Context, broker.Credentials) (*broker.Identity, error) {
			return broker.Everybody(), errors.New("and yet")
		}, "disconnect unavailable"},
		"hung": {"x", func(ctx context.Context, _ broker.Credentials) (*broker.Identity, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}, "disconnect unavailable"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := start(t, broker.Options{Authenticator: test.answer})
				c := brokertest.Open(t, b, broker.ConnInfo{})
				began := time.Now()
				if err := c.TrySend(&protocol.Connect{Version: 1, Token: test.token}, &protocol.Publish{Topic: "a"}); (err == nil) != (test.want == "connected") {
					t.Errorf("found %v", err)
				}
				if took := time.Since(began); took > 2*time.Second {
					t.Errorf("found an answer after %s, the limit is 2 s", took)
				}
				if lines := arrived(c); lines[0] != test.want {
					t.Errorf("found %q, wanted %q", lines, test.want)
				}
				if got := b.Position().Seq; got != 0 {
					t.Error("found a publish done for who was not granted it")
				}
			})
		})
	}
}

// The upgrade's identity counts when Connect has no token; a token goes before it.
func TestATokenGoesBeforeTheIdentityOfTheUpgrade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		auth := decide(func(_ context.Context, c broker.Credentials) (*broker.Identity, error) {
			return &broker.Identity{User: "token-" + c.Token}, nil
		})
		b := start(t, broker.Options{Authenticator: auth, Anonymous: &broker.Identity{}})
		for _, test := range []struct {
			upgrade     *broker.Identity
			token, want string
		}{
			{&broker.Identity{User: "cookie"}, "", "cookie"},
			{&broker.Identity{User: "cookie"}, "x", "token-x"},
			{nil, "x", "token-x"},
			{nil, "", ""},
		} {
			c := brokertest.Open(t, b, broker.ConnInfo{Identity: test.upgrade})
			c.Send(&protocol.Connect{Version: 1, Token: test.token})
			if got := brokertest.Expect[*protocol.Connected](c).User; got != test.want {
				t.Errorf("found user %q, wanted %q", got, test.want)
			}
		}
	})
}
