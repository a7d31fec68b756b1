// Package messageids knows the publishes of the last minutes by their ids, so that a repetition is answered and not applied
// (docs/log.md U2).
//
// A publish goes: Begin, Appended, Answered. What is not appended after all is taken out by Refused or Withdraw. Names are what a
// store knows a publish by: with Keep the table only sees to it that the id is not used for anything else beside it.
package messageids

import (
	"crypto/rand"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// An id is known for Window at least, and until its generation is over at most.
const (
	Window     = 2 * time.Minute
	generation = 30 * time.Second
)

// Table is the publishes of the last minutes. A user's id is a key of 8 bytes, 0 for none. Keys are held in generations, which are
// dropped whole. When the table is full, publishes with a new id are refused: the window is never shortened.
//
// W is who waits with a repetition of a publish that is on its way. All methods may be called concurrently.
type Table[W any] struct {
	limit int
	salt  [16]byte
	room  atomic.Pointer[[]byte] // for who hashes next

	mu          sync.Mutex
	generations []*generationOf // oldest first; the last one grows
	count       int             // ids
	kept        int             // that a store knows; with count within the limit
	waiting     map[uint64][]W  // by key
}

type generationOf struct {
	began   time.Time
	ids     map[uint64]first
	offsets map[uint64]uint64 // of those that the store has committed
	kept    map[uint64]uint64 // digests of those that a store knows
}

// first is what is known of the publish that came first.
type first struct {
	seq    uint64 // or how far it is
	digest uint64
}

// A first publish without a seq to be told.
const (
	onItsWay = 0
	noPlace  = math.MaxUint64     // appended without one
	unknown  = math.MaxUint64 - 1 // its publisher was told that the outcome is unknown
)

// Place is where a message is: its seq and its offset in the store, 0 where it has none.
type Place struct{ Seq, Offset uint64 }

// Outcome is what a publish with an id is.
type Outcome uint8

// The outcomes of Begin.
const (
	First   Outcome = iota // go on with it
	Repeats                // the first one is at the place returned
	Waits                  // the first one is on its way: whoever waits is returned when it is answered
	Unclear                // whether the first one was published is not known
	Differs                // the id is another publish's
	Full                   // as many ids are known as may be
)

// New returns an empty table of at most limit ids; a negative limit is none.
func New[W any](limit int) *Table[W] {
	t := &Table[W]{limit: limit, waiting: map[uint64][]W{}}
	rand.Read(t.salt[:])
	return t
}

// Begin takes p in, which is published now. Only a First has a key.
func (t *Table[W]) Begin(p *Publish, now time.Time, who W) (key uint64, at Place, o Outcome) {
	key, digest := t.hash(p)
	t.mu.Lock()
	defer t.mu.Unlock()
	g, f, known := t.findLocked(key)
	if known {
		at, o = t.repeatsLocked(key, digest, g, f, who)
		return 0, at, o
	}
	if other, is := t.keptLocked(key); is != nil && other != digest {
		return 0, at, Differs
	}
	if !t.addLocked(key, digest, now) {
		return 0, at, Full
	}
	return key, at, First
}

// Keep is Begin of a publish that a store knows by its names. Of a First it may be that there is no key: the store has one of its id to
// decide about, or there is no room to remember it.
func (t *Table[W]) Keep(p *Publish, now time.Time, who W) (key uint64, at Place, o Outcome) {
	key, digest := t.hash(p)
	t.mu.Lock()
	defer t.mu.Unlock()
	if g, f, known := t.findLocked(key); known {
		at, o = t.repeatsLocked(key, digest, g, f, who)
		return 0, at, o
	}
	if _, is := t.keptLocked(key); is != nil {
		return 0, at, First
	}
	g := t.newestLocked(now)
	if t.limit >= 0 && t.count+t.kept >= t.limit {
		return 0, at, First
	}
	if g.kept == nil {
		g.kept = map[uint64]uint64{}
	}
	g.kept[key] = digest
	t.kept++
	return key, at, First
}

// keptLocked is the digest of what a store knows by that key, and where that is noted; nil: nowhere.
func (t *Table[W]) keptLocked(key uint64) (digest uint64, in *generationOf) {
	if t.kept == 0 {
		return 0, nil
	}
	for _, g := range slices.Backward(t.generations) {
		if digest, is := g.kept[key]; is {
			return digest, g
		}
	}
	return 0, nil
}

// freeKeptLocked forgets what a store was to know, and does not.
func (t *Table[W]) freeKeptLocked(key uint64) {
	if _, g := t.keptLocked(key); g != nil {
		delete(g.kept, key)
		t.kept--
	}
}

// repeatsLocked is what a publish is of whose id f is known.
func (t *Table[W]) repeatsLocked(key, digest uint64, g *generationOf, f first, who W) (at Place, o Outcome) {
	switch {
	case f.digest != digest:
		return at, Differs
	case f.seq == onItsWay:
		t.waiting[key] = append(t.waiting[key], who)
		return at, Waits
	case f.seq == unknown:
		return at, Unclear
	}
	at = Place{f.seq, g.offsets[key]}
	if f.seq == noPlace {
		at.Seq = 0
	}
	return at, Repeats
}

func (t *Table[W]) findLocked(key uint64) (g *generationOf, f first, known bool) {
	for _, g = range slices.Backward(t.generations) {
		if f, known = g.ids[key]; known {
			return g, f, true
		}
	}
	return nil, f, false
}

func (t *Table[W]) addLocked(key, digest uint64, now time.Time) bool {
	g := t.newestLocked(now)
	if t.limit >= 0 && t.count >= t.limit {
		return false
	}
	for i := 0; t.limit >= 0 && t.count+t.kept >= t.limit; i++ { // what the store knows makes room, the oldest first
		t.kept -= len(t.generations[i].kept)
		t.generations[i].kept = nil
	}
	g.ids[key] = first{onItsWay, digest}
	t.count++
	return true
}

// newestLocked is the generation that grows now.
func (t *Table[W]) newestLocked(now time.Time) *generationOf {
	t.dropLocked(now)
	if n := len(t.generations); n > 0 && now.Sub(t.generations[n-1].began) < generation {
		return t.generations[n-1]
	}
	return t.generateLocked(now)
}

func (t *Table[W]) generateLocked(began time.Time) *generationOf {
	g := &generationOf{began: began, ids: map[uint64]first{}}
	t.generations = append(t.generations, g)
	time.AfterFunc(time.Until(began)+generation+Window, t.drop) // also when nothing is published any more
	return g
}

func (t *Table[W]) drop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.dropLocked(time.Now())
}

