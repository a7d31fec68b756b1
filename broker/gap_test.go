package broker_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/brokertest"
	"github.com/carillon-mq/carillon/protocol"
)

// R4, K3: what the ring has dropped unread is told with its exact count, and retained values are sent again.
func TestALaggingSessionThatTheRingPassesIsToldTheCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{RingBytes: 256 << 10, Shards: 1})
		retain(t, b, "a.kept", "old")
		retain(t, b, "b.kept", "old")
		c := brokertest.Dial(t, b, nil)
		c.Send(&protocol.Subscribe{ID: 1, Filter: "a.>"}, &protocol.Subscribe{ID: 2, Filter: "b.>", NoRetained: true})
		synctest.Wait()
		c.Packets()
		c.Shut()
		for i := range 3000 {
			publish(t, b, []string{"a.x", "b.x", "c.x"}[i%3], kib(1))
			if i == 1000 {
				retain(t, b, "a.kept", "new")
			}
		}
		c.Open()
		synctest.Wait()
		packets := c.Packets()
		lines := brokertest.Describe(packets...)
		var gap *protocol.Gap
		messages, last := int64(0), uint64(2)
		for i, p := range packets {
			switch p := p.(type) {
			case *protocol.Gap:
				if gap != nil {
					t.Fatalf("found two gaps, %q and %q", brokertest.Describe(gap), lines[i])
				}
				gap = p
				if p.Subscription != 0 || p.From.Seq < last || p.From.Seq > last+1 { // one of three does not match
					t.Errorf("found %q behind message %d, wanted one for all, from there", lines[i], last)
				}
				wantLines(t, lines[i+1:i+5], "replay 1 retained 1", `message 1004 a.kept "new"`, "end 1 reset", fmt.Sprintf("resumed 1 @%d", p.To.Seq))
				last = p.To.Seq
			case *protocol.Message:
				if p.Topic == "a.kept" {
					continue
				}
				messages++
				if p.Seq <= last {
					t.Fatalf("found message %d behind %d", p.Seq, last)
				}
				last = p.Seq
			}
		}
		if gap == nil || gap.Reason != protocol.GapTrimmed {
			t.Fatal("found no gap, wanted one: the ring holds a twelfth of what was published")
		}
		if got, want := messages+gap.Count, int64(2001); got != want { // a.x, b.x and a.kept, which the snapshot brought
			t.Errorf("found %d messages and %d told missing, together %d, wanted %d", messages, gap.Count, got, want)
		}
	})
}

// R4: the count of a gap leaves out what was read before it, also in the middle of a chunk of the log.
func TestTheCountOfAGapLeavesOutWhatWasRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{RingBytes: 2 << 20, Shards: 1}) // chunks of 128 KiB, of which a reader takes 32 at a time
		c := brokertest.Dial(t, b, nil)
		c.Subscribe(1, ">")
		total := uint64(0)
		fill := func(n int) {
			for i := range n {
				publish(t, b, fmt.Sprintf("t.%d", i%5), kib(1))
				total++
			}
			synctest.Wait()
		}
		c.Shut()
		fill(500)
		for round := range 6 {
			for range 3 + round { // what was written, and some of what was left to the drainer
				c.Allow(c.Waiting())
				synctest.Wait()
			}
			fill(2500) // more than the ring holds
		}
		c.Open()
		synctest.Wait()
		if messages, missing := takeStock(t, c, total); messages+missing != total || missing == 0 {
			t.Errorf("found %d messages and %d told missing, together %d, wanted %d", messages, missing, messages+missing, total)
		}
	})
}

// K3: a subscription that joined the log behind the gap's end is not moved back to it, and its retained values are those of where it
// joined.
func TestASubscriptionThatJoinedBehindAGapIsNotMovedBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _ := startStored(t, broker.Options{RingBytes: 256 << 10, Shards: 1})
		retain(t, b, "kept", "old")
		c := brokertest.Dial(t, b, nil)
		c.Subscribe(1, "a")
		c.Shut()
		for range 400 { // the session's place in the log is gone at the end of these
			publish(t, b, "a", kib(1))
		}
		retain(t, b, "kept", "new") // behind the gap's end
		c.Send(&protocol.Subscribe{ID: 2, Filter: "kept"})
		synctest.Wait()
		c.Open()
		lines := arrived(c)
		var own []string
		for _, l := range lines {
			if strings.Contains(l, "kept") || strings.HasPrefix(l, "resumed 2") || strings.HasPrefix(l, "end 2") {
				own = append(own, l)
			}
		}
		wantLines(t, own, `message 402/2 kept "new"`, "end 2", "resumed 2 @402/2", `message 402/2 kept "new"`, "end 2 reset", "resumed 2 @402/2")
		if count(lines, "gap 0 trimmed") != 1 {
			t.Errorf("found no gap in %q", lines)
		}
	})
}

