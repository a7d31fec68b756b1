package broker

import (
	"fmt"
	"testing"

	"github.com/carillon-mq/carillon/protocol"
)

// BenchmarkReadOneTopicOfMany is what a client costs that comes back to a log of many topics and wants one.
func BenchmarkReadOneTopicOfMany(b *testing.B) {
	r := newRing(64<<20, newRetained(1, 1))
	for i := range 50_000 {
		m := newMessage(&protocol.Message{Topic: fmt.Sprintf("user.%d.news", i%5000), Payload: make([]byte, 100)}, ClassMemory)
		r.mu.Lock()
		r.appendLocked(&m)
		r.mu.Unlock()
	}
	for _, filter := range []string{"user.77.news", "user.77.>", "*.77.news"} {
		b.Run(filter, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				m := &matcher{wanted: []wanted{newWanted(filter, 0)}}
				st := stretch{next: 1}
				for st.next <= r.head.Load() {
					if !r.read(&st, m, r.head.Load(), drainBytes) {
						b.Fatal("not held")
					}
				}
				if st.count != 10 {
					b.Fatalf("found %d, wanted 10", st.count)
				}
			}
		})
	}
}
