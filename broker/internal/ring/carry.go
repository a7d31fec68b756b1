package ring

import (
	"math"
	"time"

	"github.com/carillon-mq/carillon/broker/internal/carry"

	"github.com/carillon-mq/carillon/protocol"
)

// What stands before an entry.
const (
	flagFleeting = 1 << iota // its body is gone
	flagStored
	flagKept    // it is its topic's retained value
	flagExclude // an origin is excluded
	flagExpires
	flagsEnd
)

// Extent is what a log has to know of itself to go on in another run.
type Extent struct {
	First     uint64 // seq of the first entry
	Head      uint64 // and of the last; first-1 when there is none
	before    uint64 // watermark before the first
	Watermark uint64 // and behind the last
	base      feedStart
}

func (x *Extent) numbers() []*uint64 {
	return []*uint64{&x.First, &x.Head, &x.before, &x.Watermark, &x.base.offset, &x.base.first, &x.base.live, &x.base.head}
}

// Write writes x before the entries.
func (x *Extent) Write(c *carry.Writer) {
	for _, v := range x.numbers() {
		c.Uint(*v)
	}
}

// Read takes what write wrote.
func (x *Extent) Read(c *carry.Reader) {
	for _, v := range x.numbers() {
		*v = c.Uint()
	}
	if x.First == 0 || x.Head+1 < x.First || x.base.first > x.base.live || x.base.live > x.Head+1 {
		c.Fail(carry.ErrForm)
	}
}

// Seal ends all appending: what is held is not changed any more.
func (r *Ring) Seal() Extent {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sealed = true
	return Extent{First: r.chunks[0].first, Head: r.head.Load(), before: r.chunks[0].before, Watermark: r.watermark, base: r.base}
}

// WriteEntries writes what a sealed ring holds, each entry with its age, and if need be which of them are retained values.
func (r *Ring) WriteEntries(c *carry.Writer, withValues bool) {
	now := time.Since(r.began).Milliseconds()
	mark := r.chunks[0].before
	for _, ch := range r.chunks {
		for i := range ch.n.Load() {
			e := &ch.entries[i]
			p := e.body.Load()
			value, _ := r.retained.Get(e.Topic)
			c.Uint(bit(e.Fleeting, flagFleeting) | bit(e.Stored, flagStored) | bit(withValues && value.Packet == p && p != nil, flagKept) | e.Extra.flags())
			c.Int(now - e.at)
			c.Int(int64(e.Watermark) - int64(mark))
			mark = e.Watermark
			e.Extra.write(c, r.Now())
			if e.Fleeting {
				c.Bytes([]byte(e.Topic))
			} else {
				c.Bytes(p.data)
			}
		}
	}
}

// ReadEntries fills a new ring with what writeEntries wrote, elapsed ago. withValues is what it was.
func (r *Ring) ReadEntries(c *carry.Reader, x *Extent, elapsed time.Duration, withValues bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.base, r.watermark = x.base, x.before
	r.head.Store(x.First - 1)
	r.chunks, r.bytes = nil, 0
	r.addChunkLocked(x.First)
	for seq := x.First; seq <= x.Head && c.Err == nil; seq++ {
		r.readEntryLocked(c, seq, elapsed, withValues)
	}
	r.watermark = x.Watermark
	if !withValues && r.chunks[len(r.chunks)-1].n.Load() > 0 {
		r.addChunkLocked(x.Head + 1) // so that it can be forgotten and what comes now is not
	}
}

func (r *Ring) readEntryLocked(c *carry.Reader, seq uint64, elapsed time.Duration, withValues bool) {
	flags, age, step := c.Uint(), c.Int(), c.Int()
	mark := int64(r.watermark) + step
	if flags >= flagsEnd || age < 0 || mark < 0 || mark > protocol.MaxInt {
		c.Fail(carry.ErrForm)
	}
	e := savedEntry{
		fleeting: flags&flagFleeting != 0, stored: flags&flagStored != 0,
		at: -age - elapsed.Milliseconds(), watermark: uint64(mark), extra: readExtra(c, flags, r.Now()-elapsed.Milliseconds()),
	}
	if e.fleeting {
		e.topic = string(c.Bytes(protocol.MaxTopicBytes))
		if flags&^(flagExclude|flagExpires) != flagFleeting || protocol.ValidateTopic(e.topic) != nil {
			c.Fail(carry.ErrForm)
		}
	} else {
		e.body = c.Bytes(math.MaxUint32)
	}
	var m protocol.Message
	if c.Err == nil && !e.fleeting {
		m = readMessage(c, e.body)
		e.topic = m.Topic
		if m.Offset > e.watermark || m.Seq != seq && (m.Seq != 0 || !m.Retain) {
			c.Fail(carry.ErrForm)
		}
	}
	if c.Err != nil {
		return
	}
	p := r.putBackLocked(&e)
	if flags&flagKept == 0 {
		return
	}
	if !m.Retain || len(m.Payload) == 0 || !withValues {
		c.Fail(carry.ErrForm)
		return
	}
	r.retained.Load(Value{Topic: m.Topic, seq: seq, Packet: p})
}

