package broker_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/brokertest"
	"github.com/carillon-mq/carillon/broker/internal/msgjson"
	"github.com/carillon-mq/carillon/protocol"
)

// everywhere are all rights on ordinary topics.
var everywhere = []broker.Grant{{Actions: broker.ActionPublish | broker.ActionSubscribe | broker.ActionHistory | broker.ActionPresence, Filter: ">"}}

func somebody(user string) *broker.Identity { return &broker.Identity{User: user, Grants: everywhere} }

// join connects user and has it join topic with subscription 1.
func join(t *testing.T, b *broker.Broker, user, topic string) *brokertest.Client {
	t.Helper()
	c := brokertest.Dial(t, b, somebody(user))
	c.Send(&protocol.Subscribe{ID: 1, Filter: topic, NoRetained: true, Join: true})
	brokertest.Expect[*protocol.Subscribed](c)
	return c
}

// watch connects somebody who is told who comes and goes below filter.
func watch(t *testing.T, b *broker.Broker, filter string) *brokertest.Client {
	t.Helper()
	c := brokertest.Dial(t, b, somebody("watch"))
	c.Subscribe(1, "$presence."+filter)
	return c
}

// told are the changes that have arrived at c, as JSON behind their topic.
func told(t *testing.T, c *brokertest.Client) (lines []string) {
	t.Helper()
	synctest.Wait()
	for _, p := range c.Packets() {
		if _, is := p.(*protocol.Ping); is {
			continue
		}
		m, is := p.(*protocol.Message)
		if !is || m.Seq != 0 || m.Offset != 0 || m.ContentType != "" || m.Retain {
			t.Fatalf("found %T %+v, wanted a message of class live in MessagePack", p, p)
		}
		json, ok := msgjson.Append(nil, m.Payload)
		if !ok {
			t.Fatalf("found payload %x, wanted MessagePack", m.Payload)
		}
		lines = append(lines, m.Topic+" "+string(json))
	}
	return lines
}

func wantPresent(t *testing.T, b *broker.Broker, topic string, users ...string) {
	t.Helper()
	synctest.Wait()
	is, err := b.Presence(somebody("x"), topic)
	if err != nil || is.Count != len(users) || !slices.Equal(is.Users, users) {
		t.Fatalf("found %+v %v in %q, wanted %q", is, err, topic, users)
	}
}

// [PRE-1]: what a join needs. Nothing is left of one that is refused.
func TestWhatAJoinNeeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{})
		rights := []broker.Grant{
			{Actions: broker.ActionSubscribe, Filter: ">"},
			{Actions: broker.ActionPresence, Filter: "room.>"},
			{Actions: broker.ActionPresence | broker.ActionSubscribe, Filter: "$user.>"},
			{Actions: broker.ActionPresence, Filter: "hidden"},
		}
		long := "room." + strings.Repeat("x", 241)
		for _, test := range []struct {
			user, filter, want string
		}{
			{"ada", "room.7", "subscribed 1 @0"},
			{"ada", "room.*", "error 1 bad_args"},
			{"ada", "room.>", "error 1 bad_args"},
			{"ada", "a b", "error 1 bad_filter"},
			{"ada", "other", "error 1 forbidden"},
			{"ada", "$user.ada.x", "error 1 forbidden"},
			{"ada", "$presence.room.7", "error 1 forbidden"},
			{"", "room.7", "error 1 forbidden"},
			{"ada", long, "error 1 bad_args"},
			{"ada", long[:245], "subscribed 1 @0"},
			{"ada", "room" + strings.Repeat(".x", 15), "error 1 bad_args"},
		} {
			c := brokertest.Dial(t, b, &broker.Identity{User: test.user, Grants: rights})
			c.Send(&protocol.Subscribe{ID: 1, Filter: test.filter, NoRetained: true, Join: true})
			if wantArrived(t, c, test.want); strings.HasPrefix(test.want, "subscribed") {
				wantPresent(t, b, test.filter, test.user)
			}
			c.Quit()
		}
		time.Sleep(20 * time.Second)
		wantNobody(t, b)
	})
}

// wantNobody fails the test if the table of members holds anything.
func wantNobody(t *testing.T, b *broker.Broker) {
	t.Helper()
	synctest.Wait()
	if topics, members, readers := b.Members(); topics+members+readers != 0 {
		t.Fatalf("found %d topics, %d members and %d readers left", topics, members, readers)
	}
}

