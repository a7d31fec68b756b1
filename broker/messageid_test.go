package broker_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/brokertest"
	"github.com/carillon-mq/carillon/protocol"
)

// classTopics makes kept.> stored and live.> live.
var classTopics = []broker.TopicRule{{Match: "kept.>", Class: broker.ClassStored}, {Match: "live.>", Class: broker.ClassLive}}

// again sends a publish with message id mid, whose payload is body.
func (x *stored) again(id uint64, topic, mid, body string) {
	x.pub.Send(&protocol.Publish{ID: id, Topic: topic, Payload: []byte(body), MessageID: mid})
}

// retainAgain is the same for a retained message of topic b.
func (x *stored) retainAgain(id uint64, mid string) {
	x.pub.Send(&protocol.Publish{ID: id, Topic: "b", Payload: []byte("x"), MessageID: mid, Retain: true})
}

// withMemory runs f with a broker without a store.
func withMemory(t *testing.T, opt broker.Options, f func(t *testing.T, x *stored)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		x := &stored{b: start(t, opt)}
		x.sub, x.pub = brokertest.Dial(t, x.b, nil), brokertest.Dial(t, x.b, nil)
		x.sub.Subscribe(1, ">")
		f(t, x)
	})
}

// U2, PUB-7
func TestARepeatedPublishIsAnsweredAndNotApplied(t *testing.T) {
	withMemory(t, broker.Options{}, func(t *testing.T, x *stored) {
		x.again(1, "a", "m1", "x")
		x.again(2, "a", "m2", "x")
		x.again(3, "a", "m1", "x")
		x.retainAgain(4, "m3")
		x.retainAgain(5, "m3")
		wantArrived(t, x.pub, "published 1 @1", "published 2 @2", "published 3 @1 duplicate", "published 4 @3", "published 5 @3 duplicate")
		wantArrived(t, x.sub, `message 1 a "x"`, `message 2 a "x"`, `message 3 b "x"`)
		if n := x.b.Stats().Published[broker.ClassMemory]; n != 3 {
			t.Errorf("found %d published, wanted 3: a repetition is none", n)
		}
	})
}

// PUB-7: whatever differs makes it another message.
func TestAnIDWithOtherContentIsRefused(t *testing.T) {
	first := protocol.Publish{
		Topic: "a", Payload: []byte("x"), ContentType: "text/plain", Headers: map[string]string{"k": "v", "l": "w"}, MessageID: "m",
	}
	withMemory(t, broker.Options{}, func(t *testing.T, x *stored) {
		send := func(id uint64, change func(p *protocol.Publish)) {
			p := first
			p.ID = id
			change(&p)
			x.pub.Send(&p)
		}
		send(1, func(*protocol.Publish) {})
		wantArrived(t, x.pub, "published 1 @1")
		for id, change := range []func(p *protocol.Publish){
			func(p *protocol.Publish) { p.Topic = "b" },
			func(p *protocol.Publish) { p.Payload = []byte("y") },
			func(p *protocol.Publish) { p.Payload = nil },
			func(p *protocol.Publish) { p.ContentType = "text/html" },
			func(p *protocol.Publish) { p.Retain = true },
			func(p *protocol.Publish) { p.Headers = nil },
			func(p *protocol.Publish) { p.Headers = map[string]string{"k": "v"} },
			func(p *protocol.Publish) { p.Headers = map[string]string{"k": "w", "l": "v"} },
			func(p *protocol.Publish) { p.Headers = map[string]string{"kv": "", "l": "w"} },
			func(p *protocol.Publish) { p.Topic, p.ContentType = "at", "ext/plain" },
		} {
			send(uint64(id+2), change)
			wantArrived(t, x.pub, fmt.Sprintf("error %d duplicate_id", id+2))
		}
		send(99, func(p *protocol.Publish) { p.Headers, p.Receivers = map[string]string{"l": "w", "k": "v"}, true })
		wantArrived(t, x.pub, "published 99 @1 duplicate")
	})
}

