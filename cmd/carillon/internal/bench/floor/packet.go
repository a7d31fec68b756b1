package floor

import "encoding/binary"

// Kind is the first byte of a packet. Behind it stand the length of the rest as two bytes, and the rest.
type Kind byte

// The packets. A client's begin, after the head, with the length of a topic as one byte, and the topic.
const (
	Subscribe Kind = 's' // a topic; it is answered
	Publish   Kind = 'p' // a topic and a payload; it is not answered
	Ask       Kind = 'q' // a topic and a payload; it is answered
	Message   Kind = 'm' // a payload
	Answer    Kind = 'a' // nothing
)

// HeadBytes is the size of what stands in front of the rest.
const HeadBytes = 3

func appendHead(b []byte, k Kind, rest int) []byte {
	return binary.BigEndian.AppendUint16(append(b, byte(k)), uint16(rest))
}

// AppendCommand appends a client's packet. Topic and payload must fit into 65,534 bytes together, the topic into 255.
func AppendCommand(b []byte, k Kind, topic string, payload []byte) []byte {
	b = appendHead(b, k, 1+len(topic)+len(payload))
	b = append(b, byte(len(topic)))
	b = append(b, topic...)
	return append(b, payload...)
}

// Next is the first packet of b and what is behind it; ok is false when b does not begin with a whole one.
func Next(b []byte) (k Kind, rest, behind []byte, ok bool) {
	if len(b) < HeadBytes {
		return 0, nil, b, false
	}
	end := HeadBytes + int(binary.BigEndian.Uint16(b[1:]))
	if len(b) < end {
		return 0, nil, b, false
	}
	return Kind(b[0]), b[HeadBytes:end], b[end:], true
}
