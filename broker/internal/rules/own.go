package rules

import "strings"

// What the topics of the broker's own begin with.
const (
	SysPrefix      = "$sys."      // its events and figures
	PresencePrefix = "$presence." // who comes to a topic and goes ([PRE-3])
	// InboxPrefix is followed by a session and anything behind it ([REQ-1]). Whoever knows the name of a session may publish there, with or
	// without a grant, and the session alone may read.
	InboxPrefix = "$inbox."
)

// InboxOf is the session in whose inbox a topic lies, if it lies in one.
func InboxOf(topic string) (session string, ok bool) {
	rest, ok := strings.CutPrefix(topic, InboxPrefix)
	if !ok {
		return "", false
	}
	session, _, ok = strings.Cut(rest, ".")
	return session, ok
}

// Passing reports whether topics that name matches are of class Live whatever the rules say ([REQ-3], [PRE-3]).
func Passing(name string) bool {
	return name[0] == '$' && (strings.HasPrefix(name, InboxPrefix) || strings.HasPrefix(name, PresencePrefix))
}
