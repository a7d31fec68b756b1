package ring

import (
	"math"
	"slices"
	"strings"
	"sync"

	"github.com/carillon-mq/carillon/protocol"
	"github.com/tidwall/btree"
)

// retainedOverhead is what one retained topic costs beside its topic and packet: its place in the tree, and the headers.
const retainedOverhead = 96

// snapshotPage is how many retained values are read under one short lock (log.md K2).
const snapshotPage = 256

// Retained is the last retained value of every topic, in order of topics (log.md K1). Lock order: ring.mu, then mu.
type Retained struct {
	limit      int
	limitBytes int64

	mu     sync.Mutex
	tree   *btree.BTreeG[Value]
	bytes  int64
	ends   *btree.BTreeG[end] // nil: the store sees to it
	sooner chan struct{}
}

// Value is one topic's value.
type Value struct {
	Topic  string
	seq    uint64 // 0 when it was loaded from the store
	Offset uint64 // 0 when there is no store
	Packet *Packet
}

func (v *Value) cost() int64 {
	cost := int64(len(v.Topic)+cap(v.Packet.data)) + retainedOverhead
	if v.Packet.Expires() != 0 {
		cost += RetainedEnd
	}
	return cost
}

// NewRetained keeps at most limit values that take limitBytes; a number below 0 is no limit.
func NewRetained(limit int, limitBytes int64) *Retained {
	if limit < 0 {
		limit = math.MaxInt
	}
	if limitBytes < 0 {
		limitBytes = math.MaxInt64 / 2
	}
	less := func(a, b Value) bool { return a.Topic < b.Topic }
	return &Retained{
		limit: limit, limitBytes: limitBytes, sooner: make(chan struct{}, 1),
		tree: btree.NewBTreeGOptions(less, btree.Options{NoLocks: true, Degree: 64}),
	}
}

// put applies a retained publish that took its place in the log. A value that was loaded is not set back by what the feed brings of
// the time before.
func (r *Retained) put(m *Message, seq uint64, p *Packet) {
	r.mu.Lock()
	defer r.mu.Unlock()
	v := Value{Topic: m.Topic, seq: seq, Offset: m.Offset, Packet: p}
	if m.clear {
		r.deleteLocked(v)
		return
	}
	old, replaced := r.tree.Set(v)
	if replaced && old.Offset > v.Offset {
		r.tree.Set(old)
		return
	}
	if replaced {
		r.leftLocked(&old)
	}
	r.cameLocked(&v)
}

// cameLocked and leftLocked note that a value is in the map, and that it is not any more.
func (r *Retained) cameLocked(v *Value) {
	r.bytes += v.cost()
	r.endLocked(v)
}

func (r *Retained) leftLocked(v *Value) {
	r.bytes -= v.cost()
	r.unendLocked(v)
}

// Load takes a value as the store has it. The feed begins behind it.
func (r *Retained) Load(v Value) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if old, replaced := r.tree.Set(v); replaced {
		r.leftLocked(&old)
	}
	r.cameLocked(&v)
}

// link gives a value that was loaded its place in the log, where the same record has been loaded, too: a snapshot as of a place before
// it has to leave it to the log (log.md K2).
func (r *Retained) link(topic string, offset, seq uint64, p *Packet) {
	r.mu.Lock()
	defer r.mu.Unlock()
	v, held := r.tree.Get(Value{Topic: topic})
	if !held || v.Offset != offset {
		return
	}
	r.leftLocked(&v)
	v.seq, v.Packet = seq, p
	r.cameLocked(&v)
	r.tree.Set(v)
}

// KeepOnly forgets every value of a topic that named does not have: the store has none.
func (r *Retained) KeepOnly(named map[string]struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var gone []Value
	r.tree.Scan(func(v Value) bool {
		if _, kept := named[v.Topic]; !kept {
			gone = append(gone, v)
		}
		return true
	})
	for _, v := range gone {
		r.deleteLocked(v)
	}
}

func (r *Retained) deleteLocked(v Value) {
	old, held := r.tree.Delete(v)
	if held && old.Offset > v.Offset {
		r.tree.Set(old)
		return
	}
	if held {
		r.leftLocked(&old)
	}
}

// Room reports whether a value of about size bytes for topic is within the limits. What makes nothing grow always is.
func (r *Retained) Room(topic string, size int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	old, held := r.tree.Get(Value{Topic: topic})
	if !held && r.tree.Len()+1 > r.limit {
		return false
	}
	grows := int64(len(topic)+messageRoom(topic, size)) + retainedOverhead
	if held {
		grows -= old.cost()
	}
	return grows <= 0 || r.bytes+grows <= r.limitBytes
}

// Get is the value of one topic.
func (r *Retained) Get(topic string) (Value, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.tree.Get(Value{Topic: topic})
}

// IsEmpty reports whether there is no value at all.
func (r *Retained) IsEmpty() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.tree.Len() == 0
}

// Size is the number of topics and the bytes they are charged.
func (r *Retained) Size() (topics int, bytes int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.tree.Len(), r.bytes
}

// Snapshot walks the values that a filter matches, page by page, over the current map (log.md K2).
type Snapshot struct {
	Filter  string
	Literal bool
	prefix  string // every match begins with it
	after   string // the last topic looked at
	begun   bool
	Head    uint64 // values with a higher seq come through the log
	Reset   bool
	Except  []string // filters whose matches have been sent already
	now     int64    // what has expired by then is left out
}

// NewSnapshot begins a walk over what filter matches, as of the entry head of the log.
func NewSnapshot(filter string, head uint64, reset bool) *Snapshot {
	return &Snapshot{Filter: filter, Literal: protocol.IsLiteral(filter), prefix: literalPrefix(filter), Head: head, Reset: reset}
}

// literalPrefix is the part of filter before its first wildcard level.
func literalPrefix(filter string) string {
	if i := strings.IndexAny(filter, "*>"); i >= 0 {
		return filter[:i]
	}
	return filter
}

// wants reports whether v belongs to the snapshot.
func (w *Snapshot) wants(v *Value) bool {
	return v.seq <= w.Head && !v.Expired(w.now) && protocol.Match(w.Filter, v.Topic) &&
		!slices.ContainsFunc(w.Except, func(sent string) bool { return protocol.Match(sent, v.Topic) })
}

// Page appends the packets of the next values to dst. It looks at no more than snapshotPage values, and stops early when
// bytes have been gathered. What has expired by now, of Ring.Now, is left out. more is false after the last.
func (r *Retained) Page(w *Snapshot, dst []*Packet, bytes int, now int64) (out []*Packet, more bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	w.now = now
	if w.Literal {
		if v, held := r.tree.Get(Value{Topic: w.Filter}); held && w.wants(&v) {
			dst = append(dst, v.Packet)
		}
		return dst, false
	}
	from := w.prefix
	if w.begun {
		from = w.after
	}
	looked := 0
	r.tree.Ascend(Value{Topic: from}, func(v Value) bool {
		if w.begun && v.Topic == w.after {
			return true
		}
		if !strings.HasPrefix(v.Topic, w.prefix) {
			return false
		}
		if looked == snapshotPage || bytes <= 0 {
			more = true
			return false
		}
		looked++
		w.after, w.begun = v.Topic, true
		if w.wants(&v) {
			dst = append(dst, v.Packet)
			bytes -= len(v.Packet.data)
		}
		return true
	})
	return dst, more
}
