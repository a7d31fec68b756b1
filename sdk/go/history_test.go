package carillon

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/carillon-mq/carillon/protocol"
)

// history asks in the background and returns where the page will be.
func history(ctx context.Context, c *Client, filter string, opts ...HistoryOption) chan paged {
	done := make(chan paged, 1)
	go func() {
		page, err := c.History(ctx, filter, opts...)
		done <- paged{page, err}
	}()
	return done
}

type paged struct {
	page *HistoryPage
	err  error
}

func TestHistoryReturnsAPage(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		c, fc := b.dial(at(5, 2))
		r := read(t, c.Subscribe("a", NoRetained()))
		fc.live("a", at(5, 2))
		after := protocol.Position{Term: term2, Offset: 7}
		done := history(t.Context(), c, "a.>", After(Cursor(after.Cursor())), Limit(3))
		p := expect[*protocol.History](fc)
		want := &protocol.History{ID: p.ID, Filter: "a.>", After: after.Append(nil), Limit: 3}
		if diff := cmp.Diff(want, p); diff != "" {
			t.Errorf("History (-want +got):\n%s", diff)
		}
		end := protocol.Position{Term: term1, Offset: 12}
		fc.send(
			&protocol.Replay{Subscription: p.ID, Count: 1, Kind: protocol.ReplayHistory}, msg(0, 8, "a.b", "8"), msg(6, 0, "a", "live"),
			&protocol.Replay{Subscription: p.ID, Count: 1, Kind: protocol.ReplayHistory}, msg(0, 12, "a.c", "12"),
			&protocol.Histories{ID: p.ID, Position: end, More: true, Gap: protocol.GapTrimmed},
		)
		got := <-done
		if got.err != nil {
			t.Fatal(got.err)
		}
		var lines []string
		for _, m := range got.page.Messages {
			lines = append(lines, describe(m, nil)+" "+string(m.Cursor()))
		}
		term := func(offset uint64) string { return protocol.Position{Term: term1, Offset: offset}.Cursor() }
		if diff := cmp.Diff([]string{"message a.b=8 " + term(8), "message a.c=12 " + term(12)}, lines); diff != "" {
			t.Errorf("messages (-want +got):\n%s", diff)
		}
		if got.page.Cursor != Cursor(end.Cursor()) || !got.page.More || got.page.Gap != protocol.GapTrimmed {
			t.Errorf("got %+v", got.page)
		}
		r.next("message a=live") // what the page has is for nobody else
		r.quiet()
	})
}

func TestHistoryIsAskedForAgainAfterACut(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		c, fc := b.dial(at(5, 2))
		done := history(t.Context(), c, "a", Newest(2))
		p := expect[*protocol.History](fc)
		fc.send(&protocol.Replay{Subscription: p.ID, Count: 2, Kind: protocol.ReplayHistory}, msg(0, 1, "a", "1"))
		fc.send(&protocol.Ping{})
		expect[*protocol.Pong](fc)
		fc.cut()
		fc = b.resume(at(6, 3))
		p = expect[*protocol.History](fc)
		if p.Last != 2 || p.After != nil {
			t.Errorf("asked for %+v", p)
		}
		fc.send(&protocol.Replay{Subscription: p.ID, Count: 1, Kind: protocol.ReplayHistory}, msg(0, 3, "a", "3"), &protocol.Histories{ID: p.ID, Position: at(0, 3)})
		if got := <-done; got.err != nil || len(got.page.Messages) != 1 || got.page.More || got.page.Gap != "" {
			t.Errorf("got %+v, %v, wanted the second answer alone", got.page, got.err)
		}
		fc.cut()
		b.resume(at(6, 3)).quiet()
	})
}

func TestHistoryThatFails(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		c, fc := b.dial(at(5, 2))
		for _, code := range []Code{protocol.CodeUnsupported, protocol.CodeForbidden, protocol.CodeNotReady} {
			done := history(t.Context(), c, "a")
			refused := protocol.Errorf(code, "why")
			fc.send(refused.Packet(expect[*protocol.History](fc).ID))
			if err := (<-done).err; !errors.Is(err, refused) || Retryable(err) != code.Retry() {
				t.Errorf("got %v, retryable %t, wanted %s", err, Retryable(err), code)
			}
		}
		for name, opts := range map[string][]HistoryOption{
			"too many": {Limit(1025)}, "none": {Newest(0)}, "both": {Newest(1), After(Cursor(at(1, 1).Cursor()))}, "no cursor": {After("x")},
		} {
			if _, err := c.History(t.Context(), "a", opts...); err == nil {
				t.Errorf("%s: no error", name)
			}
		}
		if _, err := c.History(t.Context(), "a..b"); !errors.Is(err, ErrBadFilter) {
			t.Errorf("got %v, want bad_filter", err)
		}
		fc.quiet()

		ctx, cancel := context.WithCancel(t.Context())
		done := history(ctx, c, "a")
		p := expect[*protocol.History](fc)
		cancel()
		if err := (<-done).err; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		fc.send(&protocol.Replay{Subscription: p.ID, Count: 1, Kind: protocol.ReplayHistory}, msg(0, 3, "a", "3"), &protocol.Histories{ID: p.ID, Position: at(0, 3)})
		fc.send(&protocol.Ping{}) // late, for nobody
		expect[*protocol.Pong](fc)

		done = history(t.Context(), c, "a")
		expect[*protocol.History](fc)
		synctest.Wait()
		c.cancel()
		if err := (<-done).err; !errors.Is(err, ErrClosed) {
			t.Errorf("got %v, want ErrClosed", err)
		}
		if _, err := c.History(t.Context(), "a"); !errors.Is(err, ErrClosed) {
			t.Errorf("got %v, want ErrClosed", err)
		}
	})
}
