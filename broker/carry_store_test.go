package broker_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/brokertest"
	"github.com/carillon-mq/carillon/protocol"
)

// over restarts b and its store, as a deploy does; meanwhile is what happens to the store in between.
func over(t *testing.T, b *broker.Broker, store *brokertest.Store, meanwhile func(), opt broker.Options) *broker.Broker {
	t.Helper()
	opt.Log = bytes.NewReader(logOf(t, b))
	store.GoAway()
	store.ComeBack()
	if meanwhile != nil {
		meanwhile()
	}
	return run(t, store, opt)
}

// P3: with a store the log goes on behind its watermark, whatever class a message is of.
func TestAfterAPlannedRestartTheLogGoesOnFromTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := brokertest.NewStore()
		one := run(t, store, broker.Options{})
		publish(t, one, "kept.a", "1")
		retain(t, one, "state", "2")
		at := one.Position()
		publish(t, one, "plain", "3")
		publish(t, one, "kept.a", "4")
		retain(t, one, "state", "5")
		publish(t, one, "plain", "6")
		epoch, end, reads := one.Epoch(), one.Position(), len(store.Reads())
		two := over(t, one, store, nil, broker.Options{})
		if now := two.Position(); two.Epoch() != epoch || now.Seq != end.Seq || now.Offset != end.Offset || now.Term == end.Term {
			t.Errorf("found position %+v, wanted %+v of another term", now, end)
		}
		if n := len(store.Reads()); n != reads {
			t.Errorf("found %d reads of histories at the start, wanted none", n-reads)
		}
		follows := store.Follows()
		if from := follows[len(follows)-1]; from.After != end.Offset || from.Origin == epoch {
			t.Errorf("found the feed begun after %d by %s, wanted after %d, by another origin than of the run before", from.After, from.Origin, end.Offset)
		}
		c := resume(t, two, nil, ">", at)
		wantLines(t, unpinged(c), "subscribed 1 @2/2", "replay 1 log 4", `message 3 plain "3"`, `message 4/3 kept.a "4"`, `message 5/4 state "5"`,
			`message 6 plain "6"`, "resumed 1 @6/4")
		publish(t, two, "kept.a", "7") // the store must not take it for the first record of the run before
		publish(t, two, "plain", "8")
		wantLines(t, unpinged(c), `message 7/5 kept.a "7"`, `message 8 plain "8"`)
		late := brokertest.Dial(t, two, nil)
		late.Send(&protocol.Subscribe{ID: 1, Filter: "state"})
		wantLines(t, unpinged(late), "subscribed 1 @8/5", "replay 1 retained 1", `message 5/4 state "5"`, "end 1", "resumed 1 @8/5")

		three := over(t, two, store, nil, broker.Options{})
		c = resume(t, three, nil, "plain", at)
		wantLines(t, unpinged(c), "subscribed 1 @2/2", "replay 1 log 3", `message 3 plain "3"`, `message 6 plain "6"`, `message 8 plain "8"`, "resumed 1 @8/5")
		if charged, held := three.RingBytes(); charged != held {
			t.Errorf("found %d bytes charged, %d held", charged, held)
		}
	})
}

// A3: what the store has committed meanwhile comes behind the log, and what is retained is what the store has.
func TestWhatWasCommittedDuringAPlannedRestartIsDelivered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := brokertest.NewStore()
		one := run(t, store, broker.Options{})
		retain(t, one, "state", "1")
		retain(t, one, "gone", "2")
		at := one.Position()
		publish(t, one, "plain", "3")
		two := over(t, one, store, func() {
			store.Commit(broker.Record{Topic: "state", Payload: []byte("theirs"), Retain: true})
			store.Commit(broker.Record{Topic: "brief", Payload: []byte("theirs"), Retain: true})
			store.Commit(broker.Record{Topic: "kept.a", Payload: []byte("theirs")})
			store.Commit(broker.Record{Topic: "brief", Retain: true})
			store.Commit(broker.Record{Topic: "gone", Retain: true})
			store.Commit(broker.Record{Topic: "state", Payload: []byte("theirs, too"), Retain: true})
		}, broker.Options{})
		c := resume(t, two, nil, ">", at)
		wantLines(t, unpinged(c), "subscribed 1 @2/2", "replay 1 log 7", `message 3 plain "3"`, `message 4/3 state "theirs"`, `message 5/4 brief "theirs"`,
			`message 6/5 kept.a "theirs"`, `message 7/6 brief ""`, `message 8/7 gone ""`, `message 9/8 state "theirs, too"`, "resumed 1 @9/8")
		fresh := brokertest.Dial(t, two, nil)
		fresh.Send(&protocol.Subscribe{ID: 1, Filter: ">"})
		wantLines(t, unpinged(fresh), "subscribed 1 @9/8", "replay 1 retained 1", `message 9/8 state "theirs, too"`, "end 1", "resumed 1 @9/8")
	})
}

