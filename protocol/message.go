package protocol

import "encoding/binary"

// Message is one message of the log on its way to a subscriber ([MSG-1]). Its bytes are the same for every receiver.
type Message struct {
	Seq         uint64 // 0: it has no place in the log
	Offset      uint64 // 0: not committed
	Topic       string
	Payload     []byte // opaque; aliases the packet after Decode
	Time        int64  // Unix milliseconds at which the server accepted it
	ContentType string // "" is msgpack
	Headers     map[string]string
	Retain      bool   // it became the topic's retained message; with an empty payload it cleared it
	Encoding    string // how the payload is compressed, CompressDeflate ([MSG-5]); "": it is not
}

// Type is TypeMessage.
func (*Message) Type() Type { return TypeMessage }

const messageFields = 5

func (p *Message) options() int {
	return count(p.ContentType != "", len(p.Headers) > 0, p.Retain, p.Encoding != "")
}

// Append implements Packet.
func (p *Message) Append(b []byte) []byte {
	e := begin(b, TypeMessage, messageFields, p.options())
	e.uint(p.Seq)
	e.uint(p.Offset)
	p.tail(&e)
	return e.end()
}

func (p *Message) tail(e *encoder) {
	e.str(p.Topic)
	e.bin(p.Payload)
	e.int(p.Time)
	e.options(p.options())
	e.text("type", p.ContentType)
	e.headers("headers", p.Headers)
	e.flag("retain", p.Retain)
	e.text("encoding", p.Encoding)
}

// Decode reads r into p. The topic is copied and the payload aliases the packet.
func (p *Message) Decode(r Raw) error {
	*p = Message{}
	d := r.open(TypeMessage)
	p.Seq = d.uint("seq")
	p.Offset = d.uint("offset")
	p.Topic = d.str("topic")
	p.Payload = d.payload("payload")
	p.Time = int64(d.uint("ts"))
	if d.left > 0 && d.err == nil {
		p.decodeOptions(&d)
	}
	return d.finish()
}

func (p *Message) decodeOptions(d *decoder) {
	for o := d.options(); o.next(); {
		switch string(o.key) {
		case "type":
			p.ContentType = d.str("type")
		case "headers":
			p.Headers = d.headers("headers", false)
		case "retain":
			p.Retain = d.bool("retain")
		case "encoding":
			p.Encoding = d.str("encoding")
		default:
			d.skip()
		}
	}
}

// MessageHeadroom is the room in front of a message's tail that FinishMessage needs: array head, type, seq and offset at their
// longest.
const MessageHeadroom = 1 + 1 + 9 + 9

// AppendTail appends what of the packet is known before the message has its place in the log: everything after seq and offset.
//
//	buf := m.AppendTail(make([]byte, protocol.MessageHeadroom, 256))
//	packet := protocol.FinishMessage(buf, seq, offset)
func (p *Message) AppendTail(b []byte) []byte {
	e := encoder{b}
	p.tail(&e)
	return e.end()
}

// FinishMessage writes what comes before the tail into the MessageHeadroom bytes at the start of buf and returns the packet, which
// is a part of buf. It may be called again with other places, which changes the packet returned before. The tail must come from AppendTail.
func FinishMessage(buf []byte, seq, offset uint64) []byte {
	start := MessageHeadroom - 2 - uintSize(seq) - uintSize(offset)
	b := append(buf[start:start], 0x91+messageFields, byte(TypeMessage))
	if hasOptions(buf[MessageHeadroom:]) {
		b[0]++
	}
	b = appendUint(b, seq)
	appendUint(b, offset)
	return buf[start:]
}

// hasOptions reports whether a tail goes on after topic, payload and ts.
func hasOptions(tail []byte) bool {
	for range 2 {
		_, length, size := readHead(tail)
		tail = tail[size+int(length):]
	}
	_, size, _ := readUint(tail)
	return len(tail) > size
}

func uintSize(v uint64) int {
	switch {
	case v < 1<<7:
		return 1
	case v < 1<<8:
		return 2
	case v < 1<<16:
		return 3
	case v < 1<<32:
		return 5
	}
	return 9
}

func appendUint(b []byte, v uint64) []byte {
	switch {
	case v < 1<<7:
		return append(b, byte(v))
	case v < 1<<8:
		return append(b, 0xcc, byte(v))
	case v < 1<<16:
		return binary.BigEndian.AppendUint16(append(b, 0xcd), uint16(v))
	case v < 1<<32:
		return binary.BigEndian.AppendUint32(append(b, 0xce), uint32(v))
	}
	return binary.BigEndian.AppendUint64(append(b, 0xcf), v)
}
