package broker

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/carillon-mq/carillon/protocol"
	"golang.org/x/sync/singleflight"
)

// archive is what the store keeps of stored topics, for readers that are behind what the log holds.
type archive struct {
	b     *Broker
	store HistoryStore
	reads singleflight.Group
	slots chan struct{} // one for each read at a time (log.md P7)

	mu    sync.Mutex
	keeps bool   // the store that is there keeps histories
	terms []Term // its terms, oldest first
	floor struct {
		offset uint64
		until  time.Time
	}
}

const (
	archiveReads = 8
	archiveBytes = 64 << 10 // of a page, but for its first message
)

func newArchive(b *Broker, store Store) *archive {
	a := &archive{b: b, slots: make(chan struct{}, archiveReads)}
	a.store, _ = store.(HistoryStore)
	return a
}

// opened takes what the store that is there now has told of itself.
func (a *archive) opened(keeps bool, terms []Term) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.keeps, a.terms = keeps, terms
	a.floor.until = time.Time{}
}

// serves reports whether a reader of the filters finds something there that the log may not hold.
func (a *archive) serves(filters ...string) bool {
	if a == nil {
		return false
	}
	a.mu.Lock()
	keeps := a.keeps
	a.mu.Unlock()
	return keeps && slices.ContainsFunc(filters, a.b.opt.mayBeStored)
}

// common is the last offset that the store and who holds pos have in common (log.md P2); none when the store does not know the term.
func (a *archive) common(pos protocol.Position) (offset uint64, ok bool) {
	_, head := a.b.ring.Tip()
	present := a.b.Position().Term
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.terms) == 0 && pos.Term == present { // a store that cannot list them
		return min(pos.Offset, head), true
	}
	return commonOffset(a.terms, head, pos)
}

func commonOffset(terms []Term, head uint64, pos protocol.Position) (offset uint64, ok bool) {
	for i, term := range terms {
		if term.ID != pos.Term {
			continue
		}
		end := head
		if i+1 < len(terms) {
			end = terms[i+1].First - 1
		}
		return min(pos.Offset, end), true
	}
	return 0, false
}

// page is a part of what the store keeps, as packets.
type page struct {
	packets []*Packet
	topics  []string
	offsets []uint64
	exclude []string // the origins that are excluded, by message; nil: none is
	after   uint64   // it begins behind this offset
	through uint64   // everything up to here is in it
	lost    uint64   // what is missing is not above this offset
	head    uint64
	done    bool

	conflated bool // the newest of each topic alone
}

// read is one page behind an offset. Identical reads at the same time are one. It blocks until ctx ends, and from its turn on at most
// for Limits.StoreTimeout.
func (a *archive) read(ctx context.Context, q HistoryQuery) (*page, error) {
	key := fmt.Sprintf("%d %d %d %d %s", q.After, q.Through, q.Last, q.Limit, strings.Join(q.Filters, " "))
	p, err, _ := a.reads.Do(key, func() (any, error) {
		if err := a.takeSlot(ctx); err != nil {
			return nil, err
		}
		defer func() { <-a.slots }()
		ctx, cancel := context.WithTimeout(ctx, a.b.opt.Limits.StoreTimeout)
		defer cancel()
		found, err := a.store.ReadHistory(ctx, q)
		if err != nil {
			return nil, err
		}
		return newPage(&found), nil
	})
	if err != nil {
		return nil, err
	}
	return p.(*page), nil
}

// takeSlot waits for a turn to read.
func (a *archive) takeSlot(ctx context.Context) error {
	select {
	case a.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// newPage encodes as much of a history as a reader is given at once.
func newPage(h *HistoryPage) *page {
	p := &page{after: h.After, through: h.Through, head: h.Head, done: h.Done, lost: h.lost()}
	bytes := 0
	for i := range h.Records {
		m := h.Records[i].message(ClassStored)
		if bytes > 0 && bytes+len(m.Buf) > archiveBytes {
			p.through, p.done = p.offsets[i-1], false
			break
		}
		bytes += len(m.Buf)
		p.packets = append(p.packets, m.Unplaced())
		p.topics = append(p.topics, m.Topic)
		p.offsets = append(p.offsets, m.Offset)
		p.excludes(h.Records[i].Exclude, len(h.Records))
	}
	return p
}

// reach is the offset at or below which everything was accepted longer ago than window, by what the records say.
func (a *archive) reach(window time.Duration) (uint64, error) {
	a.mu.Lock()
	offset, until := a.floor.offset, a.floor.until
	a.mu.Unlock()
	if time.Now().Before(until) {
		return offset, nil
	}
	found, err, _ := a.reads.Do("reach", func() (any, error) { return a.findReach(window) })
	if err != nil {
		return 0, err
	}
	return found.(uint64), nil
}

func (a *archive) findReach(window time.Duration) (uint64, error) {
	ctx, cancel := context.WithTimeout(a.b.ctx, a.b.opt.Limits.StoreTimeout)
	defer cancel()
	from := time.Now().Add(-window).UnixMilli()
	_, high := a.b.ring.Tip()
	low := uint64(0)
	for low < high {
		middle := low + (high-low)/2
		r, err := a.first(ctx, middle)
		switch {
		case err != nil:
			return 0, err
		case r == nil || r.Time >= from:
			high = middle
		default:
			low = r.Offset
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.floor.offset, a.floor.until = low, time.Now().Add(reachFor)
	return low, nil
}

// first is the first record of any stored topic behind an offset; nil if there is none.
func (a *archive) first(ctx context.Context, after uint64) (*Record, error) {
	q := HistoryQuery{Filters: a.b.opt.storedFilters(), After: after, Limit: 1}
	for {
		found, err := a.store.ReadHistory(ctx, q)
		switch {
		case err != nil:
			return nil, err
		case len(found.Records) > 0:
			return &found.Records[0], nil
		case found.Done:
			return nil, nil
		}
		q.After = found.Through
	}
}

// reachFor is how long an answer of reach is good.
const reachFor = 10 * time.Second
