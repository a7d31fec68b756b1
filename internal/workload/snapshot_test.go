package workload

import (
	"testing"

	"github.com/carillon-mq/carillon/protocol"
)

// A snapshot leaves out a value that is replaced while it is made, or that has its place behind the snapshot's (log.md K2). Where the broker dies before it has sent the new one, that
// comes with the snapshot behind the gap, or one that has replaced it by then.
func TestAValueReplacedDuringASnapshotMayComeBehindTheGap(t *testing.T) {
	const topic = "w.retained.1"
	message := func(n int64) Message { return Message{Topic: topic, Publisher: "p", N: n} }
	at := func(offset uint64) protocol.Position {
		return protocol.Position{Term: protocol.RunID{1}, Offset: offset}
	}
	for name, test := range map[string]struct {
		replaced, told bool
		place          uint64 // of the snapshot
		want           int
	}{
		"replaced, and the stream broken off":                {true, true, 1, 0},
		"not replaced":                                       {false, true, 1, 1},
		"the stream not broken off":                          {true, false, 1, 1},
		"acknowledged behind its place, and then broken off": {false, true, 0, 0},
		"acknowledged behind its place":                      {false, false, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			events := []Event{
				{Kind: Sent, Who: "p", Message: message(1), Class: Retained},
				{Kind: Acked, Who: "p", Message: message(1), Class: Retained, Position: at(1)},
				{Kind: Subscribed, Who: "s", Filter: "w.>", Stays: true},
			}
			if test.replaced {
				events = append(events, Event{Kind: Sent, Who: "p", Message: message(2), Class: Retained})
			}
			events = append(events, Event{Kind: Snapshot, Who: "s", Position: at(test.place)})
			if test.told {
				events = append(events, Event{Kind: Told, Who: "s", Reason: protocol.GapEpoch})
			}
			events = append(events,
				Event{Kind: Sent, Who: "p", Message: message(3), Class: Retained},
				Event{Kind: Acked, Who: "p", Message: message(3), Class: Retained, Position: at(3)},
				Event{Kind: Shown, Who: "s", Message: message(3), Class: Retained, Snapshot: test.told},
			)
			if test.told {
				events = append(events, Event{Kind: Snapshot, Who: "s", Reset: true, Position: at(3)})
			}
			if got := Check(events).Found("whole"); got != test.want {
				t.Errorf("found %d violations, wanted %d", got, test.want)
			}
		})
	}
}
