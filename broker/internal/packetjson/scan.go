package packetjson

import (
	"bytes"
	"encoding/binary"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/carillon-mq/carillon/protocol"
)

// skipSpace is the place of the first byte of b from i on that is no white space.
func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\n' || b[i] == '\r') {
		i++
	}
	return i
}

// str is a string that has been scanned: where it ends, behind its closing quote, and what it is made of.
type str struct {
	end     int
	size    int  // bytes of the text that it stands for
	escaped bool // has escapes
	halves  bool // has half of a surrogate pair: it is no text
}

// scanString scans the string that begins with the quote b[i]. b is valid UTF-8.
func scanString(b []byte, i int) (s str, ok bool) {
	for i++; i < len(b); {
		switch c := b[i]; {
		case c == '"':
			s.end = i + 1
			return s, true
		case c < 0x20:
			return s, false
		case c != '\\':
			i++
			s.size++
		default:
			r, n := readEscape(b[i:])
			if n == 0 {
				return s, false
			}
			s.escaped = true
			s.halves = s.halves || utf16.IsSurrogate(r)
			s.size += utf8.RuneLen(replaced(r))
			i += n
		}
	}
	return s, false
}

// replaced is r, or a character in the place of half of a surrogate pair.
func replaced(r rune) rune {
	if utf16.IsSurrogate(r) {
		return utf8.RuneError
	}
	return r
}

// appendText appends the text of a string that has been scanned, from the quote b[i] to s.end.
func appendText(dst, b []byte, i int, s str) []byte {
	b = b[i+1 : s.end-1]
	if !s.escaped {
		return append(dst, b...)
	}
	for len(b) > 0 {
		if b[0] != '\\' {
			dst = append(dst, b[0])
			b = b[1:]
			continue
		}
		r, n := readEscape(b)
		dst = utf8.AppendRune(dst, replaced(r))
		b = b[n:]
	}
	return dst
}

// readEscape reads the escape that b begins with, a surrogate pair as one. Half of a pair is returned as it is. n is how long the escape is,
// 0 if there is none.
func readEscape(b []byte) (r rune, n int) {
	if len(b) < 2 {
		return 0, 0
	}
	switch b[1] {
	case '"', '\\', '/':
		return rune(b[1]), 2
	case 'b':
		return '\b', 2
	case 'f':
		return '\f', 2
	case 'n':
		return '\n', 2
	case 'r':
		return '\r', 2
	case 't':
		return '\t', 2
	}
	r, ok := readHex(b)
	if !ok {
		return 0, 0
	}
	if !utf16.IsSurrogate(r) {
		return r, 6
	}
	if low, ok := readHex(b[6:]); ok {
		if both := utf16.DecodeRune(r, low); both != utf8.RuneError {
			return both, 12
		}
	}
	return r, 6
}

// readHex reads \u and four digits.
func readHex(b []byte) (r rune, ok bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	for _, c := range b[2:6] {
		switch {
		case c >= '0' && c <= '9':
			r = r<<4 | rune(c-'0')
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			r = r<<4 | rune(c|0x20-'a'+10)
		default:
			return 0, false
		}
	}
	return r, true
}

// scanNumber is where the number ends that begins at b[i], or ok is false.
func scanNumber(b []byte, i int) (end int, ok bool) {
	digits := func() bool {
		from := i
		for i < len(b) && b[i] >= '0' && b[i] <= '9' {
			i++
		}
		return i > from
	}
	at := func(c byte) bool { return i < len(b) && b[i] == c }
	if at('-') {
		i++
	}
	if at('0') {
		i++
	} else if !digits() {
		return i, false
	}
	if at('.') {
		i++
		if !digits() {
			return i, false
		}
	}
	if at('e') || at('E') {
		i++
		if at('+') || at('-') {
			i++
		}
		if !digits() {
			return i, false
		}
	}
	return i, true
}

// maxDigits is how many digits the highest integer has.
const maxDigits = 16

// integer is the value of a number that has been scanned, if it is an integer from 0 to protocol.MaxInt, however it is written.
func integer(b []byte) (v uint64, ok bool) {
	negative := b[0] == '-'
	scale := 0   // v is to be multiplied by this power of ten
	digits := 0  // of v
	pending := 0 // zeros behind them
	if e := bytes.IndexAny(b, "eE"); e >= 0 {
		scale = exponent(b[e+1:])
		b = b[:e]
	}
	fraction := false
	for _, c := range b {
		switch {
		case c == '-':
			continue
		case c == '.':
			fraction = true
			continue
		case fraction:
			scale--
		}
		if c == '0' {
			pending += min(digits, 1) // in front they are nothing
			continue
		}
		if digits += pending + 1; digits > maxDigits {
			return 0, false
		}
		for ; pending > 0; pending-- {
			v *= 10
		}
		v = v*10 + uint64(c-'0')
	}
	scale += pending
	switch {
	case digits == 0:
		return 0, true
	case negative || scale < 0 || digits+scale > maxDigits:
		return 0, false
	}
	for range scale {
		v *= 10
	}
	return v, v <= protocol.MaxInt
}

