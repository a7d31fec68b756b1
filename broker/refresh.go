package broker

import (
	"slices"

	"github.com/carillon-mq/carillon/protocol"
)

// handleRefresh gives the session the rights and the life of a fresh token. The reader waits for the decision: what the client has sent
// behind it is read with the fresh rights, or with the old ones if it is refused ([REF-5]).
func (s *Session) handleRefresh(raw protocol.Raw) error {
	var p protocol.Refresh
	if err := p.Decode(raw); err != nil {
		return s.answerOr(raw, err)
	}
	if err := s.allowSubscribe(); err != nil {
		return s.refuse(p.ID, err)
	}
	if err := s.begin(p.ID); err != nil {
		return s.answerOr(raw, err)
	}
	s.flushAcks() // the decision may take a while
	id, err := s.b.Authenticate(s.b.ctx, Credentials{
		Token: p.Token, Transport: s.info.Transport, Remote: s.info.Remote,
		Previous: &Principal{User: s.identity.User, TokenID: s.identity.TokenID, Attributes: s.identity.Attributes, Session: s.id},
	})
	s.done(p.ID)
	if err != nil {
		return s.refuse(p.ID, refreshRefusal(asError(err)))
	}
	if id.User != s.identity.User {
		return protocol.Errorf(protocol.CodeWrongUser, "found a token of %s in a session of %s", id.name(), s.identity.name())
	}
	if err := s.askAnew(id); err != nil {
		return s.refuse(p.ID, err)
	}
	s.mu.Lock()
	s.identity = id
	s.mu.Unlock()
	if why := s.b.revoked(id); why != nil { // since it was let in
		return why
	}
	relimit(s.subscribes, s.subscribeRate)
	relimit(s.publishes, s.publishRate)
	relimit(s.bytes, s.publishBytes)
	s.sendLater(&protocol.Refreshed{ID: p.ID, Expires: id.expires(), Limits: s.b.limitsOf(id)})
	s.flushAcks() // before the shard says what has ended
	s.shard.post(func() { s.shard.refreshed(s, id) })
	return nil
}

// askAnew has decided what the session's subscriptions need of a fresh identity.
func (s *Session) askAnew(id *Identity) *protocol.Error {
	var wanted []right
	s.mu.Lock()
	for _, sub := range s.subs {
		wanted = append(wanted, s.rightsOf(id, sub)...)
	}
	s.mu.Unlock()
	return s.b.ask(id, s.id, wanted...)
}

// refreshRefusal is a refusal to connect as one to go on with a fresh token: the session stays as it is ([REF-2]).
func refreshRefusal(err *protocol.Error) *protocol.Error {
	if err.Code == protocol.CodeUnavailable {
		again := protocol.Errorf(protocol.CodeAuthUnavailable, "%s", err.Detail)
		return again.WithRetryAfter(err.RetryAfter)
	}
	return protocol.Errorf(protocol.CodeForbidden, "the fresh token is refused with %s: %s", err.Code, err.Detail).
		WithHint("The session goes on with the token that it has, until that expires.")
}

// refreshed has the session last as long as id, and ends the subscriptions that id may not have ([REF-4]). Called by the shard's goroutine.
func (sh *shard) refreshed(s *Session, id *Identity) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	for _, sub := range slices.Backward(s.subs) { // what is taken out lies behind
		// what was decided and ran out meanwhile is no denial: checkRights says so ([RGT-3])
		if slices.ContainsFunc(s.rightsOf(id, sub), func(r right) bool { return !id.has(r) && !id.lapsed(r) }) {
			sh.end(s, sub)
			err := protocol.Errorf(protocol.CodeForbidden, "no grant of the fresh token of %s covers %q any more: the subscription has ended", id.name(), sub.filter)
			sh.b.stats.reject(err.Code)
			s.sendLocked(encode(err.Packet(sub.id)))
		}
	}
	s.mu.Unlock()
	if s.heart.joined {
		sh.lasts(s, id)
		sh.watchRights(s)
	}
}
