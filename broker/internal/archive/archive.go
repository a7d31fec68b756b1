// Package archive is what the store keeps of stored topics, for readers that are behind what the log holds (docs/log.md, P7).
//
//	Common        where a reader of another run, or of another store, goes on
//	Read          a page for readers, encoded once however many ask for it
//	Gather        a page of history, as messages
//	Newest, Reach where readers may begin that name no position, or may not go back without a bound
//
// The store is asked by a bounded number of callers at a time, each for a bounded time.
package archive

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/carillon-mq/carillon/broker/internal/ring"
	"github.com/carillon-mq/carillon/broker/internal/rules"
	"github.com/carillon-mq/carillon/broker/store"
	"github.com/carillon-mq/carillon/protocol"
	"golang.org/x/sync/singleflight"
)

// Archive is a store's history beside a log. Its methods may be called concurrently; of a nil one, Serves alone.
type Archive struct {
	store   store.HistoryStore
	ring    *ring.Ring
	rules   rules.Rules
	timeout time.Duration // of one read, from its turn on
	reads   singleflight.Group
	slots   chan struct{} // one for each read at a time (log.md P7)
	faults  atomic.Uint64

	mu    sync.Mutex
	keeps bool         // the store that is there keeps histories
	terms []store.Term // its terms, oldest first
	floor struct {
		offset uint64
		until  time.Time
	}
}

// counting counts the pages that break the contract.
type counting struct {
	store.HistoryStore
	faults *atomic.Uint64
}

func (c counting) ReadHistory(ctx context.Context, q store.HistoryQuery) (store.HistoryPage, error) {
	p, err := c.HistoryStore.ReadHistory(ctx, q)
	if errors.Is(err, store.ErrMalformed) {
		c.faults.Add(1)
	}
	return p, err
}

// Faults is how many pages the store has answered with that break its contract. Nothing of them was delivered.
func (a *Archive) Faults() uint64 { return a.faults.Load() }

// PageBytes bounds a Page, but for its first message.
const PageBytes = 64 << 10

// readsAtOnce is how many ask the store at a time.
const readsAtOnce = 8

// New is the archive of st, with r as the log that begins where it ends. Nothing is there until Opened.
func New(st store.Store, r *ring.Ring, topics rules.Rules, timeout time.Duration) *Archive {
	a := &Archive{ring: r, rules: topics, timeout: timeout, slots: make(chan struct{}, readsAtOnce)}
	if history, ok := st.(store.HistoryStore); ok {
		a.store = counting{history, &a.faults}
	}
	return a
}

// Opened takes what the store that is there now has told of itself: whether it keeps histories, and its terms.
func (a *Archive) Opened(keeps bool, terms []store.Term) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.keeps, a.terms = keeps, terms
	a.floor.until = time.Time{}
}

// Serves reports whether a reader of the filters finds something there that the log may not hold.
func (a *Archive) Serves(filters ...string) bool {
	if a == nil {
		return false
	}
	a.mu.Lock()
	keeps := a.keeps
	a.mu.Unlock()
	return keeps && slices.ContainsFunc(filters, a.rules.MayBeStored)
}

// Common is the last offset that the store, whose present term is the given one, and who holds pos have in common (log.md P2); none when the
// store does not know the term of pos.
func (a *Archive) Common(pos protocol.Position, present protocol.RunID) (offset uint64, ok bool) {
	_, head := a.ring.Tip()
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.terms) == 0 && pos.Term == present { // a store that cannot list them
		return min(pos.Offset, head), true
	}
	return Common(a.terms, head, pos)
}

// Common is the last offset that a store of the given terms and head and who holds pos have in common (log.md P2).
func Common(terms []store.Term, head uint64, pos protocol.Position) (offset uint64, ok bool) {
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

// Read is one page behind an offset. Identical reads at the same time are one. It blocks until ctx ends, and from its turn on at most
// for the archive's timeout.
func (a *Archive) Read(ctx context.Context, q store.HistoryQuery) (*Page, error) {
	key := fmt.Sprintf("%d %d %d %d %s", q.After, q.Through, q.Last, q.Limit, strings.Join(q.Filters, " "))
	p, err, _ := a.reads.Do(key, func() (any, error) {
		if err := a.takeSlot(ctx); err != nil {
			return nil, err
		}
		defer func() { <-a.slots }()
		ctx, cancel := context.WithTimeout(ctx, a.timeout)
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
	return p.(*Page), nil
}

// takeSlot waits for a turn to read.
func (a *Archive) takeSlot(ctx context.Context) error {
	select {
	case a.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Reach is the offset at or below which everything was accepted longer ago than window, by what the records say.
func (a *Archive) Reach(ctx context.Context, window time.Duration) (uint64, error) {
	a.mu.Lock()
	offset, until := a.floor.offset, a.floor.until
	a.mu.Unlock()
	if time.Now().Before(until) {
		return offset, nil
	}
	found, err, _ := a.reads.Do("reach", func() (any, error) { return a.findReach(ctx, window) })
	if err != nil {
		return 0, err
	}
	return found.(uint64), nil
}

func (a *Archive) findReach(ctx context.Context, window time.Duration) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	from := time.Now().Add(-window).UnixMilli()
	_, high := a.ring.Tip()
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
func (a *Archive) first(ctx context.Context, after uint64) (*store.Record, error) {
	q := store.HistoryQuery{Filters: a.rules.StoredFilters(), After: after, Limit: 1}
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

// reachFor is how long an answer of Reach is good.
const reachFor = 10 * time.Second
