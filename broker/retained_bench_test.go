package broker_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/brokertest"
	"github.com/carillon-mq/carillon/protocol"
)

// BenchmarkSubscribeAmongAMillion subscribes over 1,000,000 retained topics of which 10 match, by filters of every form. It times from the
// Subscribe to the RetainedEnd.
func BenchmarkSubscribeAmongAMillion(b *testing.B) {
	br := start(b, broker.Options{})
	amongAMillion(b, br)
	for _, f := range []struct{ name, filter string }{
		{"literal-prefix", "a.4711.>"},
		{"literal-prefix-star", "a.4711.*"},
		{"star-first", "*.4711.>"},
		{"star-first-and-last", "*.4711.*"},
		{"star-middle", "a.*.rare"},
		{"star-twice", "*.*.rare"},
		{"exact", "a.4711.3"},
	} {
		b.Run(f.name, func(b *testing.B) {
			for range b.N {
				if n := snapshotOf(b, br, f.filter); n != 10 && (f.name != "exact" || n != 1) {
					b.Fatalf("found %d values, wanted 10", n)
				}
			}
		})
	}
}

// BenchmarkPublishWhileOthersSubscribe is the p99 of a publish, alone and while sessions subscribe over a million retained topics, at
// most 200 a second.
func BenchmarkPublishWhileOthersSubscribe(b *testing.B) {
	br := start(b, broker.Options{})
	amongAMillion(b, br)
	for _, f := range []struct{ name, filter string }{{"alone", ""}, {"literal-prefix", "a.4711.>"}, {"star-first", "*.4711.>"}} {
		b.Run(f.name, func(b *testing.B) {
			ctx, stop := context.WithCancel(b.Context())
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				pace := time.NewTicker(5 * time.Millisecond)
				defer pace.Stop()
				for ctx.Err() == nil && f.filter != "" {
					snapshotOf(b, br, f.filter)
					<-pace.C
				}
			}()
			took := make([]time.Duration, 0, b.N)
			pace := time.NewTicker(500 * time.Microsecond)
			b.ResetTimer()
			for range b.N {
				<-pace.C
				began := time.Now()
				publish(b, br, "b.1", "x")
				took = append(took, time.Since(began))
			}
			b.StopTimer()
			pace.Stop()
			stop()
			<-ended
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-us")
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-us")
		})
	}
}

// amongAMillion retains a.0.0 to a.99989.9, and ten topics of another kind.
func amongAMillion(b *testing.B, br *broker.Broker) {
	b.Helper()
	for i := range 999_990 {
		retain(b, br, fmt.Sprintf("a.%d.%d", i/10, i%10), "0123456789")
	}
	for i := range 10 {
		retain(b, br, fmt.Sprintf("a.m%d.rare", i), "0123456789")
	}
}

// snapshotConn counts the messages up to the end of a snapshot.
type snapshotConn struct {
	brokertest.Sink
	values int
	end    chan int
}

// Write implements broker.Conn.
func (c *snapshotConn) Write(batch []*broker.Packet) (done bool, err error) {
	for _, p := range batch {
		raw, _, err := protocol.Next(p.Bytes())
		if err != nil {
			return false, err
		}
		switch raw.Type {
		case protocol.TypeMessage:
			c.values++
		case protocol.TypeRetainedEnd:
			c.end <- c.values
		default:
		}
	}
	return true, nil
}

// snapshotOf is how many retained values a new session gets that subscribes to filter.
func snapshotOf(b *testing.B, br *broker.Broker, filter string) (values int) {
	b.Helper()
	c := &snapshotConn{end: make(chan int, 1)}
	s, err := br.Open(c, broker.ConnInfo{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Closed(nil)
	if err := s.Receive((&protocol.Subscribe{ID: 1, Filter: filter}).Append((&protocol.Connect{Version: 1}).Append(nil)), false); err != nil {
		b.Fatal(err)
	}
	return <-c.end
}
