package carillon

import (
	"fmt"
	"testing"

	"github.com/carillon-mq/carillon/protocol"
)

// benchClient is a client without a socket that has so many live subscriptions.
func benchClient(b *testing.B, subscriptions int) (*Client, *connection, []*Subscription) {
	b.Helper()
	c, cn := unconnected()
	c.attach(cn, connected(at(1, 0)))
	var subs []*Subscription
	for i := range subscriptions {
		subs = append(subs, c.Subscribe(fmt.Sprintf("%d.*", i), NoRetained()))
	}
	c.fill(cn, nil)
	for _, s := range subs {
		if err := c.handle(b.Context(), cn, (&protocol.Subscribed{ID: s.id, Position: at(1, 0)}).Append(nil)); err != nil {
			b.Fatal(err)
		}
	}
	return c, cn, subs
}

// BenchmarkReceive is one message of 100 bytes from the packet to the application's hands.
func BenchmarkReceive(b *testing.B) {
	for _, n := range []int{1, 100} {
		b.Run(fmt.Sprintf("subscriptions=%d", n), func(b *testing.B) {
			c, cn, subs := benchClient(b, n)
			m := &protocol.Message{Topic: "0.x", Payload: make([]byte, 100), Time: 1}
			tail := m.AppendTail(make([]byte, protocol.MessageHeadroom, 256))
			b.ReportAllocs()
			seq := uint64(1)
			for b.Loop() {
				seq++
				if err := c.handle(b.Context(), cn, protocol.FinishMessage(tail, seq, 0)); err != nil {
					b.Fatal(err)
				}
				if _, _, ok, _ := subs[0].in.tryTake(); !ok {
					b.Fatal("nothing came")
				}
			}
		})
	}
}

// BenchmarkPublish is one publish of 100 bytes from the application to the packet, and its acknowledgement back.
func BenchmarkPublish(b *testing.B) {
	c, cn, _ := benchClient(b, 0)
	payload := make([]byte, 100)
	var out, ack []byte
	b.ReportAllocs()
	for b.Loop() {
		p, err := c.PublishAsync(b.Context(), "a.b", payload)
		if err != nil {
			b.Fatal(err)
		}
		out = c.fill(cn, out[:0])
		ack = (&protocol.Published{ID: c.nextID, Seq: 2, Receivers: -1}).Append(ack[:0])
		if err := c.handle(b.Context(), cn, ack); err != nil {
			b.Fatal(err)
		}
		if _, err := p.Wait(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
