package broker

import (
	"strings"

	"github.com/carillon-mq/carillon/broker/internal/rules"
	"github.com/carillon-mq/carillon/protocol"
)

// checkOwn refuses a topic that only the broker publishes to: no grant would help.
func checkOwn(topic string) *protocol.Error {
	for _, own := range [...]string{rules.SysPrefix, rules.PresencePrefix} {
		if strings.HasPrefix(topic, own) {
			return protocol.Errorf(protocol.CodeForbidden, "topic %q is one of the broker's own; nobody may publish to it", topic).
				WithHint("Publish to a topic that does not begin with " + own)
		}
	}
	return nil
}

// checkReserved checks a publish to a topic that begins with `$`; free says that it needs no grant.
func (b *Broker) checkReserved(r *PublishRequest) (free bool, err *protocol.Error) {
	if err := checkOwn(r.Topic); err != nil {
		return false, err
	}
	session, is := rules.InboxOf(r.Topic)
	switch {
	case !is:
		return false, nil
	case r.Retain:
		return false, protocol.Errorf(protocol.CodeBadArgs, "found retain on topic %q: nothing is kept of an inbox", r.Topic)
	case !b.registry.isOpen(session):
		return false, protocol.Errorf(protocol.CodeNotFound, "found no session that has the inbox of topic %q", r.Topic).
			WithHint("The session that asked has ended; nobody waits for the reply.")
	}
	return true, nil
}
