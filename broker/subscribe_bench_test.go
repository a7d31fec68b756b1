package broker_test

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/brokertest"
	"github.com/carillon-mq/carillon/protocol"
)

// BenchmarkSubscribe is one subscription and its end, of 100 at a time to as many of 10,000 topics: one by one, and in one packet each.
func BenchmarkSubscribe(b *testing.B) {
	const atOnce, topics = 100, 10_000
	for _, bench := range []struct {
		name           string
		together, join bool
	}{{"by itself", false, false}, {"together", true, false}, {"together, joining", true, true}} {
		b.Run(bench.name, func(b *testing.B) {
			br := start(b, broker.Options{})
			sink := &brokertest.Sink{}
			unlimited := broker.SessionLimits{SubscribeRate: broker.Unlimited}
			s, err := br.Open(sink, broker.ConnInfo{Identity: &broker.Identity{User: "ada", Grants: everywhere, Limits: unlimited}})
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { s.Closed(nil) })
			send := func(msg []byte) {
				if err := s.Receive(msg, false); err != nil {
					b.Fatal(err)
				}
			}
			send((&protocol.Connect{Version: 1}).Append(nil))
			var begin [topics / atOnce][]byte
			var end []byte
			for i := range begin {
				all := make([]protocol.Subscribe, atOnce)
				for id := range all {
					all[id] = protocol.Subscribe{ID: uint64(id + 1), Filter: fmt.Sprint("room.", i*atOnce+id), NoRetained: true, Join: bench.join}
					if !bench.together {
						begin[i] = all[id].Append(begin[i])
					}
				}
				if bench.together {
					begin[i] = (&protocol.Subscribes{Subscriptions: all}).Append(nil)
				}
			}
			for id := range uint64(atOnce) {
				end = (&protocol.Unsubscribe{ID: 1000 + id, Subscription: id + 1}).Append(end)
			}
			b.ReportAllocs()
			want := int64(1)
			for i := 0; b.Loop(); i++ {
				if i%atOnce > 0 {
					continue
				}
				send(begin[i/atOnce%len(begin)])
				send(end)
				for want += 2 * atOnce; sink.Packets.Load() < want; {
					runtime.Gosched()
				}
			}
		})
	}
}