func TestAnIDIsItsUsers(t *testing.T) {
	withMemory(t, broker.Options{}, func(t *testing.T, x *stored) {
		publish := func(user, mid string) protocol.Published {
			t.Helper()
			id := broker.Everybody()
			id.User = user
			ack, err := x.b.Publish(t.Context(), id, broker.PublishRequest{Topic: "a", Payload: []byte("x"), MessageID: mid})
			if err != nil {
				t.Fatal(err)
			}
			return ack
		}
		for i, who := range [][2]string{{"ann", "m"}, {"bob", "m"}, {"annm", ""}, {"an", "nm"}, {"", "annm"}} {
			if ack := publish(who[0], who[1]); ack.Duplicate || ack.Seq != uint64(i+1) {
				t.Errorf("found %+v for %q", ack, who)
			}
		}
		if ack := publish("bob", "m"); !ack.Duplicate || ack.Seq != 2 {
			t.Errorf("found %+v, wanted a repetition of 2", ack)
		}
		_, err := x.b.Publish(t.Context(), broker.Everybody(), broker.PublishRequest{Topic: "a", Payload: []byte("y"), MessageID: "annm"})
		if err == nil || !strings.Contains(err.Error(), "published less than 2 minutes ago") { // as a store says it of its topics
			t.Errorf("found %v", err)
		}
	})
}

func TestAnIDIsKnownForTwoMinutes(t *testing.T) {
	withMemory(t, broker.Options{PingEvery: 24 * time.Hour}, func(t *testing.T, x *stored) {
		for i := range 8 { // one every 17 s, so that they are of several generations
			x.again(uint64(i+1), "a", fmt.Sprint("m", i), "x")
			time.Sleep(17 * time.Second)
		}
		arrived(x.pub)
		x.again(11, "a", "m1", "x") // 119 s old
		wantArrived(t, x.pub, "published 11 @2 duplicate")
		time.Sleep(35 * time.Second)
		x.again(12, "a", "m1", "y")
		wantArrived(t, x.pub, "published 12 @9")
		time.Sleep(time.Hour)
		if n := x.b.Stats().MessageIDs; n != 0 {
			t.Errorf("found %d ids after an hour", n)
		}
	})
}

func TestALiveMessageIsNotDeliveredTwice(t *testing.T) {
	withMemory(t, broker.Options{Topics: classTopics[1:]}, func(t *testing.T, x *stored) {
		x.again(1, "live.a", "m", "x")
		x.again(2, "live.a", "m", "x")
		wantArrived(t, x.pub, "published 1 @0", "published 2 @0 duplicate")
		wantArrived(t, x.sub, `message 0 live.a "x"`)
	})
}

func TestNoMoreIDsThanTheLimit(t *testing.T) {
	withMemory(t, broker.Options{Limits: broker.Limits{MessageIDs: 2}, PingEvery: 24 * time.Hour}, func(t *testing.T, x *stored) {
		x.again(1, "a", "m1", "x")
		x.again(2, "a", "m2", "x")
		x.again(3, "a", "m3", "x")
		x.again(4, "a", "m1", "x")
		x.plain(5, "a")
		wantArrived(t, x.pub, "published 1 @1", "published 2 @2", "error 3 quota", "published 4 @1 duplicate", "published 5 @3")
		if n := x.b.Stats().MessageIDs; n != 2 {
			t.Errorf("found %d ids, wanted 2", n)
		}
		time.Sleep(3 * time.Minute)
		x.again(6, "a", "m3", "x")
		wantArrived(t, x.pub, "published 6 @4")
	})
}

// PUB-7: an id is one message's, also where the store knows that one and the broker the other.
func TestAnIDIsTakenWhoeverKnowsIt(t *testing.T) {
	withStore(t, broker.Options{Topics: classTopics}, func(t *testing.T, x *stored) {
		x.again(1, "kept.a", "m1", "x")
		wantArrived(t, x.pub, "published 1 @1 committed 1")
		x.again(2, "a", "m1", "x")
		x.again(3, "a", "m2", "x")
		x.again(4, "kept.a", "m2", "x")
		x.again(5, "kept.a", "m1", "x")
		wantArrived(t, x.pub, "error 2 duplicate_id", "published 3 @2", "error 4 duplicate_id", "published 5 @1 committed 1 duplicate")

		x.store.Reject(func(*broker.Record) *protocol.Error { return protocol.Errorf(protocol.CodeQuota, "full") })
		x.again(6, "kept.a", "m3", "x")
		wantArrived(t, x.pub, "error 6 quota")
		x.store.Reject(nil)
		x.again(7, "a", "m3", "x") // the first one was not published
		wantArrived(t, x.pub, "published 7 @3")
	})
}

