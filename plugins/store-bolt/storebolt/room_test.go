package storebolt

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/protocol"
)

// TestOfAFullFileEverythingCanBeTakenAway fills small files in different ways, so that their free pages lie in different pieces, until they
// take nothing anymore. Whatever then takes something away must be done: clears, one or many at a time, what expires, and rules that keep
// less; and afterwards there is room again.
func TestOfAFullFileEverythingCanBeTakenAway(t *testing.T) {
	for seed := range uint64(10) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			fillAndEmpty(t, rand.New(rand.NewPCG(seed, 0)))
		})
	}
}

// filler fills a store with records of sizes that belong together.
type filler struct {
	t        *testing.T
	s        *Store
	rand     *rand.Rand
	now      *atomic.Int64
	most     int // bytes of a payload
	retained map[string]bool
	expires  map[string]bool
	keys     int
}

func fillAndEmpty(t *testing.T, r *rand.Rand) {
	now := &atomic.Int64{}
	now.Store(1_700_000_000_000)
	most := []int{40, 400, 3000, 20 << 10, 60 << 10}[r.IntN(5)]
	limit := int64(4 << 20)
	if most < 1000 {
		limit = 1 << 20
	}
	cfg := Config{
		Dir: t.TempDir(), MaxFileBytes: limit, KeepRecords: 1 + r.IntN(50), segmentRecords: 4 + r.IntN(60), hotSegments: 1 + r.IntN(8),
		tick: time.Hour, now: now.Load,
	}
	s := open(t, cfg)
	setRules(t, s, broker.RetentionRule{Match: "h.>", Count: 1 << 40})
	f := &filler{t: t, s: s, rand: r, now: now, most: most, retained: map[string]bool{}, expires: map[string]bool{}}
	f.fill()
	if r.IntN(2) == 0 {
		closeStore(t, s)
		f.s = open(t, cfg)
	}
	f.empty()
}

func (f *filler) record() broker.Record {
	r := record(fmt.Sprintf("h.%d", f.rand.IntN(50)), strings.Repeat("x", 1+f.rand.IntN(f.most)))
	if f.rand.IntN(3) > 0 {
		r.Topic, r.Retain = fmt.Sprintf("r.%d", f.rand.IntN(2000)), true
		if f.rand.IntN(4) == 0 {
			r.Topic, r.Expires = r.Topic+".e", f.now.Load()+60_000
		}
	}
	return f.key(r)
}

// key gives some records an id, as publishes have them.
func (f *filler) key(r broker.Record) broker.Record {
	if f.rand.IntN(2) == 0 {
		f.keys++
		r.Key, r.Digest = fmt.Appendf(nil, "key %20d", f.keys), []byte("12345678")
	}
	return r
}

// fill appends batches until the file has refused so many that it has come to an end with what it takes.
func (f *filler) fill() {
	for refused, batches := 0, 0; refused < 200 && batches < 600; batches++ {
		batch := make([]broker.Record, 1+f.rand.IntN(1+f.rand.IntN(30)))
		for i := range batch {
			batch[i] = f.record()
		}
		for i, result := range appendAll(f.t, f.s, batch...) {
			r := &batch[i]
			switch {
			case result.Err == nil && r.Retain:
				f.retained[r.Topic], f.expires[r.Topic] = true, r.Expires != 0
			case result.Err != nil && result.Err.Code == protocol.CodeQuota:
				refused++
			case result.Err != nil:
				f.t.Fatalf("an append: %v", result.Err)
			}
		}
	}
}

func (f *filler) empty() {
	topics := make([]string, 0, len(f.retained))
	for topic := range f.retained {
		if !f.expires[topic] {
			topics = append(topics, topic)
		}
	}
	f.rand.Shuffle(len(topics), func(i, j int) { topics[i], topics[j] = topics[j], topics[i] })
	if f.rand.IntN(2) == 0 {
		f.now.Add(120_000)
		settleAll(f.t, f.s)
	}
	for len(topics) > 0 {
		n := min(len(topics), 1+f.rand.IntN(20))
		batch := make([]broker.Record, n)
		for i := range batch {
			batch[i] = f.key(retained(topics[i], ""))
		}
		topics = topics[n:]
		for i, result := range appendAll(f.t, f.s, batch...) {
			if result.Err != nil {
				f.t.Fatalf("the clear of %s, with %d to come, payloads of %d bytes, %d used: %v", batch[i].Topic, len(topics), f.most, f.s.room.used.Load(), result.Err)
			}
		}
	}
	f.now.Add(120_000)
	settleAll(f.t, f.s)
	if all, _ := mustLoadRetained(f.t, f.s); len(all) != 0 {
		f.t.Errorf("%d retained records are left", len(all))
	}
	setRules(f.t, f.s, broker.RetentionRule{Match: "h.>", Count: 1})
	settleAll(f.t, f.s)
	if r := appendAll(f.t, f.s, record("h.1", strings.Repeat("x", f.most)))[0]; r.Err != nil {
		f.t.Errorf("when it is empty again: %v", r.Err)
	}
}
