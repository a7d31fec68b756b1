package ring

import (
	"fmt"
	"testing"

	"github.com/carillon-mq/carillon/protocol"
)

// BenchmarkReadOneTopicOfMany is what a client costs that comes back to a log of many topics and wants one.
func BenchmarkReadOneTopicOfMany(b *testing.B) {
	r := New(64<<20, NewRetained(1, 1))
	for i := range 50_000 {
		m := NewMessage(&protocol.Message{Topic: fmt.Sprintf("user.%d.news", i%5000), Payload: make([]byte, 100)})
		r.Append(&m)
	}
	for _, filter := range []string{"user.77.news", "user.77.>", "*.77.news"} {
		b.Run(filter, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				m := &Matcher{Wanted: []Wanted{NewWanted(filter, 0)}}
				st := Stretch{Next: 1}
				for st.Next <= r.head.Load() {
					if !r.Read(&st, m, r.head.Load(), 32<<10) {
						b.Fatal("not held")
					}
				}
				if st.Count != 10 {
					b.Fatalf("found %d, wanted 10", st.Count)
				}
			}
		})
	}
}
