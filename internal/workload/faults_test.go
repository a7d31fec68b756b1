package workload

import (
	"slices"
	"testing"

	"github.com/carillon-mq/carillon/protocol"
)

const (
	worlds    = 2
	publishes = 4000
)

func TestALogWithoutFaultsHasNoViolations(t *testing.T) {
	for seed := range uint64(worlds) {
		report := Check(simulate(seed, publishes))
		if err := report.Err(Floor{Acked: 3500, Shown: 9000, Kept: 2000, Reads: 150, Denied: 50, Faults: 40}); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
		if report.Lost < 40 || report.Repeated < 10 || report.Gaps < 10 {
			t.Errorf("seed %d: found %s, wanted some of everything", seed, report)
		}
	}
}

// Each seeded fault stands for a bug of the product, and has to be found by the check that is there for it.
func TestEveryCheckFindsItsFault(t *testing.T) {
	for _, f := range []struct {
		name  string
		check string
		seed  func([]Event) (faulty []Event, faults int)
	}{
		{"one delivery in 1,000 is dropped", "complete", dropOneIn1000},
		{"one delivery in 1,000 comes twice", "unique", doubleOneIn1000},
		{"one in 1,000 changes places with its neighbour", "order", swapOneIn1000},
		{"acknowledged before the commit", "kept", commitLate},
		{"shown before the commit", "kept", showEarly},
		{"the gap is forgotten", "complete", forgetGaps},
		{"a stored message is lost under the gap of others", "complete", loseStoredInGap(protocol.GapNotStored)},
		{"a stored message is lost under a gap that says ahead", "complete", loseStoredInGap(protocol.GapAhead)},
		{"the gap counts one too few", "conservation", miscount},
		{"a read finds what was there before", "registers", staleRead},
		{"the snapshot is of an older time", "order", staleSnapshot},
		{"the snapshot leaves a value out", "whole", thinSnapshot},
		{"a message is made up", "known", invent},
		{"stored is acknowledged without a commit", "durability", appendOnly},
		{"a repeated publish is stored twice", "kept", storeTwice},
		{"the epoch is forgotten", "complete", forgetEpoch},
		{"an error is taken for a yes", "allowed", allowOnError},
	} {
		t.Run(f.name, func(t *testing.T) {
			for seed := range uint64(worlds) {
				events, faults := f.seed(simulate(seed, publishes))
				if faults == 0 {
					t.Fatal("no fault was seeded")
				}
				if found := Check(events).Found(f.check); found == 0 {
					t.Errorf("seed %d: found none of %d faults by the check %q", seed, faults, f.check)
				}
			}
		})
	}
}

// delivered reports whether e is a message of a stream in the midst of it.
func delivered(e Event) bool { return e.Kind == Shown && !e.Snapshot && e.Publisher != closer }

func dropOneIn1000(events []Event) (out []Event, n int) {
	acked := map[Message]bool{}
	for _, e := range events {
		acked[e.Message] = acked[e.Message] || e.Kind == Acked
	}
	seen := 0
	return edit(events, func(_ int, e Event) []Event {
		if !delivered(e) || !acked[e.Message] {
			return []Event{e}
		}
		if seen++; seen%1000 != 0 {
			return []Event{e}
		}
		n++
		return nil
	}), n
}

func doubleOneIn1000(events []Event) (out []Event, n int) {
	seen := 0
	return edit(events, func(_ int, e Event) []Event {
		if delivered(e) {
			if seen++; seen%1000 == 0 {
				n++
				return []Event{e, e}
			}
		}
		return []Event{e}
	}), n
}

// swapOneIn1000 exchanges a delivery with the next one of its topic to the same subscription.
func swapOneIn1000(events []Event) (out []Event, n int) {
	out = slices.Clone(events)
	seen := 0
	for i, e := range out {
		if !delivered(e) {
			continue
		}
		if seen++; seen%1000 != 0 {
			continue
		}
		for k := i + 1; k < len(out); k++ {
			if o := out[k]; delivered(o) && o.Who == e.Who && o.Topic == e.Topic {
				out[i].Message, out[k].Message = o.Message, e.Message
				n++
				break
			}
		}
	}
	return out, n
}

