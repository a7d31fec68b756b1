package broker_test

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/brokertest"
	"github.com/carillon-mq/carillon/protocol"
)

// logOf drains b and ends it, and returns its log.
func logOf(t testing.TB, b *broker.Broker) []byte {
	t.Helper()
	if err := b.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	if err := b.WriteLog(&log); err != nil {
		t.Fatal(err)
	}
	b.Close()
	return log.Bytes()
}

// restart runs a broker with the log of b, which it ends.
func restart(t testing.TB, b *broker.Broker, opt broker.Options) *broker.Broker {
	t.Helper()
	opt.Log = bytes.NewReader(logOf(t, b))
	b = start(t, opt)
	if err := b.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	return b
}

var withLive = broker.Options{Topics: []broker.TopicRule{{Match: "live.>", Class: broker.ClassLive}}}

// P3: after a planned restart every client goes on from where it was.
func TestAfterAPlannedRestartEveryResumeIsExact(t *testing.T) {
	for name, test := range map[string]struct {
		filter string
		want   []string
	}{
		"memory": {"a.*", []string{"subscribed 1 @1", "replay 1 log 2", `message 3 a.y "3"`, `message 4 a.x "4"`, "resumed 1 @7"}},
		"live":   {"live.>", []string{"subscribed 1 @1", "gap 1 live 1..7 =2", "resumed 1 @7"}},
		"all": {">", []string{
			"subscribed 1 @1", "replay 1 log 4", `message 2 kept "2"`, `message 3 a.y "3"`, `message 4 a.x "4"`, `message 6 gone ""`,
			"gap 1 live 1..7 =2", "resumed 1 @7",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := start(t, withLive)
				c := brokertest.Dial(t, b, nil)
				c.Subscribe(1, test.filter)
				retain(t, b, "gone", "1")
				token := b.Position().Append(nil)
				retain(t, b, "kept", "2")
				publish(t, b, "a.y", "3")
				publish(t, b, "a.x", "4")
				publish(t, b, "live.x", "5")
				retain(t, b, "gone", "")
				publish(t, b, "live.x", "7")
				at := b.Position()
				b = restart(t, b, withLive)
				if d, ended := c.Ended(); !ended || d.Name != "going_away" {
					t.Errorf("found the session of the run before ended: %t, %+v", ended, d)
				}
				if b.Position() != at {
					t.Errorf("found position %+v, wanted %+v", b.Position(), at)
				}
				c = brokertest.Dial(t, b, nil)
				c.Send(&protocol.Subscribe{ID: 1, Filter: test.filter, Position: token})
				wantArrived(t, c, test.want...)
				publish(t, b, "a.x", "8")
				if lines := arrived(c); test.filter != "live.>" && !slices.Equal(lines, []string{`message 8 a.x "8"`}) {
					t.Errorf("found %q behind the resume", lines)
				}
			})
		})
	}
}

// K1, K3: without a store the retained values are carried over, whether the log still holds their publish or not.
func TestAPlannedRestartKeepsWhatIsRetainedInMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opt := broker.Options{RingBytes: 64 << 10, Topics: withLive.Topics}
		b := start(t, opt)
		retain(t, b, "old", "1")
		retain(t, b, "live.old", "2")
		retain(t, b, "gone", "3")
		for range 100 {
			publish(t, b, "a", kib(1))
		}
		retain(t, b, "new", "103")
		retain(t, b, "live.new", "105")
		retain(t, b, "gone", "")
		want := b.LogLines()
		b = restart(t, b, opt)
		wantLines(t, b.LogLines(), want...)
		c := brokertest.Dial(t, b, nil)
		c.Send(&protocol.Subscribe{ID: 1, Filter: ">"})
		wantArrived(t, c, "subscribed 1 @106", "replay 1 retained 4", `message 0 live.new "105"`, `message 0 live.old "2"`, `message 104 new "103"`,
			`message 1 old "1"`, "end 1", "resumed 1 @106")
		if m, err := b.Retained(broker.Everybody(), "old"); err != nil || string(m.Payload) != "1" {
			t.Errorf("found %q, %v", m.Payload, err)
		}
		if topics := b.Stats().RetainedTopics; topics != 4 {
			t.Errorf("found %d retained topics, wanted 4", topics)
		}
	})
}

// P5: what has no place in the log and was delivered is not told as missing.
func TestADrainTellsEverySessionItsPosition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, withLive)
		c, stalled := brokertest.Dial(t, b, nil), brokertest.Dial(t, b, nil)
		for _, c := range []*brokertest.Client{c, stalled} {
			c.Subscribe(1, ">")
		}
		stalled.Shut()
		publish(t, b, "a", "1")
		publish(t, b, "live.x", "2")
		at := b.Position()
		b = restart(t, b, withLive)
		wantArrived(t, c, `message 1 a "1"`, `message 0 live.x "2"`, "ping @2", "disconnect going_away")
		again := brokertest.Dial(t, b, nil)
		again.Send(&protocol.Subscribe{ID: 1, Filter: ">", Position: at.Append(nil)})
		wantArrived(t, again, "subscribed 1 @2", "resumed 1 @2")
	})
}

