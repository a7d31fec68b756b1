package broker

import "github.com/carillon-mq/carillon/protocol"

// Refuse answers request id, a packet of type t that the transport could not read into one for Receive: id 0 is of none. why is an error after
// which the session goes on. It is to Receive as another message: more says the same, it may block, and an error means that the session is over.
func (s *Session) Refuse(t protocol.Type, id uint64, why *protocol.Error, more bool) error {
	err := s.checkOrder(t)
	if err == nil {
		s.answer(id, why)
	}
	return s.received(err, more)
}
