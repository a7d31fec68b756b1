package broker_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/brokertest"
	"github.com/carillon-mq/carillon/protocol"
)

// publishFor publishes a message with a lifetime.
func publishFor(t testing.TB, b *broker.Broker, ttl time.Duration, topic, payload string) {
	t.Helper()
	publishAs(t, b, broker.PublishRequest{Topic: topic, Payload: []byte(payload), TTL: ttl})
}

func retainFor(t testing.TB, b *broker.Broker, ttl time.Duration, topic, payload string) {
	t.Helper()
	publishAs(t, b, broker.PublishRequest{Topic: topic, Payload: []byte(payload), TTL: ttl, Retain: true})
}

// PUB-13: 1 to 10^12 milliseconds.
func TestALifetimeHasBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{})
		for ttl, good := range map[time.Duration]bool{
			-time.Second: false, time.Microsecond: false, time.Millisecond: true, protocol.MaxTTL * time.Millisecond: true,
			(protocol.MaxTTL + 1) * time.Millisecond: false,
		} {
			_, err := b.Publish(t.Context(), broker.Everybody(), broker.PublishRequest{Topic: "a", TTL: ttl})
			if good != (err == nil) || !good && code(err) != protocol.CodeBadArgs {
				t.Errorf("%v: found %v", ttl, err)
			}
		}
	})
}

// PUB-13: a message is sent live as long as its lifetime is not over, and in no replay from then on: of a resume, of the newest, to a conflated
// subscription. That is no gap, and positions are as they were.
func TestWhatHasExpiredIsInNoReplay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{})
		live := brokertest.Dial(t, b, nil)
		live.Subscribe(1, "a")
		token := b.Position().Append(nil)
		publish(t, b, "a", "1")
		live.Send(&protocol.Publish{Topic: "a", Payload: []byte("2"), TTL: 1000})
		publishFor(t, b, 2*time.Second, "a", "3")
		wantArrived(t, live, `message 1 a "1"`, `message 2 a "2"`, `message 3 a "3"`)
		replayed := func(want ...string) {
			t.Helper()
			c := brokertest.Dial(t, b, nil)
			n := len(want)
			c.Send(&protocol.Subscribe{ID: 1, Filter: "a", Position: token})
			wantArrived(t, c, slices.Concat([]string{"subscribed 1 @0", fmt.Sprintf("replay 1 log %d", n)}, want, []string{"resumed 1 @3"})...)
			c.Send(&protocol.Subscribe{ID: 2, Filter: "*", Last: 2})
			synctest.Wait()
			if lines := brokertest.Describe(c.Packets()...); !slices.Equal(slices.DeleteFunc(lines, notAMessage), want[max(n-2, 0):]) {
				t.Errorf("found %q, wanted the newest two of %q", lines, want)
			}
			c.Send(&protocol.Subscribe{ID: 3, Filter: "a", Latest: true, Position: token})
			wantArrived(t, c, "subscribed 3 @0", "replay 3 log 1", want[n-1], "resumed 3 @3")
		}
		time.Sleep(999 * time.Millisecond)
		replayed(`message 1 a "1"`, `message 2 a "2"`, `message 3 a "3"`)
		time.Sleep(time.Millisecond)
		replayed(`message 1 a "1"`, `message 3 a "3"`)
		time.Sleep(time.Second)
		replayed(`message 1 a "1"`)
	})
}

func notAMessage(line string) bool { return !strings.HasPrefix(line, "message") }

// PUB-13, R2, GAP-1: what expires while a session lags is not sent to it, neither from its window nor from the log, and is no gap: not even when the
// log has passed it. What had not expired and is gone is counted.
func TestALaggingSessionIsNotSentWhatHasExpired(t *testing.T) {
	for name, x := range map[string]struct {
		n    int
		ring int64
		ttl  func(i int) time.Duration
	}{
		"in the window":              {20, 0, func(i int) time.Duration { return time.Duration(i%2) * time.Second }},
		"in the log":                 {900, 0, func(i int) time.Duration { return time.Duration(i%3) * time.Second }},
		"behind the log":             {3000, 256 << 10, func(i int) time.Duration { return time.Duration(i%3) * time.Second }},
		"behind the log, all of it":  {3000, 256 << 10, func(int) time.Duration { return time.Second }},
		"behind the log, in no time": {3000, 256 << 10, func(int) time.Duration { return time.Hour }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := start(t, broker.Options{Shards: 1, RingBytes: x.ring})
				c := brokertest.Dial(t, b, nil)
				c.Subscribe(1, "a")
				c.Shut()
				publish(t, b, "a", "fills the socket")
				synctest.Wait()
				left := 0
				for i := range x.n {
					publishFor(t, b, x.ttl(i), "a", kib(1))
					if ttl := x.ttl(i); ttl == 0 || ttl > 1500*time.Millisecond {
						left++
					}
				}
				time.Sleep(1500 * time.Millisecond)
				c.Open()
				synctest.Wait()
				found, missed := received(c, func(m *protocol.Message) {
					if m.Seq > 1 && x.ttl(int(m.Seq)-2) == time.Second {
						t.Fatalf("found message %d, which has expired", m.Seq)
					}
				})
				found-- // what fills the socket
				if x.n*1024 > 1<<20 && left > 0 != (missed > 0) || x.n < 1000 && missed != 0 {
					t.Errorf("found %d messages told missing", missed)
				}
				if found+int(missed) != left {
					t.Errorf("found %d messages and %d told missing, wanted %d", found, missed, left)
				}
			})
		})
	}
}

