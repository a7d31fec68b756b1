// Package revoked remembers whose rights have been taken back, and until when that matters.
package revoked

import (
	"container/heap"
	"sync"
	"sync/atomic"
	"time"

	"github.com/carillon-mq/carillon/protocol"
)

// Kind is what a revocation names.
type Kind uint8

// The kinds.
const (
	User Kind = iota
	Token
)

// Entry is a revocation in force.
type Entry struct {
	IssuedBefore time.Time // what was issued then or later is spared; zero: nothing is
	Until        time.Time
	Why          *protocol.Error
}

// Table holds entries by user and by token, at most so many: beyond that those go first that end soonest. Its methods may be called
// concurrently.
type Table struct {
	most  int
	count atomic.Int64 // of entries: looking into an empty table costs nothing

	mu        sync.Mutex
	entries   map[subject]Entry
	ends      ends // every entry's, and some that have changed since
	forgotten uint64
}

type subject struct {
	kind Kind
	id   string
}

// New makes an empty table; a negative number is no limit.
func New(most int) *Table {
	return &Table{most: most, entries: map[subject]Entry{}}
}

// Put adds e, unless it is over. What is there already of the same subject holds until the later end, for what was issued before the later
// time, and for the reason that came last.
func (t *Table) Put(kind Kind, id string, e Entry, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.expireLocked(now)
	if !now.Before(e.Until) {
		return
	}
	s := subject{kind, id}
	old, known := t.entries[s]
	if known {
		e = merge(old, e)
	}
	t.entries[s] = e
	if !known || !e.Until.Equal(old.Until) {
		heap.Push(&t.ends, end{e.Until, s})
	}
	for t.most >= 0 && len(t.entries) > t.most {
		if t.popLocked() {
			t.forgotten++
		}
	}
	t.count.Store(int64(len(t.entries)))
	if len(t.ends) > 2*len(t.entries)+64 {
		t.rebuildLocked()
	}
}

func merge(old, e Entry) Entry {
	switch {
	case old.IssuedBefore.IsZero():
		e.IssuedBefore = time.Time{}
	case !e.IssuedBefore.IsZero() && e.IssuedBefore.Before(old.IssuedBefore):
		e.IssuedBefore = old.IssuedBefore
	}
	if e.Until.Before(old.Until) {
		e.Until = old.Until
	}
	return e
}

// Find says why what was issued to user with the token of that id is not good any more; nil if it is. Each may be empty, and issued zero:
// what is not known to have been issued later is not spared.
func (t *Table) Find(user, token string, issued, now time.Time) *protocol.Error {
	if t.count.Load() == 0 {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range [...]subject{{Token, token}, {User, user}} {
		e, is := t.entries[s]
		if !is || s.id == "" || !now.Before(e.Until) {
			continue
		}
		if e.IssuedBefore.IsZero() || issued.Before(e.IssuedBefore) {
			return e.Why
		}
	}
	return nil
}

// Size is how many entries there are, and how many had to be given up before their end.
func (t *Table) Size() (entries int, forgotten uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.entries), t.forgotten
}

func (t *Table) expireLocked(now time.Time) {
	for len(t.ends) > 0 && !now.Before(t.ends[0].at) {
		t.popLocked()
	}
	t.count.Store(int64(len(t.entries)))
}

// popLocked takes the earliest end out, and the entry if it is still its.
func (t *Table) popLocked() (dropped bool) {
	first := heap.Pop(&t.ends).(end)
	if e, is := t.entries[first.of]; !is || !e.Until.Equal(first.at) {
		return false
	}
	delete(t.entries, first.of)
	return true
}

func (t *Table) rebuildLocked() {
	t.ends = t.ends[:0]
	for s, e := range t.entries {
		t.ends = append(t.ends, end{e.Until, s})
	}
	heap.Init(&t.ends)
}

// ends is a heap of when entries end, the earliest first.
type ends []end

type end struct {
	at time.Time
	of subject
}

func (h ends) Len() int           { return len(h) }
func (h ends) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h ends) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push implements heap.Interface.
func (h *ends) Push(x any) { *h = append(*h, x.(end)) }

// Pop implements heap.Interface.
func (h *ends) Pop() any {
	last := len(*h) - 1
	x := (*h)[last]
	*h = (*h)[:last]
	return x
}
