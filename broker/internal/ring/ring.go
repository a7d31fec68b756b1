package ring

import (
	"math"
	"sort"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/carillon-mq/carillon/broker/internal/sketch"
	"github.com/carillon-mq/carillon/protocol"
)

// chunkEntries is the most entries of one chunk; a chunk also ends when it holds its share of the ring's bytes.
const chunkEntries = 256

// Entry is one message in the log. All fields but body are set before the entry is published and never change.
type Entry struct {
	Seq       uint64
	Chunk     uint64 // first seq of its chunk
	Watermark uint64 // highest store offset at or before this entry (log.md A1)
	at        int64  // milliseconds since the ring began; no clock that is set moves it
	Topic     string
	Fleeting  bool   // of class live, and not retained
	Stored    bool   // the store keeps it in its topic's history
	cost      int64  // charged until the chunk is dropped
	BodyCost  int64  // charged until the body is released
	Extra     *Extra // nil: it has nothing of that

	// body is the encoded Message packet. It becomes nil for a fleeting entry once every shard has passed it (A6).
	body atomic.Pointer[Packet]
}

// Packet is the encoded Message, nil once it is released.
func (e *Entry) Packet() *Packet { return e.body.Load() }

// Bytes is what the entry is charged.
func (e *Entry) Bytes() int64 { return e.cost + e.BodyCost }

const (
	entrySlot     = int64(unsafe.Sizeof(Entry{}))
	entryOverhead = entrySlot + int64(unsafe.Sizeof(Packet{})) + 16
	chunkOverhead = int64(unsafe.Sizeof(chunk{}))
)

// chunk is a run of consecutive entries. The appender fills it and then publishes n; readers load n and read what is below
// it without a lock. topics and sketch are complete, and may be read, once next is set.
type chunk struct {
	first   uint64 // seq of entries[0]
	before  uint64 // the watermark right before it
	n       atomic.Uint32
	next    atomic.Pointer[chunk]
	topics  topics
	sketch  sketch.Sketch // of topics
	entries []Entry       // of constant length

	// Guarded by ring.mu.
	bytes  int64  // cost of the entries
	held   int64  // charged to the ring at present
	formed int64  // of that, for the forms of its messages
	end    uint64 // ring.appended behind the last entry
}

// Ring is the log: an append-only list of chunks of which the oldest are dropped when it holds more than limit bytes.
//
// One appender at a time holds mu (A1). Readers find their place under mu and then read without it.
type Ring struct {
	limit      int64
	chunkLimit int64
	slots      int // entries of a chunk
	began      time.Time
	retained   *Retained
	slowest    func() uint64 // of the bytes ever appended, those that every shard has passed
	nudge      func()        // wakes every shard

	forming [16]sync.Mutex // of forms, by seq

	mu         sync.Mutex
	room       *sync.Cond // a shard has moved on while an appender waited (A5)
	waiting    atomic.Int32
	chunks     []*chunk
	bytes      int64   // held now
	formed     int64   // of that, for forms
	looseBytes int64   // of that, for those of messages that are not in the log
	loose      []loose // oldest first
	appended   uint64  // ever appended, in bytes
	watermark  uint64
	base       feedStart
	lastAt     int64      // of the newest entry
	live       []liveBody // bodies of fleeting entries that are still held, oldest first
	closed     bool
	sealed     bool // nothing is appended any more

	head atomic.Uint64 // seq of the newest entry, 0 before the first
}

// feedStart is where the log began to follow the store.
type feedStart struct {
	offset uint64 // what the store keeps of stored topics above it is in the log, from entry first on
	first  uint64
	live   uint64 // the first entry behind what was loaded
	head   uint64 // the store's when that was loaded
}

// liveBody remembers when the body of a fleeting entry may be released.
type liveBody struct {
	e     *Entry
	c     *chunk
	until uint64 // in bytes ever appended
}

// New makes a log that holds about limit bytes, and keeps kept in step.
func New(limit int64, kept *Retained) *Ring {
	r := &Ring{
		limit: limit, chunkLimit: max(limit/16, 4<<10), retained: kept, began: time.Now(), lastAt: math.MinInt64, nudge: func() {},
	}
	r.slots = int(min(max(r.chunkLimit/256, 8), chunkEntries)) // so that the slots of a small ring take a small part of it
	r.slowest = func() uint64 { return r.appended }
	r.room = sync.NewCond(&r.mu)
	r.addChunkLocked(1)
	return r
}

