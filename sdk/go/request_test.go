package carillon

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/carillon-mq/carillon/protocol"
)

type answer struct {
	reply *Message
	err   error
}

// askFor asks in the background and returns where the reply will be.
func askFor(ctx context.Context, c *Client, topic string, value any, opts ...PublishOption) chan answer {
	done := make(chan answer, 1)
	go func() {
		m, err := c.Request(ctx, topic, value, opts...)
		done <- answer{m, err}
	}()
	return done
}

// opensInbox expects the client to subscribe to the inbox of its session and confirms it.
func (fc *fakeConn) opensInbox() {
	fc.t.Helper()
	p := expect[*protocol.Subscribe](fc)
	if p.Filter != "$inbox.s1.replies" || !p.NoRetained || p.Position != nil {
		fc.t.Fatalf("the client sent %+v, wanted the inbox of its session", p)
	}
	fc.send(&protocol.Subscribed{ID: p.ID, Position: at(5, 0)})
}

// replyTo is a reply to p.
func replyTo(p *protocol.Publish, payload string) *protocol.Message {
	m := msg(0, 0, p.Headers["reply-to"], payload)
	m.Headers = map[string]string{"correlation-id": p.Headers["correlation-id"]}
	return m
}

func (o answer) is(t *testing.T, want string) {
	t.Helper()
	if o.err != nil || string(o.reply.Payload) != want {
		t.Errorf("got %+v, %v, want the reply %q", o.reply, o.err, want)
	}
}

// [REQ-1], [REQ-2]: the inbox is there before the request leaves, once for a session, and replies find their requests in any order.
func TestRepliesFindTheirRequests(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		c, fc := b.dial(at(5, 0))
		first := askFor(t.Context(), c, "rpc.sum", JSON([]int{1, 2}), Header("k", "v"), Header("reply-to", "elsewhere"))
		p := expect[*protocol.Subscribe](fc)
		fc.quiet() // the request waits for its inbox
		fc.send(&protocol.Subscribed{ID: p.ID, Position: at(5, 0)})
		one := expect[*protocol.Publish](fc)
		want := &protocol.Publish{
			ID: one.ID, Topic: "rpc.sum", Payload: []byte("[1,2]"), ContentType: typeJSON, Receivers: true, Headers: map[string]string{
				"k": "v", "reply-to": "$inbox.s1.replies", "correlation-id": one.Headers["correlation-id"],
			},
		}
		if diff := cmp.Diff(want, one); diff != "" || len(one.Headers["correlation-id"]) < 26 {
			t.Errorf("Publish (-want +got):\n%s", diff)
		}
		second := askFor(t.Context(), c, "rpc.sum", "x")
		two := expect[*protocol.Publish](fc)
		if one.Headers["correlation-id"] == two.Headers["correlation-id"] {
			t.Error("two requests have the same correlation id")
		}
		// A reply may be here before the acknowledgement, and late ones and those of others are ignored.
		nobody := msg(0, 0, "$inbox.s1.replies", "nobody's")
		fc.send(nobody, replyTo(two, "two"), replyTo(two, "two again"), &protocol.Published{ID: one.ID, Receivers: 1},
			&protocol.Published{ID: two.ID, Receivers: -1}, replyTo(one, "one"), replyTo(one, "one again"))
		(<-first).is(t, "one")
		(<-second).is(t, "two")
		fc.quiet()
		if len(c.waiting) > 0 {
			t.Errorf("%d requests are still known", len(c.waiting))
		}
	})
}

func TestManyRequestsAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		c, fc := b.dial(at(5, 0))
		var waiting []chan answer
		for i := range 100 {
			waiting = append(waiting, askFor(t.Context(), c, "rpc", fmt.Sprint(i)))
		}
		fc.opensInbox()
		for range waiting {
			p := expect[*protocol.Publish](fc)
			fc.send(&protocol.Published{ID: p.ID, Receivers: 1}, replyTo(p, "re "+string(p.Payload)))
		}
		for i, done := range waiting {
			(<-done).is(t, fmt.Sprint("re ", i))
		}
		fc.quiet()
	})
}

