package broker_test

import (
	"context"
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

// [HIS-1], [HIS-3]: more is said when there is more, and the newest are as many as were asked for.
func TestAPageOfHistoryIsExact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := brokertest.NewStore()
		b := run(t, store, broker.Options{})
		for range 5 {
			publish(t, b, "kept.a", "")
		}
		publish(t, b, "kept.b", "")
		page, err := b.History(t.Context(), broker.Everybody(), broker.HistoryRequest{Filter: "kept.a", Limit: 5})
		if err != nil || len(page.Messages) != 5 || page.More || page.After.Offset != 6 {
			t.Errorf("found %d messages, more %t, up to %d, %v, wanted all 5 and no more, up to 6", len(page.Messages), page.More, page.After.Offset, err)
		}
		store.PageSize(1, 0)
		for _, n := range []int{1, 3, 5} {
			page, err = b.History(t.Context(), broker.Everybody(), broker.HistoryRequest{Filter: "kept.a", Last: n})
			if err != nil || len(page.Messages) != n || page.More {
				t.Errorf("found %d messages, more %t, %v, wanted %d", len(page.Messages), page.More, err, n)
			}
		}
	})
}

// slowFeed is a store whose feed brings records late.
type slowFeed struct {
	*brokertest.Store
	gate chan struct{}
}

func (s *slowFeed) Follow(ctx context.Context, from broker.FollowFrom, on func(broker.Feed) error) error {
	return s.Store.Follow(ctx, from, func(f broker.Feed) error {
		if len(f.Records) > 0 {
			select {
			case <-s.gate:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return on(f)
	})
}

// A2, P2: a history does not go beyond the log; else who goes on from its end would be told that it is ahead.
func TestAHistoryIsNotAheadOfTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slowFeed{brokertest.NewStore(), make(chan struct{})}
		b := run(t, store, broker.Options{})
		for i := range 3 {
			store.Commit(broker.Record{Topic: "kept.a", Payload: []byte(fmt.Sprint(i)), Time: time.Now().UnixMilli()})
			for range i {
				synctest.Wait()
			}
		}
		history := broker.HistoryRequest{Filter: "kept.>"}
		for range 2 {
			page, err := b.History(t.Context(), broker.Everybody(), history)
			if err != nil || page.Gap != "" {
				t.Fatalf("found gap %q, %v", page.Gap, err)
			}
			if at := b.Position().Offset; page.After.Offset > at {
				t.Errorf("found a history up to %d, the log is at %d", page.After.Offset, at)
			}
			history.After = &page.After
		}
		close(store.gate)
		synctest.Wait()
		page, err := b.History(t.Context(), broker.Everybody(), history)
		if err != nil || len(page.Messages) != 3 || page.Gap != "" {
			t.Errorf("found %d messages, gap %q, %v, wanted 3", len(page.Messages), page.Gap, err)
		}
	})
}

// [SUB-9]: what was loaded at the start is counted once with what the store has.
func TestTheNewestAreAsManyAsThereAre(t *testing.T) {
	rules := []broker.TopicRule{{Match: "kept.>", Class: broker.ClassStored, History: broker.History{Count: 2}}}
	synctest.Test(t, func(t *testing.T) {
		store := brokertest.NewStore()
		one := run(t, store, broker.Options{Topics: rules})
		publish(t, one, "kept.rare", "1")
		publish(t, one, "kept.rare", "2")
		for range 4 {
			publish(t, one, "kept.busy", "")
		}
		one.Close()
		two := run(t, store, broker.Options{Topics: rules})
		for n, want := range map[uint64]int{1: 1, 2: 2, 3: 3, 4: 4, 9: 4} {
			c := brokertest.Dial(t, two, nil)
			c.Send(&protocol.Subscribe{ID: 1, Filter: "kept.>", Last: n})
			lines := slices.DeleteFunc(arrived(c), func(l string) bool { return !strings.HasPrefix(l, "message") })
			if len(lines) != want {
				t.Errorf("last %d: found %q, wanted %d", n, lines, want)
			}
		}
	})
}

// failOnce is a store of which one read fails.
type failOnce struct {
	*brokertest.Store
	left int
}

func (s *failOnce) ReadHistory(ctx context.Context, q broker.HistoryQuery) (broker.HistoryPage, error) {
	if s.left--; s.left == 0 {
		return broker.HistoryPage{}, brokertest.ErrAway
	}
	return s.Store.ReadHistory(ctx, q)
}

// P7: a start that had to begin again brings nothing twice.
func TestAStartThatFailsHalfWayBringsNothingTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kept := brokertest.NewStore()
		one := run(t, kept, broker.Options{})
		for range 50 {
			publish(t, one, "kept.a", "")
		}
		at := one.Position()
		at.Offset = 0
		one.Close()
		kept.PageSize(10, 0)
		two := run(t, &failOnce{kept, 4}, broker.Options{})
		c := brokertest.Dial(t, two, nil)
		c.Send(&protocol.Subscribe{ID: 1, Filter: "kept.>", Last: 1000})
		wantOffsets(t, unpinged(c), 1, 50)
		wantOffsets(t, unpinged(resume(t, two, nil, "kept.>", at)), 1, 50)
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
