package broker_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/brokertest"
	"github.com/carillon-mq/carillon/protocol"
)

// slowStore answers each batch so much later. Only in a bubble.
type slowStore struct {
	*brokertest.Store
	by time.Duration
}

func (s slowStore) Append(batch []broker.Record, done func([]broker.AppendResult, error)) {
	time.AfterFunc(s.by, func() { s.Store.Append(batch, done) })
}

// U3, A4: a store of 300 ms a write delays its own acknowledgements and nothing else.
func TestASlowStoreDelaysNothingButWhatItCommits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := run(t, slowStore{brokertest.NewStore(), 300 * time.Millisecond}, broker.Options{})
		sub, pub := brokertest.Dial(t, b, nil), brokertest.Dial(t, b, nil)
		sub.Subscribe(1, ">")
		pub.Send(&protocol.Publish{ID: 1, Topic: "kept.a", Payload: []byte("1")})
		for id := range uint64(50) {
			pub.Send(&protocol.Publish{ID: id + 2, Topic: "plain", Payload: []byte("x")})
		}
		if lines := arrived(sub); len(lines) != 50 { // without any time of the bubble going by
			t.Errorf("found %d messages beside the slow one, wanted 50", len(lines))
		}
		wantLines(t, arrived(pub)[49:], "published 51 @50")
		time.Sleep(299 * time.Millisecond)
		wantArrived(t, pub)
		time.Sleep(time.Millisecond)
		wantArrived(t, pub, "published 1 @51 committed 1")
		wantArrived(t, sub, `message 51/1 kept.a "1"`)
	})
}

// U3: a store that stalls for 10 s costs a bounded queue. From 5 s on its breaker is open: what it would have to commit is refused at once.
// What it had been handed before is delivered when it goes on.
func TestAStoreThatStallsOpensItsBreaker(t *testing.T) {
	withStore(t, broker.Options{Topics: keptTopics, Limits: broker.Limits{Inflight: broker.Unlimited}}, func(t *testing.T, x *stored) {
		x.store.Hold()
		x.plain(1, "kept.a")
		synctest.Wait()
		time.Sleep(4900 * time.Millisecond)
		if x.b.Stats().StoreBroken {
			t.Error("the breaker is open before a publish may have waited")
		}
		x.plain(2, "kept.b")
		time.Sleep(200 * time.Millisecond)
		wantArrived(t, x.pub, "error 1 store_unavailable")
		if !x.b.Stats().StoreBroken {
			t.Error("the breaker is closed")
		}
		for id := range uint64(1000) {
			x.plain(id+10, "kept.c")
		}
		refused := arrived(x.pub)
		if waits := x.b.Stats().StoreWaitBytes; len(refused) != 1000 || waits > 8<<10 {
			t.Errorf("found %d refused at once, and %d bytes that wait", len(refused), waits)
		}
		for _, line := range refused {
			if !strings.HasSuffix(line, " store_unavailable") {
				t.Fatal(line)
			}
		}
		x.plain(3, "plain")
		x.plain(4, "live")
		wantArrived(t, x.pub, "published 3 @1", "published 4 @2")
		time.Sleep(4500 * time.Millisecond)
		x.store.Release()
		synctest.Wait()
		if x.b.Stats().StoreBroken {
			t.Error("the breaker is open although the store answers")
		}
		x.plain(5, "kept.c")
		lines := arrived(x.sub)
		wantLines(t, messages(lines), `1 kept.a "1"`, `2 kept.b "2"`, `3 kept.c "5"`)
		if found := strings.Join(arrived(x.pub), "\n"); !strings.Contains(found, "published 5 @5 committed 3") {
			t.Errorf("found %s", found)
		}
	})
}

// The same for a store that is away: publishes wait for it as long as they may, later ones are refused at once, until it is back.
func TestAStoreThatStaysAwayOpensItsBreaker(t *testing.T) {
	withStore(t, broker.Options{Topics: keptTopics}, func(t *testing.T, x *stored) {
		x.store.GoAway()
		x.plain(1, "kept.a")
		time.Sleep(5200 * time.Millisecond)
		wantArrived(t, x.pub, "error 1 store_unavailable")
		x.plain(2, "kept.a")
		wantArrived(t, x.pub, "error 2 store_unavailable")
		x.store.ComeBack()
		time.Sleep(1100 * time.Millisecond)
		x.plain(3, "kept.a")
		wantLines(t, unpinged(x.pub), "published 3 @1 committed 1")
	})
}

