package carillon

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/carillon-mq/carillon/protocol"
)

// collect takes n messages of s and closes it.
func collect(t *testing.T, s *Subscription, n int) []string {
	t.Helper()
	var got []string
	for m, err := range s.Messages(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if got = append(got, string(m.Payload)); len(got) == n {
			break
		}
	}
	return got
}

func numbers(from, to int) []string {
	var s []string
	for i := from; i <= to; i++ {
		s = append(s, fmt.Sprint(i))
	}
	return s
}

func TestSlowSubscriptionLeavesTheStreamAndComesBackToItsPlace(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		c, fc := b.dial(at(0, 0), WithBuffer(8, 1<<20))
		slow := c.Subscribe("a", NoRetained())
		slowID := fc.live("a", at(0, 0))
		fast := read(t, c.Subscribe("*", NoRetained()))
		fc.live("*", at(0, 0))
		for i := range 20 {
			fc.send(msg(uint64(i+1), 0, "a", fmt.Sprint(i+1)))
		}
		if p := expect[*protocol.Unsubscribe](fc); p.Subscription != slowID {
			t.Fatalf("unsubscribed %d, want the slow one, %d", p.Subscription, slowID)
		}
		for i := range 20 {
			fast.next(fmt.Sprintf("message a=%d", i+1))
		}
		// What is on its way for the id that is gone is for nobody.
		fc.send(
			&protocol.Replay{Subscription: slowID, Count: 1}, msg(9, 0, "a", "9"), &protocol.RetainedEnd{Subscription: slowID},
			&protocol.Gap{Subscription: slowID, To: at(30, 0)}, &protocol.Resumed{Subscription: slowID, Position: at(20, 0)},
			msg(21, 0, "a", "21"),
		)
		fast.next("message a=21")
		fc.quiet()

		done := make(chan []string, 1)
		go func() { done <- collect(t, slow, 22) }()
		id := fc.resumes("a", at(8, 0))
		replayed := []protocol.Packet{&protocol.Replay{Subscription: id, Count: 13}}
		for i := 9; i <= 21; i++ {
			replayed = append(replayed, msg(uint64(i), 0, "a", fmt.Sprint(i)))
		}
		fc.send(append(replayed, &protocol.Resumed{Subscription: id, Position: at(21, 0)}, msg(22, 0, "a", "22"))...)
		if got, want := <-done, numbers(1, 22); !slices.Equal(got, want) {
			t.Errorf("the slow one got %q, want %q", got, want)
		}
	})
}

func TestSlowSubscriptionIsBoundedByBytesToo(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		c, fc := b.dial(at(0, 0), WithBuffer(1000, 4000))
		sub := c.Subscribe("a", NoRetained())
		fc.live("a", at(0, 0))
		for i := range 4 {
			fc.send(msg(uint64(i+1), 0, "a", strings.Repeat("x", 1000)))
		}
		expect[*protocol.Unsubscribe](fc)
		read(t, sub)
		fc.resumes("a", at(3, 0))
	})
}

func TestMessageLargerThanTheBufferComesThroughAlone(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		c, fc := b.dial(at(0, 0), WithBuffer(10, 100))
		sub := c.Subscribe("a", NoRetained())
		fc.live("a", at(0, 0))
		fc.send(msg(1, 0, "a", strings.Repeat("x", 1000)))
		collect(t, sub, 1)
	})
}

// A consumer that is only for a moment behind costs the others that moment, and no round trip.
func TestShortPauseIsWaitedFor(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		c, fc := b.dial(at(0, 0), WithBuffer(4, 1<<20))
		sub := c.Subscribe("a", NoRetained())
		fc.live("a", at(0, 0))
		done := make(chan []string, 1)
		go func() {
			var got []string
			for m, err := range sub.Messages(context.Background()) {
				if err != nil {
					break
				}
				if got = append(got, string(m.Payload)); len(got) == 12 {
					break
				}
				time.Sleep(5 * time.Millisecond)
			}
			done <- got
		}()
		for i := range 12 {
			fc.send(msg(uint64(i+1), 0, "a", fmt.Sprint(i+1)))
		}
		if got, want := <-done, numbers(1, 12); !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		expect[*protocol.Unsubscribe](fc) // the end of the iteration, nothing before it
	})
}

