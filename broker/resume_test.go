package broker_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/brokertest"
	"github.com/carillon-mq/carillon/protocol"
)

// P1, P3, P4: in this run of the broker and while the log holds it, a resume is exact, merged in the order of the log.
func TestAResumeReplaysWhatMatchesInTheOrderOfTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{})
		for i := range 6 {
			publish(t, b, []string{"a.x", "b.x", "a.y"}[i%3], fmt.Sprint(i+1))
		}
		at := b.Position()
		at.Seq = 1
		c := brokertest.Dial(t, b, nil)
		c.Send(&protocol.Subscribe{ID: 1, Filter: "a.*", Position: at.Append(nil)})
		wantArrived(t, c, "subscribed 1 @1", "replay 1 log 3", `message 3 a.y "3"`, `message 4 a.x "4"`, `message 6 a.y "6"`, "resumed 1 @6")
		publish(t, b, "a.x", "7")
		wantArrived(t, c, `message 7 a.x "7"`)
	})
}

// P3, K3: an exact resume sends no retained messages, whatever it asks for.
func TestAnExactResumeSendsNoSnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{})
		retain(t, b, "a", "1")
		c := brokertest.Dial(t, b, nil)
		c.Send(&protocol.Subscribe{ID: 1, Filter: "a", Position: b.Position().Append(nil)})
		wantArrived(t, c, "subscribed 1 @1", "resumed 1 @1")
	})
}

// P1, P3, R6: what a token can be, and what it is answered with.
func TestATokenIsServedOrItsGapIsTold(t *testing.T) {
	for name, test := range map[string]struct {
		filter string
		token  func(b *broker.Broker) []byte
		want   []string
	}{
		"not a token": {filter: ">", token: func(*broker.Broker) []byte { return []byte("x") }, want: []string{"error 1 bad_position"}},
		"empty":       {filter: ">", token: func(*broker.Broker) []byte { return []byte{} }, want: []string{"error 1 bad_position"}},
		"of another run": {
			filter: "a",
			token: func(b *broker.Broker) []byte {
				p := b.Position()
				p.Epoch = protocol.NewRunID()
				return p.Append(nil)
			},
			want: []string{"subscribed 1 @0", "gap 1 epoch 3..0", "end 1 reset", "replay 1 log 2", `message 1 a "1"`, `message 2 a "kept"`, "resumed 1 @3"},
		},
		"of no run": {
			filter: "none.>",
			token:  func(*broker.Broker) []byte { return protocol.Position{}.Append(nil) },
			want:   []string{"subscribed 1 @0", "gap 1 epoch 0..0", "end 1 reset", "resumed 1 @3"},
		},
		"ahead": {
			filter: "a",
			token: func(b *broker.Broker) []byte {
				p := b.Position()
				p.Seq = 4
				return p.Append(nil)
			},
			want: []string{"subscribed 1 @3", "gap 1 ahead 4..3", "replay 1 retained 1", `message 2 a "kept"`, "end 1 reset", "resumed 1 @3"},
		},
		"without a right": {
			filter: "$user.other.>",
			token:  func(b *broker.Broker) []byte { return b.Position().Append(nil) },
			want:   []string{"error 1 forbidden"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := start(t, broker.Options{})
				publish(t, b, "a", "1")
				retain(t, b, "a", "kept")
				publish(t, b, "b", "3")
				all := broker.ActionSubscribe | broker.ActionHistory
				c := brokertest.Dial(t, b, &broker.Identity{User: "u", Grants: []broker.Grant{{Actions: all, Filter: ">"}}})
				c.Send(&protocol.Subscribe{ID: 1, Filter: test.filter, Position: test.token(b)})
				wantArrived(t, c, test.want...)
			})
		})
	}
}

// P3, R4, K3: what the log no longer holds is a gap up to where it begins, with a fresh snapshot, and then the rest.
func TestAResumeFromBeforeTheLogIsToldTheGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{RingBytes: 64 << 10})
		retain(t, b, "kept", "value")
		token := b.Position().Append(nil)
		for i := range 200 {
			publish(t, b, "a", kib(1)+fmt.Sprint(i))
		}
		held := b.Stats().RingEntries
		first := 201 - uint64(held) + 1
		c := brokertest.Dial(t, b, nil)
		c.Send(&protocol.Subscribe{ID: 1, Filter: ">", Position: token})
		lines := arrived(c)
		wantLines(t, lines[:5], fmt.Sprintf("subscribed 1 @%d", first-1), fmt.Sprintf("gap 1 trimmed 1..%d", first-1), "replay 1 retained 1", `message 1 kept "value"`, "end 1 reset")
		if last := lines[len(lines)-1]; last != "resumed 1 @201" {
			t.Errorf("found %q in the end, wanted resumed", last)
		}
		wantNumbers(t, lines, first, 201)
	})
}

// P5
func TestSubscribedAndPingCarryThePositionOfAQuietSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{PingEvery: 25 * time.Second})
		c := brokertest.Dial(t, b, nil)
		for range 7 {
			publish(t, b, "other", "")
		}
		c.Subscribe(1, "a")
		for range 5 {
			publish(t, b, "other", "")
		}
		time.Sleep(26 * time.Second)
		wantArrived(t, c, "ping @12")
		// The token of that ping brings nothing twice and skips nothing.
		at := b.Position()
		at.Seq = 12
		publish(t, b, "a", "x")
		again := brokertest.Dial(t, b, nil)
		again.Send(&protocol.Subscribe{ID: 1, Filter: "a", Position: at.Append(nil)})
		wantArrived(t, again, "subscribed 1 @12", "replay 1 log 1", `message 13 a "x"`, "resumed 1 @13")
	})
}

