package broker_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/brokertest"
	"github.com/carillon-mq/carillon/protocol"
)

// former is a connection that sends forms.
type former struct {
	brokertest.Sink
	b      *broker.Broker
	kind   broker.FormKind
	encode func(*protocol.Message, protocol.Position) []byte
	sent   []string
}

func (f *former) Write(batch []*broker.Packet) (bool, error) {
	for _, p := range batch {
		if p.Type() == protocol.TypeMessage {
			f.sent = append(f.sent, string(f.b.Form(p, f.kind, f.encode)))
		}
	}
	return true, nil
}

// formers are n sessions that send forms, of the kinds in turn, and how many forms were made.
func formers(t *testing.T, b *broker.Broker, n int, r broker.FollowRequest, kinds ...broker.FormKind) (all []*former, made *atomic.Int64) {
	t.Helper()
	made = new(atomic.Int64)
	for i := range n {
		f := &former{b: b, encode: func(m *protocol.Message, at protocol.Position) []byte {
			made.Add(1)
			return fmt.Appendf(nil, "%s %s @%d/%d", m.Topic, m.Payload, at.Seq, at.Offset)
		}}
		if len(kinds) > 0 {
			f.kind = kinds[i%len(kinds)]
		}
		s, err := b.Open(f, broker.ConnInfo{Identity: broker.Everybody()})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Follow(r); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Closed(nil) })
		all = append(all, f)
	}
	synctest.Wait()
	return all, made
}

// A message is made into another form once, however many sessions on however many shards get it, and knows its position with the store's
// watermark there.
func TestAFormIsMadeOnce(t *testing.T) {
	withStore(t, broker.Options{Shards: 4, Topics: []broker.TopicRule{{Match: "live", Class: broker.ClassLive}}}, func(t *testing.T, x *stored) {
		all, made := formers(t, x.b, 40, broker.FollowRequest{Filters: []string{">"}, NoRetained: true})
		publish(t, x.b, "a", "1")
		retain(t, x.b, "b", "2")
		publish(t, x.b, "a", "3")
		publish(t, x.b, "live", "4")
		synctest.Wait()
		for _, f := range all {
			wantLines(t, f.sent, "a 1 @1/0", "b 2 @2/1", "a 3 @3/1", "live 4 @0/0")
		}
		if n := made.Load(); n != 4 {
			t.Errorf("found %d forms made of 4 messages", n)
		}
	})
}

// A6: forms are charged to the log, take a part of it at most, and go when their messages go.
func TestFormsAreChargedToTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const ring = 256 << 10
		b := start(t, broker.Options{RingBytes: ring, Shards: 2, Topics: []broker.TopicRule{{Match: "live", Class: broker.ClassLive}}})
		all, made := formers(t, b, 3, broker.FollowRequest{Filters: []string{">"}, NoRetained: true})
		for i := range 2000 {
			publish(t, b, []string{"a", "live"}[i%2], kib(1))
			if i%7 == 0 {
				synctest.Wait()
			}
		}
		synctest.Wait()
		if n := made.Load(); n != 2000 {
			t.Errorf("found %d forms made of 2000 messages", n)
		}
		for _, f := range all {
			if len(f.sent) != 2000 {
				t.Errorf("found %d messages", len(f.sent))
			}
		}
		charged, held := b.RingBytes()
		if charged != held {
			t.Errorf("found the ring charged %d bytes for %d", charged, held)
		}
		if forms := b.FormBytes(); forms <= 0 || forms > ring/4 {
			t.Errorf("found forms of %d bytes in a ring of %d", forms, ring)
		}
		if charged > ring+ring/4 {
			t.Errorf("found a ring of %d bytes, wanted about %d", charged, ring)
		}
		late, made := formers(t, b, 1, broker.FollowRequest{Filters: []string{"a"}, After: at(b.Position(), 1990), NoRetained: true})
		if len(late[0].sent) != 5 || made.Load() != 0 {
			t.Errorf("found %d messages, %d of which had to be made again", len(late[0].sent), made.Load())
		}
	})
}

// A6: the forms of several kinds that a message has lie beside one another, and are charged and given up together.
func TestAMessageHasFormsOfSeveralKinds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const ring = 256 << 10
		b := start(t, broker.Options{RingBytes: ring, Shards: 2, Topics: []broker.TopicRule{{Match: "live", Class: broker.ClassLive}}})
		r := broker.FollowRequest{Filters: []string{">"}, NoRetained: true}
		all, made := formers(t, b, 6, r, broker.FormEvent, broker.FormJSON)
		for i := range 600 {
			publish(t, b, []string{"a", "live"}[i%2], kib(1))
			if i%7 == 0 {
				synctest.Wait()
			}
		}
		synctest.Wait()
		if n := made.Load(); n != 2*600 {
			t.Errorf("found %d forms made of 600 messages, wanted two of each", n)
		}
		for _, f := range all {
			if len(f.sent) != 600 {
				t.Errorf("found %d messages", len(f.sent))
			}
		}
		if charged, held := b.RingBytes(); charged != held || charged > ring+ring/4 {
			t.Errorf("found the ring charged %d bytes for %d", charged, held)
		}
		if forms := b.FormBytes(); forms <= 0 || forms > ring/4 {
			t.Errorf("found forms of %d bytes in a ring of %d", forms, ring)
		}
	})
}
