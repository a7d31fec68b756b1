package carillon_test

import (
	"strings"
	"testing"

	"github.com/carillon-mq/carillon/broker"
	carillon "github.com/carillon-mq/carillon/sdk/go"
)

// [CON-12], [MSG-5]: a payload that repeats itself comes in fewer bytes than it has, the same as it was published, live and in a replay.
func TestCompressedPayloadsWithARealBroker(t *testing.T) {
	b := startBroker(t, broker.Options{})
	pub := dial(t, b.url)
	text := strings.Repeat(`{"name":"carillon","bells":23},`, 500)
	down := func(opts ...carillon.Option) (n int64) {
		_, before := b.proxy.Bytes()
		c := b.throughProxy(t, opts...)
		sub := subscribe(t, c, "a", carillon.NoRetained())
		ack, err := pub.Publish(t.Context(), "a", text)
		if err != nil {
			t.Fatal(err)
		}
		replayed := c.Subscribe("a", carillon.NoRetained(), carillon.Last(1))
		for _, s := range []*carillon.Subscription{sub, replayed} {
			for m, err := range s.Messages(t.Context()) {
				if err != nil || string(m.Payload) != text {
					t.Fatalf("got %d bytes of message %d, %v, want the text as it was published", len(m.Payload), ack.Seq, err)
				}
				break
			}
		}
		_, after := b.proxy.Bytes()
		return after - before
	}
	if n := down(); n > int64(len(text)) {
		t.Errorf("%d bytes came for two payloads of %d, want fewer than one has", n, len(text))
	}
	if n := down(carillon.WithoutCompression()); n < 2*int64(len(text)) {
		t.Errorf("%d bytes came for two payloads of %d, which were not to be compressed", n, len(text))
	}
}
