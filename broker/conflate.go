package broker

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/carillon-mq/carillon/protocol"
	"golang.org/x/time/rate"
)

// conflation is what a subscription has that takes only the newest message of each topic when it is behind ([SUB-10], [SUB-11], log.md
// R5). It keeps its own cursor for good: its shard says when there is something to read, and the drainer looks from the cursor to the
// end of the log each time, and sends the newest of each topic, the older ones first. Guarded by Session.mu.
type conflation struct {
	rate    *rate.Limiter // nil: no bound
	pace    time.Duration // how long messages are gathered
	joined  bool          // in the shard's trie
	told    bool          // Resumed has been sent
	last    uint64        // the newest entry that matched
	waiting bool          // for its rate

	// Messages of class live do not stay in the log.
	fleeting map[string]*Packet // the newest of each topic
	bytes    int
	missed   int64 // did not fit
}

// paceLow is how often a subscription with a high rate is served.
const paceLow = 50 * time.Millisecond

func newConflation(p *protocol.Subscribe) *conflation {
	if !p.Conflated() {
		return nil
	}
	c := &conflation{}
	if n := int(p.MaxRate); n > 0 {
		c.pace = max(time.Second/time.Duration(n), paceLow)
		c.rate = rate.NewLimiter(rate.Limit(n), max(1, int(int64(n)*int64(c.pace)/int64(time.Second))))
	}
	return c
}

// joinConflated puts sub into the trie, so that its shard wakes it. The session's mu is held.
func (sh *shard) joinConflated(sub *subscription) {
	sub.conflated.joined = true
	sh.trie.Insert(sub.filter, &sub.item)
	sh.interest.add(sub.filter, 1)
}

// noteConflated wakes a conflated subscription for an entry. Called by the shard's goroutine.
func (sh *shard) noteConflated(sub *subscription, e *entry) {
	s := sub.session
	s.mu.Lock()
	defer s.mu.Unlock()
	c := sub.conflated
	if s.closed || sub.start == nil || c.last == e.seq {
		return
	}
	c.last = e.seq
	if e.fleeting {
		c.keep(e, s.b.opt.Limits.Pending)
	}
	if sub.start.waiting && !c.waiting {
		sub.start.waiting = false
		s.drainLocked(0)
	}
}

// keep keeps a message that the log will not, if there is room.
func (c *conflation) keep(e *entry, room int) {
	p := e.body.Load()
	if p == nil {
		c.missed++
		return
	}
	old := c.fleeting[e.topic]
	grows := len(p.data) + len(e.topic)
	if old != nil {
		grows = len(p.data) - len(old.data)
	}
	if c.bytes > 0 && c.bytes+grows > room {
		c.missed++
		return
	}
	if c.fleeting == nil {
		c.fleeting = map[string]*Packet{}
	}
	c.fleeting[e.topic] = p
	c.bytes += grows
}

// take takes the message of a fleeting entry, if it is the newest of its topic.
func (c *conflation) take(e *entry) *Packet {
	p := c.fleeting[e.topic]
	if p == nil || p.seq != e.seq {
		return nil
	}
	delete(c.fleeting, e.topic)
	c.bytes -= len(p.data) + len(e.topic)
	return p
}

// allowed is how many messages may be sent now.
func (c *conflation) allowed(now time.Time) int {
	if c.rate == nil {
		return math.MaxInt
	}
	return int(c.rate.TokensAt(now))
}

// readConflated gathers the next messages of a conflated subscription. Called by the drainer, without Session.mu.
func (s *Session) readConflated(sub *subscription, st *starting, batch []*Packet) []*Packet {
	passed := s.shard.passedSeq.Load()
	newest, held := s.b.ring.newestOfEach(st.matcher, st.next, passed)
	s.mu.Lock()
	defer s.mu.Unlock()
	c := sub.conflated
	if sub.start != st {
		return batch // unsubscribed meanwhile
	}
	if !held {
		return s.lostStarting(sub, st, batch)
	}
	most := c.allowed(time.Now())
	if most == 0 && len(newest) > 0 {
		s.restConflated(sub)
		return batch
	}
	read := st.stretch()
	all := c.gather(&read, newest, most)
	if all {
		read.next = max(passed+1, st.next)
	}
	read.mark, _ = s.b.ring.watermarkBefore(read.next)
	read.missed, c.missed = c.missed, 0
	from := s.b.positionAt(st.next-1, st.mark)
	st.next, st.mark = read.next, max(st.mark, read.mark)
	c.sent(s.b, read.count)
	batch = s.b.appendReplay(batch, sub.id, &read, from)
	if !all || c.last >= st.next {
		return batch // there is more
	}
	st.waiting = true
	if !c.told {
		c.told = true
		batch = append(batch, encode(&protocol.Resumed{Subscription: sub.id, Position: s.b.positionAt(st.next-1, st.mark)}))
	}
	return batch
}

