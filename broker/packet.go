package broker

import (
	"sync/atomic"

	"github.com/carillon-mq/carillon/protocol"
)

// Packet is one encoded packet. A Message packet is encoded once and shared by every session that gets it, so nobody may
// change it.
type Packet struct {
	data []byte
	seq  uint64 // of the entry that it is the body of; 0: of none
	mark uint64 // the store's watermark there
	form atomic.Pointer[form]
}

// Bytes is the packet in msgpack. It must not be changed.
func (p *Packet) Bytes() []byte { return p.data }

// Type is the packet's type.
func (p *Packet) Type() protocol.Type { return protocol.Type(p.data[1]) } // behind the head of a short array

// encode makes a packet that is for one session.
func encode(p protocol.Packet) *Packet {
	return &Packet{data: p.Append(make([]byte, 0, 48))}
}

// message is a publish on its way into the log: encoded but for its position.
type message struct {
	topic   string
	class   Class
	retain  bool
	clear   bool  // retain with an empty payload
	loaded  bool  // was committed before the log began; the retained values know it
	age     int64 // milliseconds since it was accepted, if loaded
	time    int64
	seq     uint64 // in the log, once appended
	offset  uint64 // the store's, 0 when not committed
	size    int    // bytes of payload
	buf     []byte // protocol.MessageHeadroom bytes, then the tail
	receipt *receipt
}

// messageRoom is about how many bytes the tail of a Message takes whose payload, content type and headers have size bytes.
func messageRoom(topic string, size int) int { return len(topic) + size + 32 }

// newMessage encodes m, of the given class.
func newMessage(m *protocol.Message, class Class) message {
	size := len(m.Payload) + len(m.ContentType)
	for k, v := range m.Headers {
		size += len(k) + len(v) + 6
	}
	buf := make([]byte, protocol.MessageHeadroom, protocol.MessageHeadroom+messageRoom(m.Topic, size))
	return message{
		topic: m.Topic, class: class, retain: m.Retain, clear: m.Retain && len(m.Payload) == 0, time: m.Time,
		size: len(m.Payload), buf: m.AppendTail(buf),
	}
}
