package carillon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/carillon-mq/carillon/protocol"
)

// publish publishes in the background and returns where the outcome will be.
func publish(c *Client, topic string, value any, opts ...PublishOption) chan outcome {
	return publishWithin(context.Background(), c, topic, value, opts...)
}

type outcome struct {
	ack Ack
	err error
}

func publishWithin(ctx context.Context, c *Client, topic string, value any, opts ...PublishOption) chan outcome {
	done := make(chan outcome, 1)
	go func() {
		ack, err := c.Publish(ctx, topic, value, opts...)
		done <- outcome{ack, err}
	}()
	return done
}

func TestPublishReturnsTheAcknowledgement(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		c, fc := b.dial(at(5, 2))
		done := publish(c, "a.b", []byte("x"), Retain(), Header("k", "v"), Header("l", "w"), ID("id1"), ContentType("image/png"), WantReceivers())
		p := expect[*protocol.Publish](fc)
		want := &protocol.Publish{
			ID: p.ID, Topic: "a.b", Payload: []byte("x"), Retain: true, ContentType: "image/png",
			Headers: map[string]string{"k": "v", "l": "w"}, Receivers: true, MessageID: "id1",
		}
		if diff := cmp.Diff(want, p); diff != "" {
			t.Errorf("Publish (-want +got):\n%s", diff)
		}
		fc.send(&protocol.Published{ID: p.ID, Seq: 6, Offset: 3, Durability: protocol.Committed, Receivers: 4, Duplicate: true})
		got := <-done
		if got.err != nil {
			t.Fatal(got.err)
		}
		wantAck := Ack{Seq: 6, Offset: 3, Durability: Committed, Receivers: 4, Duplicate: true, position: at(6, 3)}
		if got.ack != wantAck {
			t.Errorf("got %+v, want %+v", got.ack, wantAck)
		}
		if got.ack.Cursor() != Cursor(at(6, 3).Cursor()) {
			t.Errorf("cursor %s", got.ack.Cursor())
		}
	})
}

func TestValuesAreEncodedByTheirType(t *testing.T) {
	type order struct {
		Total int `json:"total" msgpack:"total"`
	}
	tests := []struct {
		name, contentType string
		value             any
		payload           string
	}{
		{"bytes", "application/octet-stream", []byte{0, 1}, "\x00\x01"},
		{"text", "text/plain", "hello", "hello"},
		{"raw", "image/png", Raw{"image/png", []byte("png")}, "png"},
		{"raw msgpack", "", Raw{Data: []byte{0x05}}, "\x05"},
		{"JSON", "application/json", JSON(order{5}), `{"total":5}`},
		{"JSON as it is", "application/json", json.RawMessage(`[1]`), `[1]`},
		{"a struct", "", order{5}, "\x81\xa5total\x05"},
		{"a number", "", 7, "\x07"},
		{"nil", "", nil, "\xc0"},
	}
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		c, fc := b.dial(at(5, 0))
		for _, test := range tests {
			done := publish(c, "a", test.value)
			p := expect[*protocol.Publish](fc)
			if string(p.Payload) != test.payload || p.ContentType != test.contentType {
				t.Errorf("%s: sent %q as %q, want %q as %q", test.name, p.Payload, p.ContentType, test.payload, test.contentType)
			}
			fc.send(&protocol.Published{ID: p.ID, Seq: 1, Receivers: -1})
			<-done
		}
	})
}

func TestRefusedPublishReturnsTheRefusal(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		c, fc := b.dial(at(5, 0))
		for _, code := range []Code{protocol.CodeForbidden, protocol.CodeRateLimited} {
			done := publish(c, "a", 1)
			refused := protocol.Errorf(code, "why").WithRetryAfter(time.Second)
			fc.send(refused.Packet(expect[*protocol.Publish](fc).ID))
			err := (<-done).err
			if !errors.Is(err, refused) || Retryable(err) != code.Retry() {
				t.Errorf("got %v, retryable %v", err, Retryable(err))
			}
			if e, ok := errors.AsType[*Error](err); !ok || e.Detail != "why" || e.RetryAfter != time.Second {
				t.Errorf("got %+v", e)
			}
		}
	})
}