func TestParkedSubscriptionStaysAwayOverAReconnect(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		c, fc := b.dial(at(0, 0), WithBuffer(4, 1<<20))
		sub := c.Subscribe("a", NoRetained())
		fc.live("a", at(0, 0))
		for i := range 6 {
			fc.send(msg(uint64(i+1), 0, "a", fmt.Sprint(i+1)))
		}
		expect[*protocol.Unsubscribe](fc)
		fc.cut()
		fc = b.resume(at(9, 0))
		fc.quiet()
		r := read(t, sub)
		fc.resumes("a", at(4, 0))
		r.next("message a=1", "message a=2", "message a=3", "message a=4")
	})
}

func TestSnapshotIsHeldWholeHoweverSlowTheApplication(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		c, fc := b.dial(at(5, 0), WithBuffer(4, 1<<20))
		sub := c.Subscribe("a.*")
		id := expect[*protocol.Subscribe](fc).ID
		packets := []protocol.Packet{
			&protocol.Subscribed{ID: id, Position: at(5, 0)},
			&protocol.Replay{Subscription: id, Count: 100, Kind: protocol.ReplayRetained},
		}
		for i := range 100 {
			packets = append(packets, msg(uint64(i+1), 0, fmt.Sprintf("a.%d", i), fmt.Sprint(i+1)))
		}
		fc.send(append(packets, &protocol.RetainedEnd{Subscription: id}, &protocol.Resumed{Subscription: id, Position: at(5, 0)})...)
		expect[*protocol.Unsubscribe](fc) // no room for Resumed: the place after the snapshot is kept
		r := read(t, sub)
		fc.resumes("a.*", at(5, 0))
		for i := range 100 {
			r.next(fmt.Sprintf("retained a.%d=%d", i, i+1))
		}
		r.next("snapshot end, reset false")
		r.quiet()
	})
}

func TestClosingASlowSubscriptionLetsTheOthersGoOn(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		c, fc := b.dial(at(0, 0), WithBuffer(2, 1<<20))
		slow := c.Subscribe("a", NoRetained())
		fc.live("a", at(0, 0))
		fast := read(t, c.Subscribe("*", NoRetained()))
		fc.live("*", at(0, 0))
		fc.send(msg(1, 0, "a", "1"), msg(2, 0, "a", "2"), msg(3, 0, "a", "3"))
		fast.next("message a=1", "message a=2")
		fast.quiet() // the read loop waits for the slow one
		start := time.Now()
		slow.Close()
		fast.next("message a=3")
		if got := time.Since(start); got != 0 {
			t.Errorf("the other one waited %v more", got)
		}
		expect[*protocol.Unsubscribe](fc)
		fc.quiet()
	})
}

func TestRefusedUnsubscribeIsRepeated(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		c, fc := b.dial(at(0, 0))
		sub := c.Subscribe("a", NoRetained())
		id := fc.live("a", at(0, 0))
		synctest.Wait()
		sub.Close()
		p := expect[*protocol.Unsubscribe](fc)
		asked := time.Now()
		fc.send(protocol.Errorf(protocol.CodeRateLimited, "").WithRetryAfter(2 * time.Second).Packet(p.ID))
		if p = expect[*protocol.Unsubscribe](fc); p.Subscription != id || time.Since(asked) != 2*time.Second {
			t.Errorf("unsubscribed %d after %v, want %d after 2s", p.Subscription, time.Since(asked), id)
		}
		fc.send(&protocol.Unsubscribed{ID: p.ID})
		fc.quiet()
	})
}