// R2: a session that lagged goes on from the last message that it took.
func TestALaggingSessionGoesOnAfterAPlannedRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{})
		c := brokertest.Dial(t, b, nil)
		c.Subscribe(1, "a")
		at := b.Position()
		c.Shut()
		for i := range 300 {
			publish(t, b, "a", fmt.Sprint(kib(1), i))
			if i == 200 {
				c.Allow(100 << 10)
				synctest.Wait()
			}
		}
		for _, p := range c.Packets() {
			at.Seq = p.(*protocol.Message).Seq
		}
		if at.Seq == 0 || at.Seq > 290 {
			t.Fatalf("found the session at %d, wanted it behind", at.Seq)
		}
		b = restart(t, b, broker.Options{})
		c = brokertest.Dial(t, b, nil)
		c.Send(&protocol.Subscribe{ID: 1, Filter: "a", Position: at.Append(nil)})
		lines := arrived(c)
		wantNumbers(t, lines, at.Seq+1, 300)
		if last := lines[len(lines)-1]; last != "resumed 1 @300" || slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, "gap") }) {
			t.Errorf("found %q in the end, or a gap", last)
		}
	})
}

// P4: a stream over HTTP goes on from its cursor.
func TestAStreamGoesOnAfterAPlannedRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, withLive)
		retain(t, b, "a.x", "1")
		publish(t, b, "b.x", "2")
		publish(t, b, "live.x", "3")
		publish(t, b, "a.y", "4")
		after := at(b.Position(), 1)
		b = restart(t, b, withLive)
		c := brokertest.Follow(t, b, broker.Everybody(), broker.FollowRequest{Filters: []string{"a.*", "*.x"}, After: after})
		wantArrived(t, c, "ping @1", `message 2 b.x "2"`, `message 4 a.y "4"`, "gap 0 live 1..4 =1", "resumed 1 @4", "resumed 2 @4")
	})
}

// R6, G18: ages run on while the broker is away, and never back.
func TestTheResumeWindowMeansTheSameAfterAPlannedRestart(t *testing.T) {
	var log []byte
	var token []byte
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Hour)
		b := start(t, broker.Options{})
		token = b.Position().Append(nil)
		publish(t, b, "a", "1")
		time.Sleep(5 * time.Minute)
		publish(t, b, "a", "2")
		time.Sleep(4 * time.Minute)
		log = logOf(t, b)
	})
	reader := &broker.Identity{User: "u", Grants: []broker.Grant{{Actions: broker.ActionSubscribe, Filter: ">"}}}
	exact := []string{"subscribed 1 @0", "replay 1 log 2", `message 1 a "1"`, `message 2 a "2"`, "resumed 1 @2"}
	for name, test := range map[string]struct {
		away, after time.Duration
		want        []string
	}{
		"at once":              {want: exact},
		"clock set back":       {away: -time.Hour, want: exact},
		"set back, then later": {away: -time.Hour, after: 2 * time.Minute, want: []string{"subscribed 1 @1", "gap 1 forbidden 0..1", "end 1 reset", "replay 1 log 1", `message 2 a "2"`, "resumed 1 @2"}},
		"away too long":        {away: 2 * time.Minute, want: []string{"subscribed 1 @1", "gap 1 forbidden 0..1", "end 1 reset", "replay 1 log 1", `message 2 a "2"`, "resumed 1 @2"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(time.Hour + 9*time.Minute + test.away)
				b := start(t, broker.Options{Log: bytes.NewReader(log)})
				span := b.Stats().RingSpan
				if want := 9*time.Minute + max(0, test.away); span != want {
					t.Errorf("found the oldest entry %v old, wanted %v", span, want)
				}
				time.Sleep(test.after)
				c := brokertest.Dial(t, b, reader)
				c.Send(&protocol.Subscribe{ID: 1, Filter: "a", Position: token})
				wantArrived(t, c, test.want...)
			})
		})
	}
}

// A6: a log that is larger than the ring which takes it loses its oldest entries, and who comes from before is told.
func TestALogThatIsTooLargeForTheRingLosesItsOldest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{RingBytes: 1 << 20})
		retain(t, b, "kept", "1")
		token := b.Position().Append(nil)
		for range 300 {
			publish(t, b, "a", kib(1))
		}
		b = restart(t, b, broker.Options{RingBytes: 128 << 10})
		charged, held := b.RingBytes()
		if charged != held || charged > 144<<10 {
			t.Errorf("found %d bytes charged and %d held, wanted the same, about 128 KiB", charged, held)
		}
		first := 301 - uint64(b.Stats().RingEntries) + 1
		c := brokertest.Dial(t, b, nil)
		c.Send(&protocol.Subscribe{ID: 1, Filter: ">", Position: token})
		lines := arrived(c)
		wantLines(t, lines[:5], fmt.Sprintf("subscribed 1 @%d", first-1), fmt.Sprintf("gap 1 trimmed 1..%d", first-1), "replay 1 retained 1", `message 1 kept "1"`, "end 1 reset")
		wantNumbers(t, lines, first, 301)
	})
}

// A log is of a broker that does nothing any more.
func TestALogIsWrittenOnlyWhenEverythingIsDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{})
		publish(t, b, "a", "1")
		brokertest.Dial(t, b, nil)
		if err := b.WriteLog(io.Discard); err == nil {
			t.Error("found a log of a broker that works")
		}
		log := logOf(t, b)
		before := b.LogLines()
		b.AppendOne("a", []byte("behind the seal"))
		wantLines(t, b.LogLines(), before...)
		if _, err := b.Publish(t.Context(), broker.Everybody(), broker.PublishRequest{Topic: "a"}); code(err) != protocol.CodeNotReady {
			t.Errorf("found %v, wanted the publish refused", err)
		}
		b = start(t, broker.Options{Log: bytes.NewReader(log)})
		wantLines(t, b.LogLines(), before...)
	})
}