// K2: a snapshot does not bring what its reader gets from the log further on, in front of what that has replaced.
func TestAfterAPlannedRestartNoSnapshotIsAheadOfTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := brokertest.NewStore()
		one := run(t, store, broker.Options{})
		at := one.Position()
		publish(t, one, "plain", "1")
		retain(t, one, "old", "2")
		time.Sleep(9 * time.Minute)
		retain(t, one, "state", "3")
		retain(t, one, "state", "4")
		two := over(t, one, store, nil, broker.Options{})
		time.Sleep(2 * time.Minute)
		reader := &broker.Identity{User: "u", Grants: []broker.Grant{{Actions: broker.ActionSubscribe, Filter: ">"}}}
		c := resume(t, two, reader, "*", at)
		wantLines(t, unpinged(c), "subscribed 1 @2/1", "gap 1 forbidden 0..2/1", "replay 1 retained 1", `message 2/1 old "2"`, "end 1 reset",
			"replay 1 log 2", `message 3/2 state "3"`, `message 4/3 state "4"`, "resumed 1 @4/3")
	})
}

// P2, P3: a store that is not the one that the log has followed. The log is given up, and nobody is shown what the store does not have.
func TestALogOfAnotherStoreIsGivenUp(t *testing.T) {
	for name, test := range map[string]struct {
		change func(store *brokertest.Store, before brokertest.State)
		want   string
	}{
		"an older copy": {func(s *brokertest.Store, before brokertest.State) { s.Restore(before) }, "the store has records up to 1, the log up to 4"},
		"an older copy that has gone on": {func(s *brokertest.Store, before brokertest.State) {
			s.Restore(before)
			for range 5 {
				s.Commit(broker.Record{Topic: "kept.a", Payload: []byte("other")})
			}
		}, "the store and the log went different ways behind 1"},
		"an empty one":       {func(s *brokertest.Store, _ brokertest.State) { s.Restore(brokertest.NewStore().Copy()) }, "the store has records up to 0"},
		"one without terms":  {func(s *brokertest.Store, _ brokertest.State) { s.Without(broker.PowerTerms) }, "the store does not know the log's term"},
		"trimmed behind it":  {func(s *brokertest.Store, _ brokertest.State) { trimAll(s) }, "store feed ended"},
		"of another history": {func(s *brokertest.Store, _ brokertest.State) { other(s) }, "the store does not know the log's term"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := brokertest.NewStore()
				one := run(t, store, broker.Options{})
				publish(t, one, "kept.a", "1")
				before := store.Copy()
				at := one.Position()
				retain(t, one, "state", "2")
				publish(t, one, "plain", "3")
				publish(t, one, "kept.a", "4")
				publish(t, one, "kept.a", "5")
				var said bytes.Buffer
				opt := broker.Options{Logger: slog.New(slog.NewTextHandler(&said, nil))}
				epoch := one.Epoch()
				two := over(t, one, store, func() { test.change(store, before) }, opt)
				if two.Epoch() == epoch || !strings.Contains(said.String(), test.want) {
					t.Errorf("found epoch kept: %t; said %q, wanted %q", two.Epoch() == epoch, said.String(), test.want)
				}
				if got, want := retainedTopics(two), len(store.Retained()); got != want {
					t.Errorf("found %d retained topics, the store has %d", got, want)
				}
				if name != "trimmed behind it" { // there the store still has what the log has
					wantNothingButTheStores(t, two, store)
				}
				c := resume(t, two, nil, "plain", at)
				if lines := unpinged(c); !strings.HasPrefix(lines[1], "gap 1 epoch") {
					t.Errorf("found %q, wanted a gap", lines)
				}
				publish(t, two, "plain", "last")
				if lines := unpinged(c); len(lines) != 1 || !strings.HasSuffix(lines[0], `plain "last"`) {
					t.Errorf("found %q, wanted the next message", lines)
				}
			})
		})
	}
}

