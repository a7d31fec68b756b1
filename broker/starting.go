package broker

import (
	"cmp"
	"slices"

	"github.com/carillon-mq/carillon/broker/internal/ring"
	"github.com/carillon-mq/carillon/protocol"
)

// start is where a subscription begins, as far as its Subscribe says.
type start struct {
	resume   bool
	position protocol.Position // of the client's token, if resume
	next     uint64            // with resume in this epoch: the entry to begin with
	gap      protocol.GapReason
	head     bool  // begin at the tail, not at next
	past     *past // read the store first; then next does not count
	snapshot bool
	reset    bool
}

// starting is the cursor of a subscription that is not live yet: first a snapshot of retained values if there is one to send,
// then the log from next on. Guarded by Session.mu.
type starting struct {
	next     uint64
	mark     uint64
	joined   uint64 // the shard's next entry when the subscription began: what is fleeting and older is not replayed
	snapshot *ring.Snapshot
	past     *past // not nil: the store is read before all this, and says where next is
	resumed  bool  // tell with Resumed when it goes live
	waiting  bool  // the shard was asked to take it
	matcher  *ring.Matcher
}

// startOf decides from the token of a Subscribe, of a session of origin, where the subscription begins and what gap it has to be told (log.md P3, P6,
// R6). It fails with bad_position for a token that no broker made.
func (b *Broker) startOf(id *Identity, origin string, p *protocol.Subscribe) (start, *protocol.Error) {
	fresh := start{head: true, snapshot: p.WantsRetained()}
	switch {
	case p.Last > 0:
		return b.newestOf(id, origin, p.Filter, int(p.Last))
	case p.Position == nil:
		return fresh, nil
	}
	pos, err := protocol.ParsePosition(p.Position)
	if err != nil {
		return start{}, asError(err)
	}
	st, refusal := b.resumeAt(pos, []string{p.Filter}, id.CanReadHistory(p.Filter))
	if refusal != nil {
		return start{}, refusal
	}
	st.reset = st.gap != "" || p.Snapshot
	st.snapshot = p.WantsRetained() && st.reset
	if st.past != nil {
		st.past.again = p.Snapshot
	}
	return st, nil
}

// resumeAt is where a client goes on that has everything up to pos, and the gap it has to be told. history says that it may go
// back without a bound. It fails with store_unavailable when the store is needed and away.
func (b *Broker) resumeAt(pos protocol.Position, filters []string, history bool) (start, *protocol.Error) {
	st := start{resume: true, position: pos}
	oldest, _ := b.ring.Oldest()
	newest, _ := b.ring.Tip()
	same := pos.Epoch == b.Epoch()
	if same && pos.Seq > newest {
		st.gap, st.head = protocol.GapAhead, true
		return st, nil
	}
	kept := (!same || pos.Seq+1 < oldest) && b.archive.Serves(filters...)
	if kept {
		var err *protocol.Error
		if st.past, err = b.resumeInPast(pos, filters, history); st.past != nil || err != nil {
			return st, err
		}
	}
	switch {
	case !same && kept && !pos.Term.IsZero():
		st.gap, st.head = protocol.GapAhead, true
		return st, nil
	case !same: // nothing of this run is known to the client
		st.next, st.gap = max(oldest, b.ring.RunBegan()), protocol.GapEpoch
	case pos.Seq+1 < oldest:
		st.next, st.gap = oldest, protocol.GapTrimmed
	default:
		st.next = pos.Seq + 1
	}
	if !history {
		reach := b.ring.FirstWithin(b.opt.ResumeWindow)
		if st.next < reach {
			st.next = reach
			if st.gap != protocol.GapEpoch {
				st.gap = protocol.GapForbidden
			}
		}
	}
	return st, nil
}

