package broker_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/brokertest"
	"github.com/carillon-mq/carillon/protocol"
)

// [SUB-9]: a subscription that asks for the newest so many gets them from the log, or from the store and the log, once, and goes on.
func TestASubscriptionBeginsWithTheNewest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := brokertest.NewStore()
		b := run(t, store, broker.Options{})
		for i := range 5 {
			publish(t, b, "kept.a", fmt.Sprint(2*i+1))
			publish(t, b, "plain", fmt.Sprint(2*i+2))
		}
		c := brokertest.Dial(t, b, nil)
		c.Send(&protocol.Subscribe{ID: 1, Filter: ">", Last: 3})
		wantArrived(t, c, "subscribed 1 @7/4", "replay 1 log 3", `message 8 plain "8"`, `message 9/5 kept.a "9"`, `message 10 plain "10"`, "resumed 1 @10/5")
		publish(t, b, "kept.a", "11")
		wantArrived(t, c, `message 11/6 kept.a "11"`)
		c.Send(&protocol.Subscribe{ID: 2, Filter: "none", Last: 3})
		wantArrived(t, c, "subscribed 2 @11/6", "resumed 2 @11/6")
	})
	synctest.Test(t, func(t *testing.T) {
		store := brokertest.NewStore()
		opt := broker.Options{RingBytes: 64 << 10}
		b := run(t, store, opt)
		for i := range 300 {
			publish(t, b, "kept.a", kib(1)+fmt.Sprint(i+1))
		}
		c := brokertest.Dial(t, b, nil)
		c.Send(&protocol.Subscribe{ID: 1, Filter: "kept.>", Last: 250})
		lines := arrived(c)
		if lines[0] != "subscribed 1 @0/50" {
			t.Errorf("found %q, wanted the place in the store behind which the first stands", lines[0])
		}
		wantOffsets(t, lines, 51, 300)
		c.Send(&protocol.Subscribe{ID: 2, Filter: "kept.>", Last: 1000})
		wantOffsets(t, arrived(c), 1, 300)
	})
}

// [SUB-9], [HIS-4]: what lies in the past needs the right to it.
func TestTheNewestAndHistoryNeedTheirRight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := run(t, brokertest.NewStore(), broker.Options{})
		c := brokertest.Dial(t, b, &broker.Identity{User: "u", Grants: []broker.Grant{
			{Actions: broker.ActionSubscribe, Filter: ">"}, {Actions: broker.ActionHistory, Filter: "kept.mine.>"},
		}})
		for i, test := range []struct {
			packet protocol.Packet
			want   string
		}{
			{&protocol.Subscribe{ID: 1, Filter: "kept.a", Last: 1}, "error 1 forbidden"},
			{&protocol.History{ID: 2, Filter: "kept.>"}, "error 2 forbidden"},
			{&protocol.History{ID: 3, Filter: "kept.mine.>"}, "histories 3 @0"},
			{&protocol.History{ID: 4, Filter: "a..b"}, "error 4 bad_filter"},
		} {
			c.Send(test.packet)
			if lines := arrived(c); len(lines) != 1 || lines[0] != test.want {
				t.Errorf("request %d: found %q, wanted %q", i, lines, test.want)
			}
		}
	})
}

