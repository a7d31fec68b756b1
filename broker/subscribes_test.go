package broker_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/brokertest"
	"github.com/carillon-mq/carillon/protocol"
)

// [SUB-14]: each is answered in its place, refusals too, and all in one write; one that is refused is nothing to the others.
func TestManySubscriptionsAreAnsweredInTheirOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{})
		retain(t, b, "a.1", "kept")
		c := brokertest.Dial(t, b, &broker.Identity{User: "ada", Grants: grants("a.>", "b")})
		_, before := c.Taken()
		c.Send(&protocol.Subscribes{Subscriptions: []protocol.Subscribe{
			{ID: 1, Filter: "b", NoRetained: true},
			{ID: 2, Filter: "secret"},
			{ID: 3, Filter: "a.1"},
			{ID: 3, Filter: "b"},
			{ID: 4, Filter: "a..b"},
			{ID: 5, Filter: "b", Position: []byte("x")},
			{ID: 6, Filter: "a.>", Last: 1},
			{ID: 7, Filter: "a.2", NoRetained: true},
		}})
		wantArrived(t, c, "subscribed 1 @1", "error 2 forbidden", "subscribed 3 @1", "replay 3 retained 1", `message 1 a.1 "kept"`, "end 3", "resumed 3 @1",
			"error 3 duplicate_id", "error 4 bad_filter", "error 5 bad_position", "error 6 forbidden", "subscribed 7 @1")
		if _, writes := c.Taken(); writes != before+1 {
			t.Errorf("found %d writes, wanted one", writes-before)
		}
		publish(t, b, "a.2", "x")
		publish(t, b, "b", "y")
		wantArrived(t, c, `message 2 a.2 "x"`, `message 3 b "y"`)
	})
}

// [SUB-14]: whatever is asked for, together it is answered as one by one.
func TestManySubscriptionsAreAsEachByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _ := startStored(t, broker.Options{RingBytes: 64 << 10, Shards: 1, Topics: []broker.TopicRule{{Match: "kept.>", Class: broker.ClassStored}}})
		var middle []byte
		for i := range 400 {
			publish(t, b, fmt.Sprintf("kept.%d", i%3), kib(1))
			publish(t, b, fmt.Sprintf("plain.%d", i%3), "x")
			if i%100 == 0 {
				retain(t, b, fmt.Sprintf("kept.last.%d", i), "r")
			}
			if i == 395 {
				middle = b.Position().Append(nil)
			}
		}
		var all []protocol.Subscribe
		for id, p := range []protocol.Subscribe{
			{Filter: "plain.1", NoRetained: true},
			{Filter: ">"},
			{Filter: "kept.>", Position: protocol.Position{}.Append(nil)},
			{Filter: "kept.last.100"},
			{Filter: "plain.>", Position: middle},
			{Filter: "kept.1", Position: middle, NoRetained: true},
			{Filter: "plain.*", Latest: true, NoRetained: true},
			{Filter: "kept.2", Last: 3},
			{Filter: "kept.>", Last: 200},
			{Filter: "nothing.here"},
			{Filter: "bad..filter"},
		} {
			p.ID = uint64(id + 1)
			all = append(all, p)
		}
		together, single := brokertest.Dial(t, b, nil), brokertest.Dial(t, b, nil)
		together.Send(&protocol.Subscribes{Subscriptions: all})
		for i := range all {
			single.Send(&all[i])
		}
		if diff := cmp.Diff(ofEach(arrived(single), len(all)), ofEach(arrived(together), len(all))); diff != "" {
			t.Errorf("(-one by one +together):\n%s", diff)
		}
	})
}

// ofEach is how each subscription was answered and what it was sent first: how many messages, and the rest in its order.
func ofEach(lines []string, n int) [][]string {
	out, messages := make([][]string, n+1), make([]int, n+1)
	last := 0
	for _, line := range lines {
		var what string
		id := 0
		if _, err := fmt.Sscanf(line, "%s %d", &what, &id); err == nil && id <= n && what != "message" {
			if last = id; what != "replay" {
				out[id] = append(out[id], line)
			}
			continue
		}
		messages[last]++
	}
	for id := range out {
		out[id] = append(out[id], fmt.Sprint(messages[id], " messages"))
	}
	return out
}

