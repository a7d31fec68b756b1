package broker_test

import (
	"context"
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

// A3
func TestACommitWhoseAnswerWasLostIsStillDelivered(t *testing.T) {
	withStore(t, broker.Options{}, func(t *testing.T, x *stored) {
		x.store.LoseAnswers(1)
		x.retain(1, "a")
		time.Sleep(100 * time.Millisecond) // of the bubble: the feed is taken up again
		wantArrived(t, x.pub, "published 1 @1 committed 1")
		wantArrived(t, x.sub, `message 1/1 a "1"`)
		if n := len(x.store.Log()); n != 1 {
			t.Errorf("found %d records, wanted 1", n)
		}
	})
}

// A3: what comes first after a cut is what was committed behind the last record appended; only then is anything sent.
func TestTheFeedIsTakenUpBehindTheLastRecordAppended(t *testing.T) {
	withStore(t, broker.Options{}, func(t *testing.T, x *stored) {
		x.retain(1, "a")
		x.retain(2, "b")
		synctest.Wait()
		x.store.GoAway()
		x.retain(3, "c")
		synctest.Wait()
		x.store.Commit(broker.Record{Origin: protocol.NewRunID(), Ref: 1, Topic: "d", Payload: []byte("other"), Retain: true})
		x.store.ComeBack()
		time.Sleep(100 * time.Millisecond)
		// The store has opened again: everybody is told the position in its new term before the first message of it.
		wantArrived(t, x.sub, `message 1/1 a "1"`, `message 2/2 b "2"`, `message 3/3 d "other"`, "ping @3/3", `message 4/4 c "3"`)
		follows := x.store.Follows()
		if last := follows[len(follows)-1]; last.After != 2 || last.Origin != x.b.Epoch() {
			t.Errorf("found the feed taken up after %d of %s, wanted after 2, its own records left out", last.After, last.Origin)
		}
	})
}

// A3: what was sent and lost is sent again, in order, before what came later.
func TestWhatWasLostOnTheWayIsSentAgainInOrder(t *testing.T) {
	withStore(t, broker.Options{}, func(t *testing.T, x *stored) {
		x.store.Hold()
		for id := range uint64(5) {
			x.retain(id+1, fmt.Sprintf("t.%d", id%2))
			synctest.Wait() // a batch each, as far as the window goes
		}
		x.store.GoAway() // forgets them all
		x.retain(6, "t.0")
		x.store.ComeBack()
		x.store.Release()
		time.Sleep(100 * time.Millisecond)
		wantLines(t, unpinged(x.pub), "published 1 @1 committed 1", "published 2 @2 committed 2", "published 3 @3 committed 3",
			"published 4 @4 committed 4", "published 5 @5 committed 5", "published 6 @6 committed 6")
		wantLines(t, unpinged(x.sub), `message 1/1 t.0 "1"`, `message 2/2 t.1 "2"`, `message 3/3 t.0 "3"`, `message 4/4 t.1 "4"`,
			`message 5/5 t.0 "5"`, `message 6/6 t.0 "6"`)
	})
}

// A3: a batch fails and nothing of it is committed. The broker does not know that, asks the feed, and sends it again.
func TestABatchThatFailedIsSentAgain(t *testing.T) {
	withStore(t, broker.Options{}, func(t *testing.T, x *stored) {
		x.store.Fail(1)
		x.retain(1, "a")
		time.Sleep(100 * time.Millisecond)
		wantArrived(t, x.pub, "published 1 @1 committed 1")
		wantArrived(t, x.sub, `message 1/1 a "1"`)
	})
}

// A3: the connection to the store breaks, but the store still has the batch and commits it when the feed goes on already.
func TestABatchCommittedBehindTheNextFeedIsDeliveredOnce(t *testing.T) {
	withStore(t, broker.Options{}, func(t *testing.T, x *stored) {
		x.store.Hold()
		x.retain(1, "a")
		x.retain(2, "a")
		synctest.Wait()
		x.store.Cut()
		time.Sleep(100 * time.Millisecond) // they are sent again and wait a second time
		x.store.Step()
		x.plain(3, "a")
		x.store.Release()
		wantArrived(t, x.pub, "published 1 @1 committed 1", "published 2 @2 committed 2", "published 3 @3")
		wantArrived(t, x.sub, `message 1/1 a "1"`, `message 2/2 a "2"`, `message 3 a "3"`)
	})
}

// A3: a late commit may even meet its publication in line, before it could be sent again.
func TestABatchCommittedBeforeItIsSentAgainIsDeliveredOnce(t *testing.T) {
	withStore(t, broker.Options{}, func(t *testing.T, x *stored) {
		x.store.Hold()
		for id := range uint64(6) { // two more than the window of batches
			x.retain(id+1, "a")
			synctest.Wait()
		}
		x.store.Cut()
		time.Sleep(100 * time.Millisecond)
		for range 4 { // those sent under the first feed
			x.store.Step()
		}
		synctest.Wait()
		x.store.Release()
		wantArrived(t, x.sub, `message 1/1 a "1"`, `message 2/2 a "2"`, `message 3/3 a "3"`, `message 4/4 a "4"`,
			`message 5/5 a "5"`, `message 6/6 a "6"`)
	})
}

// A3: given up, its publisher told that the outcome is unknown, and committed after all.
func TestAPublishThatWasGivenUpAndCommittedAfterAllIsDelivered(t *testing.T) {
	withStore(t, broker.Options{}, func(t *testing.T, x *stored) {
		x.store.Hold()
		x.retain(1, "a")
		synctest.Wait()
		time.Sleep(6 * time.Second)
		wantArrived(t, x.pub, "error 1 store_unavailable")
		x.store.Cut()
		time.Sleep(100 * time.Millisecond) // the feed goes on without it
		x.retain(2, "b")
		synctest.Wait()
		x.store.Release()
		time.Sleep(100 * time.Millisecond)
		wantArrived(t, x.sub, `message 1/1 a "1"`, `message 2/2 b "2"`)
		wantArrived(t, x.pub, "published 2 @2 committed 2")
		if follows := x.store.Follows(); !follows[2].Origin.IsZero() || follows[2].After != 0 {
			t.Errorf("found the feed taken up with %+v, wanted from before the record, and whole", follows[2])
		}
	})
}

// A3: while the feed goes on, what was told as unknown still comes, and its topic waits for it.
func TestAPublishToldAsUnknownKeepsItsPlace(t *testing.T) {
	withStore(t, broker.Options{}, func(t *testing.T, x *stored) {
		x.store.Hold()
		x.retain(1, "a")
		x.plain(3, "a") // has not been with the store: given up, it is not published behind its publisher's back
		synctest.Wait()
		time.Sleep(6 * time.Second)
		x.plain(2, "a")
		wantArrived(t, x.pub, "error 1 store_unavailable", "error 3 store_unavailable")
		x.store.Release()
		wantArrived(t, x.pub, "published 2 @2")
		wantArrived(t, x.sub, `message 1/1 a "1"`, `message 2 a "2"`)
	})
}

// A3
func TestWhatAnotherBrokerCommitsIsDelivered(t *testing.T) {
	withStore(t, broker.Options{}, func(t *testing.T, x *stored) {
		x.store.Commit(broker.Record{Origin: protocol.NewRunID(), Ref: 1, Topic: "a", Payload: []byte("theirs"), Retain: true})
		x.retain(1, "a")
		wantArrived(t, x.sub, `message 1/1 a "theirs"`, `message 2/2 a "1"`)
	})
}

// G16: a store that breaks the order of its feed is not believed.
func TestARecordOutOfOrderIsNotDelivered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &backwards{Store: brokertest.NewStore()}
		b := start(t, broker.Options{Store: store})
		sub := brokertest.Dial(t, b, nil)
		sub.Subscribe(1, ">")
		time.Sleep(time.Second)
		wantArrived(t, sub, `message 1/5 a "first"`)
	})
}

