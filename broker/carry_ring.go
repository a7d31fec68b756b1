package broker

import (
	"math"
	"time"

	"github.com/carillon-mq/carillon/protocol"
)

// What stands before an entry.
const (
	carryFleeting = 1 << iota // its body is gone
	carryStored
	carryKept // it is its topic's retained value
	carryFlags
)

// seal ends all appending and returns what is held, which nobody changes any more.
func (r *ring) seal() ([]*chunk, carryHead) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sealed = true
	return append([]*chunk(nil), r.chunks...), carryHead{
		first: r.chunks[0].first, head: r.head.Load(), before: r.chunks[0].before, watermark: r.watermark, base: r.base,
	}
}

// writeEntries writes what a sealed ring holds, each entry with its age.
func (r *ring) writeEntries(c *carryWriter, chunks []*chunk, withValues bool) {
	now := time.Since(r.began).Milliseconds()
	mark := chunks[0].before
	for _, ch := range chunks {
		for i := range ch.n.Load() {
			e := &ch.entries[i]
			p := e.body.Load()
			value, _ := r.retained.get(e.topic)
			c.uint(bit(e.fleeting, carryFleeting) | bit(e.stored, carryStored) | bit(withValues && value.packet == p && p != nil, carryKept))
			c.int(now - e.at)
			c.int(int64(e.watermark) - int64(mark))
			mark = e.watermark
			if e.fleeting {
				c.bytes([]byte(e.topic))
			} else {
				c.bytes(p.data)
			}
		}
	}
}

// readEntries fills the ring.
func (was *carried) readEntries(c *carryReader) {
	r := was.ring
	r.mu.Lock()
	defer r.mu.Unlock()
	r.base, r.watermark = was.base, was.before
	r.head.Store(was.first - 1)
	r.chunks, r.bytes = nil, 0
	r.addChunkLocked(was.first)
	for seq := was.first; seq <= was.head && c.err == nil; seq++ {
		was.readEntry(c, seq)
	}
	r.watermark = was.watermark
	if was.stored && r.chunks[len(r.chunks)-1].n.Load() > 0 {
		r.addChunkLocked(was.head + 1) // so that it can be forgotten and what comes now is not
	}
}

func (was *carried) readEntry(c *carryReader, seq uint64) {
	r := was.ring
	flags, age, step := c.uint(), c.int(), c.int()
	mark := int64(r.watermark) + step
	if flags >= carryFlags || age < 0 || mark < 0 || mark > protocol.MaxInt {
		c.fail(errCarryForm)
	}
	e := carriedEntry{
		fleeting: flags&carryFleeting != 0, stored: flags&carryStored != 0,
		at: -age - was.elapsed.Milliseconds(), watermark: uint64(mark),
	}
	if e.fleeting {
		e.topic = string(c.bytes(protocol.MaxTopicBytes))
		if flags != carryFleeting || protocol.ValidateTopic(e.topic) != nil {
			c.fail(errCarryForm)
		}
	} else {
		e.body = c.bytes(math.MaxUint32)
	}
	var m protocol.Message
	if c.err == nil && !e.fleeting {
		m = c.message(e.body)
		e.topic = m.Topic
		if m.Offset > e.watermark || m.Seq != seq && (m.Seq != 0 || !m.Retain) {
			c.fail(errCarryForm)
		}
	}
	if c.err != nil {
		return
	}
	p := r.putBackLocked(&e)
	if flags&carryKept == 0 {
		return
	}
	if !m.Retain || len(m.Payload) == 0 || was.stored {
		c.fail(errCarryForm)
		return
	}
	was.retained.load(retainedValue{topic: m.Topic, seq: seq, packet: p})
}

// message decodes b, a Message.
func (c *carryReader) message(b []byte) (m protocol.Message) {
	raw, rest, err := protocol.Next(b)
	if err == nil && raw.Type == protocol.TypeMessage {
		err = m.Decode(raw)
	}
	if err != nil || raw.Type != protocol.TypeMessage || len(rest) > 0 || protocol.ValidateTopic(m.Topic) != nil {
		c.fail(errCarryForm)
	}
	return m
}

// carriedEntry is what is not known of an entry by its place.
type carriedEntry struct {
	topic     string
	watermark uint64
	at        int64
	fleeting  bool
	stored    bool
	body      []byte
}

// putBackLocked appends an entry as it was. mu is held, and nobody reads yet.
func (r *ring) putBackLocked(was *carriedEntry) *Packet {
	c, n := r.slotLocked()
	r.watermark = was.watermark
	e := &c.entries[n]
	e.seq, e.chunk, e.watermark = r.head.Load()+1, c.first, was.watermark
	e.at, e.topic, e.fleeting, e.stored = was.at, was.topic, was.fleeting, was.stored
	e.cost, e.bodyCost = entryOverhead+int64(len(was.topic)), int64(cap(was.body))
	r.lastAt = max(r.lastAt, e.at)
	var p *Packet
	if !was.fleeting {
		p = &Packet{data: was.body, seq: e.seq, mark: e.watermark}
		e.body.Store(p)
	}
	r.enterLocked(c, e)
	r.dropLocked(r.limit, r.appended)
	c.n.Store(n + 1)
	r.head.Store(e.seq)
	return p
}

// forget drops everything that is held. The next entry begins a chunk.
func (r *ring) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.chunks[len(r.chunks)-1].n.Load() > 0 {
		r.addChunkLocked(r.head.Load() + 1)
	}
	r.dropLocked(0, r.slowest())
}

// linkRetained gives the values that were loaded from the store their places in the log, so that no reader that begins before one
// gets it in front of what it has replaced (log.md K2).
func (b *Broker) linkRetained() {
	oldest, mark := b.ring.oldest()
	at, held := b.ring.seek(oldest)
	if !held {
		return
	}
	for e := at.next(); e != nil; e = at.next() {
		if p := e.body.Load(); e.watermark > mark && p != nil {
			if _, offset := p.place(); offset == e.watermark { // and not the first one behind what was loaded at a start
				b.retained.link(e.topic, offset, e.seq, p)
			}
		}
		mark = e.watermark
	}
}

// write writes the values that no entry from first on has.
func (r *retained) write(c *carryWriter, first uint64) {
	after, begun := "", false
	for {
		var page []retainedValue
		r.mu.Lock()
		r.tree.Ascend(retainedValue{topic: after}, func(v retainedValue) bool {
			if !begun || v.topic != after {
				page = append(page, v)
			}
			return len(page) < snapshotPage
		})
		r.mu.Unlock()
		if len(page) == 0 {
			c.uint(0)
			return
		}
		for _, v := range page {
			if v.seq < first {
				c.uint(v.seq)
				c.bytes(v.packet.data)
			}
		}
		after, begun = page[len(page)-1].topic, true
	}
}

// read takes what write wrote.
func (r *retained) read(c *carryReader, first uint64) {
	for seq := c.uint(); seq > 0 && c.err == nil; seq = c.uint() {
		data := c.bytes(math.MaxUint32)
		m := c.message(data)
		if seq >= first || m.Seq != seq && m.Seq != 0 || m.Offset != 0 || !m.Retain || len(m.Payload) == 0 {
			c.fail(errCarryForm)
		}
		if c.err == nil {
			r.load(retainedValue{topic: m.Topic, seq: seq, packet: &Packet{data: data, seq: seq}})
		}
	}
}
