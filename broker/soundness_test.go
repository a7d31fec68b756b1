package broker_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/brokertest"
	"github.com/carillon-mq/carillon/internal/require"
	"github.com/carillon-mq/carillon/protocol"
)

// G11: one grant of each filter, against every filter and topic.
func TestOneGrantAllowsExactlyWhatItsFilterMatches(t *testing.T) {
	w := newWorld()
	for _, grant := range w.filters {
		for _, action := range []broker.Action{broker.ActionPublish, broker.ActionSubscribe, broker.ActionHistory, broker.ActionPresence} {
			r := &rights{w: w, Identity: broker.Identity{Grants: []broker.Grant{{Actions: action, Filter: grant}}}}
			for i, topic := range w.topics {
				if wrong := r.unsound(&r.Identity, w.filters[i%len(w.filters)], topic); wrong != "" {
					t.Fatal(wrong)
				}
			}
		}
	}
	t.Logf("%d grants, %d filters, %d topics", len(w.filters), len(w.filters), len(w.topics))
}

// soundTime is how long the tests with chance in them go on in the gate.
const soundTime = 2 * time.Second

// campaign is how many rounds a test with chance in it has to do: n in a campaign, 0 in the gate, where its time counts.
func campaign(n int) int { return require.Rounds(0, n) }

// rounds calls f until the rounds are done, or the time is over, or f says that it is enough, and returns how often.
func rounds(want int, f func(chance *rand.Rand) (enough bool)) (n int) {
	seed := rand.Uint64()
	began := time.Now()
	for n < want || want == 0 && (n%64 != 0 || time.Since(began) < soundTime) {
		n++
		if f(rand.New(rand.NewPCG(seed, uint64(n)))) {
			break
		}
	}
	return n
}

// G11: any grants, any filter, any topic.
func TestNoFilterReadsBeyondTheGrants(t *testing.T) {
	w := newWorld()
	n := rounds(campaign(1_000_000), func(chance *rand.Rand) bool {
		r := w.someRights(chance)
		for range 10 {
			if wrong := r.unsound(&r.Identity, pick(chance, w.filters), pick(chance, w.topics)); wrong != "" {
				t.Error(wrong)
				return true
			}
		}
		return false
	})
	t.Logf("0 leaks in %d triples of grants, filter and topic", 10*n)
}

// Doubles with a fault each.
type (
	overlapping   struct{ *broker.Identity } // takes a filter that has topics in common with a grant
	literal       struct{ *broker.Identity } // compares the filter as if it were a topic: a.> in a.*, but for its last level
	unreserved    struct{ *broker.Identity } // forgets that wildcards match nothing reserved
	actionless    struct{ *broker.Identity } // forgets for what a grant is
	ownEverything struct{ *broker.Identity } // takes $user.> for one's own
)

func (d overlapping) CanSubscribe(filter string) bool {
	return d.Identity.CanSubscribe(filter) || slices.ContainsFunc(d.Grants, func(g broker.Grant) bool {
		return g.Actions&broker.ActionSubscribe != 0 && protocol.Overlaps(g.Filter, filter)
	})
}

func (d literal) CanSubscribe(filter string) bool {
	return d.Identity.CanSubscribe(strings.ReplaceAll(filter, ">", "*"))
}

func (d unreserved) CanPublish(topic string) bool {
	return d.Identity.CanPublish(topic) || !strings.HasPrefix(topic, "$sys.") && d.Identity.CanPublish(strings.TrimPrefix(topic, "$"))
}

func (d actionless) CanReadHistory(filter string) bool {
	return d.Identity.CanReadHistory(filter) || d.Identity.CanSubscribe(filter)
}

func (d ownEverything) CanSubscribe(filter string) bool {
	return d.Identity.CanSubscribe(filter) || strings.HasPrefix(filter, "$user.")
}

