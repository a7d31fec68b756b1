package carillon

import (
	"slices"

	"github.com/carillon-mq/carillon/protocol"
)

// EscapeLevel makes exactly one level of a topic out of any text: a host name, a user id.
func EscapeLevel(s string) string { return protocol.EscapeLevel(s) }

// Match reports whether filter, which is valid, matches topic, which is valid.
func Match(filter, topic string) bool { return protocol.Match(filter, topic) }

// index finds the live subscriptions of a topic.
type index struct {
	literal map[string][]*Subscription
	wild    []*Subscription
}

func (x *index) add(s *Subscription) {
	if !protocol.IsLiteral(s.filter) {
		x.wild = append(x.wild, s)
		return
	}
	if x.literal == nil {
		x.literal = make(map[string][]*Subscription)
	}
	x.literal[s.filter] = append(x.literal[s.filter], s)
}

func (x *index) remove(s *Subscription) {
	same := func(o *Subscription) bool { return o == s }
	if !protocol.IsLiteral(s.filter) {
		x.wild = slices.DeleteFunc(x.wild, same)
		return
	}
	if rest := slices.DeleteFunc(x.literal[s.filter], same); len(rest) > 0 {
		x.literal[s.filter] = rest
	} else {
		delete(x.literal, s.filter)
	}
}

// match appends the subscriptions whose filter matches topic to found.
func (x *index) match(topic string, found []*Subscription) []*Subscription {
	found = append(found, x.literal[topic]...)
	for _, s := range x.wild {
		if protocol.Match(s.filter, topic) {
			found = append(found, s)
		}
	}
	return found
}
