package broker

import (
	"errors"
	"slices"
	"time"

	"github.com/carillon-mq/carillon/broker/internal/archive"
	"github.com/carillon-mq/carillon/broker/internal/ring"
	"github.com/carillon-mq/carillon/protocol"
)

// past is the cursor of a reader that is behind what the log holds, or comes from another run of it: the store is read for it up to
// where the log begins, and there it joins the log (log.md P3, P4). Until then only its offset moves. Guarded by Session.mu; only the
// drainer moves it.
type past struct {
	filters []string
	from    protocol.Position // where the reader was in the log; epoch and seq stay until it joins
	after   uint64            // everything up to this offset has been sent, or told as missing
	told    uint64            // what is missing up to here has been told
	gaps    []pastGap         // to be told before anything else
	owed    pastGap           // to be told with the next message, or when nothing can come that lies in it; to is 0 if there is none
	plain   bool              // of topics that are not stored something may be missing, too: told at the join
	again   bool              // what is retained has to be sent again: a gap was told, or the reader asks for it
	floor   uint64            // the entry of the log before which a reader without the right to history is sent nothing
	limit   int               // messages of the next page
	page    *archive.Page
	reading bool // or waiting until the store is asked again
}

// pastGap is something that a reader misses from the beginning: what is behind from, up to the offset to.
type pastGap struct {
	why  protocol.GapReason
	from protocol.Position
	to   uint64
}

const (
	pastLimit = 64                     // messages of the first page
	pastRetry = 200 * time.Millisecond // how long a store that fails is left alone
)

// pastOf is a cursor behind an offset for the given filters. It does not know yet what of them it misses.
func (b *Broker) pastOf(filters []string, from protocol.Position, after uint64) *past {
	return &past{filters: b.rules.Asked(filters), from: from, after: after, told: after, limit: pastLimit}
}

// resumeInPast is the cursor of a client that has everything up to pos, which the log does not reach back to. history says that it
// may go back without a bound. There is none when the store does not know the token's term.
func (b *Broker) resumeInPast(pos protocol.Position, filters []string, history bool) (*past, *protocol.Error) {
	common, known := b.archive.Common(pos, b.Position().Term)
	if !known {
		return nil, nil
	}
	p := b.pastOf(filters, pos, common)
	p.plain = slices.ContainsFunc(filters, b.rules.MayBePlain)
	if common < pos.Offset {
		from := pos
		from.Offset = common
		p.gaps = append(p.gaps, pastGap{protocol.GapAhead, from, common})
	}
	if history {
		return p, b.pastReady(p)
	}
	p.floor = b.ring.FirstWithin(b.opt.ResumeWindow) // first: what is stored and before it is not above reach
	reach, err := b.reach(common)
	if err != nil {
		return nil, errStoreAway // nobody knows how far back it may go
	}
	if common < reach {
		p.gaps = append(p.gaps, pastGap{protocol.GapForbidden, b.pastAt(p, common), reach})
		p.after, p.told = reach, reach
	}
	return p, b.pastReady(p)
}

// reach is the offset from which a client that has everything up to common may go on without the right to history.
func (b *Broker) reach(common uint64) (uint64, error) {
	if _, _, ok := b.ring.Join(common); ok {
		reach, _ := b.ring.WatermarkBefore(b.ring.FirstWithin(b.opt.ResumeWindow))
		return reach, nil
	}
	return b.archive.Reach(b.ctx, b.opt.ResumeWindow)
}

// pastReady refuses a reader that needs the store while that is away.
func (b *Broker) pastReady(p *past) *protocol.Error {
	if b.committer.Up() {
		return nil
	}
	if _, _, ok := b.ring.Join(p.after); ok {
		return nil
	}
	return errStoreAway
}

// pastAt is the position of a reader of the past that has everything up to offset.
func (b *Broker) pastAt(p *past, offset uint64) protocol.Position {
	at := b.positionAt(p.from.Seq, offset)
	at.Epoch = p.from.Epoch
	return at
}

// tell appends the gap of p behind from, up to an offset.
func (b *Broker) tellPast(batch []*Packet, sub uint64, p *past, g pastGap) []*Packet {
	p.again = true
	return append(batch, b.gap(sub, g.why, g.from, b.pastAt(p, g.to), -1))
}

// tellOwed appends the gap that p owes. It is told together with what the store still has of it, which sets the client's position back:
// a client that is cut in between would go on behind the gap and miss that.
func (b *Broker) tellOwed(batch []*Packet, sub uint64, p *past) []*Packet {
	g := p.owed
	if g.to == 0 {
		return batch
	}
	p.owed = pastGap{}
	return b.tellPast(batch, sub, p, g)
}

