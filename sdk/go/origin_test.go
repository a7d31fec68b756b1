package carillon

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/carillon-mq/carillon/protocol"
)

// [CON-11]: the same origin over all connections of a client, another one for each client.
func TestTheOriginStaysTheClientsOwn(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		c, fc := b.dial(at(5, 0))
		first := fc.hello.Origin
		if len(first) < 26 || len(first) > protocol.MaxOrigin || c.Origin() != first {
			t.Errorf("got the origin %q in Connect and %q of the client, wanted one of 128 bits in both", first, c.Origin())
		}
		fc.cut()
		if again := b.resume(at(5, 0)).hello.Origin; again != first {
			t.Errorf("the next connection has the origin %q, want %q", again, first)
		}
		other, _ := b.dial(at(5, 0))
		if other.Origin() == first {
			t.Error("two clients have the same origin")
		}
	})
}

func TestOriginsThatABrokerWouldRefuseAreRefused(t *testing.T) {
	for _, origin := range []string{"", strings.Repeat("o", protocol.MaxOrigin+1), "\xff"} {
		if _, err := Dial(context.Background(), "ws://127.0.0.1:1", WithOrigin(origin)); !errors.Is(err, &Error{Code: protocol.CodeBadArgs}) {
			t.Errorf("origin %q: got %v, want bad_args", origin, err)
		}
	}
}

// [PUB-13], [PUB-14]: what the options ask for is in the packet.
func TestPublishesWithALifetimeAndWithoutAnOrigin(t *testing.T) {
	tests := []struct {
		name string
		opts []PublishOption
		want protocol.Publish
	}{
		{"ttl", []PublishOption{TTL(time.Minute)}, protocol.Publish{TTL: 60_000}},
		{"ttl of a part of a millisecond", []PublishOption{TTL(1500 * time.Microsecond)}, protocol.Publish{TTL: 2}},
		{"the longest ttl", []PublishOption{TTL(protocol.MaxTTL * time.Millisecond)}, protocol.Publish{TTL: protocol.MaxTTL}},
		{"excluding itself", []PublishOption{ExcludeSelf()}, protocol.Publish{Exclude: "me"}},
		{"excluding another one", []PublishOption{Exclude("tab-1")}, protocol.Publish{Exclude: "tab-1"}},
	}
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		c, fc := b.dial(at(5, 0), WithOrigin("me"))
		for _, test := range tests {
			done := publish(c, "a", "x", append(test.opts, ID("1"))...)
			got := expect[*protocol.Publish](fc)
			fc.send(&protocol.Published{ID: got.ID, Receivers: -1})
			if out := <-done; out.err != nil {
				t.Errorf("%s: %v", test.name, out.err)
			}
			want := test.want
			want.ID, want.Topic, want.Payload, want.ContentType, want.MessageID = got.ID, "a", []byte("x"), typeText, "1"
			if diff := cmp.Diff(&want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", test.name, diff)
			}
		}
		for _, o := range []PublishOption{
			TTL(0), TTL(-1), TTL((protocol.MaxTTL + 1) * time.Millisecond), Exclude(""), Exclude(strings.Repeat("o", 65)), Exclude("\xff"),
		} {
			if _, err := c.Publish(t.Context(), "a", "x", o); !errors.Is(err, &Error{Code: protocol.CodeBadArgs}) {
				t.Errorf("got %v, want bad_args", err)
			}
		}
		fc.quiet()
	})
}
