package broker_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/brokertest"
	"github.com/carillon-mq/carillon/protocol"
)

// pair is two brokers on one store, each with a session that listens to everything.
type pair struct {
	store    *brokertest.Store
	one, two *broker.Broker
	a, b     *brokertest.Client // of one and of two
}

func withPair(t *testing.T, f func(t *testing.T, x *pair)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		x := &pair{store: brokertest.NewStore()}
		x.one, x.two = run(t, x.store, broker.Options{}), run(t, x.store, broker.Options{})
		x.a, x.b = brokertest.Dial(t, x.one, nil), brokertest.Dial(t, x.two, nil)
		x.a.Subscribe(1, ">")
		x.b.Subscribe(1, ">")
		f(t, x)
	})
}

// messages are the messages of stored topics among lines, by offset, topic and payload.
func messages(lines []string) (found []string) {
	for _, l := range lines {
		if _, rest, ok := strings.Cut(l, "/"); ok && strings.HasPrefix(l, "message ") {
			found = append(found, rest)
		}
	}
	return found
}

// A3: what one broker commits is shown by both, in the store's order, whoever publishes.
func TestTwoBrokersShowTheSameOrder(t *testing.T) {
	withPair(t, func(t *testing.T, x *pair) {
		var publishers sync.WaitGroup
		for p := range 8 {
			publishers.Go(func() {
				at := x.one
				if p%2 == 1 {
					at = x.two
				}
				for i := range 50 {
					publishAs(t, at, broker.PublishRequest{
						Topic: fmt.Sprintf("kept.%d", i%3), Payload: fmt.Appendf(nil, "%d-%d", p, i), Retain: i%10 == 9,
					})
					time.Sleep(time.Millisecond) // of the bubble: the others come in between
				}
			})
		}
		publishers.Wait()
		ofOne, ofTwo := messages(arrived(x.a)), messages(arrived(x.b))
		if len(ofOne) != 400 {
			t.Errorf("found %d messages, wanted 400", len(ofOne))
		}
		wantLines(t, ofTwo, ofOne...)
		next := map[string]int{}
		for _, l := range ofOne { // each publisher's in its order
			var offset int
			var topic string
			var p, i int
			if _, err := fmt.Sscanf(l, `%d %s "%d-%d"`, &offset, &topic, &p, &i); err != nil {
				t.Fatalf("%q: %v", l, err)
			}
			if key := fmt.Sprint(p, i%3); i/3 != next[key] {
				t.Fatalf("found number %d of publisher %d on %s, wanted %d", i, p, topic, 3*next[key]+i%3)
			} else {
				next[key]++
			}
		}
	})
}

// P3: a position of one broker is good at the other: what is stored goes on exactly, for the rest there is one gap.
func TestAClientGoesOnAtTheOtherBroker(t *testing.T) {
	withPair(t, func(t *testing.T, x *pair) {
		publish(t, x.one, "kept.a", "1")
		publish(t, x.two, "plain", "2")
		publish(t, x.two, "kept.b", "3")
		synctest.Wait()
		at := x.one.Position()
		publish(t, x.one, "kept.a", "4")
		publish(t, x.two, "kept.a", "5")
		publish(t, x.one, "plain", "6")
		synctest.Wait()

		c := resume(t, x.two, nil, "kept.>", at)
		wantLines(t, messages(arrived(c)), `3 kept.a "4"`, `4 kept.a "5"`)
		c = resume(t, x.two, nil, ">", at)
		lines := arrived(c)
		wantLines(t, messages(lines), `3 kept.a "4"`, `4 kept.a "5"`)
		if gaps := slices.DeleteFunc(lines, func(l string) bool { return !strings.HasPrefix(l, "gap") }); len(gaps) != 1 {
			t.Errorf("found %v, wanted one gap", gaps)
		}
		c = resume(t, x.two, nil, "plain", at)
		if n := strings.Count(strings.Join(arrived(c), "\n"), "gap 1 "); n != 1 {
			t.Errorf("found %d gaps, wanted one", n)
		}

		back := resume(t, x.one, nil, "kept.>", x.two.Position()) // and back again, with nothing missed
		publish(t, x.two, "kept.b", "7")
		wantLines(t, messages(arrived(back)), `5 kept.b "7"`)
	})
}

// K1: a value that one broker retains, or clears, is retained or cleared at the other.
func TestARetainedValueIsThatOfBothBrokers(t *testing.T) {
	withPair(t, func(t *testing.T, x *pair) {
		retain(t, x.one, "state.a", "1")
		retain(t, x.one, "state.b", "1")
		retain(t, x.two, "state.b", "2")
		retain(t, x.two, "state.a", "")
		synctest.Wait()
		for name, b := range map[string]*broker.Broker{"one": x.one, "two": x.two} {
			c := brokertest.Dial(t, b, nil)
			c.Send(&protocol.Subscribe{ID: 1, Filter: "state.>"})
			if found := messages(arrived(c)); !cmp.Equal(found, []string{`3 state.b "2"`}) {
				t.Errorf("broker %s: found %v", name, found)
			}
		}
	})
}

