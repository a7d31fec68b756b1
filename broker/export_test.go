package broker

import (
	"github.com/carillon-mq/carillon/broker/internal/ring"
	"github.com/carillon-mq/carillon/protocol"
)

// RingBytes is what the ring is charged for and what its chunks hold.
func (b *Broker) RingBytes() (charged, held int64) {
	charged, _, held = b.ring.Charged()
	return charged, held
}

// FormBytes is what of the ring is for forms.
func (b *Broker) FormBytes() int64 {
	_, forms, _ := b.ring.Charged()
	return forms
}

// ShardsPassed are the last entries that the shards have passed.
func (b *Broker) ShardsPassed() []uint64 {
	var passed []uint64
	for _, sh := range b.shards {
		passed = append(passed, sh.passedSeq.Load())
	}
	return passed
}

// HoldShards makes every shard stand still where it is, until free is called.
func (b *Broker) HoldShards() (free func()) {
	held := make(chan struct{})
	for _, sh := range b.shards {
		sh.post(func() { <-held })
	}
	return func() { close(held) }
}

// Queued is how many bytes wait for a session's socket.
func (s *Session) Queued() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.queueBytes
}

// Held is about how many bytes a session keeps for its client beside what its Conn holds. Nothing may be moving.
func (s *Session) Held() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.queueBytes + 8*(cap(s.queue)+cap(s.starting)+cap(s.unanswered)) + 64*len(s.subs)
	for _, sub := range s.subs {
		if c := sub.conflated; c != nil {
			for topic, p := range c.fleeting {
				n += len(topic) + len(p.Bytes())
			}
		}
		if st := sub.start; st != nil && st.past != nil && st.past.page != nil {
			for _, p := range st.past.page.Packets {
				n += len(p.Bytes())
			}
		}
	}
	if s.lag != nil {
		n += s.lag.unread.Bytes()
		if s.lag.matcher != nil {
			n += s.lag.matcher.Remembers()
		}
	}
	return n
}

// Leftovers counts what the shards hold: subscriptions, levels of their tries, what they are interested in, heartbeats.
func (b *Broker) Leftovers() (items, nodes, interest, watched int) {
	for _, sh := range b.shards {
		done := make(chan struct{})
		sh.post(func() {
			items += sh.trie.Len()
			nodes += sh.trie.Nodes()
			interest += sh.interest.Len()
			for _, slot := range sh.wheel.slots {
				watched += len(slot)
			}
			watched += int(sh.sessions.Load())
			close(done)
		})
		<-done
	}
	return items, nodes, interest, watched
}

// Members counts what is held of who is there: topics, their members, and filters that are told of them.
func (b *Broker) Members() (topics, members, readers int) {
	topics, members = b.members.table.Size()
	return topics, members, b.members.readers.Len()
}

// LogReader reads the log from its beginning on for filter, and from there again when it has come to the end. It returns how many
// entries it has passed.
func (b *Broker) LogReader(filter string) (read func() int) {
	m := &ring.Matcher{Wanted: []ring.Wanted{ring.NewWanted(filter, 0)}}
	packets := make([]*Packet, 0, 4096)
	oldest, _ := b.ring.Oldest()
	next := oldest
	return func() int {
		st := ring.Stretch{Packets: packets[:0], Next: next}
		if head := b.ring.Last(); next > head || !b.ring.Read(&st, m, head, drainBytes) {
			next = oldest
			return 0
		}
		passed := int(st.Next - next)
		next = st.Next
		return passed
	}
}

// AppendOne appends a message to the log, as a publish does once it is checked.
func (b *Broker) AppendOne(topic string, payload []byte) {
	m := ring.NewMessage(&protocol.Message{Topic: topic, Payload: payload})
	b.append(&m)
}
