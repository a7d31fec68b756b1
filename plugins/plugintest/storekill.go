package plugintest

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/protocol"
)

// batchesOnTheirWay is how many batches have no answer when the store is killed.
const batchesOnTheirWay = 16

// killer is a small broker whose store is killed again and again: it appends, remembers what was acknowledged, follows after
// each restart, and repeats what it got no answer for.
type killer struct {
	*store
	sent  map[uint64]broker.Record // by ref
	acked map[uint64]uint64        // ref -> offset
	terms map[protocol.RunID]bool

	// What the looks at the store have come to, which follow each kill.
	looks, looked int             // how many, and how many acknowledged records there were at the last one
	lost, changed map[uint64]bool // by ref; lost are acknowledged ones only
}

// maxOfAKind bounds how many records are told of one by one: with the first few the others are said in the figures.
const maxOfAKind = 3

func testKills(t *T, s *store) {
	k := newKiller(s)
	defer k.tell(t)
	kills := t.plugin.Kills
	if kills == 0 {
		kills = 20
	}
	k.verify(t)
	for i := range kills {
		if i%2 == 0 {
			k.appendUntilKilled(t)
		} else {
			k.appendOneAndKill(t)
		}
		k.verify(t)
		k.repeat(t)
	}
}

func newKiller(s *store) *killer {
	return &killer{
		store: s, sent: make(map[uint64]broker.Record), acked: make(map[uint64]uint64), terms: make(map[protocol.RunID]bool),
		lost: make(map[uint64]bool), changed: make(map[uint64]bool),
	}
}

// tell says what all looks have come to, also when the case has ended early.
func (k *killer) tell(t *T) {
	text := fmt.Sprintf("%d of %d acknowledged records lost in %d kills", len(k.lost), k.looked, max(k.looks-1, 0)) // one look comes before
	if len(k.changed) > 0 {
		text += fmt.Sprintf(", %d records came back changed", len(k.changed))
	}
	t.Logf("%s", text)
}

// appendUntilKilled appends, and kills the store after some hundred acknowledgements while others are due.
func (k *killer) appendUntilKilled(t *T) {
	enough := len(k.acked) + 100 + rand.IntN(400)
	answers := make(chan outcome, batchesOnTheirWay)
	onTheirWay, killed := 0, false
	for !killed || onTheirWay > 0 {
		if !killed && onTheirWay < batchesOnTheirWay {
			batch := k.newBatch()
			onTheirWay++
			k.Append(batch, func(r []broker.AppendResult, err error) { answers <- outcome{batch, r, err} })
			continue
		}
		o := t.await(answers)
		onTheirWay--
		if o.err != nil && !killed {
			t.Fatalf("append: %v", o.err)
		}
		k.note(t, o)
		if !killed && len(k.acked) >= enough {
			killGroup(k.process.cmd.Process)
			killed = true
		}
	}
	k.crash(t)
}

// appendOneAndKill kills the store when it has answered one batch and has nothing to do. What a busy one has acknowledged too early is
// often on its way to the disk; what an idle one has, is not.
func (k *killer) appendOneAndKill(t *T) {
	batch := k.newBatch()
	k.note(t, outcome{batch: batch, results: k.append(t, batch...)})
	k.crash(t)
}

func (k *killer) newBatch() []broker.Record {
	batch := make([]broker.Record, 1+rand.IntN(5))
	for i := range batch {
		r := k.record(fmt.Sprintf("t%d", rand.IntN(20)), "")
		r.Retain = rand.IntN(2) == 0
		if rand.IntN(5) > 0 {
			r.Payload = fmt.Appendf(nil, "%d %s", r.Ref, strings.Repeat("x", rand.IntN(2000)))
			if i%2 == 0 {
				r.Payload = append(r.Payload, binary...)
			}
		}
		if rand.IntN(2) == 0 {
			r = k.everyField(r)
		}
		batch[i] = r
		k.sent[r.Ref] = r
	}
	return batch
}

// note remembers what was acknowledged.
func (k *killer) note(t *T, o outcome) {
	if o.err != nil {
		return
	}
	if len(o.results) != len(o.batch) {
		t.Fatalf("%d results for %d records", len(o.results), len(o.batch))
	}
	for i, r := range o.results {
		ref := o.batch[i].Ref
		if r.Err != nil || (r.Offset == 0 && !r.Duplicate) {
			t.Fatalf("record %d: %+v", ref, r)
		}
		if at, known := k.acked[ref]; known && r.Offset != 0 && at != r.Offset {
			t.Errorf("record %d was acknowledged at offset %d and then at %d", ref, at, r.Offset)
		}
		if r.Offset != 0 {
			k.acked[ref] = r.Offset
		}
	}
}

// verify reads everything and compares it with what was sent and acknowledged.
func (k *killer) verify(t *T) {
	records, end := k.feed(t, broker.FollowFrom{})
	if k.terms[end.Term] || end.Term.IsZero() {
		t.Errorf("term %v is not a new one", end.Term)
	}
	k.terms[end.Term] = true
	offsets := make(map[uint64]uint64) // by ref
	lastOffset, lastRef, disordered := uint64(0), uint64(0), false
	for _, r := range records {
		if !disordered && (r.Offset <= lastOffset || r.Ref <= lastRef) {
			disordered = true
			t.Errorf("offset %d, ref %d come after offset %d, ref %d", r.Offset, r.Ref, lastOffset, lastRef)
		}
		lastOffset, lastRef = r.Offset, r.Ref
		offsets[r.Ref] = r.Offset
		sent := k.sent[r.Ref]
		sent.Offset = r.Offset
		if difference := differRecord(sent, r); difference != "" && !k.changed[r.Ref] {
			if k.changed[r.Ref] = true; len(k.changed) <= maxOfAKind {
				t.Errorf("record %d: %s", r.Ref, difference)
			}
		}
	}
	want := make(map[string]broker.Record)
	retain(want, records)
	for ref, offset := range k.acked {
		if offsets[ref] == offset || k.lost[ref] {
			continue
		}
		if k.lost[ref] = true; len(k.lost) <= maxOfAKind {
			t.Errorf("record %d was acknowledged at offset %d; the feed has it at %d (0: not at all)", ref, offset, offsets[ref])
		}
	}
	k.looks, k.looked = k.looks+1, len(k.acked)
	all, _ := k.load(t)
	same(t, "retained", want, all)
}

// repeat sends everything again that may not have arrived, and some that was acknowledged, in order, as a broker does.
func (k *killer) repeat(t *T) {
	lowest := k.ref
	for ref := range k.sent {
		if _, acked := k.acked[ref]; !acked {
			lowest = min(lowest, ref)
		}
	}
	var batch []broker.Record
	for _, ref := range slices.Sorted(maps.Keys(k.sent)) {
		if ref+10 >= lowest {
			batch = append(batch, k.sent[ref])
		}
	}
	for part := range slices.Chunk(batch, 50) {
		k.note(t, outcome{batch: part, results: k.append(t, part...)})
	}
}
