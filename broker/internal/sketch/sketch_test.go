package sketch_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/carillon-mq/carillon/broker/internal/sketch"
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
		s := sketch.New(rapid.SampledFrom([]int{8, 100, 256}).Draw(t, "topics of a chunk"))
		for _, levels := range topics {
			s.Add(strings.Join(levels, "."))
		}
		prefix := sketch.PrefixOf(strings.Join(filter, "."))
		for _, levels := range topics {
			if protocol.Match(strings.Join(filter, "."), strings.Join(levels, ".")) && !s.Has(prefix) {
				t.Fatalf("found no topic for %q in the sketch of one with %q", strings.Join(filter, "."), strings.Join(levels, "."))
			}
		}
	})
}

// A sketch of a full chunk is seldom wrong.
func TestASketchIsSeldomWrong(t *testing.T) {
	s := sketch.New(256)
	for i := range 256 {
		s.Add(fmt.Sprintf("shop.orders.%d", i))
	}
	wrong := 0
	for i := range 10_000 {
		if s.Has(sketch.PrefixOf(fmt.Sprintf("user.%d.>", i))) {
			wrong++
		}
	}
	if wrong > 500 {
		t.Errorf("found %d of 10,000 filters taken for one of a chunk, wanted few", wrong)
	}
}
