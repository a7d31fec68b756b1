package protocol

import (
	"slices"
	"time"
)

// encoder appends msgpack to a []byte: the shortest form of every value, and nothing of it fails. The fuzz tests hold what it writes
// against the msgpack library.
type encoder struct{ b []byte }

// begin starts a packet of so many fields and options on b. It ends with end.
func begin(b []byte, t Type, fields, options int) encoder {
	e := encoder{b}
	e.head(0x90, 0xdc, 1+fields+min(options, 1))
	e.uint(uint64(t))
	return e
}

func (e encoder) end() []byte { return e.b }

// head writes the head of n elements: short with n in its low bits up to 15, else long and n in two bytes. More are not in a
// packet.
func (e *encoder) head(short, long byte, n int) {
	if n <= 15 {
		e.b = append(e.b, short|byte(n))
		return
	}
	e.b = append(e.b, long, byte(n>>8), byte(n))
}

// span writes the head of n bytes, whose size takes one byte, two or four behind the codes from first on.
func (e *encoder) span(first byte, n int) {
	switch {
	case n < 1<<8:
		e.b = append(e.b, first, byte(n))
	case n < 1<<16:
		e.b = append(e.b, first+1, byte(n>>8), byte(n))
	default:
		e.b = append(e.b, first+2, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	}
}

// options starts the trailing map; without options there is none.
func (e *encoder) options(n int) {
	if n > 0 {
		e.pairs(n)
	}
}

func (e *encoder) pairs(n int)   { e.head(0x80, 0xde, n) }
func (e *encoder) uint(v uint64) { e.b = appendUint(e.b, v) }
func (e *encoder) null()         { e.b = append(e.b, 0xc0) }

func (e *encoder) bool(v bool) {
	if v {
		e.b = append(e.b, 0xc3)
	} else {
		e.b = append(e.b, 0xc2)
	}
}

func (e *encoder) str(v string) {
	if len(v) < 32 {
		e.b = append(e.b, 0xa0|byte(len(v)))
	} else {
		e.span(0xd9, len(v))
	}
	e.b = append(e.b, v...)
}

func (e *encoder) key(name string) { e.str(name) }

// int writes v, and 0 for what is below 0: the protocol has no negative integers.
func (e *encoder) int(v int64) { e.uint(uint64(max(v, 0))) }

func (e *encoder) millis(d time.Duration) { e.int(d.Milliseconds()) }

// uintOrNil writes nil for 0.
func (e *encoder) uintOrNil(v uint64) {
	if v == 0 {
		e.null()
		return
	}
	e.uint(v)
}

// bin writes a bin, an empty one for nil.
func (e *encoder) bin(v []byte) {
	e.span(0xc4, len(v))
	e.b = append(e.b, v...)
}

func (e *encoder) position(p Position) {
	var b [MaxPositionBytes]byte
	e.bin(p.Append(b[:0]))
}

func (e *encoder) positionOrNil(p *Position) {
	if p == nil {
		e.null()
		return
	}
	e.position(*p)
}

func (e *encoder) flag(name string, v bool) {
	if v {
		e.key(name)
		e.bool(true)
	}
}

// number writes an option that is absent when it is 0.
func (e *encoder) number(name string, v uint64) {
	if v > 0 {
		e.key(name)
		e.uint(v)
	}
}

func (e *encoder) text(name, v string) {
	if v != "" {
		e.key(name)
		e.str(v)
	}
}

// headers writes an option that is a map of str to str, sorted by name so that equal headers are equal bytes.
func (e *encoder) headers(name string, h map[string]string) {
	if len(h) == 0 {
		return
	}
	e.key(name)
	e.pairs(len(h))
	var space [MaxHeaders]string
	names := space[:0]
	for k := range h {
		names = append(names, k)
	}
	slices.Sort(names)
	for _, k := range names {
		e.str(k)
		e.str(h[k])
	}
}

// count is the number of true conditions.
func count(present ...bool) int {
	n := 0
	for _, p := range present {
		if p {
			n++
		}
	}
	return n
}
