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

// dialFrom begins a session of an origin.
func dialFrom(t *testing.T, b *broker.Broker, id *broker.Identity, origin string) *brokertest.Client {
	t.Helper()
	c := brokertest.Open(t, b, broker.ConnInfo{Identity: id})
	c.Send(&protocol.Connect{Version: 1, Origin: origin})
	c.Connected = *brokertest.Expect[*protocol.Connected](c)
	return c
}

// publishPast publishes a message that is not for tab-1.
func publishPast(t testing.TB, b *broker.Broker, topic, payload string) {
	t.Helper()
	publishAs(t, b, broker.PublishRequest{Topic: topic, Payload: []byte(payload), Exclude: "tab-1"})
}

// PUB-14, CON-11: who has the origin is not sent the message, whichever session published it; others are, also whose origin only begins alike.
func TestAMessageIsNotSentToTheOriginThatItExcludes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{Shards: 2})
		one, again, other, none := dialFrom(t, b, nil, "tab-1"), dialFrom(t, b, nil, "tab-1"), dialFrom(t, b, nil, "tab-11"), dialFrom(t, b, nil, "")
		for _, c := range []*brokertest.Client{one, again, other, none} {
			c.Subscribe(1, "a")
		}
		other.Send(&protocol.Publish{Topic: "a", Payload: []byte("1"), Exclude: "tab-1"})
		one.Send(&protocol.Publish{Topic: "a", Payload: []byte("2"), Exclude: "tab-1"})
		one.Send(&protocol.Publish{Topic: "a", Payload: []byte("3")})
		wantArrived(t, one, `message 3 a "3"`)
		wantArrived(t, again, `message 3 a "3"`)
		for _, c := range []*brokertest.Client{other, none} {
			wantArrived(t, c, `message 1 a "1"`, `message 2 a "2"`, `message 3 a "3"`)
		}
	})
}

// PUB-8, PUB-14: who is excluded is no receiver.
func TestReceiversDoNotCountTheExcluded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{Shards: 2})
		for i := range 6 {
			dialFrom(t, b, nil, fmt.Sprintf("tab-%d", i%2)).Subscribe(1, "a")
		}
		ack := publishAs(t, b, broker.PublishRequest{Topic: "a", Exclude: "tab-1", Receivers: true})
		if ack.Receivers != 3 {
			t.Errorf("found %d receivers, wanted 3", ack.Receivers)
		}
	})
}

// PUB-14, R7: a session may exclude its own origin, another one with the right to exclude alone; the right is for topics.
func TestExcludingAnotherOriginNeedsTheRight(t *testing.T) {
	all := broker.ActionPublish | broker.ActionSubscribe | broker.ActionHistory | broker.ActionPresence
	plain := &broker.Identity{User: "u", Grants: []broker.Grant{{Actions: all, Filter: ">"}}}
	may := &broker.Identity{User: "v", Grants: append([]broker.Grant{{Actions: broker.ActionExclude, Filter: "a.*"}}, plain.Grants...)}
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{})
		for _, x := range []struct {
			id            *broker.Identity
			origin, topic string
			exclude       string
			want          protocol.Code
		}{
			{id: plain, origin: "tab-1", topic: "a.b", exclude: "tab-1"},
			{id: plain, origin: "tab-1", topic: "a.b", exclude: "tab-2", want: protocol.CodeForbidden},
			{id: plain, topic: "a.b", exclude: "tab-2", want: protocol.CodeForbidden},
			{id: may, origin: "tab-1", topic: "a.b", exclude: "tab-2"},
			{id: may, origin: "tab-1", topic: "b.b", exclude: "tab-2", want: protocol.CodeForbidden},
			{id: may, topic: "a.b", exclude: strings.Repeat("x", 65), want: protocol.CodeBadArgs},
		} {
			r := broker.PublishRequest{Topic: x.topic, Exclude: x.exclude, Origin: x.origin}
			if _, err := b.Publish(t.Context(), x.id, r); (err != nil || x.want != 0) && code(err) != x.want {
				t.Errorf("%s, of %q, excludes %q from %s: %v", x.id.User, x.origin, x.exclude, x.topic, err)
			}
		}
		c := dialFrom(t, b, plain, "tab-1")
		c.Send(&protocol.Publish{ID: 1, Topic: "a", Exclude: "tab-1"})
		brokertest.Expect[*protocol.Published](c)
		c.Send(&protocol.Publish{ID: 2, Topic: "a", Exclude: "tab-2"})
		brokertest.ExpectError(c, protocol.CodeForbidden)
		c.Send(&protocol.Publish{ID: 3, Topic: "a", Exclude: "tab-1", Retain: true, MessageID: "m", Receivers: true})
		brokertest.Expect[*protocol.Published](c)
	})
}

