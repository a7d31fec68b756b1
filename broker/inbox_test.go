package broker_test

import (
	"encoding/hex"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/brokertest"
	"github.com/carillon-mq/carillon/protocol"
)

// nobody may do nothing.
func nobody() *broker.Identity { return &broker.Identity{} }

// [REQ-1], [REQ-2]: a request and its reply, by somebody without any right, over a session and without one.
func TestAReplyNeedsNoGrant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{Topics: []broker.TopicRule{{Match: "$inbox.>", Class: broker.ClassMemory}}})
		asks := brokertest.Dial(t, b, &broker.Identity{Grants: grants("rpc.>")})
		serves := brokertest.Dial(t, b, &broker.Identity{Grants: []broker.Grant{{Actions: broker.ActionSubscribe, Filter: "rpc.>"}}})
		serves.Subscribe(1, "rpc.sum")
		inbox := "$inbox." + asks.Connected.Session + "."
		asks.Subscribe(1, inbox+">")
		asks.Send(&protocol.Publish{ID: 2, Topic: "rpc.sum", Payload: []byte("1 2"), Receivers: true, Headers: map[string]string{"reply-to": inbox + "7", "correlation-id": "7"}})
		wantArrived(t, asks, "published 2 @1 receivers 1")

		request := brokertest.Expect[*protocol.Message](serves)
		reply := protocol.Publish{
			ID: 2, Topic: request.Headers["reply-to"], Payload: []byte("3"), Receivers: true,
			Headers: map[string]string{"correlation-id": request.Headers["correlation-id"]},
		}
		serves.Send(&reply)
		wantArrived(t, serves, "published 2 @0 receivers 1")
		got := brokertest.Expect[*protocol.Message](asks)
		if got.Topic != inbox+"7" || got.Headers["correlation-id"] != "7" || got.Seq != 0 || string(got.Payload) != "3" {
			t.Errorf("found %+v", got)
		}
		if _, err := b.Publish(t.Context(), nobody(), broker.PublishRequest{Topic: reply.Topic, Payload: []byte("by HTTP")}); err != nil {
			t.Errorf("found %v for a reply without a session", err)
		}
		wantArrived(t, asks, fmt.Sprintf(`message 0 %s7 "by HTTP"`, inbox))
	})
}

// [REQ-2], [REQ-4]: an inbox is there as long as its session, and one of nobody is not.
func TestAnInboxEndsWithItsSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{})
		asks, ends, replies := brokertest.Dial(t, b, nobody()), brokertest.Dial(t, b, nobody()), brokertest.Dial(t, b, nobody())
		name := asks.Session.ID()
		ended := ends.Session.ID()
		reply := func(topic string) string {
			replies.Send(&protocol.Publish{ID: 1, Topic: topic, Receivers: true})
			return arrived(replies)[0]
		}
		for topic, want := range map[string]string{
			"$inbox." + name + ".a":        "published 1 @0 receivers 0",
			"$inbox." + name + ".a.b.c":    "published 1 @0 receivers 0",
			"$inbox." + name:               "error 1 forbidden",
			"$inbox." + name[1:] + ".a":    "error 1 not_found",
			"$inbox." + name + "0.a":       "error 1 not_found",
			"$inbox.0.a":                   "error 1 not_found",
			"$inbox." + name + "..a":       "error 1 bad_topic",
			"$inbox." + name + ".>":        "error 1 bad_topic",
			"$inbox.a":                     "error 1 forbidden",
			"$inboxes." + name + ".a":      "error 1 forbidden",
			"$inbox.$inbox." + name + ".a": "error 1 not_found",
			"$inbox." + ended + ".a":       "published 1 @0 receivers 0",
			"other":                        "error 1 forbidden",
			"$presence." + name:            "error 1 forbidden",
			"$sys." + name:                 "error 1 forbidden",
			"$user." + name + ".a":         "error 1 forbidden",
			"$inbox." + name + ".$inbox.x": "published 1 @0 receivers 0",
		} {
			if found := reply(topic); found != want {
				t.Errorf("found %q for %q, wanted %q", found, topic, want)
			}
		}
		free := b.HoldShards() // it has ended though its shard does not know
		ends.Leave()
		replies.Send(&protocol.Publish{ID: 1, Topic: "$inbox." + ended + ".a"})
		brokertest.ExpectError(replies, protocol.CodeNotFound)
		asks.Session.Disconnect(protocol.Errorf(protocol.CodeKicked, "gone")) // nor does its transport
		replies.Send(&protocol.Publish{ID: 2, Topic: "$inbox." + name + ".a"})
		brokertest.ExpectError(replies, protocol.CodeNotFound)
		free()
	})
}

