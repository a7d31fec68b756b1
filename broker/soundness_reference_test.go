package broker_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/carillon-mq/carillon/broker"
)

// definedMatch is [FIL-4] and [FIL-5] said with lists of levels.
func definedMatch(filter, topic []string) bool {
	if topic[0][0] == '$' && (filter[0] == "*" || filter[0] == ">") {
		return false
	}
	for i, level := range filter {
		if level == ">" {
			return len(topic) > i
		}
		if i >= len(topic) || level != "*" && level != topic[i] {
			return false
		}
	}
	return len(filter) == len(topic)
}

// world are filters and topics in which rights are told apart: every filter to depth 4 over {a, b, $x, *, >}, and topics one level deeper.
// c and $y are levels that no filter names, so they stand for all others.
type world struct {
	filters, topics []string
	matched         map[string][]uint64 // by filter, the topics that it matches by definition
	index           map[string]int      // of topics
}

var reservedNames = []string{
	"$user.42.a", "$user.42.c", "$user.42.a.c", "$user.42.c.c.c", "$user.42", "$user.7.a", "$user.7.c.c", "$user.c", "$sys.a", "$sys.c.c",
	"$inbox.s.a", "$inbox.c.c", "$inbox.c",
	"$presence.a", "$presence.c", "$presence.c.c", "$presence.c.a", "$presence.a.c", "$presence.a.c.c", "$presence.$x.a", "$presence.$x.c", "$presence.$user.42",
}

func newWorld() *world {
	w := &world{matched: map[string][]uint64{}, index: map[string]int{}}
	w.filters = append(everyName([]string{"a", "b", "$x", "*"}, 4, true),
		"$user.42.>", "$user.42.a", "$user.42.*", "$user.>", "$user.*.a", "$user.7.>", "$sys.>", "$sys.a", "$inbox.>", "$inbox.s.>", "$inbox.s.a",
		"$presence.>", "$presence.*", "$presence.a", "$presence.a.>", "$presence.*.a", "$presence.$x.>")
	w.topics = append(everyName([]string{"a", "b", "c", "$x", "$y"}, 5, false), reservedNames...)
	split := make([][]string, len(w.topics))
	for i, topic := range w.topics {
		w.index[topic], split[i] = i, strings.Split(topic, ".")
	}
	for _, filter := range w.filters {
		levels, bits := strings.Split(filter, "."), make([]uint64, (len(w.topics)+63)/64)
		for i := range split {
			if definedMatch(levels, split[i]) {
				bits[i/64] |= 1 << (i % 64)
			}
		}
		w.matched[filter] = bits
	}
	return w
}

// everyName is every name of up to depth levels; rest allows `>` as the last one.
func everyName(levels []string, depth int, rest bool) (all []string) {
	before := []string{""}
	for range depth {
		var longer []string
		for _, b := range before {
			for _, l := range levels {
				longer = append(longer, b+l+".")
				all = append(all, b+l)
			}
			if rest {
				all = append(all, b+">")
			}
		}
		before = longer
	}
	return all
}

func (w *world) matches(filter, topic string) bool {
	i := w.index[topic]
	return w.matched[filter][i/64]>>(i%64)&1 == 1
}

// within reports whether wider matches all that narrower does.
func (w *world) within(wider, narrower string) bool {
	a, b := w.matched[wider], w.matched[narrower]
	for i := range b {
		if b[i]&^a[i] != 0 {
			return false
		}
	}
	return true
}

// rights are what an identity may do, by definition.
type rights struct {
	w *world
	broker.Identity
}

func (r *rights) mayPublish(topic string) bool {
	switch first, _, _ := strings.Cut(topic, "."); first {
	case "$sys", "$presence":
		return false
	case "$inbox":
		return strings.Count(topic, ".") > 1
	}
	return r.granted(broker.ActionPublish, topic)
}

// mayRead reports whether a message of topic may reach the identity.
func (r *rights) mayRead(topic string) bool {
	if of, is := strings.CutPrefix(topic, "$presence."); is {
		return of[0] == '$' || r.granted(broker.ActionPresence, of) // there are no members of a topic that begins so
	}
	return r.User == "42" && strings.HasPrefix(topic, "$user.42.") || !strings.HasPrefix(topic, "$inbox.") && r.granted(broker.ActionSubscribe, topic)
}

func (r *rights) maySubscribe(filter string) bool {
	if of, is := strings.CutPrefix(filter, "$presence."); is {
		return of[0] != '$' && r.covered(broker.ActionPresence, of)
	}
	return r.User == "42" && r.w.within("$user.42.>", filter) || r.covered(broker.ActionSubscribe, filter)
}

func (r *rights) mayReadBack(filter string) bool { return r.covered(broker.ActionHistory, filter) }

func (r *rights) granted(a broker.Action, topic string) bool {
	return slices.ContainsFunc(r.Grants, func(g broker.Grant) bool { return g.Actions&a != 0 && r.w.matches(g.Filter, topic) })
}

func (r *rights) covered(a broker.Action, filter string) bool {
	return !strings.HasPrefix(filter, "$inbox.") && slices.ContainsFunc(r.Grants, func(g broker.Grant) bool { return g.Actions&a != 0 && r.w.within(g.Filter, filter) })
}

// decider is what decides about rights: an identity, or a double with a fault.
type decider interface {
	CanPublish(topic string) bool
	CanSubscribe(filter string) bool
	CanReadHistory(filter string) bool
}

// unsound is what d decides otherwise than the definition, about one filter and one topic, and what it would leak; "": nothing.
func (r *rights) unsound(d decider, filter, topic string) string {
	subscribed := d.CanSubscribe(filter)
	switch {
	case d.CanPublish(topic) != r.mayPublish(topic):
		return fmt.Sprintf("%+v may publish to %q: %t", r.Grants, topic, !r.mayPublish(topic))
	case subscribed && r.w.matches(filter, topic) && !r.mayRead(topic):
		return fmt.Sprintf("%+v reads %q by %q", r.Grants, topic, filter)
	case subscribed != r.maySubscribe(filter):
		return fmt.Sprintf("%+v may subscribe to %q: %t", r.Grants, filter, subscribed)
	case d.CanReadHistory(filter) != r.mayReadBack(filter):
		return fmt.Sprintf("%+v may read back %q: %t", r.Grants, filter, !r.mayReadBack(filter))
	}
	return ""
}

func (w *world) someRights(chance *rand.Rand) *rights {
	r := &rights{w: w}
	if chance.IntN(2) == 0 {
		r.User = "42"
	}
	for range chance.IntN(4) {
		r.Grants = append(r.Grants, broker.Grant{Actions: broker.Action(1 + chance.IntN(15)), Filter: w.someFilter(chance)})
	}
	return r
}

// someFilter is often a short one, which matches more.
func (w *world) someFilter(chance *rand.Rand) string {
	for {
		if f := pick(chance, w.filters); strings.Count(f, ".") < 2 || chance.IntN(8) == 0 {
			return f
		}
	}
}

func pick(chance *rand.Rand, from []string) string { return from[chance.IntN(len(from))] }
