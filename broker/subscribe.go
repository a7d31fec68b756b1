package broker

import (
	"cmp"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/carillon-mq/carillon/broker/internal/ring"
	"github.com/carillon-mq/carillon/broker/internal/rules"
	"github.com/carillon-mq/carillon/broker/internal/trie"
	"github.com/carillon-mq/carillon/protocol"
)

// subscription is one filter of one session. It is starting (a cursor of its own: snapshot, replay) until its shard takes it,
// from then on live (log.md R1).
type subscription struct {
	id         uint64
	filter     string
	noRetained bool
	conflated  *conflation // nil: it becomes live
	session    *Session
	item       trie.Item[*subscription] // the shard's

	// Guarded by session.mu; the cursor is moved by the drainer alone.
	live   bool
	member bool   // its user is a member of the topic, as far as it is concerned
	since  uint64 // live from this seq on
	mark   uint64 // watermark right before it
	start  *starting
}

// subscriptions are those of a session, by ascending id: most have one or a few.
type subscriptions []*subscription

func (l subscriptions) find(id uint64) (at int, found bool) {
	return slices.BinarySearchFunc(l, id, func(sub *subscription, id uint64) int { return cmp.Compare(sub.id, id) })
}

// get is the subscription id, or nil.
func (l subscriptions) get(id uint64) *subscription {
	if at, found := l.find(id); found {
		return l[at]
	}
	return nil
}

func (l *subscriptions) put(sub *subscription) {
	at, _ := l.find(sub.id)
	*l = slices.Insert(*l, at, sub)
}

func (l *subscriptions) remove(id uint64) {
	if at, found := l.find(id); found {
		*l = slices.Delete(*l, at, at+1)
	}
}

// handleSubscribe checks what can be checked at once and hands the rest to the shard, which answers.
func (s *Session) handleSubscribe(raw protocol.Raw) error {
	var p protocol.Subscribe
	if err := p.Decode(raw); err != nil {
		return s.answerOr(raw, err)
	}
	s.undecided = nil
	sub, from, err := s.enter(&p)
	if err != nil {
		return s.refuse(p.ID, err)
	}
	s.shard.post(func() { s.shard.subscribe(sub, from) })
	return nil
}

// enter takes in the subscription that p asks for, which its shard starts then, or says why not.
func (s *Session) enter(p *protocol.Subscribe) (*subscription, start, *protocol.Error) {
	if err := s.admit(p); err != nil {
		return nil, start{}, err
	}
	from, err := s.b.startOf(s.identity, s.origin, p)
	if err != nil {
		return nil, start{}, err
	}
	sub := &subscription{id: p.ID, filter: p.Filter, noRetained: !p.WantsRetained(), conflated: newConflation(p), member: p.Join, session: s}
	sub.item.Value = sub
	return sub, from, s.addSubscription(sub)
}

// admit checks a Subscribe against the rules, the identity's grants and the limits.
func (s *Session) admit(p *protocol.Subscribe) *protocol.Error {
	if err := s.allowSubscribe(); err != nil {
		return err
	}
	if err := asError(protocol.ValidateFilter(p.Filter)); err != nil {
		return err
	}
	if s.identity.Ask != 0 && s.undecided == nil {
		s.flushAcks() // the decision may take a while
		s.undecided = s.b.ask(s.identity, s.id, s.wants(p)...)
	}
	if s.undecided != nil && !s.mayHave(s.identity, p.Filter) {
		return s.undecided
	}
	if !s.mayHave(s.identity, p.Filter) {
		return s.identity.uncovered("subscribing to", p.Filter, s.identity.because(s.identity.subscribeRight(p.Filter)))
	}
	if p.Join {
		if err := s.checkJoin(p); err != nil {
			return err
		}
	}
	return s.b.filterReady(p.Filter, !p.WantsRetained())
}

// wants is what p, whose filter is valid, needs of the session's identity.
func (s *Session) wants(p *protocol.Subscribe) []right {
	if s.ownInbox(p.Filter) {
		return nil
	}
	wanted := []right{s.identity.subscribeRight(p.Filter)}
	if p.Join {
		wanted = append(wanted, presenceRight(p.Filter))
	}
	if p.Position != nil || p.Last > 0 {
		wanted = append(wanted, historyRight(p.Filter))
	}
	return wanted
}