func TestAFaultInTheRightsIsFound(t *testing.T) {
	w := newWorld()
	for name, double := range map[string]func(*broker.Identity) decider{
		"overlap":     func(id *broker.Identity) decider { return overlapping{id} },
		"literal":     func(id *broker.Identity) decider { return literal{id} },
		"reserved":    func(id *broker.Identity) decider { return unreserved{id} },
		"action":      func(id *broker.Identity) decider { return actionless{id} },
		"others' own": func(id *broker.Identity) decider { return ownEverything{id} },
	} {
		t.Run(name, func(t *testing.T) {
			found := ""
			n := rounds(0, func(chance *rand.Rand) bool {
				r := w.someRights(chance)
				found = r.unsound(double(&r.Identity), pick(chance, w.filters), pick(chance, w.topics))
				return found != ""
			})
			if found == "" {
				t.Errorf("not found in %d rounds", n)
			}
		})
	}
}

// shown is what a broker has let an identity do, and shown it.
type shown struct {
	wrong []string
	seen  [4]int // messages, by the way
}

func (s *shown) failf(format string, args ...any) {
	s.wrong = append(s.wrong, fmt.Sprintf(format, args...))
}

// tried has an identity try, in a broker of its own, to publish to every topic and to read by every one of filters, in each way: what is
// retained, what was missed, history, and live. r is what it may do, which is what it was given unless a fault is wanted.
func (r *rights) tried(t *testing.T, given *broker.Identity, filters []string) (s shown) {
	synctest.Test(t, func(t *testing.T) {
		b, _ := startStored(t, broker.Options{Topics: []broker.TopicRule{{Match: "a.>", Class: broker.ClassStored}, {Match: "$x.>", Class: broker.ClassStored}, {Match: "b.b.>", Class: broker.ClassLive}}})
		all := broker.Everybody()
		all.Grants = append(all.Grants, broker.Grant{Actions: broker.ActionPublish, Filter: "$x.>"}, broker.Grant{Actions: broker.ActionPublish, Filter: "$x"})
		topics := append(everyName([]string{"a", "b", "$x"}, 2, false), "a.b.a", "$x.a.b", "a.a.a.a", "b.b.b", "$user.42.a", "$user.7.a")
		begun := b.Position()
		everywhere := func(payload string, retain bool) {
			for _, topic := range topics {
				if _, err := b.Publish(t.Context(), all, broker.PublishRequest{Topic: topic, Payload: []byte(payload), Retain: retain}); err != nil {
					t.Fatal(err)
				}
			}
		}
		everywhere("retained", true)
		everywhere("missed", false)
		publisher := brokertest.Dial(t, b, given)
		for i, topic := range topics {
			publisher.Send(&protocol.Publish{ID: uint64(i + 1), Topic: topic, Payload: []byte("by itself")})
		}
		r.judgePublishes(&s, publisher, topics)
		read := map[string][]*brokertest.Client{}
		for _, filter := range filters {
			for _, packet := range []protocol.Packet{
				&protocol.Subscribe{ID: 1, Filter: filter}, &protocol.Subscribe{ID: 1, Filter: filter, Position: begun.Append(nil)},
				&protocol.Subscribe{ID: 1, Filter: filter, Last: 100}, &protocol.History{ID: 1, Filter: filter, Limit: 1000},
			} {
				c := brokertest.Dial(t, b, given)
				c.Send(packet)
				read[filter] = append(read[filter], c)
			}
		}
		synctest.Wait()
		everywhere("live", false)
		synctest.Wait()
		for _, filter := range filters {
			for way, c := range read[filter] {
				r.judgeReader(&s, c, way, filter, topics)
			}
		}
	})
	return s
}

func (r *rights) judgePublishes(s *shown, c *brokertest.Client, topics []string) {
	synctest.Wait()
	done := map[uint64]bool{}
	for _, p := range c.Packets() {
		if ack, ok := p.(*protocol.Published); ok {
			done[ack.ID] = true
		}
	}
	for i, topic := range topics {
		if done[uint64(i+1)] != r.mayPublish(topic) {
			s.failf("publish to %q: taken %t, with %+v", topic, done[uint64(i+1)], r.Grants)
		}
	}
}

