package broker_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/brokertest"
	"github.com/carillon-mq/carillon/protocol"
)

// stored is a broker on a store, with one session that listens to everything and one that publishes.
type stored struct {
	b        *broker.Broker
	store    *brokertest.Store
	sub, pub *brokertest.Client
}

// withStore runs f in a bubble.
func withStore(t *testing.T, opt broker.Options, f func(t *testing.T, x *stored)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		x := &stored{}
		x.b, x.store = startStored(t, opt)
		x.sub, x.pub = brokertest.Dial(t, x.b, nil), brokertest.Dial(t, x.b, nil)
		x.sub.Subscribe(1, ">")
		f(t, x)
	})
}

// retain and plain send a publish whose payload is its id.
func (x *stored) retain(id uint64, topic string) {
	x.pub.Send(&protocol.Publish{ID: id, Topic: topic, Payload: fmt.Append(nil, id), Retain: true})
}

func (x *stored) plain(id uint64, topic string) {
	x.pub.Send(&protocol.Publish{ID: id, Topic: topic, Payload: fmt.Append(nil, id)})
}

// A2, U1
func TestARetainedPublishIsShownToNobodyBeforeItsCommit(t *testing.T) {
	withStore(t, broker.Options{}, func(t *testing.T, x *stored) {
		x.store.Hold()
		x.retain(1, "a")
		wantArrived(t, x.pub)
		wantArrived(t, x.sub)
		if _, err := x.b.Retained(broker.Everybody(), "a"); code(err) != protocol.CodeNotFound {
			t.Errorf("found %v, wanted not_found before the commit", err)
		}
		late := brokertest.Dial(t, x.b, nil)
		late.Send(&protocol.Subscribe{ID: 1, Filter: "a"})
		wantArrived(t, late, "subscribed 1 @0", "end 1", "resumed 1 @0")

		x.store.Release()
		wantArrived(t, x.pub, "published 1 @1 committed 1")
		wantArrived(t, x.sub, `message 1/1 a "1"`)
		wantArrived(t, late, `message 1/1 a "1"`)
		if m, err := x.b.Retained(broker.Everybody(), "a"); err != nil || string(m.Payload) != "1" || m.Offset != 1 {
			t.Errorf("found %+v, %v, wanted the value with offset 1", m, err)
		}
	})
}

// A2: so it is with every message of a stored topic.
func TestAStoredPublishIsShownToNobodyBeforeItsCommit(t *testing.T) {
	topics := []broker.TopicRule{{Match: "kept.>", Class: broker.ClassStored}}
	withStore(t, broker.Options{Topics: topics}, func(t *testing.T, x *stored) {
		x.store.Hold()
		x.plain(1, "kept.a")
		x.plain(2, "other.a")
		wantArrived(t, x.pub, "published 2 @1")
		wantArrived(t, x.sub, `message 1 other.a "2"`)
		x.store.Release()
		wantArrived(t, x.pub, "published 1 @2 committed 1")
		wantArrived(t, x.sub, `message 2/1 kept.a "1"`)
	})
}

// A4: a refusal ends the wait of what stands behind it, in any place of the line, and the line keeps its order.
func TestARefusedPublishLetsTheLinePass(t *testing.T) {
	for name, between := range map[string]func(){"the answers come first": nil, "the feed comes first": func() { time.Sleep(time.Millisecond) }} {
		t.Run(name, func(t *testing.T) { testRefusedInLine(t, between) })
	}
}

func testRefusedInLine(t *testing.T, between func()) {
	withStore(t, broker.Options{}, func(t *testing.T, x *stored) {
		x.store.Between(between)
		x.store.Reject(func(r *broker.Record) *protocol.Error {
			if string(r.Payload) == "3" || string(r.Payload) == "1" {
				return protocol.Errorf(protocol.CodeQuota, "full")
			}
			return nil
		})
		x.store.Hold()
		x.retain(1, "a")
		x.plain(2, "a")
		x.retain(3, "a")
		x.plain(4, "a")
		x.retain(5, "a")
		x.plain(6, "a")
		synctest.Wait()
		x.store.Release()
		time.Sleep(time.Second) // of the bubble: every answer is there
		wantArrived(t, x.sub, `message 1 a "2"`, `message 2 a "4"`, `message 3/1 a "5"`, `message 4 a "6"`)
		lines := strings.Join(arrived(x.pub), "\n")
		for _, want := range []string{"error 1 quota", "error 3 quota", "published 2 @1", "published 5 @3 committed 1", "published 6 @4"} {
			if !strings.Contains(lines, want) {
				t.Errorf("found no %q in\n%s", want, lines)
			}
		}
	})
}