// filterReady refuses what needs the store before it has been loaded: retained messages, and what it has kept of stored topics, which
// comes into the log then (log.md K4, P7).
func (b *Broker) filterReady(filter string, noRetained bool) *protocol.Error {
	if noRetained && !b.rules.MayBeStored(filter) {
		return nil
	}
	return b.retainedReady()
}

func (s *Session) allowSubscribe() *protocol.Error {
	perSecond, burst := s.subscribeRate()
	if !allow(&s.subscribes, time.Now(), perSecond, burst, 1) {
		return protocol.Errorf(protocol.CodeRateLimited, "found more than %d subscribes and unsubscribes a second", perSecond).WithRetryAfter(time.Second)
	}
	return nil
}

func (s *Session) subscribeRate() (perSecond, burst int) {
	perSecond = or(s.identity.Limits.SubscribeRate, s.b.opt.Limits.SubscribeRate)
	return perSecond, max(s.b.opt.Limits.SubscribeBurst, perSecond)
}

// mayHave reports whether a session of id may subscribe to filter.
func (s *Session) mayHave(id *Identity, filter string) bool {
	return id.CanSubscribe(filter) || s.ownInbox(filter)
}

// ownInbox reports whether filter lies in the session's inbox, which only it may read.
func (s *Session) ownInbox(filter string) bool {
	return strings.HasPrefix(filter, rules.InboxPrefix) && protocol.Covers(rules.InboxPrefix+s.id+".>", filter)
}

func (s *Session) addSubscription(sub *subscription) *protocol.Error {
	limit := or(s.identity.Limits.Subscriptions, s.b.opt.Limits.Subscriptions)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return protocol.Errorf(protocol.CodeGoingAway, "the session is closed")
	}
	if s.subs.get(sub.id) != nil || slices.Contains(s.unanswered, sub.id) {
		return protocol.Errorf(protocol.CodeDuplicateID, "found subscription id %d, which is in use", sub.id)
	}
	if exceeds(len(s.subs)+1, limit) {
		return protocol.Errorf(protocol.CodeSubscriptionLimit, "found subscription number %d, this session may have %d", len(s.subs)+1, limit)
	}
	if !s.b.registry.addSubscription() {
		return protocol.Errorf(protocol.CodeSubscriptionLimit, "the broker holds its limit of subscriptions")
	}
	s.subs.put(sub)
	s.b.members.added(sub)
	return nil
}

// subscribe starts sub between two entries. Called by the shard's goroutine.
func (sh *shard) subscribe(sub *subscription, from start) {
	s := sub.session
	s.mu.Lock()
	if batch := sh.begin(sub, from, nil); len(batch) > 0 {
		s.sendLocked(batch...)
	}
	s.mu.Unlock()
	sh.watchRights(s)
}

// begin starts sub and appends what it is sent at once to batch, which is sent before anything else. The session's mu is held.
func (sh *shard) begin(sub *subscription, from start, batch []*Packet) []*Packet {
	s := sub.session
	if s.closed || s.subs.get(sub.id) != sub {
		return batch
	}
	st := sh.place(sub, from)
	at := sh.b.positionAt(st.next-1, st.mark)
	if st.past != nil {
		at = from.position
	}
	batch = append(batch, encode(&protocol.Subscribed{ID: sub.id, Position: at}))
	if st.past != nil {
		batch, _ = s.joinStarting(sub, st, batch)
	}
	if from.gap != "" {
		batch = append(batch, sh.b.gap(sub.id, from.gap, from.position, sh.b.positionAt(st.next-1, st.mark), -1))
	}
	if sub.conflated != nil {
		sh.joinConflated(sub)
	}
	batch, live := sh.startNow(sub, st, batch)
	if !live {
		sub.start = st
		s.starting = append(s.starting, sub)
		s.drainLocked(0)
	}
	return batch
}

