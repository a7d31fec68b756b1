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

// keptTopics are the rules of these tests: kept.> is stored.
var keptTopics = []broker.TopicRule{{Match: "kept.>", Class: broker.ClassStored, History: broker.History{Count: 100_000}}}

// run is one run of a broker on a store that outlives it.
func run(t *testing.T, store broker.Store, opt broker.Options) *broker.Broker {
	t.Helper()
	if opt.Topics == nil {
		opt.Topics = keptTopics
	}
	opt.Store = store
	b := start(t, opt)
	if err := b.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	return b
}

func resume(t *testing.T, b *broker.Broker, id *broker.Identity, filter string, at protocol.Position) *brokertest.Client {
	t.Helper()
	c := brokertest.Dial(t, b, id)
	c.Send(&protocol.Subscribe{ID: 1, Filter: filter, Position: at.Append(nil)})
	return c
}

// P3, P7: after a restart stored topics go on without a gap, from what was loaded into the log; others are told one gap, up to where
// this run began.
func TestAResumeAfterARestartMissesNothingStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := brokertest.NewStore()
		one := run(t, store, broker.Options{})
		publish(t, one, "kept.a", "1")
		publish(t, one, "plain", "2")
		at := one.Position()
		publish(t, one, "kept.a", "3")
		publish(t, one, "plain", "4")
		publish(t, one, "kept.b", "5")
		one.Close()
		two := run(t, store, broker.Options{})
		publish(t, two, "plain", "6")

		c := resume(t, two, nil, "kept.>", at)
		wantLines(t, unpinged(c), "subscribed 1 @2/1", "replay 1 log 2", `message 2/2 kept.a "3"`, `message 3/3 kept.b "5"`, "resumed 1 @4/3")
		c = resume(t, two, nil, "plain", at)
		wantLines(t, unpinged(c), "subscribed 1 @3/3", "gap 1 epoch 2/1..3/3", "end 1 reset", "replay 1 log 1", `message 4 plain "6"`, "resumed 1 @4/3")
		c = resume(t, two, nil, ">", at)
		wantLines(t, unpinged(c), "subscribed 1 @2/1", "gap 1 not_stored 2/1..1/1", "end 1 reset", "replay 1 log 3",
			`message 2/2 kept.a "3"`, `message 3/3 kept.b "5"`, `message 4 plain "6"`, "resumed 1 @4/3")
		if n := len(store.Reads()); n != 2 {
			t.Errorf("found %d reads of the store, wanted those of the start alone", n)
		}
	})
}

// inAndOverARestart runs f with a broker whose log is small: goOn is the broker that goes on, once the same and once another one behind a restart.
func inAndOverARestart(t *testing.T, f func(t *testing.T, b *broker.Broker, goOn func() *broker.Broker)) {
	t.Helper()
	for name, restart := range map[string]bool{"in one run": false, "over a restart": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store, opt := brokertest.NewStore(), broker.Options{RingBytes: 64 << 10}
				b := run(t, store, opt)
				f(t, b, func() *broker.Broker {
					if !restart {
						return b
					}
					b.Close()
					return run(t, store, opt)
				})
			})
		})
	}
}

// P3: what lies before the log comes from the store, page by page, and then the log, while publishing goes on.
func TestAResumeFromBeforeTheLogReadsTheStore(t *testing.T) {
	inAndOverARestart(t, func(t *testing.T, b *broker.Broker, goOn func() *broker.Broker) {
		at := b.Position()
		for i := range 500 {
			publish(t, b, "kept.a", kib(1)+fmt.Sprint(i+1))
		}
		b = goOn()
		c := resume(t, b, nil, "kept.*", at)
		for i := range 100 {
			publish(t, b, "kept.a", kib(1)+fmt.Sprint(501+i))
		}
		lines := unpinged(c)
		wantOffsets(t, lines, 1, 600)
		if gaps := slices.DeleteFunc(lines, func(l string) bool { return !strings.HasPrefix(l, "gap") }); len(gaps) > 0 {
			t.Errorf("found %q, wanted no gap", gaps)
		}
	})
}

// wantOffsets fails the test unless the messages among lines have exactly the offsets from first to last, in order.
func wantOffsets(t *testing.T, lines []string, first, last uint64) {
	t.Helper()
	next := first
	for _, line := range lines {
		var seq, offset uint64
		if n, _ := fmt.Sscanf(line, "message %d/%d", &seq, &offset); n < 2 {
			continue
		}
		if offset != next {
			t.Fatalf("found offset %d, wanted %d", offset, next)
		}
		next++
	}
	if next != last+1 {
		t.Fatalf("found messages up to offset %d, wanted %d", next-1, last)
	}
}

// P4: a catch-up that is cut half-way goes on from where it was: the offset has moved, and nothing else.
func TestACatchUpThatIsCutGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := brokertest.NewStore()
		opt := broker.Options{RingBytes: 64 << 10}
		b := run(t, store, opt)
		at := b.Position()
		for i := range 400 {
			publish(t, b, "kept.a", kib(1)+fmt.Sprint(i+1))
			publish(t, b, "plain", "")
		}
		b.Close()
		b = run(t, store, opt)
		var tracker brokertest.Tracker
		next, gaps := uint64(1), 0
		tracker.On = func(_ *brokertest.Tracked, e brokertest.Event) {
			switch {
			case e.Gap != nil:
				gaps++
				if e.Gap.Reason != protocol.GapNotStored {
					t.Errorf("found a gap %s, wanted not_stored", e.Gap.Reason)
				}
			case e.Message != nil && e.Message.Topic == "kept.a":
				if e.Message.Offset != next {
					t.Fatalf("found offset %d, wanted %d", e.Message.Offset, next)
				}
				next++
			}
		}
		token := at.Append(nil)
		for next <= 400 {
			c := brokertest.Dial(t, b, nil)
			synctest.Wait()
			for _, p := range c.Packets() {
				if err := tracker.Handle(p); err != nil {
					t.Fatal(err)
				}
			}
			tracker.Session = b.Position()
			c.Shut()
			sub := &protocol.Subscribe{ID: 1, Filter: ">", Position: token, NoRetained: true}
			tracked := tracker.Subscribe(sub)
			c.Send(sub)
			c.Allow(100_000)
			synctest.Wait()
			for _, p := range c.Packets() {
				if err := tracker.Handle(p); err != nil {
					t.Fatal(err)
				}
			}
			token = tracker.Token(tracked)
			c.Leave()
		}
		if gaps != 1 {
			t.Errorf("found %d gaps, wanted the one of what is not stored", gaps)
		}
	})
}