// takePage takes what the store has given, and first what is told of it as missing.
func (b *Broker) takePage(batch []*Packet, sub uint64, p *past) ([]*Packet, *archive.Page) {
	for _, g := range p.gaps {
		batch = b.tellPast(batch, sub, p, g)
	}
	p.gaps = nil
	pg := p.page
	if pg == nil {
		return batch, nil
	}
	p.page = nil
	if pg.Lost > max(pg.After, p.told) {
		if p.owed.to == 0 {
			p.owed = pastGap{why: protocol.GapTrimmed, from: b.pastAt(p, pg.After)}
		}
		p.owed.to, p.told = pg.Lost, pg.Lost
	}
	p.after = pg.Through
	if len(pg.Packets) > 0 || p.after >= p.owed.to {
		batch = b.tellOwed(batch, sub, p)
	}
	if n := len(pg.Packets); n > 0 {
		bytes := 0
		for _, m := range pg.Packets {
			bytes += len(m.Bytes())
		}
		p.limit = min(max(n*archive.PageBytes/bytes, 16), MaxHistoryRecords)
	}
	return batch, pg
}

// maxPages is how many pages of the store a session's starting subscriptions hold or wait for.
const maxPages = 4

// fetchLocked has the store read for p. What comes waits until the drainer takes it; meanwhile the session goes on.
func (s *Session) fetchLocked(p *past, q HistoryQuery) {
	q.After, q.Limit = p.after, p.limit
	p.reading = true
	s.fetches++
	s.b.drainers.Go(func() {
		pg, err := s.b.archive.Read(s.b.ctx, q)
		switch {
		case errors.Is(err, ErrNoPower): // it had it before
			pg = &archive.Page{After: q.After, Through: q.Through, Lost: q.Through}
		case err != nil:
			if _, ok := s.b.stats.mayLog(); ok {
				s.b.opt.Logger.Warn("the store could not be read for a session; it is asked again", "session", s.id, "err", err)
			}
			s.b.sleep(pastRetry)
		case pg.Through <= q.After: // a store that has less than it had: the feed will find out
			s.b.sleep(pastRetry)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		p.page, p.reading = pg, false
		s.fetches--
		s.drainLocked(0)
	})
}

// sleep waits for d, or until the broker ends.
func (b *Broker) sleep(d time.Duration) {
	select {
	case <-time.After(d):
	case <-b.ctx.Done():
	}
}

// readStartingPast moves a starting subscription that is in the past. Session.mu is held.
func (s *Session) readStartingPast(sub *subscription, batch []*Packet) []*Packet {
	p := sub.start.past
	if p.page = p.page.Due(s.origin, s.b.ring); sub.conflated != nil && p.page != nil && len(p.page.Packets) > 0 {
		return s.conflatePast(sub, batch)
	}
	batch, pg := s.b.takePage(batch, sub.id, p)
	if pg != nil && len(pg.Packets) > 0 {
		n := uint64(len(pg.Packets))
		s.b.stats.delivered.Add(n)
		batch = append(batch, encode(&protocol.Replay{Subscription: sub.id, Count: n, Kind: protocol.ReplayLog}))
		return append(batch, pg.Packets...)
	}
	batch, joined := s.joinStarting(sub, sub.start, batch)
	if !joined {
		s.fetchLocked(p, HistoryQuery{Filters: p.filters, Through: s.b.ring.CompleteFrom()})
	}
	return batch
}

// joinStarting makes the cursor of a subscription that is in the past one in the log, if the log has what follows.
func (s *Session) joinStarting(sub *subscription, st *starting, batch []*Packet) (out []*Packet, joined bool) {
	p := st.past
	batch, _ = s.b.takePage(batch, sub.id, p)
	next, mark, ok := s.joinPast(p)
	if !ok {
		return batch, false
	}
	st.past, st.next, st.mark = nil, next, mark
	batch = s.b.tellOwed(batch, sub.id, p)
	if p.plain {
		batch = append(batch, s.b.gap(sub.id, protocol.GapNotStored, s.b.pastAt(p, p.after), s.b.joint(p, next, mark), -1))
		p.again = true
	}
	if p.again && !sub.noRetained {
		st.snapshot = ring.NewSnapshot(sub.filter, next-1, true)
	}
	return batch, true
}

// joinPast finds where a reader of the past goes on in the log, not beyond what its shard has passed. Of topics that are not stored the log may
// have what is older than a reader without the right to history may be sent (log.md R6).
func (s *Session) joinPast(p *past) (next, mark uint64, ok bool) {
	next, mark, ok = s.b.ring.Join(p.after)
	if ok && p.plain && next < p.floor {
		next = p.floor
		mark, ok = s.b.ring.WatermarkBefore(next)
	}
	if passed := s.shard.passedSeq.Load(); ok && next > passed+1 {
		next = passed + 1
		mark, ok = s.b.ring.WatermarkBefore(next)
	}
	return next, mark, ok
}

// joint is the position at which a reader of the past joins the log.
func (b *Broker) joint(p *past, next, mark uint64) protocol.Position {
	return b.positionAt(next-1, max(mark, p.after))
}