// Attach gives the ring its readers that never lose an entry, before the first append: slowest is how many of the bytes ever appended all of
// them have passed, nudge wakes them.
func (r *Ring) Attach(slowest func() uint64, nudge func()) { r.slowest, r.nudge = slowest, nudge }

// Append gives m its place at the end of the log. It returns the entry, nil when the ring is sealed, and how many bytes have ever
// been appended.
func (r *Ring) Append(m *Message) (e *Entry, appended uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.appendLocked(m), r.appended
}

// AppendExpired is Append of m, which clears its topic's retained value, if that has expired; else it is not appended, and there is no
// entry.
func (r *Ring) AppendExpired(m *Message) (e *Entry, appended uint64) {
	m.expired = true
	return r.Append(m)
}

// EverAppended is how many bytes have ever been appended.
func (r *Ring) EverAppended() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.appended
}

// Last is the seq of the newest entry, 0 before the first.
func (r *Ring) Last() uint64 { return r.head.Load() }

func (r *Ring) addChunkLocked(first uint64) *chunk {
	c := &chunk{first: first, before: r.watermark, entries: make([]Entry, r.slots), topics: newTopics(r.slots), sketch: sketch.New(r.slots), end: r.appended}
	c.held = c.overhead()
	if n := len(r.chunks); n > 0 {
		r.chunks[n-1].next.Store(c)
	}
	r.chunks = append(r.chunks, c)
	r.bytes += c.held
	return c
}

// overhead is what c takes with nothing in it.
func (c *chunk) overhead() int64 {
	return chunkOverhead + int64(len(c.entries))*entrySlot + c.topics.size() + c.sketch.Bytes()
}

// appendLocked gives m its place at the end of the log and returns it, or nil when the ring is sealed. It waits while a shard is too
// far behind (A5), which is bounded by CPU alone: shards never wait for a socket. m.buf becomes the entry's packet, m.seq its place. mu
// is held; who appends wakes the shards after letting go of it.
func (r *Ring) appendLocked(m *Message) *Entry {
	r.awaitRoomLocked()
	if r.sealed || m.expired && !r.retained.hasExpired(m.Topic, r.Now()) {
		return nil
	}
	c, n := r.slotLocked()
	r.watermark = max(r.watermark, m.Offset)

	e := &c.entries[n]
	e.Seq, e.Chunk = r.head.Load()+1, c.first
	e.Watermark = r.watermark
	r.lastAt = max(r.lastAt, time.Since(r.began).Milliseconds()-m.age)
	e.at, e.Topic, e.Extra = r.lastAt, m.Topic, m.Extra
	e.Fleeting = m.Live && !m.retain
	e.Stored = m.Kept && m.Offset > 0
	e.cost, e.BodyCost = entryOverhead+int64(len(m.Topic))+m.Extra.cost(), int64(cap(m.Buf))
	m.Seq = e.Seq // before anybody can pass the entry and acknowledge it
	seq := e.Seq
	if m.Live {
		seq = 0 // a live message has no position: it moves nobody's token
	}
	p := &Packet{data: protocol.FinishMessage(m.Buf, seq, m.Offset), seq: e.Seq, mark: e.Watermark}
	p.setExtra(m.Extra)
	e.body.Store(p)
	r.enterLocked(c, e)
	if e.Fleeting {
		r.live = append(r.live, liveBody{e, c, r.appended})
	}
	r.trimLocked()
	switch {
	case m.retain && m.loaded:
		r.retained.link(m.Topic, m.Offset, e.Seq, e.body.Load())
	case m.retain:
		r.retained.put(m, e.Seq, e.body.Load()) // before anybody can pass the entry (K1)
	}
	c.n.Store(n + 1)
	r.head.Store(e.Seq)
	return e
}

// slotLocked is where the next entry goes.
func (r *Ring) slotLocked() (c *chunk, n uint32) {
	c = r.chunks[len(r.chunks)-1]
	n = c.n.Load()
	if int(n) == len(c.entries) || (n > 0 && c.bytes >= r.chunkLimit) {
		return r.addChunkLocked(r.head.Load() + 1), 0
	}
	return c, n
}

// enterLocked charges e to its chunk, which knows its topic from here on.
func (r *Ring) enterLocked(c *chunk, e *Entry) {
	if c.topics.add(int(e.Seq-c.first), c.entries) {
		c.sketch.Add(e.Topic)
	}
	cost := e.cost + e.BodyCost
	c.bytes += cost
	c.held += cost - entrySlot // which the chunk was charged for
	r.bytes += cost - entrySlot
	r.appended += uint64(cost)
	c.end = r.appended
}

