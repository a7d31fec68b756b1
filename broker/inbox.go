package broker

import (
	"strings"

	"github.com/carillon-mq/carillon/protocol"
)

// inboxPrefix is what the topics of inboxes begin with: `$inbox.<session>.` and anything behind it ([REQ-1]). Whoever knows the name of a
// session may publish there, with or without a grant, and the session alone may read.
const inboxPrefix = "$inbox."

// inboxOf is the session in whose inbox a topic lies, if it lies in one.
func inboxOf(topic string) (session string, ok bool) {
	rest, ok := strings.CutPrefix(topic, inboxPrefix)
	if !ok {
		return "", false
	}
	session, _, ok = strings.Cut(rest, ".")
	return session, ok
}

// checkReserved checks a publish to a topic that begins with `$`; free says that it needs no grant.
func (b *Broker) checkReserved(r *PublishRequest) (free bool, err *protocol.Error) {
	for _, own := range [...]string{sysPrefix, presencePrefix} {
		if strings.HasPrefix(r.Topic, own) {
			return false, protocol.Errorf(protocol.CodeForbidden, "topic %q is one of the broker's own; nobody may publish to it", r.Topic).
				WithHint("Publish to a topic that does not begin with " + own)
		}
	}
	session, is := inboxOf(r.Topic)
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

// passing reports whether topics that name matches are of class live whatever the rules say ([REQ-3], [PRE-3]).
func passing(name string) bool {
	return name[0] == '$' && (strings.HasPrefix(name, inboxPrefix) || strings.HasPrefix(name, presencePrefix))
}