// readMessage decodes b, a Message.
func readMessage(c *carry.Reader, b []byte) (m protocol.Message) {
	raw, rest, err := protocol.Next(b)
	if err == nil && raw.Type == protocol.TypeMessage {
		err = m.Decode(raw)
	}
	if err != nil || raw.Type != protocol.TypeMessage || len(rest) > 0 || protocol.ValidateTopic(m.Topic) != nil {
		c.Fail(carry.ErrForm)
	}
	return m
}

// savedEntry is what is not known of an entry by its place.
type savedEntry struct {
	topic     string
	watermark uint64
	at        int64
	fleeting  bool
	stored    bool
	body      []byte
	extra     *Extra
}

// putBackLocked appends an entry as it was. mu is held, and nobody reads yet.
func (r *Ring) putBackLocked(was *savedEntry) *Packet {
	c, n := r.slotLocked()
	r.watermark = was.watermark
	e := &c.entries[n]
	e.Seq, e.Chunk, e.Watermark = r.head.Load()+1, c.first, was.watermark
	e.at, e.Topic, e.Fleeting, e.Stored, e.Extra = was.at, was.topic, was.fleeting, was.stored, was.extra
	e.cost, e.BodyCost = entryOverhead+int64(len(was.topic))+was.extra.cost(), int64(cap(was.body))
	r.lastAt = max(r.lastAt, e.at)
	var p *Packet
	if !was.fleeting {
		p = &Packet{data: was.body, seq: e.Seq, mark: e.Watermark}
		p.setExtra(e.Extra)
		e.body.Store(p)
	}
	r.enterLocked(c, e)
	r.dropLocked(r.limit, r.appended)
	c.n.Store(n + 1)
	r.head.Store(e.Seq)
	return p
}

// Forget drops everything that is held. The next entry begins a chunk.
func (r *Ring) Forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.chunks[len(r.chunks)-1].n.Load() > 0 {
		r.addChunkLocked(r.head.Load() + 1)
	}
	r.dropLocked(0, r.slowest())
}

// LinkRetained gives the values that were loaded from the store their places in the log, so that no reader that begins before one
// gets it in front of what it has replaced (log.md K2).
func (r *Ring) LinkRetained() {
	oldest, mark := r.Oldest()
	at, held := r.Seek(oldest)
	if !held {
		return
	}
	for e := at.Next(); e != nil; e = at.Next() {
		if p := e.body.Load(); e.Watermark > mark && p != nil {
			if _, offset := p.place(); offset == e.Watermark { // and not the first one behind what was loaded at a start
				r.retained.link(e.Topic, offset, e.Seq, p)
			}
		}
		mark = e.Watermark
	}
}

// Write writes the values that no entry from first on has. now is Ring.Now.
func (r *Retained) Write(c *carry.Writer, first uint64, now int64) {
	after, begun := "", false
	for {
		var page []Value
		r.mu.Lock()
		r.tree.Ascend(Value{Topic: after}, func(v Value) bool {
			if !begun || v.Topic != after {
				page = append(page, v)
			}
			return len(page) < snapshotPage
		})
		r.mu.Unlock()
		if len(page) == 0 {
			c.Uint(0)
			return
		}
		for _, v := range page {
			if v.seq < first {
				c.Uint(v.seq)
				c.Bytes(v.Packet.data)
				x := Extra{Expires: v.Packet.Expires()}
				c.Uint(x.flags())
				x.write(c, now)
			}
		}
		after, begun = page[len(page)-1].Topic, true
	}
}

// Read takes what write wrote at now.
func (r *Retained) Read(c *carry.Reader, first uint64, now int64) {
	for seq := c.Uint(); seq > 0 && c.Err == nil; seq = c.Uint() {
		data := c.Bytes(math.MaxUint32)
		m := readMessage(c, data)
		flags := c.Uint()
		x := readExtra(c, flags&flagExpires, now)
		if flags&^flagExpires != 0 || seq >= first || m.Seq != seq && m.Seq != 0 || m.Offset != 0 || !m.Retain || len(m.Payload) == 0 {
			c.Fail(carry.ErrForm)
		}
		if c.Err == nil {
			p := &Packet{data: data, seq: seq}
			p.setExtra(x)
			r.Load(Value{Topic: m.Topic, seq: seq, Packet: p})
		}
	}
}

// flags say what of x is written.
func (x *Extra) flags() uint64 {
	if x == nil {
		return 0
	}
	return bit(x.Exclude != "", flagExclude) | bit(x.Expires != 0, flagExpires)
}

// write writes x, and how long after now it expires.
func (x *Extra) write(c *carry.Writer, now int64) {
	if x.flags()&flagExclude != 0 {
		c.Bytes([]byte(x.Exclude))
	}
	if x.flags()&flagExpires != 0 {
		c.Int(x.Expires - now)
	}
}

// readExtra takes what write wrote at now.
func readExtra(c *carry.Reader, flags uint64, now int64) *Extra {
	if flags&(flagExclude|flagExpires) == 0 {
		return nil
	}
	x := &Extra{}
	if flags&flagExclude != 0 {
		if x.Exclude = string(c.Bytes(protocol.MaxOrigin)); x.Exclude == "" {
			c.Fail(carry.ErrForm)
		}
	}
	if flags&flagExpires != 0 {
		x.Expires = max(now+c.Int(), 1) // 0 would be never
	}
	return x
}

func bit(is bool, b uint64) uint64 {
	if is {
		return b
	}
	return 0
}