// backwards is a store whose feed goes back.
type backwards struct{ *brokertest.Store }

func (s *backwards) Follow(ctx context.Context, from broker.FollowFrom, on func(broker.Feed) error) error {
	if from.After > 0 {
		<-ctx.Done()
		return ctx.Err()
	}
	time.Sleep(time.Millisecond) // until there is a subscription
	return errors.Join(
		on(broker.Feed{Records: []broker.Record{{Offset: 5, Topic: "a", Payload: []byte("first")}}}),
		on(broker.Feed{Records: []broker.Record{{Offset: 5, Topic: "a", Payload: []byte("again")}}}),
	)
}

// A3: a record that no feed will ever bring does not keep its topic waiting, and is not acknowledged.
func TestACommitThatTheFeedPassesOverIsToldAsUnknown(t *testing.T) {
	withStore(t, broker.Options{}, func(t *testing.T, x *stored) {
		x.store.Hold()
		x.store.Hide(1)
		x.retain(1, "a")
		synctest.Wait()
		x.store.LoseAnswers(1)
		x.store.Release() // it is committed and hidden, its answer lost; it is sent again, and is a duplicate
		x.store.Commit(broker.Record{Topic: "b", Payload: []byte("2"), Retain: true})
		time.Sleep(100 * time.Millisecond)
		x.plain(3, "a")
		wantLines(t, unpinged(x.pub), "error 1 store_unavailable", "published 3 @2")
	})
}

