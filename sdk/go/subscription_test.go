package carillon

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/carillon-mq/carillon/protocol"
)

func TestMessagesComeInOrderToEveryMatchingSubscription(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		c, fc := b.dial(at(5, 0))
		one := read(t, c.Subscribe("a.*"))
		fc.live("a.*", at(5, 0))
		two := read(t, c.Subscribe("a.x", NoRetained()))
		fc.live("a.x", at(6, 0))
		one.next("snapshot end, reset false", "resumed")

		fc.send(msg(6, 0, "a.x", "before"), msg(7, 0, "a.x", "1"), msg(8, 0, "a.y", "2"), msg(0, 0, "a.x", "live"))
		one.next("message a.x=before", "message a.x=1", "message a.y=2", "message a.x=live")
		two.next("message a.x=1", "message a.x=live")
		two.quiet()
	})
}

func TestMessageHasEverythingThatWasPublished(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		c, fc := b.dial(at(5, 3))
		sub := c.Subscribe("a", NoRetained())
		fc.live("a", at(5, 3))
		sent := msg(6, 4, "a", "hello")
		sent.Headers, sent.Retain = map[string]string{"k": "v"}, true
		fc.send(sent)
		for m, err := range sub.Messages(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			if got, want := m.Cursor(), Cursor(at(6, 4).Cursor()); got != want {
				t.Errorf("cursor %s, want %s", got, want)
			}
			m.position = protocol.Position{}
			want := &Message{
				Topic: "a", Payload: []byte("hello"), ContentType: typeText, Headers: map[string]string{"k": "v"},
				Time: time.UnixMilli(1000), Retain: true,
			}
			if diff := cmp.Diff(want, m, cmp.AllowUnexported(Message{}, protocol.Position{})); diff != "" {
				t.Errorf("message (-want +got):\n%s", diff)
			}
			break
		}
	})
}

func TestSnapshotThenCatchUpThenLive(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		c, fc := b.dial(at(5, 0))
		r := read(t, c.Subscribe("a.*"))
		id := expect[*protocol.Subscribe](fc).ID
		fc.send(
			&protocol.Subscribed{ID: id, Position: at(5, 0)},
			&protocol.Replay{Subscription: id, Count: 2, Kind: protocol.ReplayRetained},
			msg(2, 1, "a.x", "x"), msg(3, 2, "a.y", "y"),
			msg(6, 0, "a.x", "not live yet"),
			&protocol.RetainedEnd{Subscription: id},
			&protocol.Replay{Subscription: id, Count: 1, Kind: protocol.ReplayLog},
			msg(6, 0, "a.x", "six"),
			&protocol.Resumed{Subscription: id, Position: at(6, 0)},
			msg(7, 0, "a.x", "seven"),
		)
		r.next("retained a.x=x", "retained a.y=y", "snapshot end, reset false", "message a.x=six", "resumed", "message a.x=seven")
	})
}

func TestGapsAreToldInsideTheIterationWhichGoesOn(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		c, fc := b.dial(at(5, 0))
		sub := c.Subscribe("a", NoRetained())
		fc.live("a", at(5, 0))
		from := at(5, 0)
		fc.send(
			&protocol.Gap{Reason: protocol.GapTrimmed, From: &from, To: at(9, 0), Count: 4},
			msg(10, 0, "a", "ten"),
		)
		var told []string
		for m, err := range sub.Messages(t.Context()) {
			if gap, ok := errors.AsType[*GapError](err); ok {
				want := &GapError{
					Filter: "a", Reason: protocol.GapTrimmed, From: Cursor(from.Cursor()), To: Cursor(at(9, 0).Cursor()), Count: 4,
				}
				if diff := cmp.Diff(want, gap); diff != "" {
					t.Errorf("gap (-want +got):\n%s", diff)
				}
				told = append(told, "gap")
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			told = append(told, string(m.Payload))
			break
		}
		if diff := cmp.Diff([]string{"gap", "ten"}, told); diff != "" {
			t.Error(diff)
		}
	})
}

