package broker_test

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/brokertest"
	"github.com/carillon-mq/carillon/protocol"
)

// crowd are sessions that swallow what they are sent.
type crowd struct {
	sink     brokertest.Sink // of all of them
	sessions []*broker.Session
}

// gather opens n sessions subscribed to filter.
func gather(t testing.TB, b *broker.Broker, n int, filter string) *crowd {
	t.Helper()
	c := &crowd{}
	hello := (&protocol.Connect{Version: 1}).Append(nil)
	hello = (&protocol.Subscribe{ID: 1, Filter: filter, NoRetained: true}).Append(hello)
	for range n {
		s, err := b.Open(&c.sink, broker.ConnInfo{})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Receive(hello, false); err != nil {
			t.Fatal(err)
		}
		c.sessions = append(c.sessions, s)
	}
	c.await(int64(2 * n))
	c.sink.Packets.Store(0)
	t.Cleanup(func() {
		for _, s := range c.sessions {
			s.Closed(nil)
		}
	})
	return c
}

// await waits until so many packets have been sent.
func (c *crowd) await(packets int64) {
	for c.sink.Packets.Load() < packets {
		runtime.Gosched()
	}
}

// publisher is a session that publishes as a client does, without waiting for acknowledgements.
func publisher(t testing.TB, b *broker.Broker, p *protocol.Publish) (publish func()) {
	t.Helper()
	sink := &brokertest.Sink{}
	s, err := b.Open(sink, broker.ConnInfo{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Receive((&protocol.Connect{Version: 1}).Append(nil), false); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Closed(nil) })
	msg := p.Append(nil)
	return func() {
		if err := s.Receive(msg, false); err != nil {
			t.Fatal(err)
		}
	}
}

// BenchmarkFanOut is one publish to 1,000 sessions, at most 64 of them ahead of the last delivery.
func BenchmarkFanOut(b *testing.B) {
	for _, sessions := range []int{1, 1000} {
		b.Run(fmt.Sprint(sessions), func(b *testing.B) {
			br := start(b, broker.Options{})
			c := gather(b, br, sessions, "a.>")
			publish := publisher(b, br, &protocol.Publish{Topic: "a.b", Payload: make([]byte, 128)})
			b.ReportAllocs()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			b.ResetTimer()
			for i := range b.N {
				publish()
				if i%64 == 63 {
					c.await(int64((i - 32) * sessions))
				}
			}
			c.await(int64(b.N * sessions))
			b.StopTimer()
			runtime.ReadMemStats(&after)
			deliveries := float64(b.N * sessions)
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/deliveries, "ns/delivery")
			b.ReportMetric(float64(after.Mallocs-before.Mallocs)/deliveries, "allocs/delivery")
		})
	}
}

// BenchmarkAppend is one message on its way into the log, which is full.
func BenchmarkAppend(b *testing.B) {
	br := start(b, broker.Options{RingBytes: 1 << 20})
	payload := make([]byte, 128)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		br.AppendOne("a.b", payload)
	}
}

// BenchmarkPublish is a publish of a session, with and without an acknowledgement, that nobody listens to.
func BenchmarkPublish(b *testing.B) {
	for _, id := range []uint64{0, 7} {
		b.Run(map[uint64]string{0: "unacknowledged", 7: "acknowledged"}[id], func(b *testing.B) {
			publish := publisher(b, start(b, broker.Options{}), &protocol.Publish{ID: id, Topic: "a.b", Payload: make([]byte, 128)})
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				publish()
			}
		})
	}
}

// BenchmarkRetain updates one of 100,000 retained values.
func BenchmarkRetain(b *testing.B) {
	br := start(b, broker.Options{})
	topics := retainMany(b, br, 100_000)
	payload := make([]byte, 128)
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		r := broker.PublishRequest{Topic: topics[i%len(topics)], Payload: payload, Retain: true}
		if _, err := br.Publish(b.Context(), broker.Everybody(), r); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSnapshot sends 100,000 retained values to a session.
func BenchmarkSnapshot(b *testing.B) {
	br := start(b, broker.Options{})
	topics := retainMany(b, br, 100_000)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		c := &crowd{}
		s, err := br.Open(&c.sink, broker.ConnInfo{})
		if err != nil {
			b.Fatal(err)
		}
		hello := (&protocol.Connect{Version: 1}).Append(nil)
		if err := s.Receive((&protocol.Subscribe{ID: 1, Filter: "*.>"}).Append(hello), false); err != nil {
			b.Fatal(err)
		}
		c.await(int64(len(topics)))
		s.Closed(nil)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(topics)), "ns/value")
}

func retainMany(b *testing.B, br *broker.Broker, n int) []string {
	b.Helper()
	topics := make([]string, n)
	for i := range topics {
		topics[i] = fmt.Sprintf("tenant%d.device%d.value", i%100, i)
		retain(b, br, topics[i], "0123456789")
	}
	return topics
}

// BenchmarkReadLog is a lagging session's way through the log, of which it wants one message in ten.
func BenchmarkReadLog(b *testing.B) {
	br := start(b, broker.Options{})
	for i := range 100_000 {
		publish(b, br, fmt.Sprintf("t.%d", i%10), "0123456789")
	}
	read := br.LogReader("t.3")
	b.ReportAllocs()
	b.ResetTimer()
	entries := 0
	for range b.N {
		entries += read()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(entries), "ns/entry")
}

// A delivery allocates nothing: what a publish costs does not depend on how many get it.
func TestADeliveryAllocatesNothing(t *testing.T) {
	perPublish := func(sessions int) float64 {
		b := start(t, broker.Options{Shards: 2})
		c := gather(t, b, sessions, "a.>")
		publish := publisher(t, b, &protocol.Publish{Topic: "a.b", Payload: make([]byte, 128)})
		sent := int64(0)
		return testing.AllocsPerRun(500, func() {
			publish()
			sent += int64(sessions)
			c.await(sent)
		})
	}
	one, many := perPublish(1), perPublish(1000)
	t.Logf("%v allocations for a publish to one session, %v to 1,000", one, many)
	if many > one+1 { // a chunk of the log, now and then
		t.Errorf("found %v allocations more for 999 deliveries, wanted none", many-one)
	}
}

// An idle session costs little: what it holds is what its client asked for.
func TestAnIdleSessionIsSmall(t *testing.T) {
	const n = 5000
	b := start(t, broker.Options{})
	gather(t, b, 100, "warm.>")
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	c := gather(t, b, n, "orders.eu.42")
	publish(t, b, "orders.eu.42", kib(1))
	c.await(n)
	per := (heap() - before) / n
	t.Logf("%d bytes for a session with one subscription", per)
	if per > 1600 {
		t.Errorf("found %d bytes for an idle session, wanted at most 1,600", per)
	}
	runtime.KeepAlive(c)
}
