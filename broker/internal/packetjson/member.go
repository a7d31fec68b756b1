package packetjson

import (
	"bytes"

	"github.com/carillon-mq/carillon/protocol"
)

// span is a part of what was appended.
type span struct{ from, to int }

// members reads the members of an object up to its end, whose values are inside depth arrays and objects. n is how many there are in out.
func (r *reader) members(depth int) (n int) {
	var names [protocol.MaxMap]span
	for ; r.more(n, protocol.MaxMap, '}'); n++ {
		name, ok := r.name(names[:n])
		if !ok {
			return n
		}
		names[n] = name
		if !r.value(depth, r.p.option != "" && string(r.out[name.from:name.to]) == r.p.option) {
			return n
		}
	}
	return n
}

// name reads a name, which is none of those before, and the colon.
func (r *reader) name(before []span) (name span, ok bool) {
	if r.peek() != '"' {
		return name, r.unexpected("a name")
	}
	at := len(r.out)
	if !r.text(false) {
		return name, false
	}
	name = span{at + strHead(r.out[at:]), len(r.out)}
	for _, other := range before {
		if bytes.Equal(r.out[other.from:other.to], r.out[name.from:name.to]) {
			return name, r.fail("the same name twice", "each once")
		}
	}
	if !r.take(':') {
		return name, r.unexpected("a colon")
	}
	return name, true
}

// options reads the options of a packet with a payload: what is about JSON alone stays here.
func (r *reader) options() bool {
	at := len(r.out)
	if r.peek() != '{' {
		if !r.value(1, false) {
			return false
		}
		if c := r.out[at]; c == 0xc0 || c == shortArray { // as good as none ([ENC-8])
			r.out = r.out[:at]
			return r.endOptions(r.begin(), 0)
		}
		return true
	}
	r.i++
	r.begin()
	n := r.members(2)
	if r.err != nil {
		return false
	}
	kept := at + 1
	for b := r.out[at+1:]; len(b) > 0; {
		name, value, rest := takePair(b)
		if keep, ok := r.option(name, value); !ok {
			return false
		} else if keep {
			kept += copy(r.out[kept:], b[:len(b)-len(rest)])
		} else {
			n--
		}
		b = rest
	}
	r.out = r.out[:kept]
	return r.endOptions(at, n)
}

// option takes notice of an option, and reports whether the core is to see it.
func (r *reader) option(name, value []byte) (keep, ok bool) {
	switch string(name) {
	case "base64":
		if c := value[0]; c != 0xc0 && c != 0xc2 && c != 0xc3 {
			return false, r.fail("the option base64", "a bool")
		}
		r.p.base64 = value[0] == 0xc3
		return false, true
	case "type":
		if value[0] == 0xc0 {
			return false, true
		}
		r.p.typed = true
		if size := strHead(value); size > 0 {
			r.p.contentType = string(value[size:])
		}
	}
	return true, true
}

// endOptions ends a map of n options at a place in out, and says of a payload in JSON that it is that.
func (r *reader) endOptions(at, n int) bool {
	if r.p.isJSON() {
		r.out = appendType(r.out)
		n++
	}
	r.p.bare = n == 0
	return r.end(at, n, shortMap, wideMap)
}

// appendType appends the option of a payload in JSON.
func appendType(dst []byte) []byte {
	dst = append(appendStrHead(dst, len("type")), "type"...)
	return append(appendStrHead(dst, len("application/json")), "application/json"...)
}

// takePair takes the first name and value of b, which is msgpack of ours.
func takePair(b []byte) (name, value, rest []byte) {
	n, _ := protocol.Gate(b)
	m, _ := protocol.Gate(b[n:])
	return b[strHead(b):n], b[n : n+m], b[n+m:]
}

// strHead is how long the head of the str is that b begins with, 0 if it is no str.
func strHead(b []byte) int {
	switch c := b[0]; {
	case c&0xe0 == 0xa0:
		return 1
	case c >= 0xd9 && c <= 0xdb:
		return 1 + 1<<(c-0xd9)
	}
	return 0
}
