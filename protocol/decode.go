package protocol

import (
	"bytes"
	"time"
)

// decoder reads the fields of a gated packet one after the other. The first fault stays in err, and everything read after it is zero,
// so a packet's Decode looks at err once, in finish.
type decoder struct {
	t    Type
	b    []byte
	left int // elements not read yet
	err  *Error
}

func (r Raw) open(t Type) decoder {
	d := decoder{t: t, b: r.body, left: r.fields}
	if r.Type != t {
		d.err = Errorf(CodeBadPacket, "found %s, wanted %s", r.Type, t)
	}
	return d
}

// finish reports the first fault. Elements that have not been read are of a later version and ignored ([ENC-8]).
func (d *decoder) finish() error {
	if d.err != nil {
		return d.err
	}
	return nil
}

func (d *decoder) fail(code Code, field, found, wanted string) {
	if d.err == nil {
		d.err = Errorf(code, "%s.%s: found %s, wanted %s", d.t, field, found, wanted)
	}
}

// mismatch is a field of another type than wanted, or one that is missing.
func (d *decoder) mismatch(field, wanted string) {
	if d.err != nil {
		return
	}
	found := "nothing"
	if d.left > 0 {
		found = heads[d.b[0]].kind.String()
	}
	d.fail(CodeBadPacket, field, found, wanted)
}

func (d *decoder) ready() bool { return d.err == nil && d.left > 0 }

// null takes the next element if it is nil; one that is missing is nil too ([ENC-4]).
func (d *decoder) null() bool {
	if d.err != nil || d.left == 0 {
		return true
	}
	if d.b[0] != 0xc0 {
		return false
	}
	d.take(1)
	return true
}

func (d *decoder) take(n int) []byte {
	v := d.b[:n:n]
	d.b = d.b[n:]
	d.left--
	return v
}

func (d *decoder) uint(field string) uint64 {
	if d.ready() {
		if v, n, ok := readUint(d.b); ok {
			d.take(n)
			return v
		}
	}
	d.mismatch(field, "an integer from 0 to 2^53-1")
	return 0
}

// id is an integer from 1; 0 is bad_args.
func (d *decoder) id(field string) uint64 {
	v := d.uint(field)
	if v == 0 {
		d.fail(CodeBadArgs, field, "0", "an integer from 1")
	}
	return v
}

// upTo is an integer from 1 to limit; another one is bad_args.
func (d *decoder) upTo(field string, limit uint64) uint64 {
	v := d.uint(field)
	if d.err == nil && (v == 0 || v > limit) {
		d.err = Errorf(CodeBadArgs, "%s.%s: found %d, wanted an integer from 1 to %d", d.t, field, v, limit)
	}
	return v
}

func (d *decoder) small(field string) uint8 {
	v := d.uint(field)
	if v > 255 {
		d.fail(CodeBadArgs, field, "a larger integer", "one from 0 to 255")
		return 0
	}
	return uint8(v)
}

func (d *decoder) bool(field string) bool {
	if d.ready() && heads[d.b[0]].kind == kindBool {
		return d.take(1)[0] == 0xc3
	}
	d.mismatch(field, "bool")
	return false
}

// span takes the next element if it is a str or, where bin is set too, a bin, and returns its bytes, which alias the packet.
func (d *decoder) span(field, wanted string, str, bin bool) []byte {
	if d.ready() {
		h, length, size := readHead(d.b)
		if (str && h.kind == kindStr) || (bin && h.kind == kindBin) {
			return d.take(size + int(length))[size:]
		}
	}
	d.mismatch(field, wanted)
	return nil
}

func (d *decoder) str(field string) string { return string(d.span(field, "str", true, false)) }

// again is a str that may well be the same as before.
func (d *decoder) again(field, before string) string {
	b := d.span(field, "str", true, false)
	if string(b) == before {
		return before
	}
	return string(b)
}

func (d *decoder) bin(field string) []byte { return d.span(field, "bin", false, true) }

func (d *decoder) payload(field string) []byte { return d.span(field, "bin or str", true, true) }

// strMax is a str of 1 to limit bytes; another length is refused with code.
func (d *decoder) strMax(field string, limit int, code Code) string {
	b := d.span(field, "str", true, false)
	if d.err == nil && (len(b) == 0 || len(b) > limit) {
		d.err = Errorf(code, "%s.%s: found %d bytes, wanted 1 to %d", d.t, field, len(b), limit)
	}
	if d.err != nil {
		return ""
	}
	return string(b)
}