// A3, P3: when the feed cannot go on from where it was, no client is left to believe that it has missed nothing.
func TestAHoleInTheFeedBeginsAnEpoch(t *testing.T) {
	for name, breach := range map[string]func(x *stored){
		"trimmed": func(x *stored) {
			x.store.GoAway()
			x.store.Commit(broker.Record{Topic: "b", Payload: []byte("unseen"), Retain: true})
			x.store.Commit(broker.Record{Topic: "gone", Retain: true})
			x.store.Trim(5)
			x.store.ComeBack()
		},
		"older copy": func(x *stored) {
			state := x.store.Copy()
			x.retain(9, "b")
			x.retain(9, "lost")
			synctest.Wait()
			x.store.Restore(state)
		},
	} {
		t.Run(name, func(t *testing.T) {
			withStore(t, broker.Options{}, func(t *testing.T, x *stored) {
				x.retain(1, "a")
				x.retain(2, "b")
				x.retain(3, "gone")
				synctest.Wait()
				x.sub.Packets()
				token, epoch := x.b.Position().Append(nil), x.b.Epoch()
				breach(x)
				time.Sleep(100 * time.Millisecond)
				lines := arrived(x.sub)
				if last := lines[len(lines)-1]; last != "disconnect unavailable" {
					t.Fatalf("found %q, wanted the session sent away", last)
				}
				if x.b.Epoch() == epoch || x.b.Ready() != nil {
					t.Fatalf("found epoch %s, ready: %v; wanted another one, ready", x.b.Epoch(), x.b.Ready())
				}
				back := brokertest.Dial(t, x.b, nil)
				back.Send(&protocol.Subscribe{ID: 1, Filter: ">", Position: token})
				lines = arrived(back)
				if !strings.HasPrefix(lines[1], "gap 1 epoch ") || lines[len(lines)-2] != "end 1 reset" {
					t.Fatalf("found %q, wanted a gap and all retained values", lines)
				}
				if got, want := retainedTopics(x.b), len(x.store.Retained()); got != want {
					t.Errorf("found %d retained topics, the store has %d", got, want)
				}
				// And the log goes on.
				retain(t, x.b, "c", "new")
				if lines := arrived(back); len(lines) != 1 || !strings.HasSuffix(lines[0], `c "new"`) {
					t.Errorf("found %q, wanted the next message", lines)
				}
			})
		})
	}
}

func retainedTopics(b *broker.Broker) int { return int(b.Stats().RetainedTopics) }

// A4
func TestLaterPublishesToATopicWaitBehindItsCommit(t *testing.T) {
	withStore(t, broker.Options{Topics: []broker.TopicRule{{Match: "live", Class: broker.ClassLive}}}, func(t *testing.T, x *stored) {
		x.store.Hold()
		x.retain(1, "a")
		x.plain(2, "a")
		x.retain(3, "a")
		x.plain(4, "a")
		x.plain(5, "b")
		x.retain(6, "live")
		x.plain(7, "live")
		wantArrived(t, x.pub, "published 5 @1")
		wantArrived(t, x.sub, `message 1 b "5"`)
		x.store.Release()
		wantArrived(t, x.sub, `message 2/1 a "1"`, `message 3 a "2"`, `message 4/2 a "3"`, `message 5 a "4"`,
			`message 0/3 live "6"`, `message 0 live "7"`)
		wantArrived(t, x.pub, "published 1 @2 committed 1", "published 2 @3", "published 3 @4 committed 2", "published 4 @5",
			"published 6 @0 committed 3", "published 7 @0")
		if waits := x.b.Stats().StoreWaitBytes; waits != 0 {
			t.Errorf("found %d bytes waiting in the end", waits)
		}
	})
}
