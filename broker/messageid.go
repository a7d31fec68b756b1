package broker

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"hash/crc32"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/carillon-mq/carillon/protocol"
)

// An id is known for messageIDWindow at least (log.md U2), and until its generation is over at most.
const (
	messageIDWindow     = 2 * time.Minute
	messageIDGeneration = 30 * time.Second
)

// messageIDs is the table of the publishes with a message id that no store knows, so that a repetition is answered and not applied
// (log.md U2). A user's id is a key of 8 bytes, 0 for none. Keys are held in generations, which are dropped whole. When the table is
// full, publishes with a new id are refused: the window is never shortened.
//
// A publish goes: begin -> appended -> answered. What is not appended after all is taken out by answered or withdraw.
type messageIDs struct {
	limit int
	salt  [16]byte
	room  atomic.Pointer[[]byte] // for who hashes next

	mu          sync.Mutex
	generations []*idGeneration // oldest first; the last one grows
	count       int
	joined      map[uint64][]acknowledge // by key: who waits with a publish that is on its way
}

// acknowledge is how a publish is answered, once, from any goroutine; it must not block.
type acknowledge = func(protocol.Published, *protocol.Error)

type idGeneration struct {
	began   time.Time
	ids     map[uint64]firstPublish
	offsets map[uint64]uint64 // of those that the store has committed
}

// firstPublish is what is known of the publish that came first.
type firstPublish struct {
	seq    uint64 // or how far it is
	digest uint64
}

// A publish without a seq to be told.
const (
	idOnItsWay = 0
	idNoPlace  = math.MaxUint64     // appended, class live
	idUnknown  = math.MaxUint64 - 1 // its publisher was told that the outcome is unknown
)

func newMessageIDs(limit int) *messageIDs {
	t := &messageIDs{limit: limit, joined: map[uint64][]acknowledge{}}
	rand.Read(t.salt[:])
	return t
}

// begin takes in the publish r of user. The first one of its id gets a key and goes on. A repetition has none: it is answered
// with the first one's places, or done will be called when that is answered.
func (t *messageIDs) begin(user string, r *PublishRequest, now time.Time, done acknowledge) (key uint64, ack protocol.Published, answered bool, err *protocol.Error) {
	key, digest := t.hash(user, r)
	t.mu.Lock()
	defer t.mu.Unlock()
	g, first, known := t.findLocked(key)
	switch {
	case !known:
		return key, ack, false, t.addLocked(key, digest, now)
	case first.digest != digest:
		return 0, ack, false, protocol.Errorf(protocol.CodeDuplicateID, "another message with this id was published less than %v ago", messageIDWindow+messageIDGeneration)
	case first.seq == idOnItsWay:
		t.joined[key] = append(t.joined[key], done)
		return 0, ack, false, nil
	case first.seq == idUnknown:
		return 0, ack, false, errUnknown
	}
	ack = protocol.Published{Seq: first.seq, Offset: g.offsets[key], Receivers: -1, Duplicate: true}
	if first.seq == idNoPlace {
		ack.Seq = 0
	}
	if ack.Offset > 0 {
		ack.Durability = protocol.Committed
	}
	return 0, ack, true, nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// hash is the key of r, which nobody can aim at another's, and a checksum of its content, which is to tell what a user has mixed up.
func (t *messageIDs) hash(user string, r *PublishRequest) (key, digest uint64) {
	room := t.room.Swap(nil)
	if room == nil {
		room = new([]byte)
	}
	sum := sha256.Sum256(r.appendID(append((*room)[:0], t.salt[:]...), user))
	key = max(binary.LittleEndian.Uint64(sum[:]), 1)
	content := r.appendContent((*room)[:0])
	*room = content
	defer t.room.Store(room)
	digest = uint64(crc32.Update(crc32.ChecksumIEEE(content), crc32.IEEETable, r.Payload))
	return key, digest<<32 | uint64(crc32.Update(crc32.Checksum(content, castagnoli), castagnoli, r.Payload))
}

func (t *messageIDs) findLocked(key uint64) (g *idGeneration, first firstPublish, known bool) {
	for _, g = range slices.Backward(t.generations) {
		if first, known = g.ids[key]; known {
			return g, first, true
		}
	}
	return nil, first, false
}

func (t *messageIDs) addLocked(key, digest uint64, now time.Time) *protocol.Error {
	t.dropLocked(now)
	if exceeds(t.count+1, t.limit) {
		return protocol.Errorf(protocol.CodeQuota, "%d messages with an id were published in the last %v, that is the limit", t.count, messageIDWindow)
	}
	n := len(t.generations)
	if n == 0 || now.Sub(t.generations[n-1].began) >= messageIDGeneration {
		t.beginLocked(now)
		n = len(t.generations)
	}
	t.generations[n-1].ids[key] = firstPublish{idOnItsWay, digest}
	t.count++
	return nil
}

func (t *messageIDs) beginLocked(began time.Time) *idGeneration {
	g := &idGeneration{began: began, ids: map[uint64]firstPublish{}}
	t.generations = append(t.generations, g)
	time.AfterFunc(time.Until(began)+messageIDGeneration+messageIDWindow, t.drop) // also when nothing is published any more
	return g
}

func (g *idGeneration) setOffset(key, offset uint64) {
	if g.offsets == nil {
		g.offsets = map[uint64]uint64{}
	}
	g.offsets[key] = offset
}

func (t *messageIDs) drop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.dropLocked(time.Now())
}