// [PRE-2]: how a member goes, and when.
func TestHowAMemberGoes(t *testing.T) {
	for name, test := range map[string]struct {
		leave func(c *brokertest.Client)
		stays time.Duration
	}{
		"unsubscribed":     {func(c *brokertest.Client) { c.Send(&protocol.Unsubscribe{ID: 2, Subscription: 1}) }, 0},
		"closed with 1000": {(*brokertest.Client).Quit, 0},
		"lost":             {(*brokertest.Client).Leave, 10 * time.Second},
		"sent away": {func(c *brokertest.Client) {
			c.Session.Disconnect(protocol.Errorf(protocol.CodeTokenExpired, "old"))
		}, 10 * time.Second},
		"revoked": {func(c *brokertest.Client) { c.Session.Revoke(protocol.Errorf(protocol.CodeRevoked, "gone")) }, 0},
		"kicked":  {func(c *brokertest.Client) { c.Session.Disconnect(protocol.Errorf(protocol.CodeKicked, "gone")) }, 0},
		"a lost right": {func(c *brokertest.Client) {
			c.Send(&protocol.Refresh{ID: 2, Token: "narrower"})
		}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := start(t, broker.Options{Anonymous: broker.Everybody(), Authenticator: tokens{
					"narrower": {User: "ada", Grants: grants(">")}, // without presence
				}})
				seen := watch(t, b, "room")
				c := join(t, b, "ada", "room")
				join(t, b, "bob", "room")
				wantPresent(t, b, "room", "ada", "bob")
				time.Sleep(2 * time.Second)
				wantLines(t, told(t, seen), `$presence.room {"count":2,"joined":["ada","bob"],"left":[]}`)
				test.leave(c)
				synctest.Wait()
				if test.stays > 0 {
					time.Sleep(test.stays - time.Millisecond)
					wantPresent(t, b, "room", "ada", "bob")
					wantLines(t, told(t, seen))
					time.Sleep(time.Millisecond)
				}
				wantPresent(t, b, "room", "bob")
				time.Sleep(time.Second)
				wantLines(t, told(t, seen), `$presence.room {"count":1,"joined":[],"left":["ada"]}`)
			})
		})
	}
}

// [REF-4], [PRE-2]: a session whose fresh token has no right to presence is told that the subscription which has joined has ended.
func TestASubscriptionEndsWithItsRightToPresence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{Authenticator: tokens{"first": somebody("ada"), "narrower": {User: "ada", Grants: grants(">")}}})
		c := brokertest.Open(t, b, broker.ConnInfo{})
		c.Send(&protocol.Connect{Version: 1, Token: "first"})
		c.Send(&protocol.Subscribe{ID: 1, Filter: "room", NoRetained: true, Join: true}, &protocol.Subscribe{ID: 2, Filter: "$presence.>", NoRetained: true},
			&protocol.Subscribe{ID: 3, Filter: "room", NoRetained: true})
		wantArrived(t, c, "connected", "subscribed 1 @0", "subscribed 2 @0", "subscribed 3 @0")
		c.Send(&protocol.Refresh{ID: 4, Token: "narrower"})
		wantArrived(t, c, "refreshed 4", "error 2 forbidden", "error 1 forbidden")
		time.Sleep(10 * time.Second)
		wantArrived(t, c)
		wantNobody(t, b)
	})
}

// [PRE-2]: who is back in time has never left, and nobody is told otherwise.
func TestWhoComesBackInTimeHasNeverLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{})
		seen := watch(t, b, ">")
		c := join(t, b, "ada", "room")
		time.Sleep(2 * time.Second)
		c.Leave()
		time.Sleep(9 * time.Second)
		c = join(t, b, "ada", "room")
		time.Sleep(20 * time.Second)
		wantLines(t, told(t, seen), `$presence.room {"count":1,"joined":["ada"],"left":[]}`)
		c.Quit()
		seen.Quit()
		time.Sleep(2 * time.Second)
		wantNobody(t, b)
	})
}

// [PRE-3], [TOP-7]: the changes need the right to presence on what stands behind, and nobody publishes there.
func TestWhoMayBeToldOfChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{})
		c := brokertest.Dial(t, b, &broker.Identity{User: "ada", Grants: []broker.Grant{
			{Actions: broker.ActionPresence, Filter: "orders.>"},
			{Actions: broker.ActionPublish | broker.ActionSubscribe | broker.ActionHistory, Filter: "$presence.>"},
		}})
		for id, filter := range []string{"$presence.orders.>", "$presence.orders.*", "$presence.orders.7", "$presence.>", "$presence.*.7", "$presence.other", "$presence.$user.ada.>"} {
			c.Send(&protocol.Subscribe{ID: uint64(id + 1), Filter: filter, NoRetained: true})
		}
		c.Send(&protocol.Publish{ID: 9, Topic: "$presence.orders.7"})
		found := arrived(c)
		slices.Sort(found)
		wantLines(t, found, "error 4 forbidden", "error 5 forbidden", "error 6 forbidden", "error 7 forbidden", "error 9 forbidden",
			"subscribed 1 @0", "subscribed 2 @0", "subscribed 3 @0")
		if _, err := b.Publish(t.Context(), broker.Everybody(), broker.PublishRequest{Topic: "$presence.orders.7"}); code(err) != protocol.CodeForbidden {
			t.Errorf("found %v for a publish by HTTP, wanted forbidden", err)
		}
	})
}