func TestAnIDIsUTF8OfAtMost64Bytes(t *testing.T) {
	b := start(t, broker.Options{})
	for id, want := range map[string]protocol.Code{strings.Repeat("m", 64): 0, strings.Repeat("m", 65): protocol.CodeBadArgs, "\xff": protocol.CodeBadArgs} {
		_, err := b.Publish(t.Context(), broker.Everybody(), broker.PublishRequest{Topic: "a", MessageID: id})
		if err == nil && want != 0 || err != nil && code(err) != want {
			t.Errorf("found %v for %q", err, id)
		}
	}
}

// U2 with A4: a repetition of what waits behind a commit joins it.
func TestARepetitionJoinsWhatIsOnItsWay(t *testing.T) {
	withStore(t, broker.Options{}, func(t *testing.T, x *stored) {
		x.store.Hold()
		x.retain(1, "a")
		x.again(2, "a", "m", "x")
		x.again(3, "a", "m", "x")
		x.again(4, "a", "m", "y")
		x.again(5, "b", "m", "x")
		wantArrived(t, x.pub, "error 4 duplicate_id", "error 5 duplicate_id")
		x.store.Release()
		wantArrived(t, x.pub, "published 1 @1 committed 1", "published 3 @2 duplicate", "published 2 @2")
		wantArrived(t, x.sub, `message 1/1 a "1"`, `message 2 a "x"`)
	})
}

// What its publisher was told nothing of, or that it is not kept, may be published again.
func TestAnIDIsFreeAgainWhenItsMessageWasNotPublished(t *testing.T) {
	for name, without := range map[string][]broker.Power{"the store knows": nil, "the broker knows": {broker.PowerKeys}} {
		t.Run(name, func(t *testing.T) {
			withStore(t, broker.Options{Topics: classTopics}, func(t *testing.T, x *stored) {
				x.store.Without(without...)
				x.store.Cut()
				time.Sleep(time.Second)
				x.store.Reject(func(*broker.Record) *protocol.Error { return protocol.Errorf(protocol.CodeQuota, "full") })
				x.again(1, "kept.a", "m1", "x")
				wantArrived(t, x.pub, "error 1 quota")
				x.store.Reject(nil)
				x.again(2, "kept.a", "m1", "y")
				wantArrived(t, x.pub, "published 2 @1 committed 1")

				x.store.GoAway()
				synctest.Wait()
				x.again(3, "kept.a", "m2", "x")
				x.again(4, "kept.a", "m2", "x")
				x.again(5, "a", "m3", "x")
				time.Sleep(6 * time.Second)
				wantSet(t, arrived(x.pub), "error 3 store_unavailable", "error 4 store_unavailable", "published 5 @2")
				x.store.ComeBack()
				time.Sleep(2 * time.Second)
				x.again(6, "kept.a", "m2", "z")
				x.again(7, "kept.a", "m2", "z")
				wantSet(t, unpinged(x.pub), "published 6 @3 committed 2", "published 7 @3 committed 2 duplicate")
				wantLines(t, unpinged(x.sub), `message 1/1 kept.a "y"`, `message 2 a "x"`, `message 3/2 kept.a "z"`)
				if n := x.b.Stats().MessageIDs; len(without) == 0 && n != 1 || len(without) > 0 && n != 3 {
					t.Errorf("found %d ids in the broker", n)
				}
			})
		})
	}
}

func wantSet(t *testing.T, lines []string, want ...string) {
	t.Helper()
	found := map[string]int{}
	for _, l := range lines {
		found[l]++
	}
	for _, l := range want {
		if found[l]--; found[l] < 0 {
			t.Errorf("found no %q in %q", l, lines)
		}
	}
	if len(lines) != len(want) {
		t.Errorf("found %q, wanted %q", lines, want)
	}
}