// P2: a store that lost its tail cannot pass for the old one.
func TestATokenBeyondTheEndOfItsTermIsAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := brokertest.NewStore()
		one := run(t, store, broker.Options{})
		publish(t, one, "kept.a", "1")
		older := store.Copy()
		publish(t, one, "kept.a", "lost")
		publish(t, one, "kept.a", "lost")
		at := one.Position()
		one.Close()
		store.Restore(older)
		two := run(t, store, broker.Options{})
		publish(t, two, "kept.a", "2")
		publish(t, two, "kept.a", "3")
		publish(t, two, "kept.a", "4")

		c := resume(t, two, nil, "kept.>", at)
		wantLines(t, unpinged(c), "subscribed 1 @3/3", "gap 1 ahead 3/1..3/1", "end 1 reset", "replay 1 log 3",
			`message 2/2 kept.a "2"`, `message 3/3 kept.a "3"`, `message 4/4 kept.a "4"`, "resumed 1 @4/4")

		at.Term = protocol.NewRunID()
		c = resume(t, two, nil, "kept.>", at)
		wantLines(t, unpinged(c), "subscribed 1 @4/4", "gap 1 ahead 3/3..4/4", "end 1 reset", "resumed 1 @4/4")
	})
}

// P2, P5: a store that opens again begins a new term. Who has messages of it has been told so before, so that no token passes the end
// of an old term.
func TestASessionKnowsTheTermOfWhatItHas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := brokertest.NewStore()
		b := run(t, store, broker.Options{})
		c := brokertest.Dial(t, b, nil)
		var tracker brokertest.Tracker
		sub := &protocol.Subscribe{ID: 1, Filter: "kept.>", NoRetained: true}
		tracked := tracker.Subscribe(sub)
		c.Send(sub)
		publish(t, b, "kept.a", "1")
		store.GoAway()
		time.Sleep(time.Second)
		store.ComeBack()
		time.Sleep(2 * time.Second)
		publish(t, b, "kept.a", "2")
		synctest.Wait()
		for _, p := range c.Packets() {
			if err := tracker.Handle(p); err != nil {
				t.Fatal(err)
			}
		}
		at, err := protocol.ParsePosition(tracker.Token(tracked))
		if err != nil || at != b.Position() {
			t.Errorf("found position %+v, wanted %+v", at, b.Position())
		}
	})
}

// H1: what the store has trimmed is told, before what it still has.
func TestWhatTheStoreHasTrimmedIsAGap(t *testing.T) {
	rules := []broker.TopicRule{{Match: "kept.>", Class: broker.ClassStored, History: broker.History{Count: 2}}}
	synctest.Test(t, func(t *testing.T) {
		store := brokertest.NewStore()
		one := run(t, store, broker.Options{Topics: rules})
		publish(t, one, "kept.rare", "1")
		at := one.Position()
		publish(t, one, "kept.rare", "2")
		for range 4 {
			publish(t, one, "kept.busy", "")
		}
		one.Close()
		two := run(t, store, broker.Options{Topics: rules})
		c := resume(t, two, nil, "kept.>", at)
		wantLines(t, unpinged(c), "subscribed 1 @1/1", "gap 1 trimmed 1/1..1/4", "replay 1 log 1", `message 0/2 kept.rare "2"`,
			"end 1 reset", "replay 1 log 2", `message 3/5 kept.busy ""`, `message 4/6 kept.busy ""`, "resumed 1 @4/6")
		c = resume(t, two, nil, "kept.rare", at)
		wantLines(t, unpinged(c), "subscribed 1 @1/1", "replay 1 log 1", `message 0/2 kept.rare "2"`, "resumed 1 @4/6")
	})
}

// R6: without the right to history a resume reaches back the resume window, in the store, too.
func TestAResumeFromTheStoreWithoutHistoryReachesBackTheResumeWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := brokertest.NewStore()
		one := run(t, store, broker.Options{})
		at := one.Position()
		publish(t, one, "kept.a", "1")
		publish(t, one, "kept.a", "2")
		time.Sleep(11 * time.Minute)
		publish(t, one, "kept.a", "3")
		one.Close()
		two := run(t, store, broker.Options{})
		mayNot := &broker.Identity{User: "u", Grants: []broker.Grant{{Actions: broker.ActionSubscribe, Filter: ">"}}}
		c := resume(t, two, mayNot, "kept.>", at)
		wantLines(t, unpinged(c), "subscribed 1 @0", "gap 1 forbidden 0..0/2", "end 1 reset", "replay 1 log 1", `message 3/3 kept.a "3"`, "resumed 1 @3/3")
		c = resume(t, two, nil, "kept.>", at)
		wantLines(t, unpinged(c), "subscribed 1 @0", "replay 1 log 3", `message 1/1 kept.a "1"`, `message 2/2 kept.a "2"`, `message 3/3 kept.a "3"`, "resumed 1 @3/3")
	})
}
