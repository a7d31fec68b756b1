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

// No grant opens the inbox of another session, for its history neither.
func TestNoGrantOpensTheHistoryOfAnInbox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rules := []broker.TopicRule{{Match: "$inbox.>", Class: broker.ClassStored}}
		b := run(t, brokertest.NewStore(), broker.Options{Topics: rules})
		id := &broker.Identity{User: "u", Grants: []broker.Grant{{Actions: broker.ActionHistory | broker.ActionSubscribe, Filter: "$inbox.>"}}}
		for _, filter := range []string{"$inbox.>", "$inbox.s1.>", "$inbox.*.1"} {
			if _, err := b.History(t.Context(), id, broker.HistoryRequest{Filter: filter}); code(err) != protocol.CodeForbidden {
				t.Errorf("%s: found %v, wanted forbidden", filter, err)
			}
		}
	})
}

// [HIS-5]: many histories of a session are read one after the other, in their order, and its end ends them.
func TestHistoriesOfASessionTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := brokertest.NewStore()
		b := run(t, store, broker.Options{})
		publish(t, b, "kept.a", "1")
		reads := len(store.Reads())
		store.HoldReads()
		c := brokertest.Dial(t, b, nil)
		for i := range uint64(20) {
			c.Send(&protocol.History{ID: i + 1, Filter: "kept.>"})
		}
		synctest.Wait()
		if n := len(store.Reads()) - reads; n != 1 {
			t.Errorf("found %d reads at a time, wanted 1", n)
		}
		store.ReleaseReads()
		var want []string
		for i := range 20 {
			want = append(want, fmt.Sprintf("replay %d history 1", i+1), `message 0/1 kept.a "1"`, fmt.Sprintf("histories %d @0/1", i+1))
		}
		wantArrived(t, c, want...)
		store.HoldReads()
		for i := range uint64(20) {
			c.Send(&protocol.History{ID: i + 1, Filter: "kept.>"})
		}
		synctest.Wait()
		c.Leave()
		b.Close()
	})
}

// [HIS-3], G16: a history that begins at no token tells too that one of the messages asked for cannot be read, on the page that it was on.
func TestAHistoryTellsWhatCannotBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := brokertest.NewStore()
		b := run(t, store, broker.Options{})
		for i := range 10 {
			publish(t, b, "kept.a", kib(40)+fmt.Sprint(i+1))
		}
		store.Damage(8)
		c := brokertest.Dial(t, b, nil)
		ask := func(p protocol.History) (histories string, offsets []uint64, at []byte) {
			p.ID, p.Filter = 1, "kept.>"
			c.Send(&p)
			synctest.Wait()
			for _, found := range c.Packets() {
				switch found := found.(type) {
				case *protocol.Message:
					offsets = append(offsets, found.Offset)
				case *protocol.Histories:
					histories, at = brokertest.Describe(found)[0], found.Position.Append(nil)
				}
			}
			return histories, offsets, at
		}
		for name, test := range map[string]struct {
			ask     protocol.History
			want    string
			offsets []uint64
		}{
			"from the oldest":        {protocol.History{}, "histories 1 @0/3 more", []uint64{1, 2, 3}},
			"the newest two":         {protocol.History{Last: 2}, "histories 1 @0/10", []uint64{9, 10}},
			"the newest three":       {protocol.History{Last: 3}, "histories 1 @0/10 trimmed", []uint64{9, 10}},
			"the newest eight":       {protocol.History{Last: 8}, "histories 1 @0/5 more", []uint64{3, 4, 5}},
			"the newest that is not": {protocol.History{Last: 1}, "histories 1 @0/10", []uint64{10}},
		} {
			if found, offsets, _ := ask(test.ask); found != test.want || !slices.Equal(offsets, test.offsets) {
				t.Errorf("%s: found %q with %d, wanted %q with %d", name, found, offsets, test.want, test.offsets)
			}
		}
		var at []byte
		for _, want := range []string{"histories 1 @0/3 more", "histories 1 @0/6 more", "histories 1 @0/10 trimmed"} {
			found, _, next := ask(protocol.History{After: at})
			if at = next; found != want {
				t.Errorf("found %q, wanted %q", found, want)
			}
		}
	})
}