func (t *Table[W]) dropLocked(now time.Time) {
	for len(t.generations) > 0 && now.Sub(t.generations[0].began) >= generation+Window {
		t.count -= len(t.generations[0].ids)
		t.kept -= len(t.generations[0].kept)
		t.generations[0] = nil
		t.generations = t.generations[1:]
	}
}

// Appended notes the place of a publish that is answered later.
func (t *Table[W]) Appended(key uint64, at Place) {
	if key == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.appendedLocked(key, at)
}

func (t *Table[W]) appendedLocked(key uint64, at Place) {
	g, f, known := t.findLocked(key)
	if !known {
		return
	}
	if f.seq = at.Seq; at.Seq == 0 {
		f.seq = noPlace
	}
	g.ids[key] = f
	g.setOffset(key, at.Offset)
}

func (g *generationOf) setOffset(key, offset uint64) {
	if offset == 0 {
		return
	}
	if g.offsets == nil {
		g.offsets = map[uint64]uint64{}
	}
	g.offsets[key] = offset
}

// Answered notes the place of a publish and returns who has waited with a repetition of it.
func (t *Table[W]) Answered(key uint64, at Place) []W {
	if key == 0 {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.appendedLocked(key, at)
	return t.waitedLocked(key)
}

// Refused notes that a publish was refused and returns who has waited with a repetition of it. If its outcome is unclear the id stays
// taken, unless it was appended already; otherwise it is free again.
func (t *Table[W]) Refused(key uint64, unclear bool) []W {
	if key == 0 {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	g, f, known := t.findLocked(key)
	switch {
	case !known && !unclear:
		t.freeKeptLocked(key)
	case !known || f.seq != onItsWay:
	case unclear:
		f.seq = unknown
		g.ids[key] = f
	default:
		delete(g.ids, key)
		t.count--
	}
	return t.waitedLocked(key)
}

func (t *Table[W]) waitedLocked(key uint64) []W {
	if len(t.waiting) == 0 {
		return nil
	}
	who := t.waiting[key]
	delete(t.waiting, key)
	return who
}

// Withdraw takes a publish out: it was not appended and never will be.
func (t *Table[W]) Withdraw(key uint64) {
	if key == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if g, _, known := t.findLocked(key); known {
		delete(g.ids, key)
		t.count--
		return
	}
	t.freeKeptLocked(key)
}

// Len is how many ids are known, but for those that a store knows.
func (t *Table[W]) Len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.count
}