// [PRE-4]: who may ask, and that asking is limited.
func TestWhoIsThereIsAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{})
		for _, user := range []string{"zoe", "Ada", "ada"} {
			join(t, b, user, "room")
		}
		c := brokertest.Dial(t, b, &broker.Identity{Grants: []broker.Grant{{Actions: broker.ActionPresence, Filter: "room.>"}, {Actions: broker.ActionPresence, Filter: "room"}}})
		c.Send(&protocol.Presence{ID: 1, Topic: "room"}, &protocol.Presence{ID: 2, Topic: "room.empty"}, &protocol.Presence{ID: 3, Topic: "other"},
			&protocol.Presence{ID: 4, Topic: "room.*"}, &protocol.Presence{ID: 5, Topic: "$user.ada"})
		wantArrived(t, c, "presences 1 =3 Ada,ada,zoe", "presences 2 =0 ", "error 3 forbidden", "error 4 bad_topic", "error 5 forbidden")
		refused := 0
		for id := range uint64(200) {
			c.Send(&protocol.Presence{ID: id + 1, Topic: "room"})
		}
		for _, line := range arrived(c) {
			if strings.HasSuffix(line, "rate_limited") {
				refused++
			}
		}
		if refused != 200-(128-5) {
			t.Errorf("found %d of 200 refused", refused)
		}
	})
}

// [PRE-1], [PRE-2], TRA-4: an Unsubscribe has its effect on what stands behind it.
func TestPresenceIsAskedInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{})
		c := brokertest.Dial(t, b, somebody("ada"))
		c.Send(&protocol.Subscribe{ID: 1, Filter: "room", NoRetained: true, Join: true}, &protocol.Presence{ID: 2, Topic: "room"},
			&protocol.Unsubscribe{ID: 3, Subscription: 1}, &protocol.Presence{ID: 4, Topic: "room"})
		found := arrived(c)
		slices.Sort(found)
		wantLines(t, found, "presences 2 =1 ada", "presences 4 =0 ", "subscribed 1 @0", "unsubscribed 3")
	})
}

// A subscription that is refused, or whose session ends before it begins, leaves no member behind.
func TestARefusedSubscriptionJoinsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{Limits: broker.Limits{Subscriptions: 1}})
		c := join(t, b, "ada", "room")
		c.Send(&protocol.Subscribe{ID: 1, Filter: "other", Join: true}, &protocol.Subscribe{ID: 2, Filter: "other", Join: true},
			&protocol.Subscribe{ID: 3, Filter: "other", Join: true, Position: []byte("x")})
		wantArrived(t, c, "error 1 duplicate_id", "error 2 subscription_limit", "error 3 bad_position")
		wantPresent(t, b, "other")
		free := b.HoldShards()
		d := brokertest.Dial(t, b, somebody("bob"))
		d.Send(&protocol.Subscribe{ID: 1, Filter: "room", Join: true})
		d.Quit()
		c.Quit()
		free()
		time.Sleep(20 * time.Second)
		wantNobody(t, b)
	})
}

// [PRE-3]: changes that nobody reads are not put into the log; one that begins to read is told what follows.
func TestChangesGoIntoTheLogForReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{})
		join(t, b, "ada", "room.1")
		time.Sleep(2 * time.Second)
		if got := b.Position().Seq; got != 0 {
			t.Fatalf("found %d entries in the log, and nobody reads", got)
		}
		seen := watch(t, b, "room.*")
		join(t, b, "bob", "room.1")
		join(t, b, "bob", "hall")
		time.Sleep(2 * time.Second)
		wantLines(t, told(t, seen), `$presence.room.1 {"count":2,"joined":["bob"],"left":[]}`)
		if got := b.Position().Seq; got != 1 {
			t.Fatalf("found %d entries in the log, wanted the one that somebody reads", got)
		}
	})
}

// [PRE-3]: names that make a message longer than the limit are left out, as those of too many are.
func TestAChangeIsNoLongerThanAMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{Limits: broker.Limits{Payload: 1000}})
		seen := watch(t, b, "room")
		for i := range 20 {
			join(t, b, fmt.Sprint(i, strings.Repeat("x", 50)), "room")
		}
		time.Sleep(2 * time.Second)
		wantLines(t, told(t, seen), `$presence.room {"count":20}`)
	})
}