func TestRequestsThatGetNoReply(t *testing.T) {
	tests := []struct {
		name   string
		answer func(fc *fakeConn, p *protocol.Publish)
		want   []error
	}{
		{"nobody is there ([REQ-4])", func(fc *fakeConn, p *protocol.Publish) {
			fc.send(&protocol.Published{ID: p.ID, Receivers: 0})
		}, []error{ErrNoResponder}},
		{"refused", func(fc *fakeConn, p *protocol.Publish) {
			fc.send(&protocol.ErrorPacket{ID: p.ID, Code: protocol.CodeForbidden})
		}, []error{ErrForbidden}},
		{"cut before the acknowledgement", func(fc *fakeConn, _ *protocol.Publish) { fc.cut() }, []error{ErrUnknownOutcome}},
		{"cut before the reply", func(fc *fakeConn, p *protocol.Publish) {
			fc.send(&protocol.Published{ID: p.ID, Receivers: 1})
			synctest.Wait()
			fc.cut()
		}, []error{ErrUnknownOutcome}},
		{"the inbox is taken away", func(fc *fakeConn, p *protocol.Publish) {
			fc.send(&protocol.Published{ID: p.ID, Receivers: 1}, &protocol.ErrorPacket{ID: p.ID - 1, Code: protocol.CodeForbidden})
		}, []error{ErrUnknownOutcome, ErrForbidden}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *fakeBroker) {
				c, fc := b.dial(at(5, 0))
				done, began := askFor(t.Context(), c, "rpc", "x", ID("1")), time.Now()
				fc.opensInbox()
				test.answer(fc, expect[*protocol.Publish](fc))
				got := <-done
				for _, want := range test.want {
					if !errors.Is(got.err, want) || !strings.HasPrefix(got.err.Error(), `request "rpc": `) {
						t.Errorf("got %v, want %v", got.err, want)
					}
				}
				if waited := time.Since(began); waited != 0 {
					t.Errorf("it took %v, want it told at once", waited)
				}
				if len(test.want) == 1 && !errors.Is(got.err, ErrForbidden) {
					if !Retryable(got.err) {
						t.Errorf("%v counts as one that is of no use to repeat", got.err)
					}
				}
			})
		})
	}
}

// A request is not sent twice: the next session has another inbox. One that was not sent goes there.
func TestRequestsAreNotSentTwice(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		c, fc := b.dial(at(5, 0))
		sent := askFor(t.Context(), c, "rpc", "sent", ID("1"))
		fc.opensInbox()
		expect[*protocol.Publish](fc)
		fc.cut()
		if got := <-sent; !errors.Is(got.err, ErrUnknownOutcome) {
			t.Errorf("got %v, want an unknown outcome", got.err)
		}
		held := askFor(t.Context(), c, "rpc", "held")
		synctest.Wait()

		fc = b.accept()
		next := connected(at(5, 0))
		next.Session = "s2"
		fc.send(next)
		p := expect[*protocol.Subscribe](fc)
		if p.Filter != "$inbox.s2.replies" {
			t.Errorf("the inbox is %q, want that of the session", p.Filter)
		}
		fc.cut() // before it was confirmed

		fc = b.resume(at(5, 0))
		fc.opensInbox()
		got := expect[*protocol.Publish](fc)
		if string(got.Payload) != "held" || got.Headers["reply-to"] != "$inbox.s1.replies" {
			t.Errorf("got %+v, want the one that was not sent, with its session's inbox", got)
		}
		fc.send(&protocol.Published{ID: got.ID, Receivers: 1}, replyTo(got, "done"))
		(<-held).is(t, "done")
		fc.quiet()
	})
}

