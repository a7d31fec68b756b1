package broker

import (
	"testing"

	"github.com/carillon-mq/carillon/broker/internal/ring"
	"github.com/carillon-mq/carillon/protocol"
)

// R2: between a drainer's look at the queue and its look at the log the shard may have queued messages and begun to lag behind
// them, or taken a subscription live. What is queued is older, and goes first.
func TestADrainerReadsNothingPastItsQueue(t *testing.T) {
	b, err := New(Options{RingBytes: 1 << 20, Shards: 1})
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		m := ring.NewMessage(&protocol.Message{Topic: "a"})
		b.append(&m)
	}
	b.shards[0].passedSeq.Store(10)
	s := &Session{b: b, shard: b.shards[0], pingDue: true}
	live := &subscription{id: 1, filter: "a", live: true, since: 1, session: s}
	starting := &subscription{id: 2, filter: "a", session: s, start: &starting{next: 1}}
	s.subs = subscriptions{live, starting}
	s.lag, s.starting = &lag{next: 1}, append(s.starting, starting)

	s.queue = append(s.queue, encode(&protocol.Pong{}))
	for turn := range 2 {
		if batch := s.catchUp(nil, turn); len(batch) != 0 {
			t.Errorf("found %d packets written before the queue, in turn %d", len(batch), turn)
		}
	}
	lagging := s.lag
	s.lag = &lag{next: 0} // which is not held
	if s.skipLost(s.lag, nil); s.lag.next != 0 {
		t.Errorf("found the cursor moved to %d and a gap told before the queue", s.lag.next)
	}
	s.lag, s.queue = lagging, nil
	if batch := s.catchUp(nil, 0); len(batch) != 11 { // a ping and ten messages
		t.Errorf("found %d packets once the queue was empty, wanted 11", len(batch))
	}
}