// PUB-14, R1, R2, GAP-1: a session that lags passes over what excludes it. It is no gap while the log has it, and is not counted when that
// has passed it.
func TestALaggingSessionIsNotSentWhatExcludesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, n := range []int{300, 3000} {
			b := start(t, broker.Options{RingBytes: 512 << 10})
			c := dialFrom(t, b, nil, "tab-1")
			c.Subscribe(1, "a")
			c.Shut()
			want := 0
			for i := range n {
				if i%3 == 0 {
					publishPast(t, b, "a", kib(1))
					continue
				}
				publish(t, b, "a", kib(1))
				want++
			}
			synctest.Wait()
			c.Open()
			synctest.Wait()
			found, missed := 0, int64(0)
			for _, p := range c.Packets() {
				switch p := p.(type) {
				case *protocol.Message:
					if found++; p.Seq%3 == 1 {
						t.Fatalf("found message %d, which excludes it", p.Seq)
					}
				case *protocol.Gap:
					missed += p.Count
				}
			}
			if found+int(missed) != want || (n == 300) != (missed == 0) {
				t.Errorf("found %d messages and %d told missing, wanted %d of %d", found, missed, want, n)
			}
		}
	})
}

// GAP-2, PUB-14: of the messages of class live that a slow session missed, those that exclude it are not counted.
func TestLiveMessagesThatExcludeASessionAreNotMissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{Shards: 1, Topics: []broker.TopicRule{{Match: "a", Class: broker.ClassLive}}})
		c := dialFrom(t, b, nil, "tab-1")
		c.Subscribe(1, "a")
		oneByOne(c, 300, func(int) {
			publish(t, b, "a", kib(1))
			publishPast(t, b, "a", kib(1))
		})
		c.Open()
		synctest.Wait()
		found, missed := received(c, nil)
		if missed == 0 || found+int(missed) != 300 {
			t.Errorf("found %d messages and %d missed, wanted 300", found, missed)
		}
	})
}

// PUB-14, SUB-9, SUB-10, RES-2: a resume, the newest, and a conflated subscription leave out what excludes the session; the newest are so many
// that it is sent.
func TestReplaysOfTheLogLeaveOutWhatExcludesTheSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{})
		token := b.Position().Append(nil)
		for i := range 6 {
			if i%2 == 0 {
				publish(t, b, "a", fmt.Sprint(i+1))
			} else {
				publishPast(t, b, "a", fmt.Sprint(i+1))
			}
		}
		c := dialFrom(t, b, nil, "tab-1")
		c.Send(&protocol.Subscribe{ID: 1, Filter: "a", Position: token})
		wantArrived(t, c, "subscribed 1 @0", "replay 1 log 3", `message 1 a "1"`, `message 3 a "3"`, `message 5 a "5"`, "resumed 1 @6")
		c.Send(&protocol.Subscribe{ID: 2, Filter: "*", Last: 2})
		wantArrived(t, c, "subscribed 2 @2", "replay 2 log 2", `message 3 a "3"`, `message 5 a "5"`, "resumed 2 @6")
		c.Send(&protocol.Subscribe{ID: 3, Filter: "a", Latest: true, Position: token})
		wantArrived(t, c, "subscribed 3 @0", "replay 3 log 1", `message 5 a "5"`, "resumed 3 @6")
		publishPast(t, b, "a", "7")
		wantArrived(t, c)
		other := dialFrom(t, b, nil, "tab-2")
		other.Send(&protocol.Subscribe{ID: 1, Filter: "a", Last: 2})
		wantArrived(t, other, "subscribed 1 @5", "replay 1 log 2", `message 6 a "6"`, `message 7 a "7"`, "resumed 1 @7")
	})
}

// PUB-13, PUB-14, SUB-10: also of a long stretch of the log, the newest of a topic is the newest that may be sent.
func TestTheNewestOfATopicIsTheNewestThatMayBeSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{})
		token := b.Position().Append(nil)
		publish(t, b, "a", "1")
		publishPast(t, b, "a", "2")
		publish(t, b, "b", "3")
		publishFor(t, b, time.Second, "b", "4")
		for range 600 {
			publish(t, b, "c", "")
		}
		time.Sleep(time.Second)
		c := dialFrom(t, b, nil, "tab-1")
		c.Send(&protocol.Subscribe{ID: 1, Filter: "*", Position: token, Latest: true})
		wantArrived(t, c, "subscribed 1 @0", "replay 1 log 3", `message 1 a "1"`, `message 3 b "3"`, `message 604 c ""`, "resumed 1 @604")
		c.Send(&protocol.Subscribe{ID: 2, Filter: "a", Last: 1})
		wantArrived(t, c, "subscribed 2 @0", "replay 2 log 1", `message 1 a "1"`, "resumed 2 @604")
		c.Send(&protocol.Subscribe{ID: 3, Filter: "b", Last: 1})
		wantArrived(t, c, "subscribed 3 @2", "replay 3 log 1", `message 3 b "3"`, "resumed 3 @604")
	})
}

