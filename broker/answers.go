package broker

import (
	"errors"
	"slices"
	"sync"

	"github.com/carillon-mq/carillon/broker/internal/ring"
	"github.com/carillon-mq/carillon/protocol"
)

// answers are packets for one client that leave together, in memory that is used again and again.
type answers struct {
	bytes  []byte
	count  int
	packet Packet
	batch  [1]*Packet
}

// maxAnswerBytes is the most memory that is kept for the next answers.
const maxAnswerBytes = 16 << 10

var answersPool = sync.Pool{New: func() any { return new(answers) }}

// took takes what a packet's Append has made of a.bytes.
func (a *answers) took(bytes []byte) {
	a.bytes = bytes
	a.count++
}

// asBatch is the answers as what a Conn writes.
func (a *answers) asBatch() []*Packet {
	ring.Refill(&a.packet, a.bytes)
	a.batch[0] = &a.packet
	return a.batch[:]
}

func (a *answers) giveBack() {
	if cap(a.bytes) > maxAnswerBytes {
		return
	}
	a.bytes, a.count = a.bytes[:0], 0
	answersPool.Put(a)
}

// sendAnswersLocked sends a, which is not to be used any more. Session.mu is held.
func (s *Session) sendAnswersLocked(a *answers) {
	switch {
	case s.closed:
	case s.draining:
		s.queueLocked([]*Packet{ring.NewPacket(slices.Clone(a.bytes))})
	default:
		s.writeLocked(a.asBatch())
	}
	a.giveBack()
}

// maxAcks is how many answers wait to leave together.
const maxAcks = 256

// sendLater queues a packet of the reader's until the message it answers, and those already received behind it, are done, or
// maxAcks have gathered.
func (s *Session) sendLater(p protocol.Packet) {
	a := s.answers()
	a.took(p.Append(a.bytes))
	s.flushFull()
}

// answers are those of the reader that have not left.
func (s *Session) answers() *answers {
	if s.acks == nil {
		s.acks = answersPool.Get().(*answers)
	}
	return s.acks
}

func (s *Session) flushFull() {
	if s.acks.count >= maxAcks {
		s.flushAcks()
	}
}

func (s *Session) flushAcks() {
	a := s.acks
	if a == nil {
		return
	}
	s.acks = nil
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sendAnswersLocked(a)
}

// reply is how a publish is answered: once, from any goroutine, without blocking.
type reply struct {
	to  replier
	ref uint64 // the replier's
}

type replier interface {
	reply(ref uint64, ack protocol.Published, err *protocol.Error)
}

func (r reply) tell(ack protocol.Published, err *protocol.Error) { r.to.reply(r.ref, ack, err) }

// reply answers the session's request id when its answer comes later. id 0 asked for no answer; a failure is told all the same.
func (s *Session) reply(id uint64, ack protocol.Published, err *protocol.Error) {
	if err != nil {
		s.b.refused(s, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.doneLocked(id)
	if err == nil && id == 0 {
		return
	}
	if s.soon == nil {
		s.soon = answersPool.Get().(*answers)
		s.b.soon.add(s)
	}
	if err != nil {
		s.soon.took(err.Packet(id).Append(s.soon.bytes))
		return
	}
	ack.ID = id
	s.soon.took(ack.Append(s.soon.bytes))
}

// soon gathers the sessions with answers that the store's feed has brought, so that the answers of one batch leave together.
type soon struct {
	mu       sync.Mutex
	sessions []*Session
}

func (n *soon) add(s *Session) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.sessions = append(n.sessions, s)
}

// manyAnswers is how many sessions with answers are worth a second goroutine.
const manyAnswers = 32

// flushSoon sends what replies have gathered. Whoever settles publishes calls it when it has settled a batch.
//
// Each session is a system call, and its client publishes again as soon as it has its answer. Of many, half are another goroutine's: then two
// processors send, and find the new publishes together when they have done, while one that had nothing to do would be woken for each of them.
func (b *Broker) flushSoon() {
	b.soon.mu.Lock()
	sessions := b.soon.sessions
	b.soon.sessions = nil
	b.soon.mu.Unlock()
	if len(sessions) < manyAnswers {
		flushAll(sessions)
		return
	}
	half := len(sessions) / 2
	var other sync.WaitGroup
	other.Go(func() { flushAll(sessions[:half]) })
	flushAll(sessions[half:])
	other.Wait()
}

func flushAll(sessions []*Session) {
	for _, s := range sessions {
		s.mu.Lock()
		a := s.soon
		s.soon = nil
		s.sendAnswersLocked(a)
		s.mu.Unlock()
	}
}

// asError is err as what the client is told; nil stays nil. What is not a *protocol.Error is internal, and not told in detail.
func asError(err error) *protocol.Error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*protocol.Error](err); ok {
		return e
	}
	return protocol.Errorf(protocol.CodeInternal, "the broker failed")
}