func trimAll(s *brokertest.Store) {
	s.Commit(broker.Record{Topic: "kept.a", Payload: []byte("unseen")})
	s.Trim(s.Copy().Head)
}

// other puts a store in place that has as many records, of its own.
func other(s *brokertest.Store) {
	o := brokertest.NewStore()
	for range 9 {
		o.Commit(broker.Record{Topic: "kept.a", Payload: []byte("other")})
	}
	s.Restore(o.Copy())
}

// wantNothingButTheStores fails the test if the log of b has a message that store does not have.
func wantNothingButTheStores(t *testing.T, b *broker.Broker, store *brokertest.Store) {
	t.Helper()
	known := map[string]bool{}
	for _, r := range store.Log() {
		known[fmt.Sprintf("%d %s %s", r.Offset, r.Topic, r.Payload)] = true
	}
	c := brokertest.Dial(t, b, nil)
	c.Send(&protocol.Subscribe{ID: 1, Filter: ">", Last: 100})
	synctest.Wait()
	for _, p := range c.Packets() {
		if m, ok := p.(*protocol.Message); ok && !known[fmt.Sprintf("%d %s %s", m.Offset, m.Topic, m.Payload)] {
			t.Errorf("found message %d/%d %s %q, which the store does not have", m.Seq, m.Offset, m.Topic, m.Payload)
		}
	}
}

// A log is not written while the store is not loaded: nobody knows what is missing.
func TestNoLogIsWrittenBeforeTheStoreIsLoaded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := brokertest.NewStore()
		store.GoAway()
		b := start(t, broker.Options{Store: store})
		publish(t, b, "plain", "1")
		if err := b.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := b.WriteLog(new(bytes.Buffer)); err == nil {
			t.Error("found a log written")
		}
	})
}

// U2: a publish that is repeated after a planned restart is known there.
func TestARepetitionAfterAPlannedRestartIsNotApplied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := brokertest.NewStore()
		b := run(t, store, broker.Options{})
		r := broker.PublishRequest{Topic: "plain", Payload: []byte("once"), MessageID: "m-1"}
		first := publishAs(t, b, r)
		b = over(t, b, store, nil, broker.Options{})
		if again := publishAs(t, b, r); !again.Duplicate || again.Seq != first.Seq {
			t.Errorf("found %+v, wanted the answer to the first, %+v", again, first)
		}
		time.Sleep(4 * time.Minute)
		if again := publishAs(t, b, r); again.Duplicate {
			t.Errorf("found %+v, wanted it forgotten", again)
		}
	})
}

// What is given up goes, also when the broker has begun to work before the store was there.
func TestALogIsGivenUpBehindWhatWasPublishedMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := brokertest.NewStore()
		one := run(t, store, broker.Options{})
		before := store.Copy()
		publish(t, one, "kept.a", "1")
		log := logOf(t, one)
		store.GoAway()
		two := start(t, broker.Options{Store: store, Topics: keptTopics, Log: bytes.NewReader(log), Shards: 1})
		free := two.HoldShards()
		publish(t, two, "plain", "2")
		store.Restore(before)
		store.ComeBack()
		if err := two.WaitReady(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, line := range two.LogLines() {
			if strings.Contains(line, "kept.a") {
				t.Errorf("found %q in the log, which the store does not have", line)
			}
		}
		free()
	})
}

// What the store tells when the log has been written is left to the next run.
func TestTheStoreIsNotHeardBehindTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := brokertest.NewStore()
		b := run(t, store, broker.Options{})
		publish(t, b, "kept.a", "1")
		at := b.Position()
		if err := b.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		if err := b.WriteLog(&log); err != nil {
			t.Fatal(err)
		}
		trimAll(store)
		store.Cut()
		time.Sleep(time.Minute)
		if now := b.Position(); now != at {
			t.Errorf("found position %+v, wanted %+v", now, at)
		}
	})
}
