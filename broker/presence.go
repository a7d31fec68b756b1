package broker

import (
	"errors"
	"strings"
	"time"

	"github.com/carillon-mq/carillon/broker/internal/interest"
	"github.com/carillon-mq/carillon/broker/internal/presence"
	"github.com/carillon-mq/carillon/broker/internal/rules"
	"github.com/carillon-mq/carillon/protocol"
)

// Presence is who is there: the members of one topic at one moment ([PRE-4]).
type Presence struct {
	Count int      // members there are
	Users []string // who they are, sorted by their bytes; nil when there are more than protocol.MaxUsers
}

// Presence tells id who is a member of topic. The error is a *protocol.Error, which the caller reports with Refused if somebody is told:
// bad_topic, or forbidden without the right to presence on the topic.
func (b *Broker) Presence(id *Identity, topic string) (Presence, error) {
	if err := b.mayKnowPresence(id, topic); err != nil {
		return Presence{}, err
	}
	return b.members.of(topic), nil
}

func (b *Broker) mayKnowPresence(id *Identity, topic string) *protocol.Error {
	if err := asError(protocol.ValidateTopic(topic)); err != nil {
		return err
	}
	if err := b.ask(id, "", presenceRight(topic)); err != nil {
		return err
	}
	if !id.CanKnowPresence(topic) {
		return protocol.Errorf(protocol.CodeForbidden, "no grant of %s covers presence on %q", id.name(), topic)
	}
	return nil
}

// members keeps the table of who is there and publishes its changes.
type members struct {
	b       *Broker
	table   *presence.Table
	wake    chan struct{}
	readers interest.Table // filters of subscriptions, starting ones too, that changes may be for
}

func newMembers(b *Broker) *members {
	return &members{b: b, table: presence.New(b.opt.Limits.SubscriptionsIn), wake: make(chan struct{}, 1)}
}

func (m *members) of(topic string) Presence {
	users, count := m.table.Members(topic)
	return Presence{Count: count, Users: users}
}

// run publishes the changes as they are due. It ends when stop is closed.
func (m *members) run(stop <-chan struct{}) {
	timer := time.NewTimer(0)
	timer.Stop()
	for {
		select {
		case <-m.wake:
		case <-timer.C:
		case <-stop:
			timer.Stop()
			return
		}
		next := m.table.Tell(time.Now(), m.read, m.publish)
		if timer.Stop(); !next.IsZero() {
			timer.Reset(time.Until(next))
		}
	}
}

// look has run look at the table, if that is to be.
func (m *members) look(earlier bool) {
	if !earlier {
		return
	}
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// read reports whether anybody may be subscribed to the changes of topic. What nobody reads would only take room in the log.
func (m *members) read(topic string) bool { return m.readers.In(rules.PresencePrefix + topic) }

// publish publishes a change. When the names are longer than a message may be they are left out, as those of too many are.
func (m *members) publish(c presence.Change) {
	payload := c.Append(nil)
	if exceeds(len(payload), m.b.opt.Limits.Payload) {
		payload = (&protocol.PresenceChange{Count: c.Count}).Append(nil)
	}
	msg := newMessageOf(&protocol.Message{Topic: rules.PresencePrefix + c.Topic, Payload: payload, Time: time.Now().UnixMilli()}, ClassLive)
	m.b.append(&msg)
}

// added and removed count a subscription that has begun or ended. Its session's mu is held.
func (m *members) added(sub *subscription) {
	if strings.HasPrefix(sub.filter, rules.PresencePrefix) {
		m.readers.Add(sub.filter, 1)
	}
	if sub.member {
		m.look(m.table.Join(sub.filter, sub.session.identity.User, time.Now()))
	}
}

func (m *members) removed(sub *subscription, lost bool) {
	if strings.HasPrefix(sub.filter, rules.PresencePrefix) {
		m.readers.Add(sub.filter, -1)
	}
	m.leave(sub, lost)
}

// leave takes the join of sub back, if that is still to be done. Its session's mu is held.
func (m *members) leave(sub *subscription, lost bool) {
	if sub.member {
		sub.member = false
		m.look(m.table.Leave(sub.filter, sub.session.identity.User, lost, time.Now()))
	}
}

// ErrLeft is what a transport gives to Session.Closed when the client has said that it leaves, by closing the WebSocket with 1000: it is
// no member of anything any more from then on. Of every other end it may come back ([PRE-2]).
var ErrLeft = errors.New("the client has closed the connection")

// lostBy reports whether a session that has ended by err, or that the broker has ended by cause, may come back with the rights it had.
func lostBy(err error, cause *protocol.Error) bool {
	if cause == nil {
		return !errors.Is(err, ErrLeft)
	}
	return cause.Code != protocol.CodeRevoked && cause.Code != protocol.CodeKicked && cause.Code != protocol.CodeWrongUser
}

// checkJoin checks a Subscribe that joins ([PRE-1]).
func (s *Session) checkJoin(p *protocol.Subscribe) *protocol.Error {
	if err := protocol.ValidateTopic(p.Filter); err != nil {
		return protocol.Errorf(protocol.CodeBadArgs, "found %q to join, wanted a topic: nobody is a member of a filter", p.Filter)
	}
	if s.identity.User == "" {
		return protocol.Errorf(protocol.CodeForbidden, "an anonymous client is no user, and joins nothing")
	}
	if err := protocol.ValidateTopic(rules.PresencePrefix + p.Filter); err != nil {
		return protocol.Errorf(protocol.CodeBadArgs, "found topic %q to join, wanted one that has room for %q in front of it", p.Filter, rules.PresencePrefix)
	}
	return s.b.mayKnowPresence(s.identity, p.Filter)
}

// handlePresence answers who is there.
func (s *Session) handlePresence(raw protocol.Raw) error {
	var p protocol.Presence
	if err := p.Decode(raw); err != nil {
		return s.answerOr(raw, err)
	}
	if err := s.allowSubscribe(); err != nil {
		return s.refuse(p.ID, err)
	}
	if err := s.begin(p.ID); err != nil {
		return s.answerOr(raw, err)
	}
	s.done(p.ID)
	if err := s.b.mayKnowPresence(s.identity, p.Topic); err != nil {
		s.answer(p.ID, err)
		return nil
	}
	is := s.b.members.of(p.Topic)
	s.sendLater(&protocol.Presences{ID: p.ID, Count: uint64(is.Count), Users: is.Users})
	return nil
}