func TestWhatTheBrokerWouldHangUpOnIsNotSent(t *testing.T) {
	many := func(o *outgoing) {
		o.Headers = maps.Collect(func(yield func(string, string) bool) {
			for i := range 17 {
				yield(fmt.Sprint(i), "")
			}
		})
	}
	tests := []struct {
		name  string
		topic string
		opts  []PublishOption
		want  Code
	}{
		{"an empty level", "a..b", nil, protocol.CodeBadTopic},
		{"a wildcard", "a.*", nil, protocol.CodeBadTopic},
		{"a header that is not UTF-8", "a", []PublishOption{Header("k", "\xff")}, protocol.CodeBadArgs},
		{"too many headers", "a", []PublishOption{many}, protocol.CodeBadArgs},
		{"too large a header", "a", []PublishOption{Header("k", strings.Repeat("x", 5000))}, protocol.CodeBadArgs},
		{"too long an id", "a", []PublishOption{ID(strings.Repeat("x", 65))}, protocol.CodeBadArgs},
		{"a content type that is not UTF-8", "a", []PublishOption{ContentType("\xff")}, protocol.CodeBadArgs},
	}
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		c, fc := b.dial(at(5, 0))
		for _, test := range tests {
			if _, err := c.Publish(t.Context(), test.topic, 1, test.opts...); !errors.Is(err, &Error{Code: test.want}) {
				t.Errorf("%s: got %v, want %s", test.name, err, test.want)
			}
		}
		if _, err := c.Publish(t.Context(), "a", make(chan int)); err == nil {
			t.Error("a channel was encoded")
		}
		fc.quiet()
	})
}

func TestPublishLargerThanTheBrokerTakesIsRefusedHere(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		hello := connected(at(5, 0))
		hello.Limits = map[string]int64{"packet": 1000}
		c, fc := b.dialWith(hello)
		small, large, after := publish(c, "a", make([]byte, 900)), publish(c, "a", make([]byte, 1000)), publish(c, "a", make([]byte, 900))
		if err := (<-large).err; !errors.Is(err, ErrTooLarge) {
			t.Errorf("got %v, want too_large", err)
		}
		for range 2 {
			fc.send(&protocol.Published{ID: expect[*protocol.Publish](fc).ID, Seq: 1})
		}
		if a, b := <-small, <-after; a.err != nil || b.err != nil {
			t.Errorf("the others: %v, %v", a.err, b.err)
		}
	})
}

func TestPublishWhileDisconnectedWaitsForTheNextConnection(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		c, fc := b.dial(at(5, 0))
		b.refuseWith(func(w http.ResponseWriter) bool {
			w.WriteHeader(http.StatusBadGateway)
			return true
		})
		fc.cut()
		synctest.Wait()
		done := publish(c, "a", "waits")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		short := publishWithin(ctx, c, "a", "does not")
		if err := (<-short).err; !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrUnknownOutcome) {
			t.Errorf("got %v, want its deadline and a known outcome", err)
		}
		b.refuseWith(func(http.ResponseWriter) bool { return false })
		fc = b.resume(at(5, 0))
		p := expect[*protocol.Publish](fc)
		if string(p.Payload) != "waits" {
			t.Errorf("sent %q", p.Payload)
		}
		fc.send(&protocol.Published{ID: p.ID, Seq: 6})
		if got := <-done; got.err != nil {
			t.Error(got.err)
		}
		fc.quiet()
	})
}

func TestPublishSentWhenItsContextEndsHasAnUnknownOutcome(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		c, fc := b.dial(at(5, 0))
		ctx, cancel := context.WithCancel(t.Context())
		done := publishWithin(ctx, c, "a", 1)
		p := expect[*protocol.Publish](fc)
		cancel()
		if err := (<-done).err; !errors.Is(err, ErrUnknownOutcome) || !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		fc.send(&protocol.Published{ID: p.ID, Seq: 6}) // late, for nobody
		fc.send(&protocol.Ping{})
		expect[*protocol.Pong](fc)
	})
}

func TestQueueOfAClientThatIsNotConnectedIsBounded(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		c, fc := b.dial(at(5, 0), WithPendingLimit(2))
		b.refuseWith(func(w http.ResponseWriter) bool {
			w.WriteHeader(http.StatusBadGateway)
			return true
		})
		fc.cut()
		synctest.Wait()
		for range 2 {
			if _, err := c.PublishAsync(t.Context(), "a", 1); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := c.PublishAsync(t.Context(), "a", 1); !errors.Is(err, ErrQueueFull) || !Retryable(err) {
			t.Errorf("got %v, want ErrQueueFull", err)
		}
	})
}

