package broker

import (
	"cmp"
	"slices"

	"github.com/carillon-mq/carillon/broker/internal/ring"
	"github.com/carillon-mq/carillon/protocol"
)

// A session that follows is sent to and sends nothing, as over SSE and long-poll. All its subscriptions share one position, so what it
// has missed is replayed as one stretch of the log: it begins as a lagging session (lag.go) and becomes live like any other.

// FollowRequest says what a session follows.
type FollowRequest struct {
	Filters    []string           // each once
	Fresh      []string           // those of them that begin now, whatever After says
	After      *protocol.Position // everything up to it is known to the client; nil: every filter begins now
	NoRetained bool               // no retained messages first
	Origin     string             // what messages exclude the session by, at most protocol.MaxOrigin bytes; "": it has none
}

// Follow starts a session that sends no packets, for the identity of its ConnInfo. It is called once, before anything else, and takes
// everything that is asked for or fails, with a *protocol.Error that nobody has been told; then the session has to be Closed.
//
// What the session is sent, in this order; subscriptions are numbered from 1 in the order of Filters:
//
//	Ping{After}                        first of all, when it resumes
//	Gap                                what cannot be replayed, for the session as a whole
//	Replay, Message…, RetainedEnd      with a gap: the retained messages of each filter that resumes, as they are behind it
//	Message…                           what it has missed, in the order of the log, each once
//	Replay, Message…, RetainedEnd      the retained messages of each filter that begins now
//	Resumed                            for each filter: here was the end of the log when the session began
//	Message…, Gap, Ping                and so on. A gap is followed by the retained messages of every filter and a Ping, or Resumed
//
// What is retained and matches several filters that are told at one place comes once, with the first of them, and is for all.
//
// A position is told when everything that is due up to it has been sent, retained messages included: Messages, Pings, Resumed, and a
// Gap that no retained messages follow. Until then the client can only come back with an earlier one, and is told everything again.
func (s *Session) Follow(r FollowRequest) error {
	if s.connected || s.info.Identity == nil {
		return protocol.Errorf(protocol.CodeInternal, "a session that follows is one that has just been opened, with an identity")
	}
	id := s.info.Identity
	if err := s.b.CheckFollow(id, &r); err != nil {
		return err
	}
	if err := s.b.registry.claimUser(id); err != nil {
		return err
	}
	s.mu.Lock()
	s.identity, s.connected, s.origin = id, true, r.Origin
	s.mu.Unlock()
	if why := s.b.revoked(id); why != nil { // since it was let in
		return why
	}
	s.info.Header = nil
	if !slices.ContainsFunc(r.Filters, func(f string) bool { return !r.fresh(f) }) {
		r.After = nil
	}
	var from start
	if r.After != nil {
		resumed := slices.DeleteFunc(slices.Clone(r.Filters), r.fresh)
		history := !slices.ContainsFunc(resumed, func(f string) bool { return !id.CanReadHistory(f) })
		var err *protocol.Error
		if from, err = s.b.resumeAt(*r.After, resumed, history); err != nil {
			return err
		}
	}
	subs := make([]*subscription, len(r.Filters))
	for i, filter := range r.Filters {
		sub := &subscription{id: uint64(i + 1), filter: filter, noRetained: r.NoRetained, session: s}
		sub.item.Value = sub
		if err := s.addSubscription(sub); err != nil {
			return err
		}
		subs[i] = sub
	}
	s.shard.post(func() {
		s.shard.welcome(s, id)
		s.shard.follow(s, &r, subs, from)
		s.shard.watchRights(s)
	})
	return nil
}

// fresh reports whether filter begins now.
func (r *FollowRequest) fresh(filter string) bool {
	return r.After == nil || slices.Contains(r.Fresh, filter)
}

// CheckFollow reports what of r id may not have, or the broker cannot serve now, a *protocol.Error; nil if Follow would take it.
func (b *Broker) CheckFollow(id *Identity, r *FollowRequest) error {
	if err := b.checkFollow(id, r); err != nil {
		return err
	}
	return nil
}

func (b *Broker) checkFollow(id *Identity, r *FollowRequest) *protocol.Error {
	if err := checkOrigin(r.Origin); err != nil {
		return err
	}
	if len(r.Filters) == 0 {
		return protocol.Errorf(protocol.CodeBadArgs, "found no filter, wanted at least one")
	}
	if err := b.askToFollow(id, r); err != nil {
		return err
	}
	for i, filter := range r.Filters {
		if err := asError(protocol.ValidateFilter(filter)); err != nil {
			return err
		}
		if slices.Contains(r.Filters[:i], filter) {
			return protocol.Errorf(protocol.CodeBadArgs, "found filter %q twice", filter)
		}
		if !id.CanSubscribe(filter) {
			return id.uncovered("subscribing to", filter, "")
		}
		if limit := or(id.Limits.Subscriptions, b.opt.Limits.Subscriptions); exceeds(i+1, limit) {
			return protocol.Errorf(protocol.CodeSubscriptionLimit, "found %d filters, a session may have %d", len(r.Filters), limit)
		}
	}
	for _, filter := range r.Fresh {
		if !slices.Contains(r.Filters, filter) {
			return protocol.Errorf(protocol.CodeBadArgs, "found %q to begin now, which is not among the filters", filter)
		}
	}
	for _, filter := range r.Filters {
		if err := b.filterReady(filter, r.NoRetained); err != nil {
			return err
		}
	}
	return nil
}

