package broker_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/protocol"
)

// syncTopics are stored, each committed in its own time.
var syncTopics = []broker.TopicRule{
	{Match: "slow.>", Class: broker.ClassStored, Sync: 50 * time.Millisecond},
	{Match: "quick.>", Class: broker.ClassStored, Sync: 10 * time.Millisecond},
	{Match: "kept.>", Class: broker.ClassStored},
	{Match: "late.>", Class: broker.ClassStored, Sync: time.Hour},
}

// wantBatches fails the test unless the store was handed so many records at a time.
func (x *stored) wantBatches(t *testing.T, sizes ...int) {
	t.Helper()
	synctest.Wait()
	found := []int{}
	for _, b := range x.store.Batches() {
		found = append(found, len(b))
	}
	if fmt.Sprint(found) != fmt.Sprint(sizes) {
		t.Fatalf("found batches of %v, wanted %v", found, sizes)
	}
}

func TestPublishesAreGatheredAsTheirRuleSays(t *testing.T) {
	withStore(t, broker.Options{Topics: syncTopics}, func(t *testing.T, x *stored) {
		x.plain(1, "slow.a")
		time.Sleep(30 * time.Millisecond)
		x.plain(2, "slow.b")
		time.Sleep(19 * time.Millisecond)
		x.wantBatches(t)
		wantArrived(t, x.pub)
		time.Sleep(time.Millisecond)
		x.wantBatches(t, 2)
		wantArrived(t, x.pub, "published 1 @1 committed 1", "published 2 @2 committed 2")

		time.Sleep(time.Second)
		x.plain(3, "slow.a")
		time.Sleep(49 * time.Millisecond)
		x.wantBatches(t, 2)
		time.Sleep(time.Millisecond)
		x.wantBatches(t, 2, 1)
	})
}

func TestWhoMayWaitLeastSendsAllThatIsGathered(t *testing.T) {
	withStore(t, broker.Options{Topics: syncTopics}, func(t *testing.T, x *stored) {
		x.plain(1, "slow.a")
		x.plain(2, "quick.a")
		x.plain(3, "slow.b")
		time.Sleep(9 * time.Millisecond)
		x.wantBatches(t)
		time.Sleep(time.Millisecond)
		x.wantBatches(t, 3)

		x.plain(4, "slow.a")
		x.wantBatches(t, 3)
		x.plain(5, "kept.a")
		x.wantBatches(t, 3, 2)
		x.plain(6, "slow.a")
		x.wantBatches(t, 3, 2)
		x.retain(7, "plain") // not of class stored
		x.wantBatches(t, 3, 2, 2)
		x.plain(8, "kept.a")
		x.wantBatches(t, 3, 2, 2, 1)
		for i, r := range x.store.Log() {
			if string(r.Payload) != fmt.Sprint(i+1) {
				t.Errorf("found %q as number %d", r.Payload, i+1)
			}
		}
	})
}

func TestAFullBatchGoesAtOnce(t *testing.T) {
	withStore(t, broker.Options{Topics: syncTopics, Limits: broker.Limits{Inflight: broker.Unlimited}}, func(t *testing.T, x *stored) {
		for id := range uint64(1023) {
			x.plain(id+1, "slow.a")
		}
		x.wantBatches(t)
		x.plain(1024, "slow.a")
		x.wantBatches(t, 1024)
		x.plain(1025, "slow.a")
		x.wantBatches(t, 1024)
		time.Sleep(50 * time.Millisecond)
		x.wantBatches(t, 1024, 1)
		for id := range uint64(16) {
			x.wantBatches(t, 1024, 1)
			x.pub.Send(&protocol.Publish{ID: 2000 + id, Topic: "slow.b", Payload: []byte(kib(64))})
		}
		x.wantBatches(t, 1024, 1, 15, 1)
	})
}

// The wait for the store is bounded all the same (U3).
func TestGatheringDoesNotOutlastTheWaitForTheStore(t *testing.T) {
	withStore(t, broker.Options{Topics: syncTopics}, func(t *testing.T, x *stored) {
		x.plain(1, "late.a")
		time.Sleep(2500 * time.Millisecond)
		wantArrived(t, x.pub, "published 1 @1 committed 1")
		x.store.GoAway()
		synctest.Wait()
		x.plain(2, "slow.a")
		time.Sleep(5200 * time.Millisecond)
		wantLines(t, unpinged(x.pub), "error 2 store_unavailable")
	})
}

// A3: what was sent and did not come back has waited long enough.
func TestWhatIsSentAgainIsNotGathered(t *testing.T) {
	withStore(t, broker.Options{Topics: syncTopics}, func(t *testing.T, x *stored) {
		x.store.Fail(1)
		x.plain(1, "late.a")
		time.Sleep(2500 * time.Millisecond)
		x.wantBatches(t, 1)
		time.Sleep(30 * time.Millisecond) // the store is followed again
		wantLines(t, unpinged(x.pub), "published 1 @1 committed 1")
	})
}

// What is published while the store commits goes in one batch behind it, however many publish; and who publishes again when that is
// answered is waited for, for a moment, when they are many.
func TestPublishersThatAreManyShareCommits(t *testing.T) {
	for publishers, most := range map[int]int{4: 11, 64: 6} {
		withStore(t, broker.Options{Topics: keptTopics, Limits: broker.Limits{Inflight: broker.Unlimited}}, func(t *testing.T, x *stored) {
			x.store.Hold()
			x.retain(1, "kept.first")
			synctest.Wait()
			for i := range publishers {
				x.plain(uint64(i+2), fmt.Sprintf("kept.%d", i))
				synctest.Wait()
			}
			for round := range 2 { // each publishes again when it is answered, a moment after the one before
				time.Sleep(time.Millisecond)
				for x.store.Step() {
					synctest.Wait()
				}
				for i := range publishers {
					x.plain(uint64(1000*(round+1)+i), fmt.Sprintf("kept.%d", i))
					time.Sleep(5 * time.Microsecond)
				}
			}
			x.store.Release()
			time.Sleep(10 * time.Millisecond)
			x.store.Release()
			synctest.Wait()
			if n := len(x.store.Log()); n != 3*publishers+1 {
				t.Errorf("found %d records of %d", n, 3*publishers+1)
			}
			if n := len(x.store.Batches()); n > most {
				t.Errorf("%d publishers: found %d batches, wanted at most %d", publishers, n, most)
			}
		})
	}
}