// lyingFeed changes what a store's feed brings.
type lyingFeed struct {
	*brokertest.Store
	lie func(broker.Feed) broker.Feed
}

func (s *lyingFeed) Follow(ctx context.Context, from broker.FollowFrom, on func(broker.Feed) error) error {
	return s.Store.Follow(ctx, broker.FollowFrom{After: from.After}, func(f broker.Feed) error { return on(s.lie(f)) })
}

// A3: what a feed brings out of order, twice, or in place of another record reaches nobody. It is counted, and what is right comes when
// the store tells the truth again.
func TestAFeedThatLiesIsNotDelivered(t *testing.T) {
	for name, lie := range map[string]func(*broker.Record){
		"an offset that goes back": func(r *broker.Record) { r.Offset = 1 },
		"an offset of 0":           func(r *broker.Record) { r.Offset = 0 },
		"another topic's record":   func(r *broker.Record) { r.Topic = "kept.other" },
		"a record never sent":      func(r *broker.Record) { r.Ref += 100 },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				lies := 0
				s := &lyingFeed{Store: brokertest.NewStore()}
				s.lie = func(f broker.Feed) broker.Feed {
					records := append([]broker.Record{}, f.Records...)
					if len(records) > 0 && string(records[0].Payload) == "bad" && lies < 3 {
						lies++
						lie(&records[0])
					}
					f.Records = records
					return f
				}
				b := run(t, s, broker.Options{})
				sub := brokertest.Dial(t, b, nil)
				sub.Subscribe(1, ">")
				publish(t, b, "kept.a", "1")
				ack := publish(t, b, "kept.a", "bad")
				publish(t, b, "kept.a", "3")
				wantLines(t, messages(unpinged(sub)), `1 kept.a "1"`, `2 kept.a "bad"`, `3 kept.a "3"`)
				if n := b.Stats().StoreFaults; lies != 3 || n != 3 || ack.Offset != 2 {
					t.Errorf("found %d faults of %d, the answer is %+v", n, lies, ack)
				}
			})
		})
	}
}

// A store that opens again with less than it had committed, under the broker's eyes, is found out at once: this run of the log ends, and
// nobody is told that nothing happened.
func TestAStoreThatForgetsWhatItHadCommittedIsFoundOut(t *testing.T) {
	withStore(t, broker.Options{Topics: keptTopics}, func(t *testing.T, x *stored) {
		x.plain(1, "kept.a")
		synctest.Wait()
		old := x.store.Copy()
		for id := range uint64(3) {
			x.plain(id+2, "kept.a")
		}
		synctest.Wait()
		before := x.b.Position()
		x.store.Restore(old)
		time.Sleep(2 * time.Second)
		if n := x.b.Stats().StoreFaults; n == 0 || x.b.Epoch() == before.Epoch {
			t.Errorf("found %d faults, epoch %s after %s", n, x.b.Epoch(), before.Epoch)
		}
		c := resume(t, x.b, nil, "kept.>", before)
		if lines := strings.Join(arrived(c), "\n"); !strings.Contains(lines, "gap 1 ") {
			t.Errorf("found no gap in\n%s", lines)
		}
	})
}

// pagedStore notes how large the pages are that it is asked for and gives.
type pagedStore struct {
	*brokertest.Store
	largest, pages int
}

func (s *pagedStore) ReadHistory(ctx context.Context, q broker.HistoryQuery) (broker.HistoryPage, error) {
	p, err := s.Store.ReadHistory(ctx, q)
	size := 0
	for i := range p.Records {
		size += len(p.Records[i].Payload)
	}
	s.largest, s.pages = max(s.largest, size), s.pages+1
	return p, err
}

// A long history is read in pages, by the start of a broker and by who goes back through it.
func TestALongHistoryIsReadInPages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &pagedStore{Store: brokertest.NewStore()}
		opt := broker.Options{RingBytes: 1 << 20}
		b := run(t, s, opt)
		begin := b.Position()
		payload := kib(1)
		for i := range 6000 {
			s.Commit(broker.Record{Topic: fmt.Sprintf("kept.%d", i%3), Payload: []byte(payload)})
			if i%100 == 0 {
				synctest.Wait()
			}
		}
		c := resume(t, b, nil, "kept.>", begin)
		if found := messages(unpinged(c)); len(found) != 6000 {
			t.Errorf("found %d messages, wanted 6000", len(found))
		}
		if s.largest > 1<<20 || s.pages < 5 {
			t.Errorf("found %d pages, the largest of %d bytes", s.pages, s.largest)
		}
	})
}
