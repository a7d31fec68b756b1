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
	"github.com/carillon-mq/carillon/protocol"
)

// R4: a subscription that begins while its session reads the store is not forgotten when the log passes its beginning, too; and what
// was trimmed before it began is no gap.
func TestASubscriptionThatBeginsWhileItsSessionReadsTheStoreMissesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rules := []broker.TopicRule{
			{Match: "kept.b.trimmed", Class: broker.ClassStored, History: broker.History{Count: 1}},
			{Match: "kept.>", Class: broker.ClassStored, History: broker.History{Count: 100_000}},
		}
		b := run(t, brokertest.NewStore(), broker.Options{RingBytes: 64 << 10, Topics: rules})
		c := brokertest.Dial(t, b, nil)
		c.Subscribe(1, "kept.a")
		c.Shut()
		for i := range 300 {
			publish(t, b, "kept.a", kib(1)+fmt.Sprint(i))
		}
		c.Allow(100 << 10)
		synctest.Wait()
		c.Shut() // it is in the past now
		for range 3 {
			publish(t, b, "kept.b.trimmed", "")
		}
		c.Send(&protocol.Subscribe{ID: 2, Filter: "kept.b.*", NoRetained: true})
		synctest.Wait()
		for range 300 {
			publish(t, b, "kept.b.x", kib(1))
		}
		c.Open()
		synctest.Wait()
		found := map[string]int{}
		for _, p := range c.Packets() {
			switch p := p.(type) {
			case *protocol.Message:
				found[p.Topic]++
			case *protocol.Gap:
				t.Errorf("found %q", brokertest.Describe(p))
			}
		}
		if found["kept.a"] != 300 || found["kept.b.x"] != 300 || found["kept.b.trimmed"] != 0 {
			t.Errorf("found %v, wanted 300 of each that the session has subscribed to", found)
		}
	})
}

// R5: a conflated subscription that is quiet misses nothing when the log moves on over what is not for it.
func TestTheLogMovesOnOverAQuietConflatedSubscription(t *testing.T) {
	for _, filter := range []string{"quiet", "kept.quiet"} {
		t.Run(filter, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := brokertest.NewStore()
				b := run(t, store, broker.Options{RingBytes: 64 << 10})
				c := brokertest.Dial(t, b, nil)
				c.Send(&protocol.Subscribe{ID: 1, Filter: filter, Latest: true})
				wantArrived(t, c, "subscribed 1 @0", "end 1", "resumed 1 @0")
				reads := len(store.Reads())
				for range 300 {
					publish(t, b, "other", kib(1))
				}
				at := publish(t, b, filter, "1")
				place := fmt.Sprint(at.Seq)
				if at.Offset > 0 {
					place = fmt.Sprintf("%d/%d", at.Seq, at.Offset)
				}
				wantArrived(t, c, "replay 1 log 1", fmt.Sprintf(`message %s %s "1"`, place, filter))
				if n := len(store.Reads()); n != reads {
					t.Errorf("found %d reads of the store, wanted %d", n, reads)
				}
			})
		})
	}
}

// R1, R5: a conflated subscription that always has something to read does not keep the others of its session waiting.
func TestABusyConflatedSubscriptionKeepsNoOtherWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := run(t, brokertest.NewStore(), broker.Options{})
		at := b.Position()
		for i := range 50 {
			publish(t, b, "other", fmt.Sprint(i))
		}
		c := brokertest.Dial(t, b, nil)
		c.Send(&protocol.Subscribe{ID: 1, Filter: "busy.*", NoRetained: true, Latest: true})
		synctest.Wait()
		c.Shut()
		for i := range 20 {
			publish(t, b, fmt.Sprintf("busy.%d", i), kib(4))
		}
		c.Send(&protocol.Subscribe{ID: 2, Filter: "other", Position: at.Append(nil), NoRetained: true})
		for i := range 30 {
			for k := range 10 { // there is more each time that the socket takes something
				publish(t, b, fmt.Sprintf("busy.%d", 10*i+k), kib(4))
			}
			c.Allow(40 << 10)
			synctest.Wait()
		}
		if lines := arrived(c); !slices.Contains(lines, "replay 2 log 50") {
			t.Errorf("found nothing of the other subscription among %d packets", len(lines))
		}
	})
}

