package protocol

import (
	"encoding/binary"
	"math"
)

// Raw is one packet that has passed the gate and whose fields have not been read yet. It points into the bytes it came from.
// Only Next makes one.
type Raw struct {
	Type   Type
	fields int // elements after the type
	body   []byte
}

// Next takes the first packet of b, which holds the rest of one transport message. It refuses with bad_packet what is not an array
// that begins with a type 1–127 ([ENC-1], [ENC-2]); what follows the packet is not looked at.
func Next(b []byte) (r Raw, rest []byte, err error) {
	n, err := Gate(b)
	if err != nil {
		return Raw{}, nil, err
	}
	h, count, size := readHead(b)
	if h.kind != kindArray || count == 0 {
		return Raw{}, nil, Errorf(CodeBadPacket, "found %s of length %d, wanted an array that begins with the type", h.kind, count)
	}
	v, m, ok := readUint(b[size:n])
	if !ok || v < 1 || v > maxType {
		return Raw{}, nil, Errorf(CodeBadPacket, "found %s as the type, wanted an integer from 1 to %d", heads[b[size]].kind, maxType)
	}
	return Raw{Type: Type(v), fields: int(count) - 1, body: b[size+m : n]}, b[n:], nil
}

// ID returns the packet's first field if it is an integer from 1, as it is in every request. It is how an answer is addressed
// when the rest of the packet cannot be read, or its type is not known ([ENC-9]).
func (r Raw) ID() (uint64, bool) {
	if r.fields == 0 {
		return 0, false
	}
	v, _, ok := readUint(r.body)
	if !ok || v == 0 {
		return 0, false
	}
	return v, true
}

// readUint reads an integer from 0 to MaxInt in any width, or a float64 without fraction ([ENC-3]). b holds a complete value.
func readUint(b []byte) (v uint64, size int, ok bool) {
	switch c := b[0]; c {
	case 0xcc:
		return uint64(b[1]), 2, true
	case 0xcd:
		return uint64(binary.BigEndian.Uint16(b[1:])), 3, true
	case 0xce:
		return uint64(binary.BigEndian.Uint32(b[1:])), 5, true
	case 0xcf, 0xd3:
		v = binary.BigEndian.Uint64(b[1:]) // a negative number is above MaxInt
		return v, 9, v <= MaxInt
	case 0xd0:
		return uint64(b[1]), 2, b[1] < 0x80
	case 0xd1:
		v = uint64(binary.BigEndian.Uint16(b[1:]))
		return v, 3, v <= math.MaxInt16
	case 0xd2:
		v = uint64(binary.BigEndian.Uint32(b[1:]))
		return v, 5, v <= math.MaxInt32
	case 0xcb:
		f := math.Float64frombits(binary.BigEndian.Uint64(b[1:]))
		if !(f >= 0 && f <= MaxInt) || f != math.Trunc(f) {
			return 0, 9, false
		}
		return uint64(f), 9, true
	default:
		return uint64(c), 1, c < 0x80
	}
}
