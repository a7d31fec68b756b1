package broker

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/carillon-mq/carillon/broker/internal/decisions"
	"github.com/carillon-mq/carillon/protocol"
)

// What an identity's grants do not allow may be asked of an Authorizer, if the identity says so. That is done by whoever brings a request,
// before the right is looked at: Broker.ask puts what is open into one call and keeps the answers with the identity, and
// Identity.CanSubscribe and its like look there as they look into the grants. What could not be decided is not there, so it is not allowed.
//
// A subscription lasts longer than an answer. Its shard looks at the rights of a session as it looks at its heartbeat (checkRights), has
// them asked for again in time (renew), and ends what is not allowed any more.

// right is what an identity needs for something: nothing (free), what cannot be had (no Action), or the answer to a Question.
type right struct {
	Question
	free bool
}

// has reports whether id has r.
func (id *Identity) has(r right) bool {
	switch {
	case r.free:
		return true
	case r.Action == 0:
		return false
	case id.granted(r.Question):
		return true
	case id.Ask&r.Action == 0:
		return false
	}
	a, _ := id.Decisions.Get(r.key(), time.Now())
	return a.Allowed
}

// granted reports whether a grant allows q.
func (id *Identity) granted(q Question) bool {
	covers := protocol.Covers
	if q.Action == ActionPublish || q.Action == ActionExclude {
		covers = protocol.Match
	}
	for _, g := range id.Grants {
		if g.Actions&q.Action != 0 && covers(g.Filter, q.Filter) {
			return true
		}
	}
	return false
}

func (q Question) key() decisions.Key {
	return decisions.Key{Action: uint8(q.Action), Filter: q.Filter}
}

// depends reports whether id has r, or has it not, by an Authorizer's word.
func (id *Identity) depends(r right) bool {
	return !r.free && id.Ask&r.Action != 0 && !id.granted(r.Question)
}

// because is what a denial of r adds to its refusal.
func (id *Identity) because(r right) string {
	if id.Decisions == nil || !id.depends(r) {
		return ""
	}
	if a, _ := id.Decisions.Get(r.key(), time.Now()); a.Reason != "" {
		return ": " + a.Reason
	}
	return ""
}

// asking is id as a session or a door has it, with room for decisions if the Authorizer is to be asked about it.
func (b *Broker) asking(id *Identity) *Identity {
	if id.Ask == 0 || b.authorizer == nil {
		return id
	}
	own := *id
	own.Decisions = &decisions.Cache{}
	return &own
}

// askMargin is how long an answer has to hold still to be used by a request that looks at it a moment later.
const askMargin = MinDecision / 5

// lapsed reports whether id had r, or had it not, by an answer that is no more.
func (id *Identity) lapsed(r right) bool {
	if !id.depends(r) {
		return false
	}
	_, known := id.Decisions.Get(r.key(), time.Now())
	return !known
}

// ask has decided what is still open of what id wants, for the session of that id or for none. An error says that no decision could be
// had. It waits for the Authorizer, at most for Limits.AuthTimeout: no lock may be held.
func (b *Broker) ask(id *Identity, session string, wanted ...right) *protocol.Error {
	return b.decide(id, session, id.open(wanted))
}

// askToPublish is ask for what is done at once when it is allowed. Who was sent away while it was decided does nothing any more ([RGT-1]).
func (b *Broker) askToPublish(id *Identity, session string, wanted []right) *protocol.Error {
	open := id.open(wanted)
	if len(open) == 0 {
		return nil
	}
	if err := b.decide(id, session, open); err != nil {
		return err
	}
	if session != "" && !b.registry.isOpen(session) {
		return protocol.Errorf(protocol.CodeGoingAway, "the session is closed")
	}
	return b.revoked(id)
}

// open is what has to be asked of what id wants.
func (id *Identity) open(wanted []right) (open []Question) {
	if id.Ask == 0 || id.Decisions == nil {
		return nil
	}
	now := time.Now()
	for _, r := range wanted {
		if !id.depends(r) || slices.Contains(open, r.Question) {
			continue
		}
		if _, known := id.Decisions.Get(r.key(), now.Add(askMargin)); !known {
			open = append(open, r.Question)
		}
	}
	return open
}

// decide asks the Authorizer and keeps its answers.
func (b *Broker) decide(id *Identity, session string, questions []Question) *protocol.Error {
	for some := range slices.Chunk(questions, MaxQuestions) {
		if err := b.decideSome(id, session, some); err != nil {
			return err
		}
	}
	return nil
}