// [REQ-3]: nothing of an inbox is kept, whatever the rules say.
func TestNothingOfAnInboxIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, store := startStored(t, broker.Options{Topics: []broker.TopicRule{{Match: "$inbox.>", Class: broker.ClassStored}, {Match: ">", Class: broker.ClassStored}}})
		asks := brokertest.Dial(t, b, broker.Everybody())
		topic := "$inbox." + asks.Session.ID() + ".a"
		asks.Subscribe(1, topic)
		asks.Send(&protocol.Publish{ID: 2, Topic: topic, Retain: true, Payload: []byte("x")}, &protocol.Publish{ID: 3, Topic: topic, Retain: true},
			&protocol.Publish{ID: 4, Topic: topic, Payload: []byte("y"), MessageID: "m"})
		found := arrived(asks)
		slices.Sort(found)
		wantLines(t, found, "error 2 bad_args", "error 3 bad_args", fmt.Sprintf(`message 0 %s "y"`, topic), "published 4 @0")
		asks.Send(&protocol.History{ID: 5, Filter: topic}, &protocol.Subscribe{ID: 6, Filter: topic, Last: 5})
		found = arrived(asks)
		slices.Sort(found)
		wantLines(t, found, "error 5 forbidden", "error 6 forbidden")
		if n := len(store.Log()); n != 0 {
			t.Errorf("found %d records in the store", n)
		}
		asks.Send(&protocol.Publish{ID: 7, Topic: topic, MessageID: "m", Payload: []byte("y")})
		wantArrived(t, asks, "published 7 @0 duplicate")
	})
}

// [REQ-2], [PUB-2]: replies are bounded by the rate of who replies.
func TestRepliesAreBoundedByTheRateOfWhoReplies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{})
		asks, replies := brokertest.Dial(t, b, nobody()), brokertest.Dial(t, b, nobody())
		for id := range uint64(150) {
			replies.Send(&protocol.Publish{ID: id + 1, Topic: "$inbox." + asks.Session.ID() + ".a"})
		}
		published := 0
		for _, line := range arrived(replies) {
			if line[0] == 'p' {
				published++
			}
		}
		if published != 100 {
			t.Errorf("found %d of 150 published, wanted 100", published)
		}
	})
}

// [REQ-2]: the name of a session is 128 random bits.
func TestSessionsCannotBeGuessed(t *testing.T) {
	b := start(t, broker.Options{})
	bits, seen := make([]int, 128), map[string]bool{}
	for range 100 {
		c := brokertest.Dial(t, b, nil)
		raw, err := hex.DecodeString(c.Connected.Session)
		if err != nil || len(raw) != 16 || seen[c.Connected.Session] {
			t.Fatalf("found session %q", c.Connected.Session)
		}
		seen[c.Connected.Session] = true
		for i := range bits {
			bits[i] += int(raw[i/8] >> (i % 8) & 1)
		}
	}
	for i, set := range bits {
		if set < 10 || set > 90 { // 8 standard deviations
			t.Errorf("found bit %d set in %d of 100", i, set)
		}
	}
}

// [REQ-3]: an inbox does not wait for a store that it has nothing in.
func TestAnInboxDoesNotWaitForTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := brokertest.NewStore()
		store.GoAway()
		b := start(t, broker.Options{Store: store, Topics: []broker.TopicRule{{Match: "$inbox.>", Class: broker.ClassStored}, {Match: ">", Class: broker.ClassStored}}})
		c := brokertest.Dial(t, b, broker.Everybody())
		c.Send(&protocol.Subscribe{ID: 1, Filter: "kept", NoRetained: true})
		wantArrived(t, c, "error 1 not_ready")
		inbox := "$inbox." + c.Session.ID() + ".>"
		c.Send(&protocol.Subscribe{ID: 1, Filter: inbox, NoRetained: true})
		wantArrived(t, c, "subscribed 1 @0")
		publish(t, b, inbox[:len(inbox)-1]+"a", "x")
		wantArrived(t, c, fmt.Sprintf(`message 0 %sa "x"`, inbox[:len(inbox)-1]))
	})
}