// PUB-14, SUB-12: a conflated subscription of class live topics keeps nothing that excludes its session.
func TestAConflatedSubscriptionIsNotSentWhatExcludesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{Topics: []broker.TopicRule{{Match: "live", Class: broker.ClassLive}}})
		c := dialFrom(t, b, nil, "tab-1")
		c.Send(&protocol.Subscribe{ID: 1, Filter: "*", NoRetained: true, Latest: true})
		wantArrived(t, c, "subscribed 1 @0", "resumed 1 @0")
		for _, topic := range []string{"live", "a"} {
			publish(t, b, topic, "1")
			synctest.Wait()
			publishPast(t, b, topic, "2")
			synctest.Wait()
		}
		wantArrived(t, c, "replay 1 log 1", `message 0 live "1"`, "replay 1 log 1", `message 3 a "1"`)
	})
}

// PUB-14: retained messages are the same for everybody, though the publish of one was not sent to the origin.
func TestRetainedMessagesAreForTheExcludedToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{})
		c := dialFrom(t, b, nil, "tab-1")
		c.Subscribe(1, "a")
		publishAs(t, b, broker.PublishRequest{Topic: "a", Payload: []byte("1"), Retain: true, Exclude: "tab-1"})
		wantArrived(t, c)
		for id, filter := range map[uint64]string{2: "a", 3: "*"} {
			c.Send(&protocol.Subscribe{ID: id, Filter: filter})
			wantArrived(t, c, fmt.Sprintf("subscribed %d @1", id), fmt.Sprintf("replay %d retained 1", id), `message 1 a "1"`,
				fmt.Sprintf("end %d", id), fmt.Sprintf("resumed %d @1", id))
		}
	})
}

// CON-11, R7: a session that follows has an origin too.
func TestASessionThatFollowsIsNotSentWhatExcludesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{})
		after := b.Position()
		publishPast(t, b, "a", "1")
		publish(t, b, "a", "2")
		c := brokertest.Open(t, b, broker.ConnInfo{Identity: broker.Everybody()})
		if err := c.Session.Follow(broker.FollowRequest{Filters: []string{"a"}, After: &after, Origin: "tab-1"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		publishPast(t, b, "a", "3")
		publish(t, b, "a", "4")
		wantArrived(t, c, "ping @0", `message 2 a "2"`, "resumed 1 @2", `message 4 a "4"`)
		long := broker.FollowRequest{Filters: []string{"a"}, Origin: strings.Repeat("x", 65)}
		if err := b.CheckFollow(broker.Everybody(), &long); code(err) != protocol.CodeBadArgs {
			t.Errorf("found %v for an origin of 65 bytes", err)
		}
	})
}

// PUB-7, PUB-14: the origin is part of what a message id stands for.
func TestAnotherExcludedOriginIsAnotherMessage(t *testing.T) {
	for name, topic := range map[string]string{"in the log": "a", "in the store": "kept.a"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := run(t, brokertest.NewStore(), broker.Options{})
				r := broker.PublishRequest{Topic: topic, Payload: []byte("1"), MessageID: "m", Exclude: "tab-1"}
				publishAs(t, b, r)
				if ack := publishAs(t, b, r); !ack.Duplicate {
					t.Errorf("found %+v, wanted the first one's places", ack)
				}
				for _, exclude := range []string{"", "tab-2"} {
					r.Exclude = exclude
					if _, err := b.Publish(t.Context(), broker.Everybody(), r); code(err) != protocol.CodeDuplicateID {
						t.Errorf("excluding %q: found %v, wanted duplicate_id", exclude, err)
					}
				}
			})
		})
	}
}

// PUB-14: a planned restart carries the origins over.
func TestACarriedLogKnowsWhatItsMessagesExclude(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opt := broker.Options{Topics: []broker.TopicRule{{Match: "live", Class: broker.ClassLive}}}
		b := start(t, opt)
		at := b.Position()
		publishPast(t, b, "a", "1")
		publish(t, b, "a", "2")
		publishPast(t, b, "live", "3")
		publish(t, b, "live", "4")
		publishAs(t, b, broker.PublishRequest{Topic: "r", Payload: []byte("5"), Retain: true, Exclude: "tab-1"})
		was := b.LogLines()
		b = restart(t, b, opt)
		wantLines(t, b.LogLines(), was...)
		c := dialFrom(t, b, nil, "tab-1")
		c.Send(&protocol.Subscribe{ID: 1, Filter: ">", Position: at.Append(nil)})
		wantArrived(t, c, "subscribed 1 @0", "replay 1 log 1", `message 2 a "2"`, "gap 1 live 0..5 =1", "resumed 1 @5")
	})
}