// forgetKept takes messages out of every audit.
func forgetKept(events []Event, which func(Message) bool) []Event {
	return edit(events, func(_ int, e Event) []Event {
		if e.Kind == Kept && which(e.Message) {
			return nil
		}
		return []Event{e}
	})
}

// commitLate loses the last stored message that was acknowledged before each kill.
func commitLate(events []Event) (out []Event, n int) {
	lost := map[Message]bool{}
	var last Message
	for _, e := range events {
		switch {
		case e.Kind == Acked && e.Class == Stored:
			last = e.Message
		case e.Kind == Fault && e.Why == "kill":
			lost[last] = true
		}
	}
	return forgetKept(events, func(m Message) bool { return lost[m] }), len(lost)
}

// showEarly loses messages that were shown and never acknowledged.
func showEarly(events []Event) (out []Event, n int) {
	lost := map[Message]bool{}
	for i, e := range events {
		if e.Kind == Shown && e.Class == Stored && len(lost) < 3 && i > len(events)/2 {
			lost[e.Message] = true
		}
	}
	events = forgetKept(events, func(m Message) bool { return lost[m] })
	return edit(events, func(_ int, e Event) []Event {
		if e.Kind == Acked && lost[e.Message] {
			return nil
		}
		return []Event{e}
	}), len(lost)
}

func forgetGaps(events []Event) (out []Event, n int) {
	return edit(events, func(_ int, e Event) []Event {
		if e.Kind == Told {
			n++
			return nil
		}
		return []Event{e}
	}), n
}

// loseStoredInGap drops what a subscription was sent from the store right before it was told of the others, and gives the gap a reason.
func loseStoredInGap(why protocol.GapReason) func(events []Event) (out []Event, n int) {
	return func(events []Event) (out []Event, n int) {
		drop := map[int]bool{}
		last := map[string]int{}
		for i, e := range events {
			switch {
			case delivered(e) && e.Class == Stored:
				last[e.Who] = i
			case e.Kind == Told && e.Reason == protocol.GapNotStored && last[e.Who] > 0:
				drop[last[e.Who]] = true
			}
		}
		return edit(events, func(i int, e Event) []Event {
			if drop[i] {
				n++
				return nil
			}
			if e.Kind == Told {
				e.Reason = why
			}
			return []Event{e}
		}), n
	}
}

func miscount(events []Event) (out []Event, n int) {
	return edit(events, func(_ int, e Event) []Event {
		if e.Kind == Told && e.Count > 0 {
			n++
			e.Count--
		}
		return []Event{e}
	}), n
}

// staleRead answers one read with the value before the one that was acknowledged before the read began.
func staleRead(events []Event) (out []Event, n int) {
	before, now := map[string]Message{}, map[string]Message{}
	return edit(events, func(_ int, e Event) []Event {
		switch {
		case e.Kind == Acked && e.Class == Retained:
			before[e.Topic], now[e.Topic] = now[e.Topic], e.Message
		case e.Kind == Answered && n == 0 && now[e.Topic] == e.Message && before[e.Topic].N > 0:
			n++
			e.Message = before[e.Topic]
		}
		return []Event{e}
	}), n
}

// staleSnapshot puts the value that a subscription has seen before the last one into its next snapshot.
func staleSnapshot(events []Event) (out []Event, n int) {
	type of struct{ who, topic string }
	before, now := map[of]Message{}, map[of]Message{}
	acked := map[Message]bool{}
	return edit(events, func(_ int, e Event) []Event {
		acked[e.Message] = acked[e.Message] || e.Kind == Acked
		if e.Kind != Shown || e.Class != Retained {
			return []Event{e}
		}
		k := of{e.Who, e.Topic}
		if e.Snapshot && acked[before[k]] && acked[now[k]] {
			n++
			e.Message = before[k]
		} else if !e.Snapshot {
			before[k], now[k] = now[k], e.Message
		}
		return []Event{e}
	}), n
}

// thinSnapshot takes one topic out of every snapshot.
func thinSnapshot(events []Event) (out []Event, n int) {
	return edit(events, func(_ int, e Event) []Event {
		if e.Kind == Shown && e.Snapshot && e.Topic == Topic("w", Retained, 1) {
			n++
			return nil
		}
		return []Event{e}
	}), n
}