// exponent is what stands behind the e of a number. Nothing is as long that a higher one would matter.
func exponent(b []byte) int {
	const most = 1 << 30
	v := 0
	for _, c := range b {
		if c >= '0' && c <= '9' {
			v = min(v*10+int(c-'0'), most)
		}
	}
	if b[0] == '-' {
		return -v
	}
	return v
}

// literals are the words of JSON, and what they are in msgpack.
var literals = [...]struct {
	text string
	code byte
}{{"null", 0xc0}, {"false", 0xc2}, {"true", 0xc3}}

// scanLiteral reads a word that begins at b[i]. end is i when there is none.
func scanLiteral(b []byte, i int) (code byte, end int) {
	for _, l := range literals {
		if n := i + len(l.text); n <= len(b) && string(b[i:n]) == l.text {
			return l.code, n
		}
	}
	return 0, i
}

// nest are the arrays and objects that are open, as bits: 1 for an object.
type nest struct {
	bits  []uint64
	depth int
}

func (n *nest) open(object bool) {
	if n.depth/64 == len(n.bits) {
		n.bits = append(n.bits, 0)
	}
	word, bit := &n.bits[n.depth/64], uint64(1)<<(n.depth%64)
	*word &^= bit
	if object {
		*word |= bit
	}
	n.depth++
}

func (n *nest) inObject() bool {
	top := n.depth - 1
	return n.bits[top/64]>>(top%64)&1 == 1
}

// skipValue is where the value ends that begins at b[i]: any JSON, however deep. at is where it is at fault if ok is false. b is valid UTF-8.
func (n *nest) skipValue(b []byte, i int) (end int, ok bool) {
	n.depth = 0
	for {
		i = skipSpace(b, i)
		if i == len(b) {
			return i, false
		}
		opened := b[i] == '{' || b[i] == '['
		if opened {
			n.open(b[i] == '{')
			i = skipSpace(b, i+1)
		} else if i, ok = skipScalar(b, i); !ok {
			return i, false
		}
		for closed := false; ; closed = true {
			if n.depth == 0 {
				return i, true
			}
			if i = skipSpace(b, i); i == len(b) {
				return i, false
			}
			if c := b[i]; c != '}' && c != ']' {
				opened = opened && !closed
				break
			}
			if n.inObject() != (b[i] == '}') {
				return i, false
			}
			n.depth--
			i++
		}
		if !opened {
			if b[i] != ',' {
				return i, false
			}
			i++
		}
		if n.inObject() {
			if i, ok = skipName(b, i); !ok {
				return i, false
			}
		}
	}
}

// skipScalar is where a value that is no array and no object ends.
func skipScalar(b []byte, i int) (end int, ok bool) {
	switch c := b[i]; {
	case c == '"':
		if s, ok := scanString(b, i); ok {
			return s.end, true
		}
		return i, false
	case c == '-' || c >= '0' && c <= '9':
		return scanNumber(b, i)
	}
	_, end = scanLiteral(b, i)
	return end, end > i
}

// skipName is where the value of a member begins whose name comes next.
func skipName(b []byte, i int) (end int, ok bool) {
	i = skipSpace(b, i)
	if i == len(b) || b[i] != '"' {
		return i, false
	}
	s, ok := scanString(b, i)
	if !ok {
		return i, false
	}
	i = skipSpace(b, s.end)
	if i == len(b) || b[i] != ':' {
		return i, false
	}
	return i + 1, true
}

// appendHead appends the head of n elements, pairs or bytes: short with n in its low bits below limit, else one of wide, for one byte of
// length, two and four; 0 is none.
func appendHead(dst []byte, n int, short byte, limit int, wide [3]byte) []byte {
	switch {
	case n < limit:
		return append(dst, short|byte(n))
	case n < 1<<8 && wide[0] != 0:
		return append(dst, wide[0], byte(n))
	case n < 1<<16:
		return append(dst, wide[1], byte(n>>8), byte(n))
	}
	return binary.BigEndian.AppendUint32(append(dst, wide[2]), uint32(n))
}

func appendStrHead(dst []byte, n int) []byte {
	return appendHead(dst, n, 0xa0, 32, [3]byte{0xd9, 0xda, 0xdb})
}

func appendBinHead(dst []byte, n int) []byte {
	return appendHead(dst, n, 0, 0, [3]byte{0xc4, 0xc5, 0xc6})
}

func appendUint(dst []byte, v uint64) []byte {
	switch {
	case v < 1<<7:
		return append(dst, byte(v))
	case v < 1<<8:
		return append(dst, 0xcc, byte(v))
	case v < 1<<16:
		return binary.BigEndian.AppendUint16(append(dst, 0xcd), uint16(v))
	case v < 1<<32:
		return binary.BigEndian.AppendUint32(append(dst, 0xce), uint32(v))
	}
	return binary.BigEndian.AppendUint64(append(dst, 0xcf), v)
}