// U2, A3: the answer to the first was lost, and the feed with it.
func TestARepetitionAfterAnUnknownOutcome(t *testing.T) {
	for name, without := range map[string][]broker.Power{"the store knows": nil, "the broker knows": {broker.PowerKeys}} {
		t.Run(name, func(t *testing.T) {
			withStore(t, broker.Options{Topics: classTopics}, func(t *testing.T, x *stored) {
				x.store.Without(without...)
				x.store.Cut()
				time.Sleep(time.Second)
				x.store.LoseAnswers(1)
				x.again(1, "kept.a", "m", "x")
				x.again(2, "kept.a", "m", "x")
				time.Sleep(2 * time.Second)
				wantSet(t, arrived(x.pub), "published 1 @1 committed 1", "published 2 @1 committed 1 duplicate")

				x.store.Hold()
				x.retainAgain(3, "n")
				time.Sleep(4 * time.Second)
				x.retainAgain(4, "n")
				time.Sleep(2 * time.Second) // the first has waited for longer than it may
				lines := arrived(x.pub)
				if len(without) > 0 {
					wantSet(t, lines, "error 3 store_unavailable", "error 4 store_unavailable")
				} else {
					wantSet(t, lines, "error 3 store_unavailable")
				}
				x.store.Release()
				if lines := arrived(x.pub); len(without) == 0 {
					wantSet(t, lines, "published 4 @2 committed 2 duplicate")
				}
				x.retainAgain(5, "n")
				wantArrived(t, x.pub, "published 5 @2 committed 2 duplicate")
				wantArrived(t, x.sub, `message 1/1 kept.a "x"`, `message 2/2 b "x"`)
			})
		})
	}
}

// U2: for what the store commits, also across a restart.
func TestAStoreKnowsARepetitionAfterARestart(t *testing.T) {
	withStore(t, broker.Options{Topics: classTopics}, func(t *testing.T, x *stored) {
		x.again(1, "kept.a", "m", "x")
		x.retainAgain(2, "n")
		x.plain(3, "c")
		arrived(x.pub)
		x.b.Close()
		next := start(t, broker.Options{Topics: classTopics, Store: x.store, PingEvery: 24 * time.Hour})
		if err := next.WaitReady(t.Context()); err != nil {
			t.Fatal(err)
		}
		x.pub, x.sub = brokertest.Dial(t, next, nil), brokertest.Dial(t, next, nil)
		x.sub.Subscribe(1, ">")
		arrived(x.sub)
		x.plain(1, "c")
		x.again(2, "kept.a", "m", "x")
		x.retainAgain(3, "n")
		x.again(4, "kept.a", "m", "y")
		for _, l := range arrived(x.pub) {
			switch {
			case strings.HasPrefix(l, "published 1 "), l == "error 4 duplicate_id", l == "published 3 @0 committed 2 duplicate":
			case strings.HasPrefix(l, "published 2 ") && strings.HasSuffix(l, " committed 1 duplicate"):
			default:
				t.Errorf("found %q", l)
			}
		}
		if lines := arrived(x.sub); len(lines) != 1 || !strings.HasSuffix(lines[0], `c "1"`) {
			t.Errorf("found %q", lines)
		}
		time.Sleep(3 * time.Minute)
		x.again(5, "kept.a", "m", "y")
		if lines := arrived(x.pub); len(lines) != 1 || !strings.HasSuffix(lines[0], " committed 3") {
			t.Errorf("found %q", lines)
		}
	})
}

// A repetition of what another broker has on its way is answered when the log has it.
func TestARepetitionIsAnsweredBehindTheFirst(t *testing.T) {
	withStore(t, broker.Options{Topics: classTopics}, func(t *testing.T, x *stored) {
		x.store.Hold()
		x.again(1, "kept.a", "m", "x")
		x.again(2, "kept.a", "m", "x")
		x.plain(3, "kept.a")
		x.plain(4, "kept.b")
		x.store.Release()
		wantSet(t, arrived(x.pub), "published 1 @1 committed 1", "published 2 @1 committed 1 duplicate", "published 3 @2 committed 2", "published 4 @3 committed 3")
		wantArrived(t, x.sub, `message 1/1 kept.a "x"`, `message 2/2 kept.a "3"`, `message 3/3 kept.b "4"`)
		if waits := x.b.Stats().StoreWaitBytes; waits != 0 {
			t.Errorf("found %d bytes waiting in the end", waits)
		}
	})
}
