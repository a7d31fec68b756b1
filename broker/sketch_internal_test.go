package broker

import (
	"fmt"
	"testing"

	"github.com/carillon-mq/carillon/protocol"
	"pgregory.net/rapid"
)

// A sketch never denies a topic that a filter matches, whatever else it was told.
func TestASketchKnowsWhatItWasTold(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		level := rapid.SampledFrom([]string{"a", "b", "ab", "$x", "ä", "1"})
		topics := rapid.SliceOfN(rapid.SliceOfN(level, 1, 4), 1, 30).Draw(t, "topics")
		filter := rapid.SliceOfN(rapid.OneOf(level, rapid.Just("*")), 1, 4).Draw(t, "filter")
		if rapid.Bool().Draw(t, "open") {
			filter = append(filter, ">")
		}
		s := make(sketch, sketchWords(rapid.SampledFrom([]int{8, 100, chunkEntries}).Draw(t, "slots")))
		for _, levels := range topics {
			s.add(join(levels))
		}
		h, all := sketched(join(filter))
		for _, levels := range topics {
			if protocol.Match(join(filter), join(levels)) && !all && !s.has(h) {
				t.Fatalf("found no topic for %q in the sketch of one with %q", join(filter), join(levels))
			}
		}
	})
}

func join(levels []string) string {
	out := levels[0]
	for _, l := range levels[1:] {
		out += "." + l
	}
	return out
}

// A sketch of a full chunk is seldom wrong.
func TestASketchIsSeldomWrong(t *testing.T) {
	s := make(sketch, sketchWords(chunkEntries))
	for i := range chunkEntries {
		s.add(fmt.Sprintf("shop.orders.%d", i))
	}
	wrong := 0
	for i := range 10_000 {
		h, _ := sketched(fmt.Sprintf("user.%d.>", i))
		if s.has(h) {
			wrong++
		}
	}
	if wrong > 500 {
		t.Errorf("found %d of 10,000 filters taken for one of a chunk, wanted few", wrong)
	}
}

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