func (d *decoder) position(field string) Position {
	b := d.bin(field)
	if d.err != nil {
		return Position{}
	}
	p, err := ParsePosition(b)
	if err != nil {
		d.err = Errorf(CodeBadPosition, "%s.%s: found %d bytes that are not a position", d.t, field, len(b))
	}
	return p
}

func (d *decoder) positionOrNil(field string) *Position {
	if d.null() {
		return nil
	}
	p := d.position(field)
	return &p
}

func (d *decoder) millis(field string) time.Duration {
	const most = uint64(1<<63-1) / uint64(time.Millisecond)
	return time.Duration(min(d.uint(field), most)) * time.Millisecond
}

func (d *decoder) skip() {
	if d.ready() {
		n, err := Gate(d.b)
		if err != nil {
			d.err = Errorf(CodeBadPacket, "%s: found a value that cannot be skipped", d.t)
			return
		}
		d.take(n)
	}
}

// pairs takes the head of a map, whose keys and values are the next elements then; an empty array and nil count as an empty map
// ([ENC-8]).
func (d *decoder) pairs(field string) int {
	if d.null() {
		return 0
	}
	h, n, size := readHead(d.b)
	if h.kind != kindMap && (h.kind != kindArray || n != 0) {
		d.mismatch(field, "map")
		return 0
	}
	d.take(size)
	d.left += 2 * int(n)
	return int(n)
}

// options goes through the trailing map of a packet ([ENC-8]):
//
//	for o := d.options(); o.next(); {
//		switch string(o.key) {
//		case "retain":
//			p.Retain = d.bool("retain")
//		default:
//			d.skip()
//		}
//	}
type options struct {
	d    *decoder
	key  []byte
	base []byte
	n    int
	seen int
	keys [MaxOptions]uint32 // where they are in base
}

func (d *decoder) options() options {
	o := options{d: d, n: d.pairs("options"), base: d.b}
	if o.n > MaxOptions {
		d.err = Errorf(CodeBadPacket, "%s.options: found %d pairs, wanted at most %d", d.t, o.n, MaxOptions)
	}
	return o
}

// noOptions goes through the options of a packet that has none of its own: they are of a later version.
func (d *decoder) noOptions() {
	for o := d.options(); o.next(); {
		d.skip()
	}
}

// next moves to the next option that is not nil.
func (o *options) next() bool {
	for o.seen < o.n && o.d.err == nil {
		o.take()
		if o.d.err == nil && !o.d.null() {
			return true
		}
	}
	return false
}

// take takes a key; it has to be a str, and another one than those before.
func (o *options) take() {
	at := len(o.base) - len(o.d.b)
	o.key = o.d.span("options", "str as key", true, false)
	if o.d.err != nil {
		return
	}
	for _, from := range o.keys[:o.seen] {
		_, length, size := readHead(o.base[from:])
		if key := o.base[int(from)+size:]; bytes.Equal(key[:length], o.key) {
			o.d.fail(CodeBadPacket, "options", "the same key twice", "each once")
			return
		}
	}
	o.keys[o.seen] = uint32(at)
	o.seen++
}

// headers reads a map of str to str. limited applies MaxHeaders and MaxHeaderBytes; past them it is too_large ([PUB-6]).
func (d *decoder) headers(field string, limited bool) map[string]string {
	n := d.pairs(field)
	if limited && n > MaxHeaders {
		d.err = Errorf(CodeTooLarge, "%s.%s: found %d pairs, wanted at most %d", d.t, field, n, MaxHeaders)
	}
	if n == 0 || d.err != nil {
		return nil
	}
	h := make(map[string]string, n)
	total := 0
	for range n {
		k, v := d.str(field), d.str(field)
		total += len(k) + len(v)
		h[k] = v
	}
	if d.err != nil {
		return nil
	}
	if len(h) < n {
		d.fail(CodeBadPacket, field, "the same key twice", "each once")
	} else if limited && total > MaxHeaderBytes {
		d.err = Errorf(CodeTooLarge, "%s.%s: found %d bytes, wanted at most %d", d.t, field, total, MaxHeaderBytes)
	}
	return h
}