// startNow makes sub live at once when what it has to be sent first is small: the retained value of one topic, and at most
// handBack entries of the log. That is appended to batch, which is sent before anything else. It reports false, and has done
// nothing but to send batch, when that is the drainer's work.
func (sh *shard) startNow(sub *subscription, st *starting, batch []*Packet) (_ []*Packet, live bool) {
	s := sub.session
	if sub.conflated != nil || st.past != nil || st.snapshot != nil && !st.snapshot.Literal && !sh.b.retained.IsEmpty() {
		return batch, false
	}
	if st.next+handBack < sh.next {
		return batch, false
	}
	read := st.stretch()
	if st.next < sh.next && (!sh.b.ring.Read(&read, sub.matcher(), sh.next-1, drainBytes) || read.Next != sh.next) {
		return batch, false
	}
	if read.Bytes > 0 {
		if len(batch) > 1 { // so that the window knows of it
			s.sendLocked(batch...)
			batch = nil
		}
		if !s.fitsLocked(&read) {
			return batch, false
		}
	}
	if walk := st.snapshot; walk != nil {
		before, more := len(batch), false
		if batch, more = sh.b.snapshotPackets(sub.id, walk, batch); more { // the map has grown since
			st.snapshot = ring.NewSnapshot(sub.filter, walk.Head, walk.Reset)
			return batch[:before], false
		}
	}
	batch = sh.b.appendReplay(batch, sub.id, &read, sh.b.positionAt(st.next-1, st.mark))
	if st.resumed {
		batch = append(batch, encode(&protocol.Resumed{Subscription: sub.id, Position: sh.position()}))
	}
	sh.b.stats.delivered.Add(read.Count)
	sh.goLive(sub)
	return batch, true
}

// goLive puts sub into the shard's trie: it gets every entry from sh.next on. The session's mu is held.
func (sh *shard) goLive(sub *subscription) {
	sub.live, sub.since, sub.mark, sub.start = true, sh.next, sh.mark, nil
	sub.session.subsEpoch++
	sh.trie.Insert(sub.filter, &sub.item)
	sh.interest.Add(sub.filter, 1)
}

func (s *Session) handleUnsubscribe(raw protocol.Raw) error {
	var p protocol.Unsubscribe
	if err := p.Decode(raw); err != nil {
		return s.answerOr(raw, err)
	}
	if err := s.allowSubscribe(); err != nil {
		return s.refuse(p.ID, err)
	}
	if err := s.begin(p.ID); err != nil {
		return s.answerOr(raw, err)
	}
	s.mu.Lock()
	if sub := s.subs.get(p.Subscription); sub != nil {
		s.b.members.leave(sub, false) // before the packets behind this one are read
	}
	s.mu.Unlock()
	s.shard.post(func() { s.shard.unsubscribe(s, p.ID, p.Subscription) })
	return nil
}

// unsubscribe ends a subscription: nothing for it follows the answer. Called by the shard's goroutine.
func (sh *shard) unsubscribe(s *Session, request, id uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.doneLocked(request)
	if s.closed {
		return
	}
	sub := s.subs.get(id)
	if sub == nil {
		err := protocol.Errorf(protocol.CodeNotFound, "found subscription %d, which this session does not have", id)
		sh.b.stats.reject(err.Code)
		s.sendLocked(encode(err.Packet(request)))
		return
	}
	sh.end(s, sub)
	s.sendLocked(encode(&protocol.Unsubscribed{ID: request}))
}

// end takes sub out of its session. The session's mu is held.
func (sh *shard) end(s *Session, sub *subscription) {
	s.subs.remove(sub.id)
	s.subsEpoch++
	if l := s.lag; l != nil {
		l.unread.Blur(sh.next)
		l.snapshots = slices.DeleteFunc(l.snapshots, func(r replayedSnapshot) bool { return r.subscription == sub.id })
	}
	sh.forget(sub, false)
}

// forget takes sub out of the trie and the count; lost says that its session may come back for it. The session's mu is held.
func (sh *shard) forget(sub *subscription, lost bool) {
	if sub.live || sub.conflated != nil && sub.conflated.joined {
		sub.live = false
		if c := sub.conflated; c != nil {
			c.joined = false
			sub.session.keptBytes -= c.drop(ring.Never)
		}
		sh.trie.Remove(&sub.item)
		sh.interest.Add(sub.filter, -1)
	}
	sub.start = nil
	sh.b.registry.dropSubscription()
	sh.b.members.removed(sub, lost)
}

// answerOr answers a request that cannot be decoded when its fault is in the values, and closes the session when it is in the
// form.
func (s *Session) answerOr(raw protocol.Raw, err error) error {
	refusal := asError(err)
	if errors.Is(err, errClosed) || refusal.Code.Closes() {
		return err
	}
	id, _ := raw.ID()
	s.answer(id, refusal)
	return nil
}