// [SUB-14]: each counts by itself: when the rate or the number of subscriptions is used up in the middle, the rest is refused one by one.
func TestManySubscriptionsCountOneByOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{Limits: broker.Limits{Subscriptions: 100}})
		c := brokertest.Dial(t, b, somebody("ada"))
		var p protocol.Subscribes
		for id := range uint64(200) {
			p.Subscriptions = append(p.Subscriptions, protocol.Subscribe{ID: id + 1, Filter: "a", NoRetained: true})
		}
		c.Send(&p)
		var want []string
		for id := 1; id <= 200; id++ {
			switch {
			case id <= 100:
				want = append(want, fmt.Sprintf("subscribed %d @0", id))
			case id <= 128:
				want = append(want, fmt.Sprintf("error %d subscription_limit", id))
			default:
				want = append(want, fmt.Sprintf("error %d rate_limited", id))
			}
		}
		wantArrived(t, c, want...)
	})
}

// [SUB-14]: a client that goes on far above the rate it was told is sent away, as by many Subscribe.
func TestManySubscriptionsAboveTheRateAreAFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{})
		c := brokertest.Dial(t, b, somebody("ada"))
		p := protocol.Subscribes{Subscriptions: make([]protocol.Subscribe, protocol.MaxArray)}
		for i := range p.Subscriptions {
			p.Subscriptions[i] = protocol.Subscribe{ID: uint64(i + 1), Filter: "a"}
		}
		c.Send(&p)
		if err := c.TrySend(&p); code(err) != protocol.CodeFlooding {
			t.Errorf("found %v", err)
		}
		if lines := arrived(c); lines[len(lines)-1] != "disconnect flooding" {
			t.Errorf("found %q in the end", lines[len(lines)-1])
		}
	})
}

// [SUB-13]: a packet of which one subscription breaks a rule for its form is refused as a whole.
func TestManySubscriptionsOfABadFormAreRefusedAsAWhole(t *testing.T) {
	for name, test := range map[string]struct {
		packet string
		want   string
	}{
		"none":                  {"\x92\x19\x90", "error 0 bad_args"},
		"an id of 0":            {"\x92\x19\x92\x92\x01\xa1a\x92\x00\xa1a", "error 0 bad_args"},
		"last and position":     {"\x92\x19\x92\x92\x01\xa1a\x93\x02\xa1a\x82\xa4last\x05\xa8position\xc4\x01x", "error 0 bad_args"},
		"one that is no array":  {"\x92\x19\x92\x92\x01\xa1a\x01", "disconnect bad_packet"},
		"a filter that is none": {"\x92\x19\x92\x92\x01\xa1a\x92\x02\x03", "disconnect bad_packet"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := start(t, broker.Options{})
				c := brokertest.Dial(t, b, nil)
				if err := c.SendBytes([]byte(test.packet)); (err != nil) != strings.HasPrefix(test.want, "disconnect") {
					t.Errorf("found %v", err)
				}
				if wantArrived(t, c, test.want); b.Stats().Subscriptions != 0 {
					t.Errorf("found %d subscriptions", b.Stats().Subscriptions)
				}
			})
		})
	}
}

// [SUB-13], [PRE-1]: options of the packet hold for each: all join, or are refused by themselves.
func TestManySubscriptionsJoin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{})
		c := brokertest.Dial(t, b, somebody("ada"))
		c.Send(&protocol.Subscribes{Subscriptions: []protocol.Subscribe{
			{ID: 1, Filter: "room.1", NoRetained: true, Join: true},
			{ID: 2, Filter: "room.*", NoRetained: true, Join: true},
			{ID: 3, Filter: "room.3", NoRetained: true, Join: true},
		}})
		wantArrived(t, c, "subscribed 1 @0", "error 2 bad_args", "subscribed 3 @0")
		wantPresent(t, b, "room.1", "ada")
		wantPresent(t, b, "room.3", "ada")
	})
}

// What many subscriptions are sent first is not gathered without a bound.
func TestTheAnswersOfManySubscriptionsAreWrittenInParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{})
		var p protocol.Subscribes
		for i := range 20 {
			topic := fmt.Sprint("a.", i)
			retain(t, b, topic, kib(20))
			p.Subscriptions = append(p.Subscriptions, protocol.Subscribe{ID: uint64(i + 1), Filter: topic})
		}
		c := brokertest.Dial(t, b, nil)
		_, before := c.Taken()
		c.Send(&p)
		if lines := arrived(c); len(slices.DeleteFunc(lines, func(l string) bool { return !strings.HasPrefix(l, "resumed") })) != 20 {
			t.Errorf("found %q", lines)
		}
		if _, writes := c.Taken(); writes-before != 10 {
			t.Errorf("found 400 KiB in %d writes, wanted 10", writes-before)
		}
	})
}