func TestEndOfIterationUnsubscribes(t *testing.T) {
	ends := []struct {
		name string
		end  func(c *Client, s *Subscription, cancel func())
	}{
		{"break", nil},
		{"its context", func(_ *Client, _ *Subscription, cancel func()) { cancel() }},
		{"Close", func(_ *Client, s *Subscription, _ func()) { s.Close() }},
	}
	for _, end := range ends {
		t.Run(end.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *fakeBroker) {
				c, fc := b.dial(at(5, 0))
				sub := c.Subscribe("a", NoRetained())
				id := fc.live("a", at(5, 0))
				fc.send(msg(6, 0, "a", "six"))
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				for _, err := range sub.Messages(ctx) {
					if err != nil {
						break // what Close leaves behind
					}
					if end.end == nil {
						break
					}
					end.end(c, sub, cancel)
				}
				p := expect[*protocol.Unsubscribe](fc)
				if p.Subscription != id {
					t.Errorf("unsubscribed %d, want %d", p.Subscription, id)
				}
				fc.send(msg(7, 0, "a", "late"), &protocol.Unsubscribed{ID: p.ID})
				for _, err := range sub.Messages(t.Context()) {
					if err == nil {
						t.Error("a second iteration got something")
					}
				}
				fc.quiet()
			})
		})
	}
}

func TestClosedSubscriptionSaysSo(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		c, fc := b.dial(at(5, 0))
		sub := c.Subscribe("a", NoRetained())
		r := read(t, sub)
		fc.live("a", at(5, 0))
		synctest.Wait()
		sub.Close()
		r.next("error "+ErrUnsubscribed.Error(), "end")
		if err := sub.Ready(t.Context()); !errors.Is(err, ErrUnsubscribed) {
			t.Errorf("Ready: %v", err)
		}
	})
}

func TestSubscriptionClosedBeforeItsAnswerStaysClosed(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		c, fc := b.dial(at(5, 0))
		sub := c.Subscribe("a", NoRetained())
		id := expect[*protocol.Subscribe](fc).ID
		sub.Close()
		if p := expect[*protocol.Unsubscribe](fc); p.Subscription != id {
			t.Errorf("unsubscribed %d, want %d", p.Subscription, id)
		}
		fc.send(&protocol.Subscribed{ID: id, Position: at(5, 0)}, msg(6, 0, "a", "6"))
		fc.quiet()
		if sub.phase != phaseEnded || len(c.live.literal) != 0 {
			t.Error("it lives on")
		}
	})
}

func TestRefusedSubscriptionEndsWithTheRefusal(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		c, fc := b.dial(at(5, 0))
		sub := c.Subscribe("secret.>")
		id := expect[*protocol.Subscribe](fc).ID
		fc.send(protocol.Errorf(protocol.CodeForbidden, "no grant covers it").Packet(id))
		if err := sub.Ready(t.Context()); !errors.Is(err, ErrForbidden) {
			t.Errorf("Ready: %v, want forbidden", err)
		}
		read(t, sub).next("error forbidden", "end")
		fc.cut()
		fc = b.resume(at(5, 0))
		fc.quiet()
	})
}

func TestBadFilterOrCursorNeverReachesTheBroker(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		c, fc := b.dial(at(5, 0))
		read(t, c.Subscribe("a..b")).next("error bad_filter", "end")
		read(t, c.Subscribe("a", From("nonsense"))).next("error bad_position", "end")
		fc.quiet()
	})
}

func TestSubscriptionRefusedForNowIsAskedForAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		c, fc := b.dial(at(5, 0))
		sub := c.Subscribe("a", NoRetained())
		asked := time.Now()
		for _, wait := range []time.Duration{0, 10250, 10500, 11000} { // what was said, and half of a growing ceiling
			p := expect[*protocol.Subscribe](fc)
			if got := time.Since(asked); got != wait*time.Millisecond {
				t.Errorf("asked again after %v, want %v", got, wait*time.Millisecond)
			}
			asked = time.Now()
			fc.send(protocol.Errorf(protocol.CodeRateLimited, "").WithRetryAfter(10 * time.Second).Packet(p.ID))
		}
		fc.live("a", at(5, 0))
		if err := sub.Ready(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestFromResumesAfterTheCursor(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		c, fc := b.dial(at(50, 0))
		r := read(t, c.Subscribe("a", From(Cursor(at(40, 0).Cursor()))))
		id := fc.resumes("a", at(40, 0))
		fc.send(
			msg(51, 0, "a", "for nobody"),
			&protocol.Replay{Subscription: id, Count: 2}, msg(41, 0, "a", "41"), msg(51, 0, "a", "51"),
			&protocol.Resumed{Subscription: id, Position: at(51, 0)},
		)
		r.next("message a=41", "message a=51", "resumed")
		r.quiet()
	})
}
