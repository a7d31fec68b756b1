package ws

import (
	"encoding/binary"
	"unicode/utf8"

	"github.com/carillon-mq/carillon/broker"
)

// Opcodes, and the bits beside them in a frame's first byte (RFC 6455, 5.2).
const (
	opContinuation = 0x0
	opText         = 0x1
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xa

	final    = 0x80
	reserved = 0x70
	control  = 0x08 // in an opcode

	masked = 0x80 // in the second byte

	maxControl = 125 // bytes of a control frame
)

// frameError is a client's fault in the form of its frames. It ends the connection with a close frame of that code.
type frameError struct {
	code   uint16
	reason string
}

func (e *frameError) Error() string { return e.reason }

const (
	closeNormal   = 1000
	closeProtocol = 1002
	closeNotUTF8  = 1007
)

func malformed(reason string) error { return &frameError{closeProtocol, reason} }

// header is the beginning of a frame from a client.
type header struct {
	op    byte
	final bool
	size  uint64 // of the payload
	key   uint32 // that masks it, little endian
	bytes int    // its own
}

// control reports whether the frame belongs to no message.
func (h *header) control() bool { return h.op&control != 0 }

// readHeader reads the header that b begins with. ok is false when b ends before the header does.
func readHeader(b []byte) (h header, ok bool, err error) {
	if len(b) < 2 {
		return h, false, nil
	}
	h = header{op: b[0] & 0x0f, final: b[0]&final != 0, size: uint64(b[1] &^ masked), bytes: 2}
	switch {
	case b[0]&reserved != 0:
		return h, false, malformed("a reserved bit is set")
	case h.op > opBinary && h.op < opClose || h.op > opPong:
		return h, false, malformed("the opcode is reserved")
	case b[1]&masked == 0:
		return h, false, malformed("a frame is not masked")
	case h.control() && (!h.final || h.size > maxControl):
		return h, false, malformed("a control frame is fragmented or too long")
	}
	if wide := lengthBytes(h.size); wide > 0 {
		if len(b) < h.bytes+wide {
			return h, false, nil
		}
		h.size = 0
		for _, c := range b[h.bytes : h.bytes+wide] {
			h.size = h.size<<8 | uint64(c)
		}
		h.bytes += wide
		if h.size>>63 != 0 {
			return h, false, malformed("the first bit of a length is set")
		}
	}
	if len(b) < h.bytes+4 {
		return h, false, nil
	}
	h.key = binary.LittleEndian.Uint32(b[h.bytes:])
	h.bytes += 4
	return h, true, nil
}

// lengthBytes is how many bytes of length follow a second byte with that one.
func lengthBytes(short uint64) int {
	switch short {
	case 126:
		return 2
	case 127:
		return 8
	}
	return 0
}

// unmask takes the mask off b.
func unmask(b []byte, key uint32) {
	if key == 0 {
		return
	}
	wide := uint64(key)<<32 | uint64(key)
	for ; len(b) >= 8; b = b[8:] {
		binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)^wide)
	}
	for i := range b {
		b[i] ^= byte(wide)
		wide >>= 8
	}
}

// checkClose checks what a close frame holds: nothing, or a code and a reason.
func checkClose(payload []byte) error {
	if len(payload) == 0 {
		return nil
	}
	if len(payload) < 2 || !closeCode(binary.BigEndian.Uint16(payload)) {
		return malformed("a close frame has no code, or one that is not sent")
	}
	if !utf8.Valid(payload[2:]) {
		return &frameError{closeNotUTF8, "the reason of a close frame is not UTF-8"}
	}
	return nil
}

// closeCode reports whether code may stand in a close frame (RFC 6455, 7.4, and the registry behind it).
func closeCode(code uint16) bool {
	switch {
	case code == 1004 || code == 1005 || code == 1006:
		return false
	case code >= 1000 && code <= 1014:
		return true
	}
	return code >= 3000 && code <= 4999
}

// appendMessage makes one unmasked WebSocket message of several packets.
func appendMessage(dst []byte, batch []*broker.Packet) []byte {
	n := 0
	for _, p := range batch {
		n += len(p.Bytes())
	}
	dst = appendHeader(dst, opBinary, n)
	for _, p := range batch {
		dst = append(dst, p.Bytes()...)
	}
	return dst
}

// appendHeader appends the header of a whole frame of ours.
func appendHeader(dst []byte, op byte, n int) []byte {
	switch {
	case n < 126:
		return append(dst, final|op, byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(dst, final|op, 126), uint16(n))
	default:
		return binary.BigEndian.AppendUint64(append(dst, final|op, 127), uint64(n))
	}
}

// appendClose appends a close frame.
func appendClose(dst []byte, code uint16, reason string) []byte {
	for len(reason) > maxControl-2 {
		_, size := utf8.DecodeLastRuneInString(reason)
		reason = reason[:len(reason)-size]
	}
	dst = appendHeader(dst, opClose, 2+len(reason))
	return append(binary.BigEndian.AppendUint16(dst, code), reason...)
}
