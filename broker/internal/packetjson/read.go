package packetjson

import (
	"fmt"
	"slices"
	"sync"
	"unicode/utf8"

	"github.com/carillon-mq/carillon/protocol"
)

// RequestError is a request that failed as it was read; the packets behind it are as good as before.
type RequestError struct {
	Type protocol.Type
	ID   uint64 // 0: it has none
	Err  *protocol.Error
}

// Error is the error of the request.
func (e *RequestError) Error() string { return e.Err.Error() }

// Unwrap is the error of the request.
func (e *RequestError) Unwrap() error { return e.Err }

// Read appends the packets of text, one transport message or what is left of one, to dst in msgpack. With an error dst has the packets before
// the fault: a *RequestError is about one packet, and rest is what follows it; any other is a *protocol.Error with bad_packet ([JSN-2]), and
// nothing of what follows is to be read. What was appended passes protocol.Gate.
func Read(dst, text []byte) (out, rest []byte, err error) {
	if !utf8.Valid(text) {
		return dst, nil, protocol.Errorf(protocol.CodeBadPacket, "found text that is not valid UTF-8")
	}
	r := readers.Get().(*reader)
	r.in, r.out, r.i = text, dst, skipSpace(text, 0)
	if r.i == len(text) {
		r.fail("the end", "at least one packet")
	}
	for err == nil && r.err == nil && r.i < len(text) {
		err = r.packet()
		r.i = skipSpace(text, r.i)
	}
	if r.err != nil {
		err = r.err
	}
	out, rest = r.out, text[r.i:]
	if cap(r.spare)+8*cap(r.nest.bits) <= keptScratch {
		*r = reader{nest: nest{bits: r.nest.bits}, spare: r.spare[:0]}
		readers.Put(r)
	}
	return out, rest, err
}

var readers = sync.Pool{New: func() any { return new(reader) }}

// keptScratch is the most memory that a reader keeps for the next text.
const keptScratch = 16 << 10

// reader goes through one text. Its methods report whether all is well; the first fault is in err, and nothing is read after it.
type reader struct {
	in    []byte
	i     int // read up to here
	out   []byte
	err   *protocol.Error
	p     packet // that is being read
	nest  nest
	spare []byte
}

func (r *reader) fail(found, wanted string) bool {
	if r.err == nil {
		r.err = protocol.Errorf(protocol.CodeBadPacket, "found %s at byte %d, wanted %s", found, r.i, wanted)
	}
	return false
}

// unexpected fails for what comes next.
func (r *reader) unexpected(wanted string) bool {
	if r.peek(); r.i == len(r.in) {
		return r.fail("the end", wanted)
	}
	c, _ := utf8.DecodeRune(r.in[r.i:])
	return r.fail(fmt.Sprintf("%q", c), wanted)
}

// peek is the next byte that is no white space, 0 at the end.
func (r *reader) peek() byte {
	if r.i = skipSpace(r.in, r.i); r.i == len(r.in) {
		return 0
	}
	return r.in[r.i]
}

// take takes c if it comes next.
func (r *reader) take(c byte) bool {
	if r.peek() != c {
		return false
	}
	r.i++
	return true
}

// more reports whether another one comes behind n elements or members, of most, or takes the end.
func (r *reader) more(n, most int, end byte) bool {
	switch {
	case r.err != nil || r.take(end):
		return false
	case n > 0 && !r.take(','):
		return r.unexpected(fmt.Sprintf("a comma or %q", end))
	case n == most:
		return r.fail("another one", fmt.Sprintf("at most %d", most))
	}
	return true
}

// begin begins an array or a map in out, and end says what it has become.
func (r *reader) begin() (at int) {
	r.out = append(r.out, 0)
	return len(r.out) - 1
}

func (r *reader) end(at, n int, short, wide byte) bool {
	if r.err != nil {
		return false
	}
	if r.out[at] = short | byte(n); n > 15 {
		r.out[at] = wide
		r.out = slices.Insert(r.out, at+1, byte(n>>8), byte(n))
	}
	return true
}

const (
	shortArray, wideArray = 0x90, 0xdc
	shortMap, wideMap     = 0x80, 0xde
)

// packet reads one packet. Its error is about that packet alone.
func (r *reader) packet() error {
	if !r.take('[') {
		r.unexpected("an array, which is a packet")
		return nil
	}
	r.p = packet{from: r.begin()}
	n := 0
	for ; r.more(n, protocol.MaxArray, ']'); n++ {
		if !r.element(n) {
			break
		}
	}
	var refusal *protocol.Error
	if r.err == nil && r.p.text != nil {
		n, refusal = r.insertPayload(n)
	}
	if !r.end(r.p.from, n, shortArray, wideArray) {
		r.out = r.out[:r.p.from]
		return nil
	}
	if refusal == nil {
		return nil
	}
	fault := &RequestError{Type: r.p.t, Err: refusal}
	if raw, _, err := protocol.Next(r.out[r.p.from:]); err == nil {
		fault.ID, _ = raw.ID()
	}
	r.out = r.out[:r.p.from]
	return fault
}

// element reads element n of the packet.
func (r *reader) element(n int) bool {
	p := &r.p
	switch {
	case n == 0:
		at := len(r.out)
		if r.value(1, false) && r.out[at] < 0x80 { // all types of ours are one byte
			p.t = protocol.Type(r.out[at])
			p.place = placesOf(p.t)
		}
		return r.err == nil
	case p.payload > 0 && n == p.payload:
		return r.payload()
	case p.payload > 0 && n == p.options:
		return r.options()
	}
	return r.value(1, p.tokens>>n&1 == 1)
}

// value reads the next value, inside depth arrays and objects. A string that is a token becomes one.
func (r *reader) value(depth int, token bool) bool {
	switch c := r.peek(); {
	case c == '"':
		return r.text(token)
	case c == '-' || c >= '0' && c <= '9':
		return r.number()
	case (c == '[' || c == '{') && depth == protocol.MaxDepth:
		return r.fail("another array or object", fmt.Sprintf("at most %d inside one another", depth))
	case c == '[':
		r.i++
		return r.array(depth + 1)
	case c == '{':
		r.i++
		at := r.begin()
		return r.end(at, r.members(depth+1), shortMap, wideMap)
	}
	code, end := scanLiteral(r.in, r.i)
	if end == r.i {
		return r.unexpected("a value")
	}
	r.out, r.i = append(r.out, code), end
	return true
}

func (r *reader) array(depth int) bool {
	at, n := r.begin(), 0
	for ; r.more(n, protocol.MaxArray, ']'); n++ {
		if !r.value(depth, false) {
			return false
		}
	}
	return r.end(at, n, shortArray, wideArray)
}

func (r *reader) number() bool {
	end, ok := scanNumber(r.in, r.i)
	if !ok {
		return r.fail("a number that has no end", "an integer")
	}
	v, ok := integer(r.in[r.i:end])
	if !ok {
		return r.fail("another number", "an integer from 0 to 2^53-1")
	}
	r.out, r.i = appendUint(r.out, v), end
	return true
}

// text reads a string.
func (r *reader) text(token bool) bool {
	s, ok := scanString(r.in, r.i)
	switch {
	case !ok:
		return r.fail("a string with a control character, a bad escape or no end", "a string of JSON")
	case s.halves:
		return r.fail("a string with half of a surrogate pair", "text")
	case token:
		r.spare = appendText(r.spare[:0], r.in, r.i, s)
		r.out = appendToken(r.out, r.spare)
	default:
		r.out = appendText(appendStrHead(r.out, s.size), r.in, r.i, s)
	}
	r.i = s.end
	return true
}