// askToFollow has decided at once what r needs of id.
func (b *Broker) askToFollow(id *Identity, r *FollowRequest) *protocol.Error {
	if id.Ask == 0 {
		return nil
	}
	var wanted []right
	for _, filter := range r.Filters {
		if protocol.ValidateFilter(filter) != nil {
			continue
		}
		wanted = append(wanted, id.subscribeRight(filter))
		if !r.fresh(filter) {
			wanted = append(wanted, historyRight(filter))
		}
	}
	if limit := or(id.Limits.Subscriptions, b.opt.Limits.Subscriptions); limit != Unlimited {
		wanted = wanted[:min(len(wanted), 2*limit)]
	}
	return b.ask(id, "", wanted...)
}

// follow begins a session that follows, between two entries: its subscriptions are live from here on, and what is before is left to its
// drainer. Called by the shard's goroutine.
func (sh *shard) follow(s *Session, r *FollowRequest, subs []*subscription, from start) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	l := &lag{next: sh.next, mark: sh.mark, joined: sh.next, opening: true, past: from.past}
	if from.resume && from.past == nil && !from.head && from.next < sh.next {
		l.next = from.next
		var held bool
		if l.mark, held = sh.b.ring.WatermarkBefore(from.next); !held { // since resumeAt: a gap follows
			l.mark = from.position.Offset
		}
	}
	at := sh.b.positionAt(l.next-1, l.mark)
	if from.resume {
		s.sendLocked(encode(&protocol.Ping{Position: &from.position}))
	}
	if from.gap != "" {
		s.sendLocked(sh.b.gap(0, from.gap, from.position, at, -1))
	}
	for _, sub := range subs {
		sh.goLive(sub)
		begins := sh.position()
		if !r.fresh(sub.filter) {
			sub.since, sub.mark = l.next, l.mark
			begins = at
			if l.past != nil {
				sub.since, sub.mark = 0, 0
			}
		}
		if !r.NoRetained && (r.fresh(sub.filter) || from.gap != "") {
			l.snapshots = append(l.snapshots, replayedSnapshot{sub.id, ring.NewSnapshot(sub.filter, begins.Seq, !r.fresh(sub.filter)), begins})
		}
	}
	inOrder(l.snapshots)
	s.lag, s.lagging, s.follows = l, true, true
	sh.b.stats.lagging.Add(1)
	s.drainLocked(0)
}

// inOrder brings the snapshots of a session that follows into the order in which they are due: at one place first those that follow
// a gap, then those of what begins. Of each kind none names again what another one of the same place has named: it is for both.
func inOrder(snapshots []replayedSnapshot) {
	after := func(reset bool) int {
		if reset {
			return 0
		}
		return 1
	}
	slices.SortFunc(snapshots, func(a, b replayedSnapshot) int {
		return cmp.Or(cmp.Compare(a.at.Seq, b.at.Seq), after(a.walk.Reset)-after(b.walk.Reset), cmp.Compare(a.subscription, b.subscription))
	})
	for i, later := range snapshots {
		for _, earlier := range snapshots[:i] {
			if earlier.at.Seq == later.at.Seq && earlier.walk.Reset == later.walk.Reset {
				later.walk.Except = append(later.walk.Except, earlier.walk.Filter)
			}
		}
	}
}

// takeBeginning forgets the snapshots of a session that follows, all of which come again after a gap, and returns the subscriptions
// that have not begun.
func (l *lag) takeBeginning() (ids []uint64) {
	if l.joined == 0 {
		return nil
	}
	for _, next := range l.snapshots {
		if !next.walk.Reset {
			ids = append(ids, next.subscription)
		}
	}
	l.snapshots = nil
	return ids
}

// owes reports whether a snapshot has to be sent before the log is read on. Session.mu is held.
func (l *lag) owes() bool {
	return len(l.snapshots) > 0 && (l.joined == 0 || l.next > l.snapshots[0].at.Seq)
}

// upTo is the entry up to which the log may be read on, of those up to passed: where a session that follows opens, the snapshots of
// what begins there come first. Called by the drainer.
func (l *lag) upTo(passed uint64) uint64 {
	if l.opening {
		return min(passed, l.joined-1)
	}
	return passed
}

// openedLocked appends Resumed when the cursor has come to where the session began.
func (s *Session) openedLocked(batch []*Packet) []*Packet {
	l := s.lag
	if l.next < l.joined || len(l.snapshots) > 0 {
		return batch
	}
	l.opening = false
	at := s.b.positionAt(l.next-1, l.mark)
	for id := range uint64(len(s.subs)) {
		batch = append(batch, encode(&protocol.Resumed{Subscription: id + 1, Position: at}))
	}
	return batch
}

// paidLocked appends the position of a session that follows when nothing is owed up to it any more.
func (s *Session) paidLocked(batch []*Packet) []*Packet {
	l := s.lag
	if l.owes() {
		return batch
	}
	if l.opening && l.next >= l.joined {
		return s.openedLocked(batch)
	}
	at := s.b.positionAt(l.next-1, l.mark)
	return append(batch, encode(&protocol.Ping{Position: &at}))
}

// Locate has the session told its position, behind everything already due.
func (s *Session) Locate() {
	s.shard.post(func() {
		if s.heart.welcomed {
			s.shard.ping(s)
		}
	})
}