func (b *Broker) decideSome(id *Identity, session string, questions []Question) *protocol.Error {
	ctx, cancel := context.WithTimeout(b.ctx, b.opt.Limits.AuthTimeout)
	defer cancel()
	who := Principal{User: id.User, TokenID: id.TokenID, Attributes: id.Attributes, Session: session}
	answers, err := b.authorizer.Authorize(ctx, who, questions)
	if errors.Is(err, ErrNoPower) {
		return nil // nobody allows it, then
	}
	ill := func(d Decision) bool { return d.TTL < MinDecision || d.TTL > MaxDecision }
	if err != nil || len(answers) != len(questions) || slices.ContainsFunc(answers, ill) {
		if _, ok := b.stats.mayLog(); ok {
			b.opt.Logger.Warn("no decision about rights", "user", id.User, "err", err)
		}
		return errUndecided
	}
	now := time.Now()
	for i, d := range answers {
		q := questions[i]
		id.Decisions.Put(q.key(), decisions.Answer{
			Allowed: d.Allowed, Reason: d.Reason, Asked: q.Action&(ActionSubscribe|ActionPresence) != 0,
			Renew: now.Add(d.TTL / 5 * 4), Until: now.Add(d.TTL),
		}, now)
	}
	return nil
}

var errUndecided = protocol.Errorf(protocol.CodeAuthUnavailable, "no decision about the right to this could be had").
	WithHint("Try again in a moment.").WithRetryAfter(time.Second)

// rightsOf are what sub lives by.
func (s *Session) rightsOf(id *Identity, sub *subscription) []right {
	if s.ownInbox(sub.filter) {
		return nil
	}
	rights := []right{id.subscribeRight(sub.filter)}
	if sub.member {
		rights = append(rights, presenceRight(sub.filter))
	}
	return rights
}

// askAgain is how long an answer that could not be had is waited for before the next try.
const askAgain = time.Second

// checkRights ends the subscriptions of s whose right was an answer that is no more, has those asked for again that will end soon, and
// notes when to look the next time. Called by the shard's goroutine.
func (sh *shard) checkRights(s *Session, now time.Time) {
	h := &s.heart
	h.rightsAt = time.Time{}
	if !h.asks {
		return
	}
	var soon []Question
	var gone *protocol.Error
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	id := s.identity
	for _, sub := range slices.Backward(s.subs) { // what is taken out lies behind
		for _, r := range s.rightsOf(id, sub) {
			if !id.depends(r) {
				continue
			}
			a, known := id.Decisions.Get(r.key(), now)
			switch {
			case known && a.Allowed && now.Before(a.Renew):
				h.lookAt(a.Renew)
				continue
			case known && a.Allowed:
				soon = append(soon, r.Question)
				h.lookAt(a.Until)
				continue
			}
			gone = sh.withdraw(s, id, sub, r, known)
			break
		}
	}
	s.mu.Unlock()
	switch {
	case gone != nil && s.follows: // all that it is sent is one stream
		s.Disconnect(gone)
	case len(soon) > 0 && !h.renewing:
		h.renewing = true
		sh.b.drainers.Go(func() { sh.renew(s, id, soon) })
	}
}

// withdraw ends sub, whose right r was denied, or could not be decided in time. It returns what a session that follows ends with. The
// session's mu is held.
func (sh *shard) withdraw(s *Session, id *Identity, sub *subscription, r right, denied bool) *protocol.Error {
	err := errUndecided
	closing := protocol.Errorf(protocol.CodeUnavailable, "no decision about the right to %q could be had", sub.filter).WithRetryAfter(askAgain)
	if denied {
		err = protocol.Errorf(protocol.CodeForbidden, "the right of %s to %q is withdrawn%s: the subscription has ended", id.name(), sub.filter, id.because(r))
		closing = protocol.Errorf(protocol.CodeRevoked, "the right of %s to %q is withdrawn%s", id.name(), sub.filter, id.because(r))
	}
	if s.follows {
		return closing
	}
	sh.end(s, sub)
	sh.b.stats.reject(err.Code)
	s.sendLocked(encode(err.Packet(sub.id)))
	return nil
}

// renew asks about the rights of s that will end soon. Not more than so many sessions ask at a time.
func (sh *shard) renew(s *Session, id *Identity, questions []Question) {
	sh.b.renewals <- struct{}{}
	err := sh.b.decide(id, s.id, questions)
	<-sh.b.renewals
	sh.post(func() {
		s.heart.renewing = false
		if !s.heart.joined {
			return
		}
		if err != nil {
			s.heart.lookAt(time.Now().Add(askAgain))
		} else {
			sh.checkRights(s, time.Now())
		}
		sh.wheel.remove(s)
		sh.wheel.put(s, sh.untilLook(s, time.Now()))
	})
}

// lookAt has the rights looked at by then.
func (h *heart) lookAt(at time.Time) {
	if h.rightsAt.IsZero() || at.Before(h.rightsAt) {
		h.rightsAt = at
	}
}

// watchRights looks at the rights of a session that has one more subscription. Called by the shard's goroutine.
func (sh *shard) watchRights(s *Session) {
	if !s.heart.asks || !s.heart.joined {
		return
	}
	now := time.Now()
	sh.checkRights(s, now)
	sh.wheel.remove(s)
	sh.wheel.put(s, sh.untilLook(s, now))
}