// PUB-13, GAP-2: messages of class live that have expired were not missed.
func TestLiveMessagesThatHaveExpiredAreNotMissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{Shards: 1, Topics: []broker.TopicRule{{Match: "a", Class: broker.ClassLive}}})
		c := brokertest.Dial(t, b, nil)
		c.Subscribe(1, "a")
		oneByOne(c, 400, func(i int) { publishFor(t, b, time.Duration(i%2)*time.Second, "a", kib(1)) })
		time.Sleep(time.Second)
		c.Open()
		synctest.Wait()
		found, missed := received(c, nil)
		if missed == 0 || found+int(missed) != 200 {
			t.Errorf("found %d messages and %d missed, wanted 200", found, missed)
		}
	})
}

// PUB-13, SUB-6: what expires in the window while it is addressed to one subscription is not counted by its Replay.
func TestAReplayThatWaitsForTheSocketTellsOfWhatIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{})
		token := b.Position().Append(nil)
		publishFor(t, b, time.Second, "a", "1")
		publish(t, b, "a", "2")
		publishFor(t, b, time.Second, "b", "3")
		retainFor(t, b, time.Second, "r", "4")
		c := brokertest.Dial(t, b, nil)
		c.Subscribe(1, "c")
		c.Shut()
		publish(t, b, "c", "5")
		synctest.Wait()
		c.Send(&protocol.Subscribe{ID: 2, Filter: "a", Position: token}, &protocol.Subscribe{ID: 3, Filter: "b", Position: token}, &protocol.Subscribe{ID: 4, Filter: "r"})
		synctest.Wait()
		time.Sleep(time.Second)
		c.Open()
		lines := arrived(c)
		wantLines(t, slices.DeleteFunc(lines, func(l string) bool { return strings.HasPrefix(l, "subscribed") || strings.HasPrefix(l, "resumed") }),
			`message 5 c "5"`, "replay 2 log 1", `message 2 a "2"`, "end 4", `message 6 r ""`)
	})
}

// PUB-13: a store that cannot see to the end refuses lifetimes of what it keeps; of other messages it is none of its business.
func TestWithoutThePowerTTLStoredLifetimesAreUnsupported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := run(t, brokertest.NewStore().Without(broker.PowerTTL), broker.Options{})
		for topic, retain := range map[string]bool{"kept.a": false, "a": true, "kept.b": true} {
			_, err := b.Publish(t.Context(), broker.Everybody(), broker.PublishRequest{Topic: topic, Payload: []byte("1"), Retain: retain, TTL: time.Second})
			if code(err) != protocol.CodeUnsupported {
				t.Errorf("%s: found %v, wanted unsupported", topic, err)
			}
		}
		publishFor(t, b, time.Second, "a", "1")
	})
}

// PUB-13: what waits for a store that comes back without the power is not sent to it, and refused.
func TestAStoreThatComesBackWithoutThePowerTTLIsSentNoLifetimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := brokertest.NewStore()
		b := run(t, store, broker.Options{})
		c := brokertest.Dial(t, b, nil)
		store.GoAway()
		synctest.Wait()
		c.Send(&protocol.Publish{ID: 1, Topic: "kept.a", TTL: 60_000}, &protocol.Publish{ID: 2, Topic: "kept.a"}, &protocol.Publish{ID: 3, Topic: "a", TTL: 60_000})
		synctest.Wait()
		store.Without(broker.PowerTTL).ComeBack()
		time.Sleep(2 * time.Second)
		codes := map[uint64]protocol.Code{}
		synctest.Wait()
		for _, p := range c.Packets() {
			switch p := p.(type) {
			case *protocol.Published:
				codes[p.ID] = 0
			case *protocol.ErrorPacket:
				codes[p.ID] = p.Code
			}
		}
		want := map[uint64]protocol.Code{1: protocol.CodeUnsupported, 2: 0, 3: 0}
		if log := store.Log(); !maps.Equal(codes, want) || len(log) != 1 {
			t.Errorf("found the answers %v and %d records, wanted %v", codes, len(log), want)
		}
	})
}

