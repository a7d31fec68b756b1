package broker

import (
	"sync"

	"github.com/carillon-mq/carillon/broker/internal/ring"
	"github.com/carillon-mq/carillon/protocol"
)

// Packet is one encoded packet. A Message packet is encoded once and shared by every session that gets it, so nobody may change
// it: Bytes is the packet in msgpack, Type the packet's type.
type Packet = ring.Packet

// A session writes in one of two ways. While its socket takes everything, whoever has packets writes them at once, without a
// goroutine. When the socket is full a drainer starts: it waits for the socket, writes what was queued, reads the log for a
// lagging session and replays for starting subscriptions, and ends when nothing is left to write.

// drainBytes is how much a drainer puts into one transport message.
const drainBytes = 32 << 10

// send queues packets behind everything already due and writes if the socket takes them. It is for answers, which are bounded
// by the requests that awaitRoom lets in; it never blocks.
func (s *Session) send(packets ...*Packet) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sendLocked(packets...)
}

func (s *Session) sendLocked(packets ...*Packet) {
	if s.closed {
		return
	}
	if s.draining {
		s.queueLocked(packets)
		return
	}
	s.writeLocked(packets)
}

func (s *Session) queueLocked(packets []*Packet) {
	for _, p := range packets {
		s.queueBytes += len(p.Bytes())
	}
	s.queue = append(s.queue, packets...)
}

// writeLocked writes without waiting; when the socket does not take everything a drainer sees to the rest.
func (s *Session) writeLocked(packets []*Packet) {
	done, err := s.conn.Write(packets)
	if done || err != nil {
		return // an error ends the reader too, and that the session
	}
	written := 0
	for _, p := range packets {
		written += len(p.Bytes())
	}
	s.queueBytes += written
	s.drainLocked(written)
}

// drainLocked starts a drainer unless there is one. written is what the conn still holds of the queue's bytes.
func (s *Session) drainLocked(written int) {
	if s.draining || s.closed {
		return
	}
	s.draining = true
	s.b.drainers.Go(func() { s.drain(written) })
}

// offer takes as many of the packets, in order, as the pending window has room for, and reports how many. It always takes one
// when nothing waits. Called by the shard's goroutine.
func (s *Session) offer(packets []*Packet) (taken int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return len(packets)
	}
	if !s.draining {
		s.writeLocked(packets)
		return len(packets)
	}
	for _, p := range packets {
		if s.queueBytes > 0 && s.queueBytes+len(p.Bytes()) > s.b.opt.Limits.Pending {
			break
		}
		s.queue = append(s.queue, p)
		s.queueBytes += len(p.Bytes())
		taken++
	}
	return taken
}

// awaitRoom blocks the reader while twice the window waits for its client's socket: a client that sends requests and does
// not read the answers waits for itself.
func (s *Session) awaitRoom() error {
	for {
		s.mu.Lock()
		if s.closed {
			cause := s.cause
			s.mu.Unlock()
			if cause != nil {
				return cause
			}
			return errClosed
		}
		if s.queueBytes <= 2*s.b.opt.Limits.Pending {
			s.mu.Unlock()
			return nil
		}
		room := s.roomLocked()
		s.mu.Unlock()
		<-room
	}
}

// roomLocked is closed when something has changed that the reader may wait for.
func (s *Session) roomLocked() <-chan struct{} {
	if s.room == nil {
		s.room = make(chan struct{})
	}
	return s.room
}

func (s *Session) releaseRoomLocked() {
	if s.room != nil {
		close(s.room)
		s.room = nil
	}
}

// batches are the drainers' working slices.
var batches = sync.Pool{New: func() any { return new(make([]*Packet, 0, 64)) }}

// drain is the drainer's goroutine. written counts the bytes of the queue that the conn has not yet passed on.
func (s *Session) drain(written int) {
	bp := batches.Get().(*[]*Packet)
	defer batches.Put(bp)
	for turn := 0; ; turn++ {
		err := s.conn.Flush()
		if err != nil && s.shut(nil) {
			s.conn.Abort() // the reader may be waiting for room, not for the connection
		}
		s.mu.Lock()
		s.queueBytes -= written
		written = 0
		s.releaseRoomLocked()
		if s.closed {
			s.draining = false
			s.mu.Unlock()
			return
		}
		batch := append((*bp)[:0], s.queue...)
		if len(batch) > 0 {
			written = s.queueBytes
			clear(s.queue)
			if s.queue = s.queue[:0]; cap(s.queue) > 256 {
				s.queue = nil
			}
			if batch = s.b.unexpired(batch); len(batch) == 0 {
				s.queueBytes -= written
				written = 0
			}
		}
		s.mu.Unlock()

		if len(batch) == 0 {
			if batch = s.catchUp(batch, turn); len(batch) == 0 {
				if s.rest() {
					return
				}
				continue
			}
		}
		if _, err := s.conn.Write(batch); err != nil {
			s.conn.Abort()
		}
		clear(batch)
		*bp = batch[:0]
	}
}

// rest ends the drainer if nothing is left to write, and reports whether it did.
func (s *Session) rest() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed && (len(s.queue) > 0 || s.behindLocked()) {
		return false
	}
	s.draining = false
	s.queue = nil
	return true
}

// FormKind names an encoding of messages that doors share: see Form.
type FormKind = ring.FormKind

// The kinds of forms.
const (
	FormEvent = ring.FormEvent // what SSE and long-poll are made of
	FormJSON  = ring.FormJSON  // a Message packet in JSON ([JSN-5])
)

// Form is p, a Message packet, in another encoding: encode makes it of the message and the position right behind it, the zero
// Position if it has none. It is made once, however many sessions get it, and shared by all of them, for as long as the log holds the
// message; so there is one encode for a kind, which must not call the broker. Nobody may change the result.
func (b *Broker) Form(p *Packet, kind FormKind, encode func(*protocol.Message, protocol.Position) []byte) []byte {
	return b.ring.Form(p, kind, func(p *Packet) (form []byte, keep bool) {
		var m protocol.Message
		raw, _, err := protocol.Next(p.Bytes())
		if err == nil {
			err = m.Decode(raw)
		}
		if err != nil {
			return nil, false // not from here: the broker has encoded it
		}
		var at protocol.Position
		if m.Seq > 0 {
			_, mark := p.Entry()
			at = b.positionAt(m.Seq, mark)
		}
		return encode(&m, at), true
	})
}

// encode makes a packet that is for one session.
func encode(p protocol.Packet) *Packet {
	return ring.NewPacket(p.Append(make([]byte, 0, 48)))
}