// gather takes the packets of at most so many entries, and reports whether it took all.
func (c *conflation) gather(read *stretch, entries []*entry, most int) (all bool) {
	for _, e := range entries {
		if int(read.count) == most || read.bytes >= drainBytes {
			return false
		}
		p := e.body.Load()
		if e.fleeting {
			p = c.take(e)
		}
		read.next = e.seq + 1
		if p == nil { // counted as missed, or from before the subscription
			continue
		}
		read.packets = append(read.packets, p)
		read.bytes += len(p.data)
		read.count++
	}
	return true
}

// conflatePast sends of a page of the store the newest of each topic, as many as the rate allows. Session.mu is held.
func (s *Session) conflatePast(sub *subscription, batch []*Packet) []*Packet {
	p, c := sub.start.past, sub.conflated
	if !p.page.conflated {
		p.page = p.page.newestOfEach()
	}
	most := c.allowed(time.Now())
	if most == 0 {
		s.restConflated(sub)
		return batch
	}
	rest := p.page.split(most)
	batch, pg := s.b.takePage(batch, sub.id, p)
	p.page = rest
	n := uint64(len(pg.packets))
	c.sent(s.b, n)
	batch = append(batch, encode(&protocol.Replay{Subscription: sub.id, Count: n, Kind: protocol.ReplayLog}))
	return append(batch, pg.packets...)
}

// newestOfEach is the page without what is not the newest of its topic.
func (p *page) newestOfEach() *page {
	out := *p
	out.packets, out.topics, out.offsets, out.conflated = nil, nil, nil, true
	last := map[string]int{}
	for i, topic := range p.topics {
		last[topic] = i
	}
	for i, topic := range p.topics {
		if last[topic] == i {
			out.packets = append(out.packets, p.packets[i])
			out.topics = append(out.topics, topic)
			out.offsets = append(out.offsets, p.offsets[i])
		}
	}
	return &out
}

// split cuts the page behind its first n messages and returns the rest; nil if there is none.
func (p *page) split(n int) *page {
	if n >= len(p.packets) {
		return nil
	}
	rest := *p
	rest.packets, rest.topics, rest.offsets = p.packets[n:], p.topics[n:], p.offsets[n:]
	p.packets, p.topics, p.offsets = p.packets[:n], p.topics[:n], p.offsets[:n]
	p.through, p.done = p.offsets[n-1], false
	rest.after = p.through
	return &rest
}

// sent counts messages that are sent.
func (c *conflation) sent(b *Broker, n uint64) {
	b.stats.delivered.Add(n)
	if c.rate != nil {
		c.rate.AllowN(time.Now(), int(n))
	}
}

// restConflated lets a subscription rest until its rate allows something. Session.mu is held.
func (s *Session) restConflated(sub *subscription) {
	st, c := sub.start, sub.conflated
	st.waiting, c.waiting = true, true
	time.AfterFunc(c.pace, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		c.waiting, st.waiting = false, false
		if sub.start == st {
			s.drainLocked(0)
		}
	})
}

// locateConflated tells the conflated subscriptions that have been sent everything where they are. Called by the shard's goroutine,
// between two entries; Session.mu is held.
func (sh *shard) locateConflated(s *Session) {
	for _, sub := range s.starting {
		c := sub.conflated
		if c == nil || sub.start == nil || !sub.start.waiting || c.waiting || c.last >= sub.start.next {
			continue
		}
		sub.start.next, sub.start.mark = sh.next, sh.mark
		s.sendLocked(encode(&protocol.Resumed{Subscription: sub.id, Position: sh.position()}))
	}
}

// newestOfEach finds, of the entries from first to last that m wants, the newest of each topic, in the order of the log. It fails when
// first is no longer held.
func (r *ring) newestOfEach(m *matcher, first, last uint64) (newest []*entry, held bool) {
	at, held := r.seek(first)
	if !held {
		return nil, false
	}
	latest := map[string]*entry{}
	st := stretch{next: first}
	for st.next <= last {
		if r.skip(&at, &st, m, last) {
			continue
		}
		e := at.next()
		if e == nil {
			break
		}
		st.next = e.seq + 1
		if e.seq >= m.since(e.topic) {
			latest[e.topic] = e
		}
	}
	for _, e := range latest {
		newest = append(newest, e)
	}
	slices.SortFunc(newest, func(a, b *entry) int { return cmp.Compare(a.seq, b.seq) })
	return newest, true
}
