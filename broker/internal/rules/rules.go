// Package rules says what the broker keeps of the messages of each topic: the rules of the configuration do, and what the topic is, for the
// broker's own ones.
package rules

import (
	"slices"
	"time"

	"github.com/carillon-mq/carillon/broker/store"
	"github.com/carillon-mq/carillon/protocol"
)

// Class says what the broker keeps of a topic's messages.
type Class uint8

// The topic classes.
const (
	Memory Class = iota // kept in the ring; the default
	Live                // never kept, never replayed
	Stored              // kept by the store
)

// String is the class's name in the configuration.
func (c Class) String() string {
	return [...]string{"memory", "live", "stored"}[c]
}

// Rule is what is said of the topics that Keep.Match matches.
type Rule struct {
	Class Class
	Keep  store.RetentionRule // of another class than Stored: nothing
	Sync  time.Duration       // how long commits may be gathered
}

// Rules are rules of which the first that matches a topic is that of the topic.
type Rules []Rule

// ClassOf is the class of topic.
func (l Rules) ClassOf(topic string) Class {
	if Passing(topic) {
		return Live
	}
	if r := l.of(topic); r != nil {
		return r.Class
	}
	return Memory
}

// Sync is how long the commit of a message of topic may wait for others.
func (l Rules) Sync(topic string) time.Duration {
	if r := l.of(topic); r != nil {
		return r.Sync
	}
	return 0
}

func (l Rules) of(topic string) *Rule {
	for i := range l {
		if protocol.Match(l[i].Keep.Match, topic) {
			return &l[i]
		}
	}
	return nil
}

// MayBeStored reports whether filter matches any topic of class Stored.
func (l Rules) MayBeStored(filter string) bool {
	return !Passing(filter) && slices.ContainsFunc(l, func(r Rule) bool {
		return r.Class == Stored && protocol.Overlaps(r.Keep.Match, filter)
	})
}

// MayBePlain reports whether filter may match a topic of another class.
func (l Rules) MayBePlain(filter string) bool {
	for _, r := range l {
		switch {
		case r.Class != Stored && protocol.Overlaps(r.Keep.Match, filter):
			return true
		case r.Class == Stored && protocol.Covers(r.Keep.Match, filter):
			return false
		}
	}
	return true
}

// StoredFilters match every topic of class Stored, and perhaps others; there are at most store.MaxHistoryFilters.
func (l Rules) StoredFilters() (filters []string) {
	for _, r := range l {
		if r.Class == Stored && !slices.Contains(filters, r.Keep.Match) {
			filters = append(filters, r.Keep.Match)
		}
	}
	if len(filters) > store.MaxHistoryFilters {
		return []string{">", "$user.>"}
	}
	return filters
}

// Asked are the filters by which the store is asked for what the given ones match of stored topics. They may match more.
func (l Rules) Asked(filters []string) (asked []string) {
	for _, f := range filters {
		if l.MayBeStored(f) && !slices.Contains(asked, f) {
			asked = append(asked, f)
		}
	}
	slices.Sort(asked)
	if len(asked) > store.MaxHistoryFilters {
		asked = l.StoredFilters()
	}
	return asked
}

// Retention is what the store is told to keep.
func (l Rules) Retention() []store.RetentionRule {
	keep := make([]store.RetentionRule, len(l))
	for i := range l {
		keep[i] = l[i].Keep
	}
	return keep
}