func TestPublishesTravelTogetherAndInOrder(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		hello := connected(at(5, 0))
		hello.Limits = map[string]int64{"inflight": 20, "packet": 200}
		c, fc := b.dialWith(hello)
		var all []*Publishing
		for i := range 50 {
			p, err := c.PublishAsync(t.Context(), "a", fmt.Sprint(i))
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, p)
		}
		var got, want []string
		messages := make(map[int]int)
		for len(got) < 50 {
			synctest.Wait()
			n := len(fc.in)
			if n > 20 {
				t.Errorf("%d publishes were in flight, the broker allows 20", n)
			}
			var acks []protocol.Packet
			for range n {
				r := <-fc.in
				p := r.packet.(*protocol.Publish)
				messages[r.message] += len(p.Append(nil))
				want = append(want, fmt.Sprint(len(got)))
				got = append(got, string(p.Payload))
				acks = append(acks, &protocol.Published{ID: p.ID, Seq: uint64(len(got) + 5)})
			}
			fc.send(acks...)
		}
		if !slices.Equal(got, want) {
			t.Errorf("order %q", got)
		}
		for _, n := range messages {
			if n > 200 {
				t.Errorf("a message of %d bytes, wanted at most 200", n)
			}
		}
		if len(messages) > 25 {
			t.Errorf("50 publishes in %d messages, wanted fewer", len(messages))
		}
		for i, p := range all {
			if ack, err := p.Wait(t.Context()); err != nil || ack.Seq != uint64(i+6) {
				t.Errorf("publish %d: %+v, %v", i, ack, err)
			}
		}
	})
}

func TestClearPublishesAnEmptyRetainedMessage(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		c, fc := b.dial(at(5, 0))
		done := make(chan error, 1)
		go func() {
			_, err := c.Clear(t.Context(), "a")
			done <- err
		}()
		p := expect[*protocol.Publish](fc)
		if !p.Retain || len(p.Payload) != 0 || p.ContentType != "" {
			t.Errorf("sent %+v", p)
		}
		fc.send(&protocol.Published{ID: p.ID})
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestCloseWaitsForWhatWasAccepted(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		c, fc := b.dial(at(5, 0))
		r := read(t, c.Subscribe("a", NoRetained()))
		fc.live("a", at(5, 0))
		fc.send(msg(6, 0, "a", "6"))
		done := publish(c, "a", 1)
		p := expect[*protocol.Publish](fc)
		closed := make(chan error, 1)
		go func() { closed <- c.Close(t.Context()) }()
		synctest.Wait()
		if _, err := c.Publish(t.Context(), "a", 2); !errors.Is(err, ErrClosed) {
			t.Errorf("publish after Close: %v", err)
		}
		select {
		case err := <-closed:
			t.Fatalf("Close returned (%v) before the acknowledgement", err)
		default:
		}
		fc.send(&protocol.Published{ID: p.ID, Seq: 6})
		if err := <-closed; err != nil {
			t.Error(err)
		}
		if got := <-done; got.err != nil {
			t.Error(got.err)
		}
		r.next("message a=6", "error "+ErrClosed.Error(), "end")
		<-fc.over
		if s := c.Status(); s.State != StateClosed || s.Err != nil {
			t.Errorf("status %+v", s)
		}
		if err := c.Close(t.Context()); err != nil {
			t.Errorf("a second Close: %v", err)
		}
	})
}

func TestCloseIsBoundedByItsContext(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		c, fc := b.dial(at(5, 0))
		done := publish(c, "a", 1)
		expect[*protocol.Publish](fc)
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := c.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Close: %v", err)
		}
		if err := (<-done).err; !errors.Is(err, ErrUnknownOutcome) {
			t.Errorf("publish: %v", err)
		}
		if got := time.Since(start); got > time.Second+closeGrace {
			t.Errorf("it took %v", got)
		}
	})
}

func TestCloseWhileDisconnectedGivesUpTheQueueWithItsContext(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		c, fc := b.dial(at(5, 0))
		b.refuseWith(func(w http.ResponseWriter) bool {
			w.WriteHeader(http.StatusBadGateway)
			return true
		})
		fc.cut()
		synctest.Wait()
		done := publish(c, "a", 1)
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := c.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Close: %v", err)
		}
		if err := (<-done).err; !errors.Is(err, ErrClosed) || errors.Is(err, ErrUnknownOutcome) {
			t.Errorf("publish: %v, want ErrClosed", err)
		}
	})
}