// U2: a publish that is repeated at the other broker, as a client does that has lost its connection, is committed once.
func TestAPublishRepeatedAtTheOtherBrokerIsCommittedOnce(t *testing.T) {
	withPair(t, func(t *testing.T, x *pair) {
		r := broker.PublishRequest{Topic: "kept.a", Payload: []byte("1"), MessageID: "order-42"}
		first := publishAs(t, x.one, r)
		again := publishAs(t, x.two, r)
		if !again.Duplicate || again.Offset != first.Offset || again.Durability != protocol.Committed {
			t.Errorf("found %+v, the first was %+v", again, first)
		}
		r.Payload = []byte("2")
		if _, err := x.two.Publish(t.Context(), broker.Everybody(), r); code(err) != protocol.CodeDuplicateID {
			t.Errorf("found %v, wanted duplicate_id", err)
		}

		x.store.Hold() // both at once
		r = broker.PublishRequest{Topic: "kept.a", Payload: []byte("3"), MessageID: "order-43"}
		var acks [2]protocol.Published
		var publishers sync.WaitGroup
		for i, b := range []*broker.Broker{x.one, x.two} {
			publishers.Go(func() { acks[i] = publishAs(t, b, r) })
		}
		synctest.Wait()
		x.store.Release()
		publishers.Wait()
		if acks[0].Offset != acks[1].Offset || acks[0].Duplicate == acks[1].Duplicate {
			t.Errorf("found %+v and %+v, wanted one commit", acks[0], acks[1])
		}
		wantLines(t, messages(arrived(x.a)), `1 kept.a "1"`, `2 kept.a "3"`)
		wantLines(t, messages(arrived(x.b)), `1 kept.a "1"`, `2 kept.a "3"`)
	})
}

// The end of one broker is nothing to the other, which shows what the dead one had committed.
func TestOneBrokersEndDoesNotDisturbTheOther(t *testing.T) {
	withPair(t, func(t *testing.T, x *pair) {
		publish(t, x.one, "kept.a", "1")
		x.store.Hold()
		go func() { // nobody will hear the answer
			_, _ = x.one.Publish(t.Context(), broker.Everybody(), broker.PublishRequest{Topic: "kept.a", Payload: []byte("2")})
		}()
		synctest.Wait()
		x.one.Close()
		x.store.Release()
		publish(t, x.two, "kept.a", "3")
		retain(t, x.two, "state.a", "4")
		wantLines(t, arrived(x.b), `message 1/1 kept.a "1"`, `message 2/2 kept.a "2"`, `message 3/3 kept.a "3"`, `message 4/4 state.a "4"`)

		three := run(t, x.store, broker.Options{}) // and it comes back
		publish(t, three, "kept.a", "5")
		wantLines(t, arrived(x.b), `message 5/5 kept.a "5"`)
		c := resume(t, three, nil, "kept.>", protocol.Position{Epoch: x.two.Epoch(), Term: x.two.Position().Term, Offset: 1})
		wantLines(t, messages(arrived(c)), `2 kept.a "2"`, `3 kept.a "3"`, `5 kept.a "5"`)
	})
}

func TestTheHistoryIsThatOfBothBrokers(t *testing.T) {
	withPair(t, func(t *testing.T, x *pair) {
		for i := range 20 {
			at := x.one
			if i%3 == 0 {
				at = x.two
			}
			publish(t, at, "kept.a", fmt.Sprint(i))
		}
		synctest.Wait()
		var pages []string
		for _, b := range []*broker.Broker{x.one, x.two} {
			c := brokertest.Dial(t, b, nil)
			c.Send(&protocol.History{ID: 1, Filter: "kept.>", Limit: 100})
			pages = append(pages, strings.Join(messages(arrived(c)), "\n"))
		}
		if pages[0] != pages[1] || strings.Count(pages[0], "\n") != 19 {
			t.Errorf("found\n%s\nand\n%s", pages[0], pages[1])
		}
	})
}

// The store goes away and opens again, with a new term: both take it up where they were, and nothing is shown twice.
func TestBothBrokersTakeTheStoreUpAgain(t *testing.T) {
	withPair(t, func(t *testing.T, x *pair) {
		publish(t, x.one, "kept.a", "1")
		synctest.Wait()
		x.store.GoAway()
		var publishers sync.WaitGroup
		for i, b := range []*broker.Broker{x.one, x.two} {
			publishers.Go(func() { publish(t, b, "kept.a", fmt.Sprint(i+2)) })
		}
		synctest.Wait()
		x.store.ComeBack()
		publishers.Wait()
		ofOne, ofTwo := messages(unpinged(x.a)), messages(unpinged(x.b))
		if len(ofOne) != 3 {
			t.Errorf("found %v", ofOne)
		}
		wantLines(t, ofTwo, ofOne...)
	})
}
