package ring

import (
	"slices"
	"sort"
	"time"
)

// Follow says that the log goes on from offset of the store: what is committed above it comes through the feed.
func (r *Ring) Follow(offset uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	next := r.head.Load() + 1
	r.watermark = offset
	r.base = feedStart{offset: offset, first: next, live: next, head: offset}
	if c := r.chunks[len(r.chunks)-1]; c.n.Load() == 0 {
		c.before = offset
	}
}

// Load appends m, which was committed before the log began. What is loaded takes half of the ring at most.
func (r *Ring) Load(m *Message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m.loaded = true
	m.age = max(0, time.Now().UnixMilli()-m.time)
	r.appendLocked(m)
	r.dropLocked(r.limit/2, r.slowest())
}

// Loaded ends what follow began: all that the store has kept of stored topics up to head, above offset, has been loaded.
func (r *Ring) Loaded(offset, head uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if offset > r.completeFromLocked() {
		r.base.first, _ = r.behindLocked(offset)
		r.base.offset = offset
	}
	r.base.live, r.base.head = r.head.Load()+1, head
	r.watermark = max(r.watermark, head)
}

// RunBegan is the first entry of this run of the log, held or not.
func (r *Ring) RunBegan() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return max(r.base.live, 1)
}

// CompleteFrom is the offset above which the log has everything that the store keeps of stored topics.
func (r *Ring) CompleteFrom() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.completeFromLocked()
}

func (r *Ring) completeFromLocked() uint64 {
	if c := r.chunks[0]; c.first > r.base.first {
		return c.before
	}
	return r.base.offset
}

// Join finds the entry from which a reader goes on in the log that has everything the store keeps up to offset, and the watermark
// right before it. It fails when the log has not everything that is behind offset.
func (r *Ring) Join(offset uint64) (next, mark uint64, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	complete := r.completeFromLocked()
	switch {
	case offset < complete:
		return 0, 0, false
	case offset == complete:
		return max(r.chunks[0].first, r.base.first), complete, true
	}
	next, mark = r.behindLocked(offset)
	if next > r.base.live && offset <= r.base.head && r.base.live >= r.chunks[0].first {
		return r.base.live, r.base.head, true // what lies between is not the store's
	}
	return next, mark, true
}

// behindLocked finds the first entry whose watermark is above offset, of those from base.first on, or the place of the next one.
func (r *Ring) behindLocked(offset uint64) (next, mark uint64) {
	began := sort.Search(len(r.chunks), func(i int) bool { return r.chunks[i].first > r.base.first })
	from := max(began-1, 0)
	at := from + max(sort.Search(len(r.chunks)-from, func(i int) bool { return i > 0 && r.chunks[from+i].before > offset })-1, 0)
	c := r.chunks[at]
	n := int(c.n.Load())
	skip := 0
	if r.base.first > c.first {
		skip = min(int(r.base.first-c.first), n)
	}
	i := skip + sort.Search(n-skip, func(i int) bool { return c.entries[skip+i].Watermark > offset })
	switch {
	case i > skip:
		return c.first + uint64(i), c.entries[i-1].Watermark
	case skip > 0:
		return c.first + uint64(i), r.base.offset
	}
	return c.first + uint64(i), c.before
}

// WatermarkBefore is the watermark right before the entry seq, which is the next to come or held; ok is false if it is not.
func (r *Ring) WatermarkBefore(seq uint64) (mark uint64, ok bool) {
	at, ok := r.Seek(seq)
	if !ok {
		return 0, false
	}
	if at.i == 0 {
		return at.c.before, true
	}
	return at.c.entries[at.i-1].Watermark, true
}

// Newest finds where the newest n entries that m wants begin, expired ones left out: the seq of the first of them, and how many there are.
func (r *Ring) Newest(m *Matcher, n int) (first uint64, found int) {
	r.mu.Lock()
	chunks := slices.Clone(r.chunks)
	first = r.head.Load() + 1
	r.mu.Unlock()
	for _, c := range slices.Backward(chunks) {
		var wanted marks
		complete := c.next.Load() != nil
		if complete {
			wanted = m.in(c, 0)
		}
		for k := int(c.n.Load()) - 1; k >= 0; k-- {
			if complete && !wanted.has(k) {
				continue
			}
			e := &c.entries[k]
			if e.Seq >= first || e.Fleeting || !m.wants(e) || r.Expired(e) {
				continue
			}
			first = e.Seq
			if found++; found == n {
				return first, found
			}
		}
	}
	return first, found
}

// Size reports the bytes held and the age of the oldest entry (0 when empty).
func (r *Ring) Size() (bytes int64, span time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c := r.chunks[0]; c.n.Load() > 0 {
		span = time.Since(r.began) - time.Duration(c.entries[0].at)*time.Millisecond
	}
	return r.bytes, max(0, span)
}

// Age is how long the entry seq has been in the log, or the oldest that is held.
func (r *Ring) Age(seq uint64) time.Duration {
	oldest, _ := r.Oldest()
	at, ok := r.Seek(max(seq, oldest))
	if !ok {
		return 0
	}
	e := at.Next()
	if e == nil {
		return 0
	}
	return max(0, time.Since(r.began)-time.Duration(e.at)*time.Millisecond)
}

// SeqOf is the seq that the message at offset of the store was told with, 0 if the log does not hold it.
func (r *Ring) SeqOf(offset uint64) uint64 {
	r.mu.Lock()
	seq, _ := r.behindLocked(offset - 1)
	r.mu.Unlock()
	at, held := r.Seek(seq)
	if !held {
		return 0
	}
	e := at.Next()
	if e == nil || e.Watermark != offset {
		return 0
	}
	body := e.body.Load()
	if body == nil {
		return 0
	}
	if seq, at := body.place(); at == offset {
		return seq
	}
	return 0
}