// place turns a start into a cursor. Called by the shard's goroutine: the tail is here, between two entries.
func (sh *shard) place(sub *subscription, from start) *starting {
	st := &starting{next: sh.next, mark: sh.mark, joined: sh.next, past: from.past, resumed: from.resume || from.snapshot}
	if from.past != nil {
		return st
	}
	if !from.head && from.next < sh.next {
		st.next = from.next
		var held bool
		if st.mark, held = sh.b.ring.WatermarkBefore(from.next); !held { // since startOf: a gap follows
			st.mark = from.position.Offset
		}
	}
	if from.snapshot {
		st.snapshot = ring.NewSnapshot(sub.filter, st.next-1, from.reset)
	}
	return st
}

// stretch is an empty one at the cursor.
func (st *starting) stretch() ring.Stretch {
	return ring.Stretch{Next: st.next, Mark: st.mark, Joined: st.joined}
}

func (sub *subscription) matcher() *ring.Matcher {
	return &ring.Matcher{Wanted: []ring.Wanted{ring.NewWanted(sub.filter, 0)}, Origin: sub.session.origin}
}

// readStarting gathers the next packets of the first starting subscription. Called by the drainer.
func (s *Session) readStarting(batch []*Packet) []*Packet {
	s.mu.Lock()
	sub := s.nextStartingLocked()
	if sub == nil || len(s.queue) > 0 {
		s.mu.Unlock()
		return batch
	}
	st := sub.start
	if sub.conflated != nil {
		s.laterLocked(sub)
	}
	if st.past != nil {
		defer s.mu.Unlock()
		return s.readStartingPast(sub, batch)
	}
	walk := st.snapshot
	if st.matcher == nil {
		st.matcher = sub.matcher()
	}
	read := st.stretch()
	passed := s.shard.passedSeq.Load() // under mu: what was queued before it, as the position of a new term, has been written
	s.mu.Unlock()

	if walk != nil {
		batch, more := s.b.snapshotPage(sub.id, walk, batch)
		if !more {
			s.mu.Lock()
			st.snapshot = nil
			s.mu.Unlock()
		}
		return batch
	}
	if sub.conflated != nil {
		return s.readConflated(sub, st, passed, batch)
	}
	held := s.b.ring.Read(&read, st.matcher, passed, drainBytes)

	s.mu.Lock()
	defer s.mu.Unlock()
	if sub.start != st {
		return batch // unsubscribed meanwhile
	}
	from := s.b.positionAt(st.next-1, st.mark)
	if !held {
		return s.lostStarting(sub, st, batch)
	}
	st.next, st.mark = read.Next, read.Mark
	s.b.stats.delivered.Add(read.Count)
	if st.next+handBack > passed {
		st.waiting = true
		s.shard.urge(func() { s.shard.take(sub) })
	}
	return s.b.appendReplay(batch, sub.id, &read, from)
}

// lostStarting moves a cursor that the log has passed: into the past, if the store has something of it, else to where the log is still
// held. Session.mu is held.
func (s *Session) lostStarting(sub *subscription, st *starting, batch []*Packet) []*Packet {
	from := s.b.positionAt(st.next-1, st.mark)
	if s.b.archive.Serves(sub.filter) {
		st.past = s.b.pastOf([]string{sub.filter}, from, st.mark)
		st.past.plain = s.b.rules.MayBePlain(sub.filter)
		return s.readStartingPast(sub, batch)
	}
	st.next, st.mark = s.b.ring.Oldest()
	if !sub.noRetained {
		st.snapshot = ring.NewSnapshot(sub.filter, st.next-1, true)
	}
	return append(batch, s.b.gap(sub.id, protocol.GapTrimmed, from, s.b.positionAt(st.next-1, st.mark), -1))
}

// nextStartingLocked is the first subscription whose cursor the drainer has to move; those that ended or went live are dropped. Of
// those that need the store a few are served at a time, and first.
func (s *Session) nextStartingLocked() *subscription {
	kept, pages := s.starting[:0], s.fetches
	var first, needsPage *subscription
	for _, sub := range s.starting {
		if sub.start == nil {
			continue
		}
		kept = append(kept, sub)
		p := sub.start.past
		if p != nil && p.page != nil {
			pages++
		}
		switch {
		case sub.start.waiting || p != nil && p.reading:
		case p != nil && p.page == nil:
			needsPage = cmp.Or(needsPage, sub)
		default:
			first = cmp.Or(first, sub)
		}
	}
	clear(s.starting[len(kept):])
	s.starting = kept
	if needsPage != nil && pages < maxPages {
		return needsPage
	}
	return first
}

