package broker_test

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/brokertest"
	"github.com/carillon-mq/carillon/protocol"
)

// A1
func TestEntriesAreNumberedFromOneWithoutHoles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{})
		sub := brokertest.Dial(t, b, nil)
		sub.Subscribe(1, ">")
		const publishers, each = 8, 50
		seen := make([]bool, publishers*each+1)
		var mu sync.Mutex
		var all sync.WaitGroup
		for i := range publishers {
			all.Go(func() {
				last := uint64(0)
				for range each {
					ack := publish(t, b, fmt.Sprintf("t.%d", i), "x")
					mu.Lock()
					if ack.Seq <= last || ack.Seq > publishers*each || seen[ack.Seq] {
						t.Errorf("found seq %d after %d", ack.Seq, last)
					}
					last, seen[ack.Seq] = ack.Seq, true
					mu.Unlock()
				}
			})
		}
		all.Wait()
		synctest.Wait()
		next := uint64(1)
		for _, p := range sub.Packets() {
			if m := p.(*protocol.Message); m.Seq != next {
				t.Fatalf("found message %d, wanted %d", m.Seq, next)
			}
			next++
		}
		if next != publishers*each+1 {
			t.Errorf("found %d messages, wanted %d", next-1, publishers*each)
		}
	})
}

// A1
func TestAnEpochNamesOneRun(t *testing.T) {
	a, b := start(t, broker.Options{}), start(t, broker.Options{})
	if a.Epoch() == b.Epoch() || a.Epoch().IsZero() || a.Position().Epoch != a.Epoch() {
		t.Errorf("found epochs %s and %s, position %+v", a.Epoch(), b.Epoch(), a.Position())
	}
}

// A1, P3: a position's offset is the watermark, the highest offset at or before it.
func TestAPositionCarriesTheWatermark(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _ := startStored(t, broker.Options{})
		publish(t, b, "a", "1")
		if got := b.Position(); got.Seq != 1 || got.Offset != 0 {
			t.Errorf("found position %+v, wanted 1/0", got)
		}
		retain(t, b, "b", "2")
		retain(t, b, "c", "3")
		publish(t, b, "a", "4")
		if got := b.Position(); got.Seq != 4 || got.Offset != 2 {
			t.Errorf("found position %+v, wanted 4/2", got)
		}
		// From the middle: behind 2/1, before 3/2.
		at := b.Position()
		at.Seq, at.Offset = 2, 1
		c := brokertest.Dial(t, b, nil)
		c.Send(&protocol.Subscribe{ID: 1, Filter: ">", Position: at.Append(nil)})
		wantArrived(t, c, "subscribed 1 @2/1", "replay 1 log 2", `message 3/2 c "3"`, `message 4 a "4"`, "resumed 1 @4/2")
	})
}

// A5
func TestAppendWaitsWhileAShardIsAQuarterOfTheRingBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{RingBytes: 1 << 20, Shards: 1})
		free := b.HoldShards()
		var publisher sync.WaitGroup
		publisher.Go(func() {
			for range 2000 {
				publish(t, b, "a", kib(1))
			}
		})
		synctest.Wait()
		stopped := b.Position().Seq
		if bytes := stopped << 10; bytes < 200<<10 || bytes > 256<<10 {
			t.Errorf("found %d KiB appended behind the shard, wanted about a quarter of the ring of 1 MiB", bytes>>10)
		}
		free()
		publisher.Wait()
		if got := b.Position().Seq; got != 2000 {
			t.Errorf("found %d entries in the end, wanted 2000", got)
		}
	})
}

// A5
func TestCloseEndsWhoWaitsForTheShards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{RingBytes: 1 << 20, Shards: 1})
		free := b.HoldShards()
		var publisher sync.WaitGroup
		publisher.Go(func() {
			for range 2000 {
				if _, err := b.Publish(t.Context(), broker.Everybody(), broker.PublishRequest{Topic: "a", Payload: []byte(kib(1))}); err != nil {
					return
				}
			}
			t.Error("found every publish accepted, wanted a refusal after Close")
		})
		synctest.Wait()
		var closer sync.WaitGroup
		closer.Go(b.Close)
		synctest.Wait()
		publisher.Wait()
		free()
		closer.Wait()
	})
}

