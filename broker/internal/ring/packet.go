package ring

import (
	"math"
	"sync/atomic"

	"github.com/carillon-mq/carillon/protocol"
)

// Packet is one encoded packet. A Message packet is encoded once and shared by every session that gets it, so nobody may
// change it.
type Packet struct {
	data  []byte
	seq   uint64 // of the entry that it is the body of; 0: of none
	mark  uint64 // the store's watermark there
	forms atomic.Pointer[form]
}

// Bytes is the packet in msgpack. It must not be changed.
func (p *Packet) Bytes() []byte { return p.data }

// Entry is the seq of the entry that p is the body of, 0 if it is of none, and the store's watermark there.
func (p *Packet) Entry() (seq, watermark uint64) {
	if p.seq == 0 {
		return 0, 0
	}
	return p.seq, p.mark
}

// lasting is the mark of a packet that is the body of no entry, and held for long.
const lasting = math.MaxUint64

// held reports whether others than one reader will want p.
func (p *Packet) held() bool { return p.seq > 0 || p.mark == lasting }

// Type is the packet's type.
func (p *Packet) Type() protocol.Type { return protocol.Type(p.data[1]) } // behind the head of a short array

// Refill makes p, which nobody else has, a packet of data.
func Refill(p *Packet, data []byte) { p.data = data }

// NewPacket makes a packet of what is encoded.
func NewPacket(data []byte) *Packet { return &Packet{data: data} }

// Message is a publish on its way into the log: encoded but for its position.
type Message struct {
	Topic   string
	Live    bool // kept only for the readers of now: it has no position, and no place in the log if it is not retained
	Kept    bool // of class stored: the store has it in its topic's history once it has an offset
	retain  bool
	clear   bool  // retain with an empty payload
	expired bool  // clears what has expired, and else nothing
	loaded  bool  // was committed before the log began; the retained values know it
	age     int64 // milliseconds since it was accepted, if loaded
	time    int64
	Seq     uint64 // in the log, once appended
	Offset  uint64 // the store's, 0 when not committed
	size    int    // bytes of payload
	Buf     []byte // protocol.MessageHeadroom bytes, then the tail
	Extra   *Extra // nil: it has nothing of that. The entry keeps it
}

// Receipt is told how a message comes to those who are there.
type Receipt interface {
	Appended() // it has its place in the log
	Received() // by one session more
	Passed()   // by one shard more, which has told all that it received
}

// messageRoom is about how many bytes the tail of a Message takes whose payload, content type and headers have size bytes.
func messageRoom(topic string, size int) int { return len(topic) + size + 32 }

// NewMessage encodes m.
func NewMessage(m *protocol.Message) Message {
	size := len(m.Payload) + len(m.ContentType)
	for k, v := range m.Headers {
		size += len(k) + len(v) + 6
	}
	buf := make([]byte, protocol.MessageHeadroom, protocol.MessageHeadroom+messageRoom(m.Topic, size))
	return Message{
		Topic: m.Topic, retain: m.Retain, clear: m.Retain && len(m.Payload) == 0, time: m.Time,
		size: len(m.Payload), Buf: m.AppendTail(buf),
	}
}

// place is the seq and the offset that a Message packet tells.
func (p *Packet) place() (seq, offset uint64) {
	var m protocol.Message
	if raw, _, err := protocol.Next(p.data); err != nil || m.Decode(raw) != nil {
		return 0, 0
	}
	return m.Seq, m.Offset
}

// Weight is what the log is charged for m.
func (m *Message) Weight() int64 {
	return entryOverhead + int64(len(m.Topic)+cap(m.Buf)) + m.Extra.cost()
}

// Lasting is Unplaced of a message that lasts: others will want it too.
func (m *Message) Lasting() *Packet {
	p := m.Unplaced()
	p.mark = lasting
	return p
}

// Unplaced is m as a packet that has no place in the log.
func (m *Message) Unplaced() *Packet {
	p := NewPacket(protocol.FinishMessage(m.Buf, 0, m.Offset))
	p.setExtra(m.Extra)
	return p
}
