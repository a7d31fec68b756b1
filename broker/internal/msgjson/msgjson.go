// Package msgjson writes msgpack values, and payloads of other types, as JSON, for clients that read text. It takes bytes that nobody has
// looked at: nothing is allocated but the result, which is at most six times as long, and no declared length is believed.
package msgjson

import (
	"encoding/binary"
	"math"
	"strconv"
	"time"
	"unicode/utf8"
)

// maxDepth bounds arrays and maps inside one another.
const maxDepth = 32

// Append appends the JSON form of b, which is one msgpack value, to dst. ok is false, and dst as it was, when b is not one or has no
// form that says the same in JSON: binary data, extension types, a map key that is no string, NaN, an infinite number, text that is not
// UTF-8, or too deep a nesting. A timestamp, which is an extension type of msgpack's own, is text of RFC 3339 in UTC. There are no line
// breaks in the result. Keys that are given twice are written twice.
func Append(dst, b []byte) (out []byte, ok bool) { return AppendWith(dst, b, nil) }

// AppendWith is Append of a value whose binary data is written by bin, which appends it to dst.
func AppendWith(dst, b []byte, bin func(dst, data []byte) []byte) (out []byte, ok bool) {
	w := writer{in: b, out: dst, bin: bin}
	if !w.value(0) || len(w.in) > 0 {
		return dst, false
	}
	return w.out, true
}

type writer struct {
	in, out []byte
	bin     func(dst, data []byte) []byte // nil: binary data has no form
}

// take takes n bytes.
func (w *writer) take(n uint64) (b []byte, ok bool) {
	if n > uint64(len(w.in)) {
		return nil, false
	}
	b, w.in = w.in[:n], w.in[n:]
	return b, true
}

// number takes a big-endian integer of width bytes.
func (w *writer) number(width int) (v uint64, ok bool) {
	b, ok := w.take(uint64(width))
	if !ok {
		return 0, false
	}
	for _, c := range b {
		v = v<<8 | uint64(c)
	}
	return v, true
}

// value writes the next value, inside depth arrays and maps.
func (w *writer) value(depth int) bool {
	head, ok := w.take(1)
	if !ok {
		return false
	}
	switch c := head[0]; {
	case c < 0x80:
		w.out = strconv.AppendUint(w.out, uint64(c), 10)
		return true
	case c < 0x90:
		return w.object(uint64(c&0x0f), depth)
	case c < 0xa0:
		return w.array(uint64(c&0x0f), depth)
	case c < 0xc0:
		return w.text(uint64(c & 0x1f))
	case c >= 0xe0:
		w.out = strconv.AppendInt(w.out, int64(int8(c)), 10)
		return true
	default:
		return w.headed(c, depth)
	}
}

// headed writes a value whose head c says how many bytes of length or number follow.
func (w *writer) headed(c byte, depth int) bool {
	switch c {
	case 0xc0:
		w.out = append(w.out, "null"...)
		return true
	case 0xc2, 0xc3:
		w.out = strconv.AppendBool(w.out, c == 0xc3)
		return true
	case 0xc4, 0xc5, 0xc6:
		return w.binary(c)
	case 0xca:
		v, ok := w.number(4)
		return ok && w.float(float64(math.Float32frombits(uint32(v))))
	case 0xcb:
		v, ok := w.number(8)
		return ok && w.float(math.Float64frombits(v))
	case 0xcc, 0xcd, 0xce, 0xcf:
		v, ok := w.number(1 << (c - 0xcc))
		w.out = strconv.AppendUint(w.out, v, 10)
		return ok
	case 0xd0, 0xd1, 0xd2, 0xd3:
		width := 1 << (c - 0xd0)
		v, ok := w.number(width)
		unused := 64 - 8*width
		w.out = strconv.AppendInt(w.out, int64(v<<unused)>>unused, 10)
		return ok
	case 0xc7, 0xd6, 0xd7:
		return w.timestamp(c)
	case 0xd9, 0xda, 0xdb:
		n, ok := w.number(1 << (c - 0xd9))
		return ok && w.text(n)
	case 0xdc, 0xdd:
		n, ok := w.number(2 << (c - 0xdc))
		return ok && w.array(n, depth)
	case 0xde, 0xdf:
		n, ok := w.number(2 << (c - 0xde))
		return ok && w.object(n, depth)
	}
	return false // ext, and the byte that is never used
}