// U1, U3: a store that is away for longer than a publish may wait.
func TestWhatWaitsTooLongForTheStoreIsWithdrawn(t *testing.T) {
	withStore(t, broker.Options{}, func(t *testing.T, x *stored) {
		x.store.GoAway()
		synctest.Wait()
		x.retain(1, "a")
		x.plain(2, "a")
		x.plain(3, "b")
		wantArrived(t, x.pub, "published 3 @1")
		time.Sleep(4 * time.Second)
		x.plain(4, "a")
		wantArrived(t, x.pub)
		time.Sleep(1200 * time.Millisecond)
		// Withdrawn, it holds the others up no longer.
		wantArrived(t, x.pub, "error 1 store_unavailable", "published 2 @2", "published 4 @3")
		x.store.ComeBack()
		time.Sleep(2 * time.Second)
		wantLines(t, unpinged(x.sub), `message 1 b "3"`, `message 2 a "2"`, `message 3 a "4"`)
		if n := len(x.store.Log()); n != 0 {
			t.Errorf("found %d records, wanted none", n)
		}
	})
}

// U3
func TestPublishesThatWaitForTheStoreAreBoundedInAll(t *testing.T) {
	limits := broker.Limits{StorePending: 64 << 10, Inflight: broker.Unlimited}
	withStore(t, broker.Options{Limits: limits}, func(t *testing.T, x *stored) {
		x.store.Hold()
		headers := map[string]string{"h": kib(1)}
		n := uint64(0)
		for {
			n++
			x.pub.Send(&protocol.Publish{ID: n, Topic: "a", Retain: true, Headers: headers}) // nothing but headers
			if len(arrived(x.pub)) > 0 {
				break
			}
		}
		if waits := x.b.Stats().StoreWaitBytes; n > 32 || n < 8 || waits > 64<<10 {
			t.Errorf("found %d publishes with 1 KiB of headers waiting (%d bytes), the limit is 64 KiB", n-1, waits)
		}
		x.pub.Send(&protocol.Publish{ID: 1000, Topic: "a", Payload: []byte(kib(8))}) // what waits behind them counts, too
		wantArrived(t, x.pub, "error 1000 store_unavailable")
		x.plain(1001, "b")
		wantArrived(t, x.pub, "published 1001 @1")
		x.store.Release()
		if lines := arrived(x.pub); len(lines) != int(n-1) {
			t.Errorf("found %d answers, wanted %d", len(lines), n-1)
		}
		if waits := x.b.Stats().StoreWaitBytes; waits != 0 {
			t.Errorf("found %d bytes waiting in the end", waits)
		}
	})
}

// A batch fits what a plugin takes: its bytes count, not its payloads.
func TestABatchIsBoundedByItsBytes(t *testing.T) {
	withStore(t, broker.Options{Limits: broker.Limits{Inflight: broker.Unlimited}}, func(t *testing.T, x *stored) {
		x.store.Hold()
		x.retain(1, "a")
		synctest.Wait()
		x.store.GoAway()
		for id := range uint64(1000) {
			x.pub.Send(&protocol.Publish{ID: id + 2, Topic: "a", Retain: true, Headers: map[string]string{"h": kib(3)}})
		}
		x.store.ComeBack()
		time.Sleep(time.Second)
		for i, batch := range x.store.Batches() {
			size := 0
			for _, r := range batch {
				size += len(r.Headers["h"])
			}
			if size > 1<<20 {
				t.Errorf("found %d bytes in batch %d, wanted at most 1 MiB", size, i)
			}
		}
		x.store.Release()
		time.Sleep(time.Second)
		if n := len(x.store.Log()); n != 1001 {
			t.Errorf("found %d records, wanted 1001", n)
		}
	})
}

// Everything that waits is answered when the broker ends.
func TestCloseAnswersWhatWaitsForTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, store := startStored(t, broker.Options{})
		store.Hold()
		answer := make(chan error, 1)
		go func() {
			_, err := b.Publish(t.Context(), broker.Everybody(), broker.PublishRequest{Topic: "a", Payload: []byte("1"), Retain: true})
			answer <- err
		}()
		synctest.Wait()
		b.Close()
		if err := <-answer; code(err) != protocol.CodeStoreUnavailable {
			t.Errorf("found %v, wanted store_unavailable", err)
		}
	})
}