func invent(events []Event) (out []Event, n int) {
	return edit(events, func(_ int, e Event) []Event {
		if delivered(e) && n == 0 {
			n++
			ghost := e
			ghost.N += 1_000_000
			return []Event{e, ghost}
		}
		return []Event{e}
	}), n
}

func appendOnly(events []Event) (out []Event, n int) {
	return edit(events, func(_ int, e Event) []Event {
		if e.Kind == Acked && e.Class == Stored && n == 0 {
			n++
			e.Durability = protocol.Appended
		}
		return []Event{e}
	}), n
}

func storeTwice(events []Event) (out []Event, n int) {
	return edit(events, func(_ int, e Event) []Event {
		if e.Kind == Kept && e.Class == Stored && n == 0 {
			n++
			return []Event{e, e}
		}
		return []Event{e}
	}), n
}

// forgetEpoch has a subscription that comes back to another run of the broker go on behind the seq that it had in the run before, as if that
// were a place of this one.
func forgetEpoch(events []Event) (out []Event, n int) {
	own, behind := map[string]protocol.Position{}, map[string]uint64{}
	return edit(events, func(_ int, e Event) []Event {
		if e.Position.IsZero() || e.Snapshot || (e.Kind != Shown && e.Kind != Told && e.Kind != Live) {
			return []Event{e}
		}
		last, known := own[e.Who]
		own[e.Who] = e.Position
		if known && last.Epoch != e.Position.Epoch {
			behind[e.Who] = last.Seq
		}
		if skipped := behind[e.Who]; e.Kind == Live || e.Position.Seq > skipped && e.Kind == Shown {
			return []Event{e}
		}
		n++
		return nil
	}), n
}

// allowOnError lets one intruder in.
func allowOnError(events []Event) (out []Event, n int) {
	return edit(events, func(_ int, e Event) []Event {
		if e.Kind == Denied && n == 0 {
			n++
			e.Kind = Admitted
		}
		return []Event{e}
	}), n
}

func TestARunBelowItsFloorIsInvalid(t *testing.T) {
	report := Check(simulate(1, 100))
	for _, floor := range []Floor{{Acked: 1000}, {Shown: 10_000}, {Kept: 10_000}, {Reads: 1000}, {Denied: 1000}, {Faults: 100}} {
		if report.Err(floor) == nil {
			t.Errorf("found no error below %+v", floor)
		}
	}
	if err := report.Err(Floor{Acked: 50, Shown: 100}); err != nil {
		t.Error(err)
	}
}

// A publish that was repeated counts as sent when it was repeated: what came between is not out of order.
func TestARepeatedPublishMayComeLater(t *testing.T) {
	first, second := Message{"w.stored.0", "p0", 1}, Message{"w.stored.0", "p0", 2}
	place := func(seq uint64) protocol.Position {
		return protocol.Position{Epoch: protocol.RunID{1}, Seq: seq, Term: protocol.RunID{2}, Offset: seq}
	}
	events := []Event{
		{Kind: Subscribed, Who: "s0", Filter: "w.>", Stays: true},
		{Kind: Sent, Message: first, Class: Stored},
		{Kind: Sent, Message: second, Class: Stored},
		{Kind: Lost, Message: first, Class: Stored},
		{Kind: Acked, Message: second, Class: Stored, Durability: protocol.Committed, Position: place(1)},
		{Kind: Sent, Message: first, Class: Stored},
		{Kind: Shown, Who: "s0", Message: second, Class: Stored, Position: place(1)},
		{Kind: Shown, Who: "s0", Message: first, Class: Stored, Position: place(2)},
		{Kind: Acked, Message: first, Class: Stored, Durability: protocol.Committed, Position: place(2)},
	}
	if err := Check(events).Err(Floor{}); err != nil {
		t.Error(err)
	}
	events[5], events[8] = events[8], Event{Kind: Fault} // had it not been repeated, it would have had to come first
	if found := Check(events).Found("order"); found == 0 {
		t.Error("found no violation although what was sent first came last")
	}
}