// R4: an unsubscribe makes the count unknown for as long as it may be wrong, and no longer.
func TestAnUnsubscribeBlursTheCountOnlyOfItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{RingBytes: 256 << 10, Shards: 1})
		c := brokertest.Dial(t, b, nil)
		c.Subscribe(1, "a")
		c.Subscribe(2, "b")
		c.Shut()
		fill := func() {
			for i := range 1000 {
				publish(t, b, []string{"a", "b"}[i%2], kib(1))
			}
			synctest.Wait()
		}
		fill()
		c.Send(&protocol.Unsubscribe{ID: 3, Subscription: 2})
		fill()
		for range 3 { // what was written, what was queued, the gap and what is behind it
			c.Allow(c.Waiting())
			synctest.Wait()
		}
		fill()
		c.Open()
		var counts []int64
		synctest.Wait()
		for _, p := range c.Packets() {
			if g, ok := p.(*protocol.Gap); ok {
				counts = append(counts, g.Count)
			}
		}
		if len(counts) < 2 || counts[0] != -1 || slices.Contains(counts[1:], -1) {
			t.Errorf("found gaps with counts %v, wanted one that is not known and then others that are", counts)
		}
	})
}

// A6, R4: messages of class live are not kept for a slow session; it is told how many it missed.
func TestALaggingSessionIsToldHowManyLiveMessagesItMissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{Shards: 1, Topics: []broker.TopicRule{{Match: "live", Class: broker.ClassLive}}})
		c := brokertest.Dial(t, b, nil)
		c.Subscribe(1, ">")
		oneByOne(c, 600, func(i int) { publish(t, b, []string{"a", "live", "live"}[i%3], kib(1)) })
		c.Open()
		synctest.Wait()
		messages, live, missed := 0, 0, int64(0)
		for _, p := range c.Packets() {
			switch p := p.(type) {
			case *protocol.Message:
				messages++
				if p.Topic == "live" {
					live++
				}
			case *protocol.Gap:
				if p.Reason != protocol.GapLive || p.Count <= 0 {
					t.Errorf("found %s, wanted a gap of live messages with its count", brokertest.Describe(p))
				}
				missed += p.Count
			}
		}
		if messages-live != 200 || int64(live)+missed != 400 || missed < 200 {
			t.Errorf("found %d messages and %d live ones, %d told missing; wanted all 200, and 400 together", messages-live, live, missed)
		}
	})
}

// K1: a retained message of a live topic is a value; a slow session is not left with an older one.
func TestALaggingSessionGetsTheRetainedMessagesOfALiveTopic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{Shards: 1, Topics: []broker.TopicRule{{Match: "live", Class: broker.ClassLive}}})
		c := brokertest.Dial(t, b, nil)
		c.Subscribe(1, ">")
		c.Shut()
		for i := range 200 {
			publish(t, b, "live", kib(1))
			retain(t, b, "live", fmt.Sprint(i))
			synctest.Wait()
		}
		c.Open()
		lines := strings.Join(arrived(c), "\n")
		if !strings.Contains(lines, `live "199"`) || !strings.Contains(lines, `live "150"`) {
			t.Error("found the last retained value not delivered to a session that lagged")
		}
	})
}

// SUB-8: a snapshot that follows a gap ends with its subscription.
func TestNothingForASubscriptionFollowsItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{RingBytes: 64 << 10, Shards: 1})
		for i := range 500 {
			retain(t, b, fmt.Sprintf("kept.%d", i), kib(1))
		}
		c := brokertest.Dial(t, b, nil)
		c.Send(&protocol.Subscribe{ID: 1, Filter: ">"})
		synctest.Wait()
		c.Packets()
		c.Shut()
		for range 300 {
			publish(t, b, "a", kib(1))
		}
		synctest.Wait()
		c.Allow(200 << 10) // the gap, and some pages of the snapshot
		synctest.Wait()
		c.Send(&protocol.Unsubscribe{ID: 2, Subscription: 1})
		c.Open()
		lines := arrived(c)
		for i, l := range lines {
			if l == "unsubscribed 2" && i != len(lines)-1 {
				t.Errorf("found %q behind the answer", lines[i+1])
			}
		}
		if last := lines[len(lines)-1]; last != "unsubscribed 2" {
			t.Errorf("found %q in the end, wanted the answer", last)
		}
		c.Subscribe(1, "a")
		publish(t, b, "a", "x")
		if lines := arrived(c); len(lines) != 1 {
			t.Errorf("found %q, wanted the message alone", lines)
		}
	})
}

// oneByOne shuts the socket of c and publishes n times, each time when the shards have come to their ends. Only in a bubble.
func oneByOne(c *brokertest.Client, n int, publish func(i int)) {
	c.Shut()
	for i := range n {
		publish(i)
		synctest.Wait()
	}
}

// received counts the messages that have arrived at c, after each was looked at, and those that c was told it has missed.
func received(c *brokertest.Client, look func(*protocol.Message)) (found int, missed int64) {
	for _, p := range c.Packets() {
		switch p := p.(type) {
		case *protocol.Message:
			found++
			if look != nil {
				look(p)
			}
		case *protocol.Gap:
			missed += p.Count
		}
	}
	return found, missed
}