// PUB-13, H1: what the store keeps is in no catch-up and no history once it has expired, and that is no gap; after a restart too.
func TestTheHistoryLeavesOutWhatHasExpired(t *testing.T) {
	inAndOverARestart(t, func(t *testing.T, b *broker.Broker, goOn func() *broker.Broker) {
		at := b.Position()
		lagging := brokertest.Dial(t, b, nil)
		lagging.Subscribe(1, "kept.*")
		lagging.Shut()
		for i := range 600 {
			publishFor(t, b, time.Duration(i%3)*time.Second, "kept.a", kib(1))
		}
		first := b
		b = goOn()
		time.Sleep(1500 * time.Millisecond)
		readers := map[string]*brokertest.Client{"resume": resume(t, b, nil, "kept.*", at)}
		if b == first {
			readers["lag"] = lagging
			lagging.Open()
		}
		for name, c := range readers {
			synctest.Wait()
			found := map[uint64]int{}
			for _, p := range c.Packets() {
				switch p := p.(type) {
				case *protocol.Message:
					found[(p.Offset-1)%3]++
				case *protocol.Gap:
					t.Errorf("%s: found %+v, wanted no gap", name, p)
				}
			}
			written := 0
			if name == "lag" {
				written = found[1] // which left before the socket was shut
			}
			if found[0] != 200 || found[2] != 200 || found[1] != written || written > 30 {
				t.Errorf("%s: found %v messages, wanted 200 and 200", name, found)
			}
		}
		page, err := b.History(t.Context(), broker.Everybody(), broker.HistoryRequest{Filter: "kept.a", Limit: 3})
		if err != nil || len(page.Messages) != 3 || page.Messages[1].Offset != 3 || page.Gap != "" {
			t.Errorf("found the history %+v, %v", page, err)
		}
	})
}

// PUB-7, PUB-13: the lifetime is part of what a message id stands for.
func TestAnotherLifetimeIsAnotherMessage(t *testing.T) {
	for name, topic := range map[string]string{"in the log": "a", "in the store": "kept.a"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := run(t, brokertest.NewStore(), broker.Options{})
				r := broker.PublishRequest{Topic: topic, Payload: []byte("1"), MessageID: "m", TTL: time.Minute}
				publishAs(t, b, r)
				time.Sleep(time.Second)
				if ack := publishAs(t, b, r); !ack.Duplicate {
					t.Errorf("found %+v, wanted the first one's places", ack)
				}
				for _, ttl := range []time.Duration{0, time.Hour} {
					r.TTL = ttl
					if _, err := b.Publish(t.Context(), broker.Everybody(), r); code(err) != protocol.CodeDuplicateID {
						t.Errorf("for %v: found %v, wanted duplicate_id", ttl, err)
					}
				}
			})
		})
	}
}

// PUB-13: what has expired before the shard comes to it is sent to nobody.
func TestWhatExpiresBeforeItsTurnIsNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{Shards: 1})
		c := brokertest.Dial(t, b, nil)
		c.Subscribe(1, "a")
		synctest.Wait()
		free := b.HoldShards()
		publishFor(t, b, time.Second, "a", "1")
		publish(t, b, "a", "2")
		time.Sleep(time.Second)
		free()
		wantArrived(t, c, `message 2 a "2"`)
	})
}

// slowReader is a store whose histories take a second to arrive.
type slowReader struct{ *brokertest.Store }

func (s slowReader) ReadHistory(ctx context.Context, q broker.HistoryQuery) (broker.HistoryPage, error) {
	page, err := s.Store.ReadHistory(ctx, q)
	time.Sleep(time.Second)
	return page, err
}

// PUB-13: what expires while the store is being read is not sent either.
func TestWhatExpiresWhileTheStoreIsReadIsNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := run(t, slowReader{brokertest.NewStore()}, broker.Options{RingBytes: 64 << 10})
		at := b.Position()
		fill := func() {
			for range 100 {
				publish(t, b, "plain", kib(1))
			}
			synctest.Wait()
		}
		publish(t, b, "kept.a", "1")
		publishFor(t, b, 500*time.Millisecond, "kept.a", "2")
		publish(t, b, "kept.a", "3")
		fill()
		page, err := b.History(t.Context(), broker.Everybody(), broker.HistoryRequest{Filter: "kept.a"})
		if err != nil || len(page.Messages) != 2 || string(page.Messages[1].Payload) != "3" {
			t.Errorf("found the history %+v, %v", page, err)
		}
		publishFor(t, b, 500*time.Millisecond, "kept.a", "4")
		fill()
		c := resume(t, b, nil, "kept.a", at)
		time.Sleep(5 * time.Second)
		wantLines(t, slices.DeleteFunc(unpinged(c), notAMessage), `message 0/1 kept.a "1"`, `message 0/3 kept.a "3"`)
	})
}
