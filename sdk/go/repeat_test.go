package carillon

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/carillon-mq/carillon/protocol"
)

func TestEveryPublishHasAnIDOfItsOwn(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		c, fc := b.dial(at(5, 0))
		other, fo := b.dial(at(5, 0))
		seen := make(map[string]bool)
		for i := range 20 {
			by, from := c, fc
			if i%2 == 1 {
				by, from = other, fo
			}
			p, err := by.PublishAsync(t.Context(), "a", i)
			if err != nil {
				t.Fatal(err)
			}
			out := expect[*protocol.Publish](from)
			if len(out.MessageID) < 16 || len(out.MessageID) > protocol.MaxMessageID || seen[out.MessageID] || p.ID() != out.MessageID {
				t.Errorf("publish %d has the id %q, and it says %q", i, out.MessageID, p.ID())
			}
			seen[out.MessageID] = true
			from.send(&protocol.Published{ID: out.ID, Seq: uint64(6 + i), Receivers: -1})
		}
		if _, err := c.PublishAsync(t.Context(), "a", 1, ID("")); err != nil {
			t.Fatal(err)
		}
		if out := expect[*protocol.Publish](fc); out.MessageID != "" {
			t.Errorf("found the id %q, wanted none", out.MessageID)
		}
		fc.send(&protocol.Published{ID: 11, Seq: 30, Receivers: -1})
	})
}

// What was in flight is sent again as it was, in order and before what waits.
func TestPublishesInFlightWhenTheConnectionIsLostAreSentAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		c, fc := b.dial(at(5, 2))
		var sent []*protocol.Publish
		var all []*Publishing
		for i := range 40 {
			p, err := c.PublishAsync(t.Context(), "a", fmt.Sprint(i), Retain(), Header("n", fmt.Sprint(i)))
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, p)
			sent = append(sent, expect[*protocol.Publish](fc))
		}
		fc.send(&protocol.Published{ID: sent[0].ID, Seq: 6, Offset: 3, Receivers: -1})
		synctest.Wait()
		fc.cut()
		synctest.Wait()
		behind := publish(c, "a", "behind")
		synctest.Wait()

		fc = b.resume(at(30, 9))
		for i, was := range sent[1:] {
			p := expect[*protocol.Publish](fc)
			if p.MessageID != was.MessageID || string(p.Payload) != string(was.Payload) || p.ID == was.ID || !p.Retain || p.Headers["n"] != fmt.Sprint(i+1) {
				t.Fatalf("sent %+v, wanted %+v again", p, was)
			}
			fc.send(&protocol.Published{ID: p.ID, Seq: uint64(i + 7), Offset: 4, Receivers: -1, Duplicate: i == 0})
		}
		p := expect[*protocol.Publish](fc)
		if string(p.Payload) != "behind" {
			t.Errorf("sent %q", p.Payload)
		}
		fc.send(&protocol.Published{ID: p.ID, Seq: 99, Receivers: -1})
		if got := <-behind; got.err != nil {
			t.Error(got.err)
		}
		for i, p := range all {
			ack, err := p.Wait(t.Context())
			if err != nil || ack.Seq != uint64(i+6) || ack.Duplicate != (i == 1) {
				t.Errorf("publish %d: %+v, %v", i, ack, err)
			}
			if want := at(uint64(i+6), min(4, uint64(i+3))); ack.position != want {
				t.Errorf("publish %d is at %+v, want %+v", i, ack.position, want)
			}
		}
		fc.quiet()
	})
}

// An id says nothing to another run of the broker, nor for another user, nor late.
func TestPublishThatCannotBeRepeatedHasAnUnknownOutcome(t *testing.T) {
	restarted := at(5, 0)
	restarted.Epoch = epoch2
	other := connected(at(5, 0))
	other.User = "bob"
	for name, test := range map[string]struct {
		hello *protocol.Connected
		away  time.Duration
		opts  []PublishOption
	}{
		"another run":  {hello: connected(restarted)},
		"another user": {hello: other},
		"too late":     {hello: connected(at(5, 0)), away: repeatWithin},
		"no id":        {hello: connected(at(5, 0)), opts: []PublishOption{ID("")}},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *fakeBroker) {
				c, fc := b.dial(at(5, 0))
				done := publish(c, "a", 1, test.opts...)
				expect[*protocol.Publish](fc)
				var away atomic.Bool
				away.Store(test.away > 0)
				b.refuseWith(func(w http.ResponseWriter) bool {
					if away.Load() {
						w.WriteHeader(http.StatusBadGateway)
					}
					return away.Load()
				})
				fc.cut()
				time.Sleep(test.away)
				away.Store(false)
				fc = b.accept()
				fc.send(test.hello)
				err := (<-done).err
				if !errors.Is(err, ErrUnknownOutcome) || !Retryable(err) {
					t.Errorf("got %v, retryable %v", err, Retryable(err))
				}
				fc.quiet()
			})
		})
	}
}