// [HIS-1] to [HIS-5]
func TestHistoryIsReadInPages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := brokertest.NewStore()
		b := run(t, store, broker.Options{})
		for i := range 5 {
			publish(t, b, "kept.a", fmt.Sprint(i+1))
			publish(t, b, "plain", "")
		}
		c := brokertest.Dial(t, b, nil)
		c.Send(&protocol.History{ID: 1, Filter: "kept.>", Limit: 2})
		wantArrived(t, c, "replay 1 history 2", `message 0/1 kept.a "1"`, `message 0/2 kept.a "2"`, "histories 1 @0/2 more")
		at := b.Position()
		at.Epoch, at.Seq, at.Offset = protocol.RunID{}, 0, 2
		c.Send(&protocol.History{ID: 2, Filter: "kept.a", After: at.Append(nil)})
		wantArrived(t, c, "replay 2 history 3", `message 0/3 kept.a "3"`, `message 0/4 kept.a "4"`, `message 0/5 kept.a "5"`, "histories 2 @0/5")
		c.Send(&protocol.History{ID: 3, Filter: "kept.>", Last: 2})
		wantArrived(t, c, "replay 3 history 2", `message 0/4 kept.a "4"`, `message 0/5 kept.a "5"`, "histories 3 @0/5")
		c.Send(&protocol.History{ID: 4, Filter: "plain"})
		wantArrived(t, c, "error 4 unsupported")
		c.Send(&protocol.History{ID: 5, Filter: "kept.a", After: []byte("x")})
		wantArrived(t, c, "error 5 bad_position")
		at.Term = protocol.NewRunID()
		c.Send(&protocol.History{ID: 6, Filter: "kept.b", After: at.Append(nil)})
		wantArrived(t, c, "histories 6 @0/5 ahead")
		// Where to go on is where a subscription goes on, too.
		at = b.Position()
		at.Epoch, at.Seq, at.Offset = protocol.RunID{}, 0, 4
		c.Send(&protocol.Subscribe{ID: 7, Filter: "kept.>", Position: at.Append(nil)})
		wantArrived(t, c, "subscribed 7 @0/4", "replay 7 log 1", `message 9/5 kept.a "5"`, "resumed 7 @10/5")
		store.GoAway()
		c.Send(&protocol.History{ID: 8, Filter: "kept.>"})
		wantArrived(t, c, "error 8 store_unavailable")
		_, err := b.History(t.Context(), broker.Everybody(), broker.HistoryRequest{Filter: "kept.>"})
		if refusal, ok := errors.AsType[*protocol.Error](err); !ok || strings.Contains(refusal.Packet(0).Hint, "id") {
			t.Errorf("found %+v, wanted a hint that says nothing of message ids: it is a read", refusal)
		}
	})
}

// A page is bounded by its bytes; of the newest it has the first, and the rest follows.
func TestAPageOfHistoryIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := run(t, brokertest.NewStore(), broker.Options{})
		for i := range 40 {
			publish(t, b, "kept.a", kib(60)+fmt.Sprint(i+1))
		}
		for _, test := range []struct {
			request     broker.HistoryRequest
			first, last uint64
			more        bool
		}{
			{broker.HistoryRequest{Filter: "kept.>"}, 1, 17, true},
			{broker.HistoryRequest{Filter: "kept.>", Last: 40}, 1, 17, true},
			{broker.HistoryRequest{Filter: "kept.>", Last: 20}, 21, 37, true},
			{broker.HistoryRequest{Filter: "kept.>", Last: 3}, 38, 40, false},
		} {
			page, err := b.History(t.Context(), broker.Everybody(), test.request)
			if err != nil {
				t.Fatal(err)
			}
			n := len(page.Messages)
			if n == 0 || page.Messages[0].Offset != test.first || page.Messages[n-1].Offset != test.last || page.More != test.more {
				t.Errorf("%+v: found %d messages, more %t, wanted %d to %d, more %t", test.request, n, page.More, test.first, test.last, test.more)
			}
			if page.More && page.After.Offset != test.last || !page.More && page.After.Offset != 40 {
				t.Errorf("%+v: found the next page after %d", test.request, page.After.Offset)
			}
		}
	})
}

// [SUB-10], R5: who asked for the latest gets, when behind, the newest of each topic and no gap.
func TestALatestSubscriptionLeavesOutWhatIsOlder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rules := append([]broker.TopicRule{{Match: "live.>", Class: broker.ClassLive}}, keptTopics...)
		b := run(t, brokertest.NewStore(), broker.Options{Topics: rules})
		c := brokertest.Dial(t, b, nil)
		c.Send(&protocol.Subscribe{ID: 1, Filter: ">", NoRetained: true, Latest: true})
		wantArrived(t, c, "subscribed 1 @0", "resumed 1 @0")
		publish(t, b, "a", "1")
		wantArrived(t, c, "replay 1 log 1", `message 1 a "1"`)
		c.Shut()
		for i := range 100 {
			publish(t, b, "filler", kib(1)) // so that the socket is full
			publish(t, b, "a", fmt.Sprint(i))
			publish(t, b, "live.b", fmt.Sprint(i))
			publish(t, b, "kept.c", fmt.Sprint(i))
		}
		synctest.Wait() // the shard has passed them all
		c.Open()
		lines := arrived(c)
		wantLines(t, lines[len(lines)-3:], `message 399 a "99"`, `message 0 live.b "99"`, `message 401/100 kept.c "99"`)
		if len(lines) > 100 {
			t.Errorf("found %d packets, wanted few", len(lines))
		}
	})
}

