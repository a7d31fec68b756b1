package interest

import (
	"slices"
	"strings"
	"testing"

	"github.com/carillon-mq/carillon/protocol"
)

// A shard is never left asleep over what it has a subscription for, and is over nearly everything else.
func TestInterestIsNeverDeniedWrongly(t *testing.T) {
	levels := []string{"a", "b", "$x", "*", ">"}
	var names []string
	var grow func(prefix []string)
	grow = func(prefix []string) {
		for _, l := range levels {
			name := append(slices.Clip(prefix), l)
			names = append(names, strings.Join(name, "."))
			if len(name) < 4 {
				grow(name)
			}
		}
	}
	grow(nil)
	woken, asleep := 0, 0
	for _, filter := range names {
		if protocol.ValidateFilter(filter) != nil {
			continue
		}
		var in Table
		in.Add(filter, 1)
		for _, topic := range names {
			if protocol.ValidateTopic(topic) != nil {
				continue
			}
			matches, interested := protocol.Match(filter, topic), in.In(topic)
			if matches && !interested {
				t.Fatalf("found no interest in %q with %q", topic, filter)
			}
			if !matches && interested {
				woken++
			} else if !matches {
				asleep++
			}
		}
		in.Add(filter, -1)
		if in.Len() != 0 || in.In("a") || in.In("a.b.a") || in.In("$x.a") {
			t.Fatalf("found interest left of %q", filter)
		}
	}
	if woken > asleep/2 {
		t.Errorf("found %d woken for nothing, %d asleep", woken, asleep)
	}
}