func (t *messageIDs) dropLocked(now time.Time) {
	for len(t.generations) > 0 && now.Sub(t.generations[0].began) >= messageIDGeneration+messageIDWindow {
		t.count -= len(t.generations[0].ids)
		t.generations[0] = nil
		t.generations = t.generations[1:]
	}
}

// appended notes the places of p, whose answer comes later.
func (t *messageIDs) appended(p *publication) {
	if p.messageKey == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.appendedLocked(p)
}

func (t *messageIDs) appendedLocked(p *publication) {
	g, first, known := t.findLocked(p.messageKey)
	if !known {
		return
	}
	if first.seq = p.seq; p.class == ClassLive {
		first.seq = idNoPlace
	}
	g.ids[p.messageKey] = first
	if p.offset > 0 {
		g.setOffset(p.messageKey, p.offset)
	}
}

// answered answers who has joined p as p is answered, and reports how many these were.
func (t *messageIDs) answered(p *publication, ack protocol.Published, err *protocol.Error) int {
	if p.messageKey == 0 {
		return 0
	}
	t.mu.Lock()
	if err != nil {
		t.refusedLocked(p.messageKey, err)
	} else {
		t.appendedLocked(p)
	}
	var joined []acknowledge
	if len(t.joined) > 0 {
		joined = t.joined[p.messageKey]
		delete(t.joined, p.messageKey)
	}
	t.mu.Unlock()
	if err == nil {
		ack.Receivers, ack.Duplicate = -1, true
	}
	for _, done := range joined {
		done(ack, err)
	}
	return len(joined)
}

func (t *messageIDs) refusedLocked(key uint64, err *protocol.Error) {
	g, first, known := t.findLocked(key)
	switch {
	case !known || first.seq != idOnItsWay:
	case err == errUnknown || err == errPassedOver:
		first.seq = idUnknown
		g.ids[key] = first
	default:
		delete(g.ids, key)
		t.count--
	}
}

// withdraw takes p out: it was not appended and never will be.
func (t *messageIDs) withdraw(p *publication) {
	if p.messageKey == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if g, _, known := t.findLocked(p.messageKey); known {
		delete(g.ids, p.messageKey)
		t.count--
	}
}

func (t *messageIDs) size() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return int64(t.count)
}

// repeat is a publication of which the store has another one at offset, as it said under the given feed.
type repeat struct {
	p      *publication
	offset uint64
	feed   uint64
}

// settleRepeats answers the repetitions of what the log has by now with the places of the first.
func (c *committer) settleRepeats() {
	c.mu.Lock()
	var due []repeat
	var released []*publication
	c.repeats = slices.DeleteFunc(c.repeats, func(r repeat) bool {
		if r.feed != c.feeds || r.p.settled { // a new feed has it sent again
			return true
		}
		if r.offset > c.offset {
			return false
		}
		due = append(due, r)
		released = append(released, c.settleLocked(r.p)...)
		return true
	})
	c.mu.Unlock()
	for _, r := range due {
		r.p.answer(protocol.Published{
			Seq: c.b.ring.seqOf(r.offset), Offset: r.offset, Durability: protocol.Committed, Receivers: -1, Duplicate: true,
		}, nil)
	}
	answerAll(released)
}

// seqOf is the seq that the message at offset of the store was told with, 0 if the log does not hold it.
func (r *ring) seqOf(offset uint64) uint64 {
	r.mu.Lock()
	seq, _ := r.behindLocked(offset - 1)
	r.mu.Unlock()
	at, held := r.seek(seq)
	if !held {
		return 0
	}
	e := at.next()
	if e == nil || e.watermark != offset {
		return 0
	}
	body := e.body.Load()
	if body == nil {
		return 0
	}
	var m protocol.Message
	if raw, _, err := protocol.Next(body.data); err != nil || m.Decode(raw) != nil || m.Offset != offset {
		return 0
	}
	return m.Seq
}