// [SUB-11]: at most so many a second, and in the end the newest of each topic.
func TestASubscriptionIsHeldToItsRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := run(t, brokertest.NewStore(), broker.Options{})
		c := brokertest.Dial(t, b, nil)
		c.Send(&protocol.Subscribe{ID: 1, Filter: "a.*", NoRetained: true, MaxRate: 2})
		wantArrived(t, c, "subscribed 1 @0", "resumed 1 @0")
		c.Send(&protocol.Subscribe{ID: 2, Filter: "other", NoRetained: true})
		wantArrived(t, c, "subscribed 2 @0")
		count, began := 0, time.Now()
		for i := range 100 {
			for topic := range 3 {
				publish(t, b, fmt.Sprintf("a.%d", topic), fmt.Sprint(i))
			}
			time.Sleep(100 * time.Millisecond)
		}
		publish(t, b, "other", "in time")
		last := map[string]string{}
		collect := func() {
			synctest.Wait()
			for _, p := range c.Packets() {
				if m, ok := p.(*protocol.Message); ok {
					last[m.Topic] = string(m.Payload)
					count++
				}
			}
		}
		collect()
		if most := int(2*time.Since(began).Seconds()) + 2; count > most || count < most/2 {
			t.Errorf("found %d messages in %s, wanted about %d", count, time.Since(began), most)
		}
		time.Sleep(5 * time.Second)
		collect()
		for topic := range 3 {
			if got := last[fmt.Sprintf("a.%d", topic)]; got != "99" {
				t.Errorf("topic %d: found %q last, wanted the newest", topic, got)
			}
		}
		if last["other"] != "in time" {
			t.Errorf("found %q on the other subscription", last["other"])
		}
	})
}

// [SUB-12], P5: a conflated subscription that is quiet is told where it is, and resumes from there.
func TestAConflatedSubscriptionResumes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := brokertest.NewStore()
		b := run(t, store, broker.Options{PingEvery: 25 * time.Second})
		c := brokertest.Dial(t, b, nil)
		c.Send(&protocol.Subscribe{ID: 1, Filter: "kept.>", NoRetained: true, Latest: true, MaxRate: 10})
		synctest.Wait()
		for range 5 {
			publish(t, b, "plain", "")
		}
		time.Sleep(26 * time.Second)
		wantArrived(t, c, "subscribed 1 @0", "resumed 1 @0", "ping @5", "resumed 1 @5")
		at := b.Position()
		c.Leave()
		for i := range 50 {
			publish(t, b, "kept.a", fmt.Sprint(i))
			publish(t, b, "kept.b", fmt.Sprint(i))
		}
		b.Close()
		b = run(t, store, broker.Options{RingBytes: 64 << 10})
		c = brokertest.Dial(t, b, nil)
		c.Send(&protocol.Subscribe{ID: 1, Filter: "kept.>", Position: at.Append(nil), Latest: true, MaxRate: 1})
		time.Sleep(10 * time.Second)
		wantArrived(t, c, "subscribed 1 @5", "replay 1 log 1", `message 99/99 kept.a "49"`, "replay 1 log 1", `message 100/100 kept.b "49"`, "resumed 1 @100/100")
		c.Send(&protocol.Unsubscribe{ID: 2, Subscription: 1})
		publish(t, b, "kept.a", "not for it")
		time.Sleep(10 * time.Second)
		wantArrived(t, c, "unsubscribed 2")
		c.Leave()
		synctest.Wait()
		if items, nodes, interest, watched := b.Leftovers(); items+nodes+interest+watched != 0 {
			t.Errorf("found %d subscriptions, %d levels, %d of interest, %d heartbeats left", items, nodes, interest, watched)
		}
	})
}