// binary writes the binary data behind the head c.
func (w *writer) binary(c byte) bool {
	n, ok := w.number(1 << (c - 0xc4))
	b, there := w.take(n)
	if !ok || !there || w.bin == nil {
		return false
	}
	w.out = w.bin(w.out, b)
	return true
}

func (w *writer) array(n uint64, depth int) bool {
	if depth == maxDepth || n > uint64(len(w.in)) {
		return false
	}
	w.out = append(w.out, '[')
	for i := range n {
		if i > 0 {
			w.out = append(w.out, ',')
		}
		if !w.value(depth + 1) {
			return false
		}
	}
	w.out = append(w.out, ']')
	return true
}

func (w *writer) object(n uint64, depth int) bool {
	if depth == maxDepth || n > uint64(len(w.in))/2 {
		return false
	}
	w.out = append(w.out, '{')
	for i := range n {
		if i > 0 {
			w.out = append(w.out, ',')
		}
		if !w.key() {
			return false
		}
		w.out = append(w.out, ':')
		if !w.value(depth + 1) {
			return false
		}
	}
	w.out = append(w.out, '}')
	return true
}

// key writes the next value if it is text.
func (w *writer) key() bool {
	head, ok := w.take(1)
	if !ok {
		return false
	}
	switch c := head[0]; {
	case c >= 0xa0 && c < 0xc0:
		return w.text(uint64(c & 0x1f))
	case c >= 0xd9 && c <= 0xdb:
		n, ok := w.number(1 << (c - 0xd9))
		return ok && w.text(n)
	}
	return false
}

func (w *writer) text(n uint64) bool {
	b, ok := w.take(n)
	if !ok || !utf8.Valid(b) {
		return false
	}
	w.out = AppendString(w.out, b)
	return true
}

// timestamp writes what follows the head c if it is a timestamp: extension type -1 of 4, 8 or 12 bytes, in seconds and nanoseconds.
func (w *writer) timestamp(c byte) bool {
	size := uint64(4)
	switch c {
	case 0xc7:
		var ok bool
		if size, ok = w.number(1); !ok || size != 12 {
			return false
		}
	case 0xd7:
		size = 8
	}
	kind, ok1 := w.number(1)
	b, ok2 := w.take(size)
	if !ok1 || !ok2 || kind != 0xff {
		return false
	}
	var sec, nsec int64
	switch size {
	case 4:
		sec = int64(binary.BigEndian.Uint32(b))
	case 8:
		v := binary.BigEndian.Uint64(b)
		sec, nsec = int64(v&(1<<34-1)), int64(v>>34)
	case 12:
		nsec, sec = int64(binary.BigEndian.Uint32(b)), int64(binary.BigEndian.Uint64(b[4:]))
	}
	if nsec > 999_999_999 || sec < minTime || sec > maxTime {
		return false
	}
	w.out = time.Unix(sec, nsec).UTC().AppendFormat(append(w.out, '"'), time.RFC3339Nano)
	w.out = append(w.out, '"')
	return true
}

// The seconds of the years that RFC 3339 can write, 0000 to 9999.
const (
	minTime = -62_167_219_200
	maxTime = 253_402_300_799
)

// float writes the shortest number that reads as f again, in the form of ECMAScript's and encoding/json's.
func (w *writer) float(f float64) bool {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return false
	}
	if abs := math.Abs(f); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		w.out = strconv.AppendFloat(w.out, f, 'e', -1, 64)
		if n := len(w.out); w.out[n-4] == 'e' && w.out[n-3] == '-' && w.out[n-2] == '0' { // e-09 is e-9
			w.out[n-2] = w.out[n-1]
			w.out = w.out[:n-1]
		}
		return true
	}
	w.out = strconv.AppendFloat(w.out, f, 'f', -1, 64)
	return true
}

const hexDigits = "0123456789abcdef"

// AppendString appends s, which is valid UTF-8, as a JSON string, the shortest there is.
func AppendString[T []byte | string](dst []byte, s T) []byte {
	dst = append(dst, '"')
	from := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, s[from:i]...)
		from = i + 1
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\b':
			dst = append(dst, '\\', 'b')
		case '\f':
			dst = append(dst, '\\', 'f')
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = binary.BigEndian.AppendUint32(dst, 0x5c753030) // \u00
			dst = append(dst, hexDigits[c>>4], hexDigits[c&0x0f])
		}
	}
	dst = append(dst, s[from:]...)
	return append(dst, '"')
}
