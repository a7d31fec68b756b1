package broker

import (
	"slices"

	"github.com/carillon-mq/carillon/broker/internal/ring"
	"github.com/carillon-mq/carillon/broker/internal/unread"
	"github.com/carillon-mq/carillon/protocol"
)

// handBack is how near to its shard a reader of the log must be to be taken back (log.md R2).
const handBack = 32

// lag is a lagging session's own cursor in the log: it no longer gets what its shard passes, its drainer reads it for it as
// fast as the socket takes it. Guarded by Session.mu; only the drainer moves the cursor.
type lag struct {
	next    uint64
	mark    uint64 // watermark right before next
	waiting bool   // the shard was asked to take the session back

	unread unread.Counts // of the entries that matched: the shard counts them as it passes, the drainer takes them off as it reads

	snapshots []replayedSnapshot // to send, again after a gap (K3)
	matcher   *ring.Matcher

	past   *past        // the log has moved on: the store is read, and next is where the cursor was
	missed unread.Tally // while it is: what was left behind in the log

	// Of a session that follows, see follow.go; zero for others.
	joined  uint64 // the shard's next entry when it began: what is before was not counted
	opening bool   // Resumed has not been sent
}

// replayedSnapshot is a snapshot of a live subscription and the position from which the log goes on for it.
type replayedSnapshot struct {
	subscription uint64
	walk         *ring.Snapshot
	at           protocol.Position
}

