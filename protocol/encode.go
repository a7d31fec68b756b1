package protocol

import (
	"slices"
	"sync"
	"time"

	"github.com/vmihailenco/msgpack/v5"
)

// encoder appends msgpack to a []byte through the library's direct methods. Nothing in it fails: the only writer is the slice.
type encoder struct {
	b []byte
	m *msgpack.Encoder
}

// Write and WriteByte make the encoder the library's writer.
func (e *encoder) Write(p []byte) (int, error) {
	e.b = append(e.b, p...)
	return len(p), nil
}

func (e *encoder) WriteByte(c byte) error {
	e.b = append(e.b, c)
	return nil
}

var encoders = sync.Pool{New: func() any {
	e := new(encoder)
	e.m = msgpack.NewEncoder(e)
	return e
}}

// begin starts a packet of so many fields and options on b. It must be ended with end.
func begin(b []byte, t Type, fields, options int) *encoder {
	e := encoders.Get().(*encoder)
	e.b = b
	_ = e.m.EncodeArrayLen(1 + fields + min(options, 1))
	_ = e.m.EncodeUint(uint64(t))
	return e
}

func (e *encoder) end() []byte {
	b := e.b
	e.b = nil
	encoders.Put(e)
	return b
}

// options starts the trailing map; without options there is none.
func (e *encoder) options(n int) {
	if n > 0 {
		_ = e.m.EncodeMapLen(n)
	}
}

func (e *encoder) uint(v uint64)   { _ = e.m.EncodeUint(v) }
func (e *encoder) str(v string)    { _ = e.m.EncodeString(v) }
func (e *encoder) null()           { _ = e.m.EncodeNil() }
func (e *encoder) key(name string) { _ = e.m.EncodeString(name) }

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
	_ = e.m.EncodeBytesLen(len(v))
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
		_ = e.m.EncodeBool(true)
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
	_ = e.m.EncodeMapLen(len(h))
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
