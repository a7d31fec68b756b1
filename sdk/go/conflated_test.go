package carillon

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/carillon-mq/carillon/protocol"
)

func TestLastBeginsInThePastAndThenResumes(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		c, fc := b.dial(at(50, 9))
		r := read(t, c.Subscribe("a", Last(3)))
		p := expect[*protocol.Subscribe](fc)
		if diff := cmp.Diff(&protocol.Subscribe{ID: p.ID, Filter: "a", NoRetained: true, Last: 3}, p); diff != "" {
			t.Errorf("Subscribe (-want +got):\n%s", diff)
		}
		store := protocol.Position{Term: term1, Offset: 6}
		fc.send(&protocol.Subscribed{ID: p.ID, Position: store},
			&protocol.Replay{Subscription: p.ID, Count: 3}, msg(0, 7, "a", "7"), msg(0, 8, "a", "8"), msg(49, 0, "a", "49"))
		r.next("message a=7", "message a=8", "message a=49")
		fc.cut()

		fc = b.resume(at(51, 9))
		store.Offset = 8
		id := fc.resumes("a", store)
		fc.send(&protocol.Replay{Subscription: id, Count: 2}, msg(49, 0, "a", "49"), msg(51, 0, "a", "51"), // 49 a second time ([SUB-9])
			&protocol.Resumed{Subscription: id, Position: at(51, 9)}, msg(52, 0, "a", "52"))
		r.next("message a=51", "resumed", "message a=52")
		fc.cut()

		fc = b.resume(at(60, 9))
		fc.resumes("a", at(52, 9))
	})
}

func TestLastCountsWithoutACursorAlone(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		c, fc := b.dial(at(50, 9))
		c.Subscribe("a", From(""), Last(3))
		if p := expect[*protocol.Subscribe](fc); p.Last != 3 || p.Position != nil {
			t.Errorf("got %+v", p)
		}
		c.Subscribe("b", From(Cursor(at(40, 9).Cursor())), Last(3))
		if p := expect[*protocol.Subscribe](fc); p.Last != 0 || p.Position == nil {
			t.Errorf("got %+v", p)
		}
		for name, o := range map[string]SubscribeOption{"none": Last(0), "too many": Last(1025), "no rate": MaxRate(0), "too fast": MaxRate(1001)} {
			if err := c.Subscribe("c", o).Ready(t.Context()); !errors.Is(err, &Error{Code: protocol.CodeBadArgs}) {
				t.Errorf("%s: got %v, want bad_args", name, err)
			}
		}
		fc.quiet()
	})
}

// A conflated subscription has a place of its own all its life.
func TestConflatedSubscriptionStaysOnItsOwn(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		c, fc := b.dial(at(5, 0))
		plain := read(t, c.Subscribe("a", NoRetained()))
		fc.live("a", at(5, 0))
		r := read(t, c.Subscribe("a", NoRetained(), Latest(), MaxRate(20)))
		p := expect[*protocol.Subscribe](fc)
		if diff := cmp.Diff(&protocol.Subscribe{ID: p.ID, Filter: "a", NoRetained: true, Latest: true, MaxRate: 20}, p); diff != "" {
			t.Errorf("Subscribe (-want +got):\n%s", diff)
		}
		fc.send(&protocol.Subscribed{ID: p.ID, Position: at(5, 0)}, &protocol.Resumed{Subscription: p.ID, Position: at(5, 0)},
			msg(6, 0, "a", "6"), msg(7, 0, "a", "7"), &protocol.Replay{Subscription: p.ID, Count: 1}, msg(7, 0, "a", "7"))
		r.next("resumed", "message a=7")
		plain.next("message a=6", "message a=7")
		fc.send(&protocol.Resumed{Subscription: p.ID, Position: at(12, 0)}, &protocol.Gap{Reason: protocol.GapTrimmed, To: at(20, 0), Count: 1})
		plain.next("gap a trimmed 1")
		r.quiet() // it is told once that it has caught up, and the gap is not its own
		fc.cut()

		fc = b.resume(at(30, 0))
		fc.resumes("a", at(20, 0))
		p = expect[*protocol.Subscribe](fc)
		if got, _ := protocol.ParsePosition(p.Position); got != at(12, 0) || !p.Latest || p.MaxRate != 20 {
			t.Errorf("resumes at %+v with %+v", got, p)
		}
		fc.send(&protocol.Subscribed{ID: p.ID, Position: at(12, 0)}, &protocol.Gap{Subscription: p.ID, Reason: protocol.GapTrimmed, To: at(25, 0), Count: 13},
			&protocol.Resumed{Subscription: p.ID, Position: at(30, 0)})
		r.next("gap a trimmed 13", "resumed")
	})
}

// Behind a gap the store may still hold something of what the gap covers, at lower offsets.
func TestWhatFollowsAGapAtLowerOffsetsIsDelivered(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		c, fc := b.dial(at(5, 2))
		r := read(t, c.Subscribe("a", NoRetained()))
		fc.live("a", at(5, 2))
		synctest.Wait()
		fc.cut()

		fc = b.resume(protocol.Position{Epoch: epoch2, Seq: 9, Term: term1, Offset: 40})
		id := fc.resumes("a", at(5, 2))
		fc.send(&protocol.Gap{Subscription: id, Reason: protocol.GapTrimmed, To: at(5, 30), Count: -1},
			&protocol.Replay{Subscription: id, Count: 2}, msg(0, 10, "a", "10"), msg(0, 31, "a", "31"))
		r.next("gap a trimmed -1", "message a=10", "message a=31")
		fc.cut()

		fc = b.resume(protocol.Position{Epoch: epoch2, Seq: 9, Term: term1, Offset: 40})
		fc.resumes("a", at(5, 31))
	})
}

// A server that has not loaded its store yet, or has lost it, is asked again, from the same place.
func TestResumeThatTheStoreIsNotReadyForIsRepeated(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		c, fc := b.dial(at(5, 2))
		r := read(t, c.Subscribe("a", From(Cursor(at(3, 1).Cursor()))))
		for _, code := range []Code{protocol.CodeNotReady, protocol.CodeStoreUnavailable} {
			p := expect[*protocol.Subscribe](fc)
			refused := time.Now()
			fc.send(protocol.Errorf(code, "why").WithRetryAfter(time.Second).Packet(p.ID))
			fc.quiet()
			time.Sleep(999 * time.Millisecond)
			fc.quiet()
			if waited := time.Since(refused); waited > time.Second {
				t.Errorf("it took %v", waited)
			}
		}
		id := fc.resumes("a", at(3, 1))
		fc.send(&protocol.Resumed{Subscription: id, Position: at(5, 2)})
		r.next("resumed")
	})
}
