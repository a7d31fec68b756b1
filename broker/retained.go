package broker

import (
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

// retained is the last retained value of every topic, in order of topics (log.md K1). Lock order: ring.mu, then mu.
type retained struct {
	limit      int
	limitBytes int64

	mu    sync.Mutex
	tree  *btree.BTreeG[retainedValue]
	bytes int64
}

// retainedValue is one topic's value.
type retainedValue struct {
	topic  string
	seq    uint64 // 0 when it was loaded from the store
	offset uint64 // 0 when there is no store
	packet *Packet
}

func (v *retainedValue) cost() int64 {
	return int64(len(v.topic)+cap(v.packet.data)) + retainedOverhead
}

func newRetained(limit int, limitBytes int64) *retained {
	less := func(a, b retainedValue) bool { return a.topic < b.topic }
	return &retained{
		limit: limit, limitBytes: limitBytes,
		tree: btree.NewBTreeGOptions(less, btree.Options{NoLocks: true, Degree: 64}),
	}
}

// put applies a retained publish that took its place in the log. A value that was loaded is not set back by what the feed brings of
// the time before.
func (r *retained) put(m *message, seq uint64, p *Packet) {
	r.mu.Lock()
	defer r.mu.Unlock()
	v := retainedValue{topic: m.topic, seq: seq, offset: m.offset, packet: p}
	if m.clear {
		r.deleteLocked(v)
		return
	}
	old, replaced := r.tree.Set(v)
	switch {
	case replaced && old.offset > v.offset:
		r.tree.Set(old)
		return
	case replaced:
		r.bytes -= old.cost()
	}
	r.bytes += v.cost()
}

// load takes a value as the store has it. The feed begins behind it.
func (r *retained) load(v retainedValue) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if old, replaced := r.tree.Set(v); replaced {
		r.bytes -= old.cost()
	}
	r.bytes += v.cost()
}

// link gives a value that was loaded its place in the log, where the same record has been loaded, too: a snapshot as of a place before
// it has to leave it to the log (log.md K2).
func (r *retained) link(topic string, offset, seq uint64, p *Packet) {
	r.mu.Lock()
	defer r.mu.Unlock()
	v, held := r.tree.Get(retainedValue{topic: topic})
	if !held || v.offset != offset {
		return
	}
	r.bytes -= v.cost()
	v.seq, v.packet = seq, p
	r.bytes += v.cost()
	r.tree.Set(v)
}

// keepOnly forgets every value of a topic that named does not have: the store has none.
func (r *retained) keepOnly(named map[string]struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var gone []retainedValue
	r.tree.Scan(func(v retainedValue) bool {
		if _, kept := named[v.topic]; !kept {
			gone = append(gone, v)
		}
		return true
	})
	for _, v := range gone {
		r.deleteLocked(v)
	}
}

func (r *retained) deleteLocked(v retainedValue) {
	old, held := r.tree.Delete(v)
	if held && old.offset > v.offset {
		r.tree.Set(old)
		return
	}
	if held {
		r.bytes -= old.cost()
	}
}

// room reports whether a value of about size bytes for topic is within the limits. What makes nothing grow always is.
func (r *retained) room(topic string, size int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	old, held := r.tree.Get(retainedValue{topic: topic})
	if !held && exceeds(r.tree.Len()+1, r.limit) {
		return false
	}
	grows := int64(len(topic)+messageRoom(topic, size)) + retainedOverhead
	if held {
		grows -= old.cost()
	}
	return grows <= 0 || r.limitBytes == Unlimited || r.bytes+grows <= r.limitBytes
}

// get is the value of one topic.
func (r *retained) get(topic string) (retainedValue, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.tree.Get(retainedValue{topic: topic})
}

func (r *retained) isEmpty() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.tree.Len() == 0
}

// size is the number of topics and the bytes they are charged.
func (r *retained) size() (topics int, bytes int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.tree.Len(), r.bytes
}

// snapshot walks the values that a filter matches, page by page, over the current map (log.md K2).
type snapshot struct {
	filter  string
	literal bool
	prefix  string // every match begins with it
	after   string // the last topic looked at
	begun   bool
	head    uint64 // values with a higher seq come through the log
	reset   bool
	except  []string // filters whose matches have been sent already
}

func newSnapshot(filter string, head uint64, reset bool) *snapshot {
	return &snapshot{filter: filter, literal: protocol.IsLiteral(filter), prefix: literalPrefix(filter), head: head, reset: reset}
}

// literalPrefix is the part of filter before its first wildcard level.
func literalPrefix(filter string) string {
	if i := strings.IndexAny(filter, "*>"); i >= 0 {
		return filter[:i]
	}
	return filter
}

// wants reports whether v belongs to the snapshot.
func (w *snapshot) wants(v *retainedValue) bool {
	return v.seq <= w.head && protocol.Match(w.filter, v.topic) &&
		!slices.ContainsFunc(w.except, func(sent string) bool { return protocol.Match(sent, v.topic) })
}

// page appends the packets of the next values to dst. It looks at no more than snapshotPage values, and stops early when
// bytes have been gathered. more is false after the last.
func (r *retained) page(w *snapshot, dst []*Packet, bytes int) (out []*Packet, more bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if w.literal {
		if v, held := r.tree.Get(retainedValue{topic: w.filter}); held && w.wants(&v) {
			dst = append(dst, v.packet)
		}
		return dst, false
	}
	from := w.prefix
	if w.begun {
		from = w.after
	}
	looked := 0
	r.tree.Ascend(retainedValue{topic: from}, func(v retainedValue) bool {
		if w.begun && v.topic == w.after {
			return true
		}
		if !strings.HasPrefix(v.topic, w.prefix) {
			return false
		}
		if looked == snapshotPage || bytes <= 0 {
			more = true
			return false
		}
		looked++
		w.after, w.begun = v.topic, true
		if w.wants(&v) {
			dst = append(dst, v.packet)
			bytes -= len(v.packet.data)
		}
		return true
	})
	return dst, more
}

// exceeds reports whether n is above limit, of which Unlimited is none.
func exceeds(n, limit int) bool { return limit != Unlimited && n > limit }
