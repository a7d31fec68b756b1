package protocol

import (
	"encoding/binary"
	"unicode/utf8"
)

type kind uint8

const (
	kindBad kind = iota
	kindNil
	kindBool
	kindInt
	kindFloat
	kindStr
	kindBin
	kindArray
	kindMap
	kindExt
)

var kindNames = [...]string{
	kindBad: "an invalid byte", kindNil: "nil", kindBool: "bool", kindInt: "int", kindFloat: "float", kindStr: "str", kindBin: "bin",
	kindArray: "array", kindMap: "map", kindExt: "ext",
}

func (k kind) String() string { return kindNames[k] }

// head says how a value goes on after its first byte: width bytes that hold its length, or none and the length is size. The
// length counts bytes, for arrays elements, for maps pairs.
type head struct {
	kind  kind
	width uint8
	size  uint8
}

var heads = makeHeads()

func makeHeads() (h [256]head) {
	fill := func(from, to int, k kind, sized bool) {
		for c := from; c <= to; c++ {
			h[c] = head{kind: k}
			if sized {
				h[c].size = uint8(c - from)
			}
		}
	}
	fill(0x00, 0x7f, kindInt, false)
	fill(0x80, 0x8f, kindMap, true)
	fill(0x90, 0x9f, kindArray, true)
	fill(0xa0, 0xbf, kindStr, true)
	h[0xc0] = head{kind: kindNil}
	fill(0xc2, 0xc3, kindBool, false)
	for i := range 3 { // widths 1, 2, 4
		h[0xc4+i] = head{kind: kindBin, width: 1 << i}
		h[0xc7+i] = head{kind: kindExt}
		h[0xd9+i] = head{kind: kindStr, width: 1 << i}
	}
	h[0xca] = head{kind: kindFloat, size: 4}
	h[0xcb] = head{kind: kindFloat, size: 8}
	for i := range 4 { // 8 to 64 bits, unsigned and signed
		h[0xcc+i] = head{kind: kindInt, size: 1 << i}
		h[0xd0+i] = head{kind: kindInt, size: 1 << i}
	}
	fill(0xd4, 0xd8, kindExt, false)
	for i := range 2 {
		h[0xdc+i] = head{kind: kindArray, width: 2 << i}
		h[0xde+i] = head{kind: kindMap, width: 2 << i}
	}
	fill(0xe0, 0xff, kindInt, false)
	return h
}

// Gate returns the length of the first msgpack value in b if it is complete and within the limits: every declared length is
// checked against the bytes that are there, depth, arrays and maps against MaxDepth, MaxArray and MaxMap, strings are valid
// UTF-8, extension types and the byte c1 are refused ([ENC-5], [ENC-6], [ENC-7]). Anything else is bad_packet. It neither allocates nor
// recurses; nothing may be decoded that has not passed it.
func Gate(b []byte) (n int, err error) {
	var left [MaxDepth]uint32 // values still to come, per open array or map
	depth, i := 0, 0
	for {
		if i == len(b) {
			return 0, Errorf(CodeBadPacket, "found the end after %d bytes, wanted a complete value", len(b))
		}
		h, length, size := readHead(b[i:])
		i += size
		count := length // values that it holds
		rest := uint64(len(b) - i)
		ok := size > 0
		switch h.kind {
		case kindNil, kindBool, kindInt, kindFloat, kindBin:
			ok = ok && length <= rest
			count = 0
		case kindStr:
			ok = ok && length <= rest && utf8.Valid(b[i:i+int(length)])
			count = 0
		case kindArray:
			ok = ok && length <= min(rest, MaxArray) && depth < MaxDepth
			length = 0
		case kindMap:
			ok = ok && length <= min(rest/2, MaxMap) && depth < MaxDepth
			count, length = 2*length, 0
		default:
			ok = false
		}
		if !ok {
			return 0, refuse(b[i-size:], depth)
		}
		i += int(length)
		if count > 0 {
			left[depth] = uint32(count)
			depth++
			continue
		}
		for depth > 0 {
			left[depth-1]--
			if left[depth-1] > 0 {
				break
			}
			depth--
		}
		if depth == 0 {
			return i, nil
		}
	}
}

// refuse says why the value at the start of b does not pass, inside depth arrays and maps.
func refuse(b []byte, depth int) *Error {
	h, length, size := readHead(b)
	rest := len(b) - size
	switch {
	case h.kind == kindBad || h.kind == kindExt:
		return Errorf(CodeBadPacket, "found %s, wanted nil, bool, int, float, str, bin, array or map", h.kind)
	case size == 0:
		return Errorf(CodeBadPacket, "found the end within the length of %s", h.kind)
	case h.kind == kindArray && length > MaxArray:
		return Errorf(CodeBadPacket, "found an array of %d elements, wanted at most %d", length, MaxArray)
	case h.kind == kindMap && length > MaxMap:
		return Errorf(CodeBadPacket, "found a map of %d pairs, wanted at most %d", length, MaxMap)
	case h.kind == kindMap && 2*length > uint64(rest), length > uint64(rest):
		return Errorf(CodeBadPacket, "found %s of length %d with %d bytes left", h.kind, length, rest)
	case depth == MaxDepth && (h.kind == kindArray || h.kind == kindMap):
		return Errorf(CodeBadPacket, "found more than %d arrays and maps inside one another", MaxDepth)
	}
	return Errorf(CodeBadPacket, "found %s of %d bytes that is not valid UTF-8", h.kind, length)
}

// readHead reads the head of the value at the start of b, which is not empty. size is how many bytes the head takes, 0 if not
// all of them are there.
func readHead(b []byte) (h head, length uint64, size int) {
	h = heads[b[0]]
	if len(b) <= int(h.width) {
		return h, 0, 0
	}
	switch h.width {
	case 1:
		return h, uint64(b[1]), 2
	case 2:
		return h, uint64(binary.BigEndian.Uint16(b[1:])), 3
	case 4:
		return h, uint64(binary.BigEndian.Uint32(b[1:])), 5
	}
	return h, uint64(h.size), 1
}
