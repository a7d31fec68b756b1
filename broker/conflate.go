package broker

import (
	"math"
	"time"

	"github.com/carillon-mq/carillon/broker/internal/ring"
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
	noted   bool          // in shard.conflated

	// Messages of class live do not stay in the log.
	fleeting map[string]*Packet // the newest of each topic
	missed   int64              // did not fit
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
	sh.interest.Add(sub.filter, 1)
}

// noteConflated notes an entry for a conflated subscription, which is woken when the shard says that it has passed it. Called by the
// shard's goroutine.
func (sh *shard) noteConflated(sub *subscription, e *ring.Entry) {
	s := sub.session
	s.mu.Lock()
	defer s.mu.Unlock()
	c, st := sub.conflated, sub.start
	if s.closed || st == nil || c.last == e.Seq {
		return
	}
	if st.waiting && !c.waiting && c.last < st.next { // there was nothing for it since
		st.next, st.mark = e.Seq, sh.mark
	}
	c.last = e.Seq
	if e.Fleeting {
		s.keptBytes += c.keep(e, s.keptBytes, s.b.opt.Limits.Pending)
	}
	if !c.noted {
		c.noted = true
		sh.conflated = append(sh.conflated, sub)
	}
}

// wakeConflated has what was noted read. Called by the shard's goroutine behind a batch.
func (sh *shard) wakeConflated() {
	for _, sub := range sh.conflated {
		sub.wakeConflated()
	}
	clear(sh.conflated)
	sh.conflated = sh.conflated[:0]
}

func (sub *subscription) wakeConflated() {
	s, c := sub.session, sub.conflated
	s.mu.Lock()
	defer s.mu.Unlock()
	c.noted = false
	if sub.start != nil && sub.start.waiting && !c.waiting {
		sub.start.waiting = false
		s.drainLocked(0)
	}
}

// keep keeps a message that the log will not, if there is room beside what the session has kept, and returns how many bytes that are.
func (c *conflation) keep(e *ring.Entry, kept, most int) (bytes int) {
	p := e.Packet()
	if p == nil {
		c.missed++
		return 0
	}
	bytes = len(p.Bytes()) + len(e.Topic)
	if old := c.fleeting[e.Topic]; old != nil {
		bytes = len(p.Bytes()) - len(old.Bytes())
	}
	if kept > 0 && kept+bytes > most {
		c.missed++
		return 0
	}
	if c.fleeting == nil {
		c.fleeting = map[string]*Packet{}
	}
	c.fleeting[e.Topic] = p
	return bytes
}

// kept is the message of a fleeting entry, if it is the newest of its topic.
func (c *conflation) kept(e *ring.Entry) *Packet {
	p := c.fleeting[e.Topic]
	if p == nil {
		return nil
	}
	if seq, _ := p.Entry(); seq != e.Seq {
		return nil
	}
	return p
}

// drop forgets the messages kept of the entries before next, and returns how many bytes these were.
func (c *conflation) drop(next uint64) (bytes int) {
	for topic, p := range c.fleeting {
		if seq, _ := p.Entry(); seq < next {
			bytes += len(p.Bytes()) + len(topic)
			delete(c.fleeting, topic)
		}
	}
	return bytes
}

// allowed is how many messages may be sent now.
func (c *conflation) allowed(now time.Time) int {
	if c.rate == nil {
		return math.MaxInt
	}
	return int(c.rate.TokensAt(now))
}

// readConflated gathers the next messages of a conflated subscription, of the entries up to passed. Called by the drainer, without
// Session.mu.
func (s *Session) readConflated(sub *subscription, st *starting, passed uint64, batch []*Packet) []*Packet {
	began := time.Now()
	newest, held := s.b.newestOfEach(st.matcher, st.next, passed)
	took := time.Since(began)
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
		s.restConflated(sub, took)
		return batch
	}
	read := st.stretch()
	all := c.gather(&read, newest, most)
	if all {
		read.Next = max(passed+1, st.next)
	}
	read.Mark, _ = s.b.ring.WatermarkBefore(read.Next)
	read.Missed, c.missed = c.missed, 0
	from := s.b.positionAt(st.next-1, st.mark)
	st.next, st.mark = read.Next, max(st.mark, read.Mark)
	s.keptBytes -= c.drop(st.next)
	c.sent(s.b, read.Count)
	batch = s.b.appendReplay(batch, sub.id, &read, from)
	switch {
	case !all && (most > int(read.Count) && took < time.Millisecond):
		return batch // there is more
	case !all:
		s.restConflated(sub, took)
		return batch
	case c.last >= st.next && c.last <= s.shard.passedSeq.Load():
		return batch
	}
	st.waiting = true // for the shard
	if !c.told && c.last < st.next {
		c.told = true
		batch = append(batch, encode(&protocol.Resumed{Subscription: sub.id, Position: s.b.positionAt(st.next-1, st.mark)}))
	}
	return batch
}

// gather takes the packets of at most so many entries, and reports whether it took all.
func (c *conflation) gather(read *ring.Stretch, entries []*ring.Entry, most int) (all bool) {
	for _, e := range entries {
		if int(read.Count) == most || read.Bytes >= drainBytes {
			return false
		}
		p := e.Packet()
		if e.Fleeting {
			p = c.kept(e)
		}
		read.Next = e.Seq + 1
		if p == nil { // counted as missed, or from before the subscription
			continue
		}
		read.Packets = append(read.Packets, p)
		read.Bytes += len(p.Bytes())
		read.Count++
	}
	return true
}

// conflatePast sends of a page of the store the newest of each topic, as many as the rate allows. Session.mu is held.
func (s *Session) conflatePast(sub *subscription, batch []*Packet) []*Packet {
	p, c := sub.start.past, sub.conflated
	p.page = p.page.Conflated()
	most := c.allowed(time.Now())
	if most == 0 {
		s.restConflated(sub, 0)
		return batch
	}
	rest := p.page.Split(most)
	batch, pg := s.b.takePage(batch, sub.id, p)
	p.page = rest
	n := uint64(len(pg.Packets))
	c.sent(s.b, n)
	batch = append(batch, encode(&protocol.Replay{Subscription: sub.id, Count: n, Kind: protocol.ReplayLog}))
	return append(batch, pg.Packets...)
}

// sent counts messages that are sent.
func (c *conflation) sent(b *Broker, n uint64) {
	b.stats.delivered.Add(n)
	if c.rate != nil {
		c.rate.AllowN(time.Now(), int(n))
	}
}

// restConflated lets a subscription rest until its rate allows something, and at least for as long as it took to look. Session.mu is
// held.
func (s *Session) restConflated(sub *subscription, took time.Duration) {
	st, c := sub.start, sub.conflated
	st.waiting, c.waiting = true, true
	time.AfterFunc(max(c.pace, took), func() {
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

// newestOfEach is that of the ring. Long stretches are looked through on half the CPUs, for each takes a map of its topics.
func (b *Broker) newestOfEach(m *ring.Matcher, first, last uint64) (newest []*ring.Entry, held bool) {
	if last > first+ring.ScanEntries {
		b.walks <- struct{}{}
		defer func() { <-b.walks }()
	}
	return b.ring.NewestOfEach(m, first, last)
}