// lag makes s a lagging session from the first of the entries that it could not take. Called by the shard's goroutine.
func (sh *shard) lag(s *Session, untaken []*ring.Entry) {
	first := untaken[0].Seq
	l := &lag{next: first}
	l.mark, _ = sh.b.ring.WatermarkBefore(first) // held: the shard is at it
	if s.follows {
		l.joined = first
	}
	for _, e := range untaken {
		l.unread.Count(e)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.lag, s.lagging = l, true
	sh.b.stats.lagging.Add(1)
	s.drainLocked(0)
}

// countLag notes an entry that matched and was left to the drainer. Called by the shard's goroutine.
func (s *Session) countLag(e *ring.Entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lag != nil {
		s.lag.unread.Count(e)
	}
}

// advance moves the cursor behind what was read.
func (l *lag) advance(st *ring.Stretch) {
	l.next, l.mark = st.Next, st.Mark
	l.unread.Advance(st)
}

// lost is how much of what the log does not hold any more, that is before oldest, the session was not sent and has not expired by now.
func (l *lag) lost(oldest uint64, now int64) unread.Tally {
	missed := l.unread.Lost(oldest, now)
	missed.Unknown = missed.Unknown || l.opening // what came before was not counted, and what begins has not begun
	return missed
}

// matcherLocked is a matcher for the session's live subscriptions.
func (s *Session) matcherLocked() *ring.Matcher {
	l := s.lag
	if l.matcher == nil || l.matcher.Epoch != s.subsEpoch {
		l.matcher = s.liveMatcherLocked()
	}
	return l.matcher
}

func (s *Session) liveMatcherLocked() *ring.Matcher {
	m := &ring.Matcher{Epoch: s.subsEpoch, Origin: s.origin}
	for _, sub := range s.subs {
		if sub.live {
			m.Wanted = append(m.Wanted, ring.NewWanted(sub.filter, sub.since))
		}
	}
	return m
}

// readLag gathers the next messages of a lagging session. Called by the drainer.
func (s *Session) readLag(batch []*Packet) []*Packet {
	s.mu.Lock()
	l := s.lag
	if l == nil || l.waiting || len(s.queue) > 0 {
		s.mu.Unlock()
		return batch
	}
	if l.past != nil {
		defer s.mu.Unlock()
		return s.readLagPast(l, batch)
	}
	if l.owes() {
		next := l.snapshots[0]
		s.mu.Unlock()
		return s.resendSnapshot(l, next, batch)
	}
	m := s.matcherLocked()
	st := ring.Stretch{Packets: batch, Next: l.next, Mark: l.mark, Joined: l.joined}
	passed := s.shard.passedSeq.Load() // under mu: what is not live by now will be so from an entry further on, and not in m
	s.mu.Unlock()

	if !s.b.ring.Read(&st, m, l.upTo(passed), drainBytes) {
		return s.skipLost(l, batch)
	}
	s.b.stats.delivered.Add(st.Count)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lag != l {
		return batch
	}
	from := s.b.positionAt(l.next-1, l.mark)
	l.advance(&st)
	if st.Missed > 0 {
		st.Packets = append(st.Packets, s.b.gap(0, protocol.GapLive, from, s.b.positionAt(l.next-1, l.mark), st.Missed))
	}
	if l.opening {
		return s.openedLocked(st.Packets)
	}
	if l.next+handBack > passed {
		l.waiting = true
		s.shard.urge(func() { s.shard.takeBack(s) })
	}
	return st.Packets
}

// skipLost goes on where the log is still held, and tells the client what it missed. What the store has of it comes from there first
// (log.md R4).
func (s *Session) skipLost(l *lag, batch []*Packet) []*Packet {
	oldest, before := s.b.ring.Oldest()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lag != l || len(s.queue) > 0 { // the gap is behind the answers to subscriptions that it is about
		return batch
	}
	missed := l.lost(oldest, s.b.ring.Now())
	from := s.b.positionAt(l.next-1, l.mark)
	if filters := s.liveFiltersLocked(); (missed.Stored > 0 || missed.Unknown) && s.b.archive.Serves(filters...) {
		l.past, l.missed = s.b.pastOf(filters, from, l.mark), missed
		l.past.plain = slices.ContainsFunc(filters, s.b.rules.MayBePlain)
		return s.readLagPast(l, batch)
	}
	l.next, l.mark = oldest, before
	if missed == (unread.Tally{}) {
		return batch
	}
	return s.missedLocked(l, batch, protocol.GapTrimmed, from, s.b.positionAt(oldest-1, before), missed.Count())
}

// missedLocked appends the gap of a lagging session, and has what is retained sent again behind it.
func (s *Session) missedLocked(l *lag, batch []*Packet, why protocol.GapReason, from, to protocol.Position, count int64) []*Packet {
	s.resnapLocked(l, to)
	return append(batch, s.b.gap(0, why, from, to, count))
}

// resnapLocked has the snapshots of all live subscriptions sent again, as they are at the cursor.
func (s *Session) resnapLocked(l *lag, to protocol.Position) {
	begins := l.takeBeginning()
	for _, sub := range s.subs {
		if !sub.live || sub.noRetained {
			continue
		}
		at := to
		if sub.since > to.Seq+1 { // it has joined the log further on, and is not moved back
			at = s.b.positionAt(sub.since-1, sub.mark)
		}
		reset := !slices.Contains(begins, sub.id)
		l.snapshots = append(l.snapshots, replayedSnapshot{sub.id, ring.NewSnapshot(sub.filter, at.Seq, reset), at})
	}
	if l.joined > 0 {
		inOrder(l.snapshots)
	}
}

// resendSnapshot gathers the next page of a snapshot that follows a gap.
func (s *Session) resendSnapshot(l *lag, next replayedSnapshot, batch []*Packet) []*Packet {
	batch, more := s.b.snapshotPage(next.subscription, next.walk, batch)
	s.mu.Lock()
	defer s.mu.Unlock()
	if more || s.lag != l || len(l.snapshots) == 0 || l.snapshots[0].walk != next.walk {
		return batch // another page, or nobody wants it any more
	}
	l.snapshots = l.snapshots[1:]
	if l.joined > 0 {
		return s.paidLocked(batch)
	}
	return append(batch, encode(&protocol.Resumed{Subscription: next.subscription, Position: next.at}))
}

// takeBack makes a lagging session live again if it is near enough and its window has room for what lies between; otherwise
// its drainer reads on. Called by the shard's goroutine, between two entries.
func (sh *shard) takeBack(s *Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.lag
	if s.closed || l == nil {
		return
	}
	l.waiting = false
	st := ring.Stretch{Next: l.next, Mark: l.mark, Joined: l.joined}
	near := l.past == nil && l.next+handBack >= sh.next && len(l.snapshots) == 0
	if !near || !sh.b.ring.Read(&st, s.matcherLocked(), sh.next-1, drainBytes*2) || st.Next != sh.next || !s.fitsLocked(&st) {
		s.drainLocked(0)
		return
	}
	if st.Missed > 0 {
		from := sh.b.positionAt(l.next-1, l.mark)
		st.Packets = append(st.Packets, sh.b.gap(0, protocol.GapLive, from, sh.position(), st.Missed))
	}
	if s.pingDue {
		s.pingDue = false
		at := sh.position()
		st.Packets = append(st.Packets, encode(&protocol.Ping{Position: &at}))
	}
	s.lag, s.lagging = nil, false
	sh.b.stats.lagging.Add(-1)
	sh.b.stats.delivered.Add(st.Count)
	if len(st.Packets) > 0 {
		s.sendLocked(st.Packets...)
	}
}

// fitsLocked reports whether the pending window has room for what was read.
func (s *Session) fitsLocked(st *ring.Stretch) bool {
	return s.queueBytes+st.Bytes <= s.b.opt.Limits.Pending || (s.queueBytes == 0 && st.Count <= 1)
}