func TestRequestsEndWithTheirContext(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		c, fc := b.dial(at(5, 0))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		unsent := askFor(ctx, c, "rpc", "x")
		inbox := expect[*protocol.Subscribe](fc)
		if got := <-unsent; !errors.Is(got.err, context.DeadlineExceeded) || errors.Is(got.err, ErrUnknownOutcome) {
			t.Errorf("got %v, want the deadline alone: it was not sent", got.err)
		}
		fc.send(&protocol.Subscribed{ID: inbox.ID, Position: at(5, 0)})
		fc.quiet()

		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		late := askFor(ctx, c, "rpc", "x")
		p := expect[*protocol.Publish](fc)
		fc.send(&protocol.Published{ID: p.ID, Receivers: 1})
		if got := <-late; !errors.Is(got.err, context.DeadlineExceeded) || !errors.Is(got.err, ErrUnknownOutcome) {
			t.Errorf("got %v, want the deadline and an unknown outcome", got.err)
		}
		fc.send(replyTo(p, "too late"))
		synctest.Wait()
		if err := c.Close(t.Context()); err != nil || len(c.waiting) > 0 {
			t.Errorf("got %v and %d requests left, want neither", err, len(c.waiting))
		}
		if _, err := c.Request(t.Context(), "rpc", "x"); !errors.Is(err, ErrClosed) {
			t.Errorf("got %v, want closed", err)
		}
	})
}

// The inbox is a subscription like others: it has its rate, and may be refused.
func TestAnInboxThatIsRefused(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		c, fc := b.dial(at(5, 0))
		done, began := askFor(t.Context(), c, "rpc", "x"), time.Now()
		fc.send(&protocol.ErrorPacket{ID: expect[*protocol.Subscribe](fc).ID, Code: protocol.CodeRateLimited, RetryAfter: 3 * time.Second})
		id := expect[*protocol.Subscribe](fc).ID
		if waited := time.Since(began); waited != 3*time.Second {
			t.Errorf("asked again after %v, want 3s", waited)
		}
		fc.send(&protocol.ErrorPacket{ID: id, Code: protocol.CodeSubscriptionLimit})
		if got := <-done; !errors.Is(got.err, &Error{Code: protocol.CodeSubscriptionLimit}) {
			t.Errorf("got %v, want the refusal of the inbox", got.err)
		}
		again := askFor(t.Context(), c, "rpc", "x")
		fc.opensInbox()
		p := expect[*protocol.Publish](fc)
		fc.send(replyTo(p, "y"), &protocol.Published{ID: p.ID, Receivers: 1})
		(<-again).is(t, "y")
	})
}

// [REQ-1]: a reply goes to the inbox that the request names, with its correlation id, and to nothing else.
func TestReplies(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		c, fc := b.dial(at(5, 0))
		asks := func(headers map[string]string) *Message { return &Message{Topic: "rpc", Headers: headers} }
		done := make(chan error, 1)
		m := asks(map[string]string{"reply-to": "$inbox.s9.r", "correlation-id": "7"})
		go func() {
			_, err := c.Reply(t.Context(), m, "yes", Header("k", "v"))
			done <- err
		}()
		p := expect[*protocol.Publish](fc)
		want := &protocol.Publish{
			ID: p.ID, Topic: "$inbox.s9.r", Payload: []byte("yes"), ContentType: typeText, MessageID: p.MessageID,
			Headers: map[string]string{"correlation-id": "7", "k": "v"},
		}
		if diff := cmp.Diff(want, p); diff != "" || m.ReplyTo() != "$inbox.s9.r" {
			t.Errorf("Publish (-want +got):\n%s", diff)
		}
		fc.send(&protocol.ErrorPacket{ID: p.ID, Code: protocol.CodeNotFound})
		if err := <-done; !errors.Is(err, ErrNotFound) {
			t.Errorf("got %v, want not_found", err)
		}
		for _, to := range []string{"orders.42", "$user.ann.x", "$inbox.", "$inbox.a.*"} {
			if _, err := c.Reply(t.Context(), asks(map[string]string{"reply-to": to}), "no"); !errors.Is(err, ErrBadTopic) {
				t.Errorf("reply to %q: got %v, want bad_topic", to, err)
			}
		}
		if _, err := c.Reply(t.Context(), asks(nil), "no"); !errors.Is(err, errNoReplyTo) {
			t.Errorf("got %v, want %v", err, errNoReplyTo)
		}
		fc.quiet()
	})
}