// laterLocked puts a conflated subscription, which never comes to its end, behind the others.
func (s *Session) laterLocked(sub *subscription) {
	i := slices.Index(s.starting, sub)
	s.starting = append(slices.Delete(s.starting, i, i+1), sub)
}

// take makes a starting subscription live if it is near enough, between two entries; otherwise its drainer reads on.
func (sh *shard) take(sub *subscription) {
	s := sub.session
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || sub.start == nil {
		return
	}
	sub.start.waiting = false
	batch, live := sh.startNow(sub, sub.start, nil)
	if len(batch) > 0 {
		s.sendLocked(batch...)
	}
	if !live {
		s.drainLocked(0)
	}
}

// catchUp gathers what the session has to be sent that nobody queued: its heartbeat's position, the log if it lags, what its
// starting subscriptions need; the last two in turns, so that a session which never catches up does not keep a new subscription
// waiting. An empty result means that nothing was there to send just now. Each part looks again whether the queue is empty: what
// the shard has queued since the drainer looked comes first, the cursor may have begun behind it.
func (s *Session) catchUp(batch []*Packet, turn int) []*Packet {
	batch = s.duePing(batch)
	first, second := s.readLag, s.readStarting
	if turn%2 == 1 {
		first, second = second, first
	}
	if batch = first(batch); len(batch) > 0 {
		return batch
	}
	return second(batch)
}

// behindLocked reports whether catchUp has more to do.
func (s *Session) behindLocked() bool {
	if s.pingDue || s.lag != nil && !s.lag.waiting && (s.lag.past == nil || !s.lag.past.reading) {
		return true
	}
	return s.nextStartingLocked() != nil
}

// appendReplay appends what was read for one subscription, behind its Replay packet, and the gap of messages of class live
// that are gone.
func (b *Broker) appendReplay(batch []*Packet, sub uint64, read *ring.Stretch, from protocol.Position) []*Packet {
	if read.Count > 0 {
		batch = append(batch, encode(&protocol.Replay{Subscription: sub, Count: read.Count, Kind: protocol.ReplayLog}))
		batch = append(batch, read.Packets...)
	}
	if read.Missed > 0 {
		batch = append(batch, b.gap(sub, protocol.GapLive, from, b.positionAt(read.Next-1, read.Mark), read.Missed))
	}
	return batch
}

// snapshotPage is snapshotPackets for drainers: at most half the CPUs walk at a time (log.md K2).
func (b *Broker) snapshotPage(sub uint64, walk *ring.Snapshot, batch []*Packet) (out []*Packet, more bool) {
	b.walks <- struct{}{}
	defer func() { <-b.walks }()
	return b.snapshotPackets(sub, walk, batch)
}

// snapshotPackets appends the next page of a snapshot behind its Replay packet, and RetainedEnd behind the last.
func (b *Broker) snapshotPackets(sub uint64, walk *ring.Snapshot, batch []*Packet) (out []*Packet, more bool) {
	n := len(batch)
	batch = append(batch, nil) // the Replay packet's place
	batch, more = b.retained.Page(walk, batch, drainBytes, b.ring.Now())
	if count := len(batch) - n - 1; count > 0 {
		batch[n] = encode(&protocol.Replay{Subscription: sub, Count: uint64(count), Kind: protocol.ReplayRetained})
	} else {
		batch = batch[:n]
	}
	if !more {
		batch = append(batch, encode(&protocol.RetainedEnd{Subscription: sub, Reset: walk.Reset}))
	}
	return batch, more
}

// gap encodes a Gap packet; count is -1 when it is not known exactly.
func (b *Broker) gap(sub uint64, why protocol.GapReason, from, to protocol.Position, count int64) *Packet {
	b.stats.gap(why)
	return encode(&protocol.Gap{Subscription: sub, Reason: why, From: &from, To: to, Count: count})
}