// The ways of reading that tried tries last.
const (
	byLast    = 2
	byHistory = 3
)

// judgeReader finds what a session was shown that it may not see, and what it was not shown though it asked for it with the right to.
func (r *rights) judgeReader(s *shown, c *brokertest.Client, way int, filter string, topics []string) {
	live := map[string]int{}
	var refused *protocol.ErrorPacket
	for _, p := range c.Packets() {
		switch p := p.(type) {
		case *protocol.ErrorPacket:
			refused = p
		case *protocol.Message:
			s.seen[way]++
			if !r.w.matches(filter, p.Topic) || way != byHistory && !r.mayRead(p.Topic) {
				s.failf("%q shows a message of %q to %+v", filter, p.Topic, r.Grants)
			}
			if string(p.Payload) == "live" {
				live[p.Topic]++
			}
		}
	}
	if way == byHistory {
		if forbidden := refused != nil && refused.Code == protocol.CodeForbidden; forbidden == r.mayReadBack(filter) {
			s.failf("history of %q: forbidden %t, with %+v", filter, forbidden, r.Grants)
		}
		return
	}
	allowed := r.maySubscribe(filter) && (way != byLast || r.mayReadBack(filter)) // [SUB-9]
	if forbidden := refused != nil && refused.Code == protocol.CodeForbidden; forbidden == allowed {
		s.failf("subscribing to %q: forbidden %t, with %+v", filter, forbidden, r.Grants)
	}
	for _, topic := range topics {
		want := 0
		if allowed && r.w.matches(filter, topic) {
			want = 1
		}
		if live[topic] != want {
			s.failf("%q shows %d live messages of %q, wanted %d", filter, live[topic], topic, want)
		}
	}
}

// G11, in a broker: at publish, subscribe, live, retained, missed and history.
func TestASessionSeesAndSendsOnlyWhatItMay(t *testing.T) {
	w := newWorld()
	var seen [4]int
	n := rounds(campaign(20_000), func(chance *rand.Rand) bool {
		r := w.someRights(chance)
		s := r.tried(t, &r.Identity, w.someFilters(chance, r))
		for way, n := range s.seen {
			seen[way] += n
		}
		for _, wrong := range s.wrong {
			t.Error(wrong)
		}
		return t.Failed()
	})
	t.Logf("%d identities, %v messages shown as retained, missed, last and history, and live", n, seen)
	if slices.Min(seen[:]) == 0 {
		t.Errorf("nothing was shown in one of the ways: %v", seen)
	}
}

// someFilters are some, of which a few are allowed.
func (w *world) someFilters(chance *rand.Rand, r *rights) []string {
	filters := []string{">", w.someFilter(chance), w.someFilter(chance)}
	for _, g := range r.Grants {
		filters = append(filters, g.Filter, strings.Replace(g.Filter, ">", "a", 1))
	}
	slices.Sort(filters)
	return slices.DeleteFunc(slices.Compact(filters), func(f string) bool { return w.matched[f] == nil })
}

// A session that was given one grant more than it should have is found out.
func TestASessionThatMayMoreIsFound(t *testing.T) {
	w := newWorld()
	r := &rights{w: w, Identity: broker.Identity{Grants: []broker.Grant{{Actions: broker.ActionSubscribe, Filter: "a.*"}}}}
	given := r.Identity
	given.Grants = append(slices.Clone(given.Grants), broker.Grant{Actions: broker.ActionSubscribe | broker.ActionPublish | broker.ActionHistory, Filter: "a.>"})
	s := r.tried(t, &given, []string{"a.>"})
	said := strings.Join(s.wrong, "\n")
	for _, part := range []string{"publish to \"a.a\"", "shows a message of \"a.b.a\"", "subscribing to \"a.>\"", "history of \"a.>\""} {
		if !strings.Contains(said, part) {
			t.Errorf("not found: %s in\n%s", part, said)
		}
	}
}
