package broker

import (
	"slices"

	"github.com/carillon-mq/carillon/protocol"
)

// begin counts request id (0: it has none) among those without their answer. It blocks while the session has its limit of them: a
// client that publishes faster than the store commits waits for itself ([PUB-12]). It fails with duplicate_id for an id that is in
// use, and with errClosed when the session has ended. Called by the reader.
func (s *Session) begin(id uint64) error {
	s.mu.Lock()
	for !s.closed && exceeds(len(s.unanswered)+1, s.b.opt.Limits.Inflight) {
		room := s.roomLocked()
		s.mu.Unlock()
		s.flushAcks()
		<-room
		s.mu.Lock()
	}
	defer s.mu.Unlock()
	if s.closed {
		return errClosed
	}
	if id != 0 && slices.Contains(s.unanswered, id) {
		return protocol.Errorf(protocol.CodeDuplicateID, "found request id %d, which has no answer yet", id)
	}
	s.unanswered = append(s.unanswered, id)
	return nil
}

// done takes a request out that is being answered.
func (s *Session) done(id uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.doneLocked(id)
}

func (s *Session) doneLocked(id uint64) {
	last := len(s.unanswered) - 1
	s.unanswered[slices.Index(s.unanswered, id)] = s.unanswered[last]
	if s.unanswered = s.unanswered[:last]; last == 0 && cap(s.unanswered) > 64 {
		s.unanswered = nil
	}
	s.releaseRoomLocked()
}

// quiet reports whether every request of the session has its answer, and the answer has left for the socket.
func (s *Session) quiet() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed || len(s.unanswered) == 0 && s.soon == nil
}