// That a repetition is refused does not say that the first one was.
func TestRepetitionThatIsRefusedHasAnUnknownOutcome(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		c, fc := b.dial(at(5, 0))
		done := publish(c, "a", 1)
		expect[*protocol.Publish](fc)
		fc.cut()
		fc = b.resume(at(5, 0))
		fc.send(protocol.Errorf(protocol.CodeRateLimited, "why").Packet(expect[*protocol.Publish](fc).ID))
		if err := (<-done).err; !errors.Is(err, ErrUnknownOutcome) || !errors.Is(err, ErrRateLimited) {
			t.Errorf("got %v, want an unknown outcome and rate_limited", err)
		}
	})
}

func TestPublishThatWaitsToBeSentAgainEndsWithAnUnknownOutcome(t *testing.T) {
	for name, end := range map[string]func(c *Client, cancel context.CancelFunc) error{
		"by its context": func(_ *Client, cancel context.CancelFunc) error {
			cancel()
			return context.Canceled
		},
		"by Close": func(c *Client, _ context.CancelFunc) error {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			if err := c.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
				return fmt.Errorf("no %w", err)
			}
			return ErrClosed
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *fakeBroker) {
				c, fc := b.dial(at(5, 0))
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				done := publishWithin(ctx, c, "a", 1)
				expect[*protocol.Publish](fc)
				b.refuseWith(func(w http.ResponseWriter) bool {
					w.WriteHeader(http.StatusBadGateway)
					return true
				})
				fc.cut()
				synctest.Wait()
				want := end(c, cancel)
				if err := (<-done).err; !errors.Is(err, ErrUnknownOutcome) || !errors.Is(err, want) {
					t.Errorf("got %v, want an unknown outcome and %v", err, want)
				}
			})
		})
	}
}

// What the application repeats itself is answered with the places of the first. A position has only those.
func TestCursorOfARepetitionIsNotBehindTheFirst(t *testing.T) {
	for _, test := range []struct {
		seq, offset uint64
		want        protocol.Position
	}{
		{6, 0, protocol.Position{Epoch: epoch1, Seq: 6}},
		{6, 3, at(6, 3)},
		{0, 3, protocol.Position{Term: term1, Offset: 3}},
		{0, 0, protocol.Position{}},
	} {
		inBubble(t, func(t *testing.T, b *fakeBroker) {
			c, fc := b.dial(at(50, 20))
			done := publish(c, "a", 1, ID("mine"))
			p := expect[*protocol.Publish](fc)
			fc.send(&protocol.Published{ID: p.ID, Seq: test.seq, Offset: test.offset, Receivers: -1, Duplicate: true})
			if got := <-done; got.err != nil || got.ack.position != test.want {
				t.Errorf("%d/%d: got %+v, %v, want %+v", test.seq, test.offset, got.ack.position, got.err, test.want)
			}
		})
	}
}

// The clock that nobody sets stands still while the machine sleeps, and the broker forgets meanwhile ([REC-5]).
func TestWhatWasSentBeforeASleepIsNotSentAgain(t *testing.T) {
	now := time.Now()
	for name, test := range map[string]struct {
		sent sending
		want bool
	}{
		"awake":                 {sent: sending{at: now.Add(-time.Minute), date: now.Add(-time.Minute).Round(0)}, want: true},
		"asleep":                {sent: sending{at: now.Add(-time.Second), date: now.Add(-10 * time.Minute).Round(0)}},
		"the clock was set":     {sent: sending{at: now.Add(-repeatWithin), date: now.Add(time.Hour).Round(0)}},
		"a clock that was late": {sent: sending{at: now.Add(-time.Second), date: now.Add(time.Hour).Round(0)}, want: true},
	} {
		if got := test.sent.repeatable(peer{}, now); got != test.want {
			t.Errorf("%s: repeatable is %v, want %v", name, got, test.want)
		}
	}
}