// awaitRoomLocked waits while a shard is more than a quarter of the ring behind, unless the shards have ended.
func (r *Ring) awaitRoomLocked() {
	crowded := func() bool { return r.appended-r.slowest() > uint64(r.limit/4) }
	if !crowded() {
		return
	}
	r.waiting.Add(1) // before looking again, so that a shard which moves on from here sees it
	for crowded() && !r.closed {
		r.nudge()
		r.room.Wait()
	}
	r.waiting.Add(-1)
}

// Close ends all waiting for room: the shards pass nothing any more.
func (r *Ring) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	r.room.Broadcast()
}

// trimLocked releases what no shard needs any more: bodies of fleeting entries, then whole chunks from the old end. A chunk that
// a shard has not passed stays, so that no shard is ever overtaken and what a lagging session misses is counted.
func (r *Ring) trimLocked() {
	passed := r.slowest()
	for len(r.live) > 0 && r.live[0].until <= passed {
		l := r.live[0]
		r.dropFormLocked(l.c, l.e.body.Load(), false)
		l.e.body.Store(nil)
		l.c.held -= l.e.BodyCost
		r.bytes -= l.e.BodyCost
		r.live[0] = liveBody{} // else it would keep its chunk
		r.live = r.live[1:]
	}
	r.dropLocked(r.limit, passed)
}

// dropLocked drops the oldest chunks until at most limit bytes are held.
func (r *Ring) dropLocked(limit int64, passed uint64) {
	for r.bytes > limit && len(r.chunks) > 1 && r.chunks[0].end <= passed {
		r.dropFormsLocked(r.chunks[0], false)
		r.bytes -= r.chunks[0].held
		r.chunks[0] = nil
		r.chunks = r.chunks[1:]
	}
}

// Moved is called by a shard that has passed entries, so that a waiting appender looks again.
func (r *Ring) Moved() {
	if r.waiting.Load() == 0 {
		return
	}
	r.mu.Lock()
	r.room.Broadcast()
	r.mu.Unlock()
}

// Oldest is the seq of the oldest entry that is held (head+1 when there is none) and the watermark right before it.
func (r *Ring) Oldest() (seq, before uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.chunks[0].first, r.chunks[0].before
}

// Tip is the seq of the newest entry and the watermark there.
func (r *Ring) Tip() (seq, watermark uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.head.Load(), r.watermark
}

// Seek finds the entry with the given seq. ok is false when it is no longer held; a seq just above head is the place of the
// next entry. The result is good for reading on from there without a lock, for as long as the chunk is not kept across a wait.
func (r *Ring) Seek(seq uint64) (at Place, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if seq < r.chunks[0].first {
		return Place{}, false
	}
	i := sort.Search(len(r.chunks), func(i int) bool { return r.chunks[i].first > seq }) - 1
	c := r.chunks[i]
	return Place{c, uint32(min(seq-c.first, uint64(c.n.Load())))}, true
}

// ChunkOf is the first seq of the chunk that has the entry seq, or will have it; ok is false when it is no longer held.
func (r *Ring) ChunkOf(seq uint64) (first uint64, ok bool) {
	at, ok := r.Seek(seq)
	if !ok {
		return 0, false
	}
	return at.c.first, true
}

// FirstWithin is the seq of the first held entry that is not older than window, or head+1.
func (r *Ring) FirstWithin(window time.Duration) uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	from := (time.Since(r.began) - window).Milliseconds()
	for _, c := range r.chunks {
		n := int(c.n.Load())
		if n == 0 || c.entries[n-1].at < from {
			continue
		}
		return c.entries[sort.Search(n, func(i int) bool { return c.entries[i].at >= from })].Seq
	}
	return r.head.Load() + 1
}

// Place is a point in the ring, between two entries.
type Place struct {
	c *chunk
	i uint32
}

// Next returns the entry at the place and moves behind it, or nil when there is none yet.
func (p *Place) Next() *Entry {
	for {
		following := p.c.next.Load() // before n: once it is set, n is final
		if p.i < p.c.n.Load() {
			e := &p.c.entries[p.i]
			p.i++
			return e
		}
		if following == nil {
			return nil
		}
		p.c, p.i = following, 0
	}
}