// A6
func TestTheRingStaysWithinItsBytesWhateverIsPublished(t *testing.T) {
	for _, size := range []int{0, 10, 1000, 60 << 10} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const limit = 1 << 20
				b := start(t, broker.Options{RingBytes: limit, Topics: []broker.TopicRule{{Match: "live.>", Class: broker.ClassLive}}})
				payload := make([]byte, size)
				for i := range max(20_000/(1+size/100), 100) {
					publishAs(t, b, broker.PublishRequest{Topic: fmt.Sprintf("a.%d", i%7), Payload: payload})
					publishAs(t, b, broker.PublishRequest{Topic: "live.x", Payload: payload})
					if i%97 == 0 {
						synctest.Wait()
						checkRing(t, b, limit)
					}
				}
				checkRing(t, b, limit)
			})
		})
	}
}

func checkRing(t *testing.T, b *broker.Broker, limit int64) {
	t.Helper()
	charged, held := b.RingBytes()
	if charged != held {
		t.Fatalf("the ring is charged %d bytes, and holds %d", charged, held)
	}
	if slack := int64(130 << 10); charged > limit+slack {
		t.Fatalf("the ring holds %d bytes, its limit is %d", charged, limit)
	}
}

// A6: a message of class live is held no longer than the slowest shard needs it.
func TestBodiesOfLiveMessagesAreReleased(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{RingBytes: 16 << 20, Topics: []broker.TopicRule{{Match: "live.>", Class: broker.ClassLive}}})
		sub := brokertest.Dial(t, b, nil)
		sub.Subscribe(1, "live.>")
		for range 1000 {
			publish(t, b, "live.x", kib(4))
			synctest.Wait()
		}
		if got := b.Stats().RingBytes; got > 1<<20 {
			t.Errorf("found %d bytes in the ring after 4 MiB of live messages, wanted the bodies released", got)
		}
		if got := len(sub.Packets()); got != 1000 {
			t.Errorf("found %d live messages delivered, wanted 1000", got)
		}
	})
}

// A7, P6: what a shard without interest has slept over is not handed to who subscribes then.
func TestAFreshSubscriptionOnASleepingShardGetsNothingFromBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{Shards: 1})
		c := brokertest.Dial(t, b, nil)
		synctest.Wait()
		for range 1000 {
			publish(t, b, "a", "old")
		}
		synctest.Wait()
		if passed := b.ShardsPassed()[0]; passed != 0 {
			t.Fatalf("found the shard at entry %d, wanted it asleep: nobody listens", passed)
		}
		c.Send(&protocol.Subscribe{ID: 1, Filter: "a", NoRetained: true}, &protocol.Publish{Topic: "a", Payload: []byte("new")})
		wantArrived(t, c, "subscribed 1 @1000", `message 1001 a "new"`)
	})
}

// A7, P3
func TestAResumeOnASleepingShardGetsNothingTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{Shards: 1})
		c := brokertest.Dial(t, b, nil)
		synctest.Wait()
		for range 10 {
			publish(t, b, "a", "old")
		}
		at := b.Position()
		at.Seq = 8
		c.Send(&protocol.Subscribe{ID: 1, Filter: "a", Position: at.Append(nil)})
		wantArrived(t, c, "subscribed 1 @8", "replay 1 log 2", `message 9 a "old"`, `message 10 a "old"`, "resumed 1 @10")
	})
}

// A7: a shard is woken for what somebody on it may want.
func TestAnIdleShardIsWokenWhenItMayHaveAMatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{Shards: 2})
		first, second := brokertest.Dial(t, b, nil), brokertest.Dial(t, b, nil)
		first.Subscribe(1, "a.b")
		second.Subscribe(1, "c.*")
		publish(t, b, "a.b", "1")
		wantArrived(t, first, `message 1 a.b "1"`)
		if passed := b.ShardsPassed(); passed[0] != 1 && passed[1] != 1 {
			t.Errorf("found the shards at %v, wanted one at 1", passed)
		}
		publish(t, b, "c.d", "2")
		wantArrived(t, second, `message 2 c.d "2"`)
		wantArrived(t, first)
	})
}

// A7: a literal filter wakes its shard for its topic alone, as far as a table of counters can tell.
func TestAShardWithLiteralFiltersSleepsThroughOtherTopics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{Shards: 1})
		c := brokertest.Dial(t, b, nil)
		c.Subscribe(1, "a.b")
		slept := false
		for i := range 50 { // some topic may share the counter of a.b
			synctest.Wait()
			before := b.ShardsPassed()[0]
			publish(t, b, fmt.Sprintf("other.%d", i), "")
			synctest.Wait()
			slept = slept || b.ShardsPassed()[0] == before
		}
		if !slept {
			t.Error("found the shard woken for every topic, wanted it asleep for those that nobody wants")
		}
		wantArrived(t, c)
	})
}