// P5, R2: a lagging session's ping carries the place of its cursor, not of its shard.
func TestAPingOfALaggingSessionCarriesItsOwnPosition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{PingEvery: 25 * time.Second})
		c := brokertest.Dial(t, b, nil)
		c.Subscribe(1, "a")
		c.Shut()
		for range 200 {
			publish(t, b, "a", kib(1))
		}
		time.Sleep(26 * time.Second)
		c.Open()
		var tracker brokertest.Tracker
		pings := 0
		synctest.Wait()
		for _, p := range c.Packets() {
			if m, ok := p.(*protocol.Message); ok {
				tracker.Session.Seq = m.Seq
			}
			if ping, ok := p.(*protocol.Ping); ok && ping.Position != nil {
				pings++
				if ping.Position.Seq != tracker.Session.Seq {
					t.Errorf("found a ping at %d behind message %d", ping.Position.Seq, tracker.Session.Seq)
				}
			}
		}
		if pings != 1 || tracker.Session.Seq != 200 {
			t.Errorf("found %d pings and messages up to %d, wanted 1 and 200", pings, tracker.Session.Seq)
		}
	})
}

// P6
func TestAFreshSubscriptionGetsNothingFromBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{})
		c := brokertest.Dial(t, b, nil)
		other := brokertest.Dial(t, b, nil)
		other.Subscribe(1, ">") // keeps the shards awake
		publish(t, b, "a", "old")
		if at := c.Subscribe(1, "a"); at.Seq != 1 {
			t.Errorf("found the subscription at %d, wanted 1", at.Seq)
		}
		publish(t, b, "a", "new")
		wantArrived(t, c, `message 2 a "new"`)
	})
}

// R6: without the right to history a resume reaches back the resume window.
func TestAResumeWithoutHistoryReachesBackTheResumeWindow(t *testing.T) {
	for name, test := range map[string]struct {
		actions broker.Action
		want    []string
	}{
		"without": {broker.ActionSubscribe, []string{"subscribed 1 @2", "gap 1 forbidden 0..2", "end 1 reset", "replay 1 log 1", `message 3 a "new"`, "resumed 1 @3"}},
		"with":    {broker.ActionSubscribe | broker.ActionHistory, []string{"subscribed 1 @0", "replay 1 log 3", `message 1 a "old"`, `message 2 a "old"`, `message 3 a "new"`, "resumed 1 @3"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := start(t, broker.Options{})
				token := b.Position().Append(nil)
				publish(t, b, "a", "old")
				publish(t, b, "a", "old")
				time.Sleep(5 * time.Minute)
				publish(t, b, "a", "new")
				time.Sleep(6 * time.Minute)
				c := brokertest.Dial(t, b, &broker.Identity{User: "u", Grants: []broker.Grant{{Actions: test.actions, Filter: ">"}}})
				c.Send(&protocol.Subscribe{ID: 1, Filter: "a", Position: token})
				wantArrived(t, c, test.want...)
			})
		})
	}
}

// Class live: no position, never replayed, and what a resume passes over is told.
func TestALiveMessageIsNeverReplayed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{Topics: []broker.TopicRule{{Match: "live.>", Class: broker.ClassLive}}})
		live := brokertest.Dial(t, b, nil)
		live.Subscribe(1, ">")
		token := b.Position().Append(nil)
		ack := publish(t, b, "live.a", "1")
		publish(t, b, "b", "2")
		publish(t, b, "live.a", "3") // its body is still in the log
		if ack.Seq != 0 || ack.Durability != protocol.Appended {
			t.Errorf("found acknowledgement %+v, wanted no position", ack)
		}
		wantArrived(t, live, `message 0 live.a "1"`, `message 2 b "2"`, `message 0 live.a "3"`)
		c := brokertest.Dial(t, b, nil)
		c.Send(&protocol.Subscribe{ID: 1, Filter: ">", Position: token})
		wantArrived(t, c, "subscribed 1 @0", "replay 1 log 1", `message 2 b "2"`, "gap 1 live 0..3 =2", "resumed 1 @3")
	})
}

// P3: a long replay is the drainer's work; it goes on into the live messages without a hole, while publishing goes on.
func TestALongReplayJoinsTheLogWithoutAHole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{})
		token := b.Position().Append(nil)
		for i := range 5000 {
			publish(t, b, "a", fmt.Sprint(i+1))
		}
		c := brokertest.Dial(t, b, nil)
		c.Shut()
		c.Send(&protocol.Subscribe{ID: 1, Filter: "a", Position: token})
		for i := range 2000 {
			c.Allow(100)
			publish(t, b, "a", fmt.Sprint(5001+i))
		}
		c.Open()
		lines := arrived(c)
		wantNumbers(t, lines, 1, 7000)
	})
}

// TestATimeThatIsSetChangesNoResume is G18 for R6: the window is measured by a clock that nobody sets. The wall clock of the
// broker is not reached from here; that what publishers claim has no say is.
func TestTheResumeWindowDoesNotAskThePublishers(t *testing.T) {
	withStore(t, broker.Options{}, func(t *testing.T, x *stored) {
		token := x.b.Position().Append(nil)
		x.store.Commit(broker.Record{Topic: "a", Payload: []byte("1"), Retain: true, Time: 1}) // in 1970
		synctest.Wait()
		c := brokertest.Dial(t, x.b, &broker.Identity{User: "u", Grants: []broker.Grant{{Actions: broker.ActionSubscribe, Filter: ">"}}})
		c.Send(&protocol.Subscribe{ID: 1, Filter: "a", Position: token})
		wantArrived(t, c, "subscribed 1 @0", "replay 1 log 1", `message 1/1 a "1"`, "resumed 1 @1/1")
	})
}