// R5, [SUB-12]: what a conflated subscription keeps of topics of class live is forgotten when something newer has taken its place, and
// all subscriptions of a session keep one window of it.
func TestWhatAConflatedSubscriptionKeepsIsBounded(t *testing.T) {
	rules := []broker.TopicRule{{Match: "live.>", Class: broker.ClassLive}}
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{Topics: rules})
		c := brokertest.Dial(t, b, nil)
		c.Send(&protocol.Subscribe{ID: 1, Filter: "live.>", NoRetained: true, Latest: true})
		wantArrived(t, c, "subscribed 1 @0", "resumed 1 @0")
		for i := range 200 {
			c.Shut()
			publish(t, b, "live.full", kib(1)) // so that the socket is full
			synctest.Wait()
			topic := fmt.Sprintf("live.%d", i)
			publish(t, b, topic, kib(1))
			synctest.Wait()
			retain(t, b, topic, "newer")
			synctest.Wait()
			c.Open()
			synctest.Wait()
		}
		for _, line := range arrived(c) {
			if strings.HasPrefix(line, "gap") {
				t.Fatalf("found %s, wanted no gap", line)
			}
		}
		if n := c.Session.Held(); n > 1<<10 {
			t.Errorf("found %d bytes held", n)
		}

		c.Shut()
		publish(t, b, "live.full", kib(1))
		for i := range 50 {
			c.Send(&protocol.Subscribe{ID: uint64(2 + i), Filter: fmt.Sprintf("live.x%d.*", i), NoRetained: true, Latest: true})
		}
		for i := range 50 {
			for k := range 10 {
				publish(t, b, fmt.Sprintf("live.x%d.%d", i, k), kib(4))
			}
		}
		synctest.Wait()
		if n := c.Session.Held(); n > 200<<10 {
			t.Errorf("found %d bytes held for a session that does not read", n)
		}
	})
}

// P7: what subscriptions in the past hold for a client that does not read is bounded by the session.
func TestASessionHoldsFewPagesOfTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := run(t, brokertest.NewStore(), broker.Options{RingBytes: 64 << 10})
		at := b.Position()
		for i := range 3000 {
			publish(t, b, fmt.Sprintf("kept.%d.x", i%50), kib(1)+fmt.Sprint(i))
		}
		c := brokertest.Dial(t, b, nil)
		for i := range 50 {
			c.Send(&protocol.Subscribe{ID: uint64(1 + i), Filter: fmt.Sprintf("kept.%d.*", i), Position: at.Append(nil), NoRetained: true})
		}
		c.Shut()
		synctest.Wait()
		if n := c.Session.Held(); n > 600<<10 {
			t.Errorf("found %d bytes held for a session that does not read", n)
		}
		c.Open()
		count := 0
		for _, line := range arrived(c) {
			if strings.HasPrefix(line, "message") {
				count++
			}
		}
		if count != 3000 {
			t.Errorf("found %d messages, wanted 3000", count)
		}
	})
}

// R6, [RES-7]: who may not go back without a bound is not told that it has come too late when only the store could say that, and is away.
func TestHowFarBackIsNotDecidedWithoutTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := brokertest.NewStore()
		opt := broker.Options{RingBytes: 64 << 10}
		b := run(t, store, opt)
		at := b.Position()
		for i := range 200 {
			publish(t, b, "kept.a", kib(1)+fmt.Sprint(i+1))
		}
		mayNot := &broker.Identity{User: "u", Grants: []broker.Grant{{Actions: broker.ActionSubscribe, Filter: ">"}}}
		store.FailReads(1)
		c := resume(t, b, mayNot, "kept.>", at)
		wantArrived(t, c, "error 1 store_unavailable")
		store.GoAway()
		synctest.Wait()
		c = resume(t, b, mayNot, "kept.>", at)
		wantArrived(t, c, "error 1 store_unavailable")
		store.ComeBack()
		time.Sleep(2 * time.Second)
		c = resume(t, b, mayNot, "kept.>", at)
		wantOffsets(t, unpinged(c), 1, 200)
	})
}

// P3, P6: a filter that begins with a stream gets everything from there on, wherever the others join the log.
func TestAStreamLosesNothingOfWhatBegins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := run(t, brokertest.NewStore(), broker.Options{})
		publish(t, b, "kept.a", "1")
		page, err := b.History(t.Context(), broker.Everybody(), broker.HistoryRequest{Filter: "kept.>"})
		if err != nil {
			t.Fatal(err)
		}
		c := brokertest.Open(t, b, broker.ConnInfo{Identity: broker.Everybody()})
		c.OneWay()
		c.Shut()
		err = c.Session.Follow(broker.FollowRequest{Filters: []string{"kept.>", "plain"}, Fresh: []string{"plain"}, After: &page.After, NoRetained: true})
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		publish(t, b, "plain", "2")
		publish(t, b, "plain", "3")
		synctest.Wait()
		c.Open()
		lines := slices.DeleteFunc(arrived(c), func(l string) bool { return !strings.HasPrefix(l, "message") && !strings.HasPrefix(l, "gap") })
		wantLines(t, lines, `message 2 plain "2"`, `message 3 plain "3"`)
	})
}

// P3, R4: a stream that the log passes before it has opened goes on from the store, exactly.
func TestAStreamThatTheLogHasPassedGoesOnFromTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := run(t, brokertest.NewStore(), broker.Options{RingBytes: 64 << 10})
		at := b.Position()
		for i := range 300 {
			publish(t, b, "kept.a", kib(1)+fmt.Sprint(i))
		}
		c := brokertest.Open(t, b, broker.ConnInfo{Identity: broker.Everybody()})
		c.OneWay()
		c.Shut()
		if err := c.Session.Follow(broker.FollowRequest{Filters: []string{"kept.>"}, After: &at, NoRetained: true}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		for i := range 300 {
			publish(t, b, "kept.a", kib(1)+fmt.Sprint(i))
		}
		c.Open()
		wantOffsets(t, unpinged(c), 1, 600)
	})
}
