package broker

import (
	"strconv"
	"strings"
	"time"

	"github.com/carillon-mq/carillon/broker/internal/decisions"
	"github.com/carillon-mq/carillon/broker/internal/rules"
	"github.com/carillon-mq/carillon/protocol"
)

// Action is a set of things an identity may do with a topic.
type Action uint8

// The actions of a Grant.
const (
	ActionPublish Action = 1 << iota
	ActionSubscribe
	ActionHistory
	ActionPresence
	ActionExclude // publish so that the sessions of an origin are not sent it ([PUB-14])
)

// Grant allows actions on the topics that Filter matches.
type Grant struct {
	Actions Action
	Filter  string
}

// Identity is an Authenticator's answer: who the client is and what it may do. It is not changed after it was handed over.
type Identity struct {
	User       string // "" is anonymous
	TokenID    string // jti, for revocation
	Grants     []Grant
	Ask        Action    // an Authorizer is asked about these where no grant allows them
	Issued     time.Time // of the token; zero: not known
	Expires    time.Time // zero: never
	Limits     SessionLimits
	Attributes map[string]string

	// Decisions is what an Authorizer has said by now: the broker's, nil in what an Authenticator answers.
	Decisions *decisions.Cache
}

// SessionLimits override the broker's defaults for one identity. 0 is the default, Unlimited is none.
type SessionLimits struct {
	PublishRate    int // publishes per second
	PublishBytes   int // payload bytes per second
	Subscriptions  int
	SubscribeRate  int // subscribes and unsubscribes per second
	SessionsOfUser int
}

// Unlimited switches a limit off.
const Unlimited = -1

// CanPublish reports whether the identity may publish to topic, which is valid. The inbox of a session is open to everybody, as long as
// the session is there ([REQ-2]).
func (id *Identity) CanPublish(topic string) bool { return id.has(publishRight(topic)) }

func publishRight(topic string) right {
	switch {
	case topic[0] != '$':
	case strings.HasPrefix(topic, rules.SysPrefix), strings.HasPrefix(topic, rules.PresencePrefix):
		return right{}
	case strings.HasPrefix(topic, rules.InboxPrefix):
		_, is := rules.InboxOf(topic)
		return right{free: is}
	}
	return right{Question: Question{ActionPublish, topic}}
}

// CanSubscribe reports whether the identity may subscribe to filter, which is valid: a grant has to cover it whole.
// A user may always read its own `$user.<id>.>` (log.md N1). No grant opens the inbox of another session. Who is there is told to who may
// know it, with or without a grant for the topics of the changes ([PRE-3]).
func (id *Identity) CanSubscribe(filter string) bool { return id.has(id.subscribeRight(filter)) }

func (id *Identity) subscribeRight(filter string) right {
	if of, is := strings.CutPrefix(filter, rules.PresencePrefix); is {
		return presenceRight(of)
	}
	if id.User != "" && protocol.Covers("$user."+protocol.EscapeLevel(id.User)+".>", filter) {
		return right{free: true}
	}
	if strings.HasPrefix(filter, rules.InboxPrefix) {
		return right{}
	}
	return right{Question: Question{ActionSubscribe, filter}}
}

// CanKnowPresence reports whether the identity may know who is there in the topics that filter matches, which is valid, and be there
// itself. Topics that begin with `$` have no members: below `$presence.` a wildcard would match them like any other.
func (id *Identity) CanKnowPresence(filter string) bool { return id.has(presenceRight(filter)) }

func presenceRight(filter string) right {
	if strings.HasPrefix(filter, "$") {
		return right{}
	}
	return right{Question: Question{ActionPresence, filter}}
}

// CanReadHistory reports whether the identity may go back in time on filter without a bound (log.md R6). No grant opens the inbox of
// another session.
func (id *Identity) CanReadHistory(filter string) bool { return id.has(historyRight(filter)) }

func historyRight(filter string) right {
	if strings.HasPrefix(filter, rules.InboxPrefix) {
		return right{}
	}
	return right{Question: Question{ActionHistory, filter}}
}

// CanExclude reports whether the identity may exclude an origin other than its session's own from what it publishes to topic, which is
// valid (log.md R7).
func (id *Identity) CanExclude(topic string) bool { return id.has(excludeRight(topic)) }

func excludeRight(topic string) right { return right{Question: Question{ActionExclude, topic}} }

// name is how a message to the client calls the identity.
func (id *Identity) name() string {
	if id.User == "" {
		return "an anonymous client"
	}
	return strconv.Quote(id.User)
}

// uncovered refuses what no grant of id allows to be done with a topic or filter.
func (id *Identity) uncovered(doing, what, because string) *protocol.Error {
	err := protocol.Errorf(protocol.CodeForbidden, "no grant of %s covers %s %q%s", id.name(), doing, what, because)
	if strings.HasPrefix(what, "$") { // [FIL-5]
		err = err.WithHint("What begins with $ is covered by no filter that begins with * or >: use a token with a grant that names its first level, such as $user.>.")
	}
	return err
}

// expires is when id ends, in Unix milliseconds; 0: never.
func (id *Identity) expires() int64 {
	if id.Expires.IsZero() {
		return 0
	}
	return id.Expires.UnixMilli()
}
