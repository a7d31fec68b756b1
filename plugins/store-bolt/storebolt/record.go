package storebolt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/bits"
	"slices"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/protocol"
)

// A record, in the log and in retained alike; numbers are big endian:
//
//	0   version, 1
//	1   CRC32C of everything from byte 5 on, 4 bytes
//	5   flags: what follows the fixed part; bit 0 is retain, which nothing follows
//	6   offset, 8 bytes
//	14  origin, 8 bytes
//	22  ref, 8 bytes
//	30  time, 8 bytes, Unix milliseconds
//	38  length of the text, 4 bytes
//	42  flag stamped: when it was committed by the store's clock, 8 bytes, Unix milliseconds
//	    flag history: it belongs to its topic's history; offset of the topic's record before, 8 bytes, 0 for none
//	    flag expires: when it expires, 8 bytes, Unix milliseconds
//	    text: topic, user, content type, with the flag exclude the excluded origin, then the headers' keys and values in
//	    increasing order of keys; each string is a uvarint length and that many bytes
//	    payload: the rest
//
// Records of format 1 of the file have no flag but retain; those written before origins could be excluded have no flag exclude.
const (
	recordVersion = 1
	recordFixed   = 42

	flagRetain  = 1
	flagStamped = 2
	flagHistory = 4
	flagExpires = 8
	flagExclude = 16
	flagsKnown  = 31

	// recordOverhead is what a record is charged beside its topic and value: keys, page elements, half-filled pages.
	recordOverhead = 64
)

// place is what the store itself knows of a record that it commits.
type place struct {
	offset  uint64
	stamp   int64 // by the store's clock; 0: not known
	history bool
	prev    uint64 // with history: offset of the topic's record before; 0: there is none
}

// ErrDamaged is wrapped by every error about a record, a page or a number in the file that is not what was written.
var ErrDamaged = errors.New("damaged")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// appendRecord appends r's encoding to b, as the record at p.
func appendRecord(b []byte, r *broker.Record, p place) []byte {
	start := len(b)
	var flags byte
	if r.Retain {
		flags |= flagRetain
	}
	if p.stamp != 0 {
		flags |= flagStamped
	}
	if p.history {
		flags |= flagHistory
	}
	if r.Expires != 0 {
		flags |= flagExpires
	}
	if r.Exclude != "" {
		flags |= flagExclude
	}
	b = append(b, recordVersion, 0, 0, 0, 0, flags)
	b = binary.BigEndian.AppendUint64(b, p.offset)
	b = append(b, r.Origin[:]...)
	b = binary.BigEndian.AppendUint64(b, r.Ref)
	b = binary.BigEndian.AppendUint64(b, uint64(r.Time))
	b = append(b, 0, 0, 0, 0)
	if p.stamp != 0 {
		b = binary.BigEndian.AppendUint64(b, uint64(p.stamp))
	}
	if p.history {
		b = binary.BigEndian.AppendUint64(b, p.prev)
	}
	if r.Expires != 0 {
		b = binary.BigEndian.AppendUint64(b, uint64(r.Expires))
	}
	text := len(b)
	b = appendText(b, r)
	binary.BigEndian.PutUint32(b[start+38:], uint32(len(b)-text))
	b = append(b, r.Payload...)
	putChecksum(b[start:])
	return b
}

func putChecksum(v []byte) {
	binary.BigEndian.PutUint32(v[1:], crc32.Checksum(v[5:], castagnoli))
}

func appendText(b []byte, r *broker.Record) []byte {
	b = appendString(b, r.Topic)
	b = appendString(b, r.User)
	b = appendString(b, r.ContentType)
	if r.Exclude != "" {
		b = appendString(b, r.Exclude)
	}
	if len(r.Headers) == 0 {
		return b
	}
	keys := make([]string, 0, len(r.Headers))
	for k := range r.Headers {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		b = appendString(b, k)
		b = appendString(b, r.Headers[k])
	}
	return b
}

func appendString(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// recordSize is at least the length of r's encoding.
func recordSize(r *broker.Record) int {
	n := recordFixed + 24 + 4*binary.MaxVarintLen32 + len(r.Topic) + len(r.User) + len(r.ContentType) + len(r.Exclude) + len(r.Payload)
	for k, v := range r.Headers {
		n += 2*binary.MaxVarintLen32 + len(k) + len(v)
	}
	return n
}

// recordID is the part of a record that names it.
type recordID struct {
	offset uint64
	origin protocol.RunID
	ref    uint64
}

// checkRecord verifies the checksum of v and returns what it names.
func checkRecord(v []byte) (recordID, error) {
	switch {
	case len(v) < recordFixed:
		return recordID{}, fmt.Errorf("%w: %d bytes are no record", ErrDamaged, len(v))
	case v[0] != recordVersion:
		return recordID{}, fmt.Errorf("%w: unknown record version %d", ErrDamaged, v[0])
	case binary.BigEndian.Uint32(v[1:]) != crc32.Checksum(v[5:], castagnoli):
		return recordID{}, fmt.Errorf("%w: checksum mismatch", ErrDamaged)
	}
	return recordID{
		offset: binary.BigEndian.Uint64(v[6:]),
		origin: protocol.RunID(v[14:22]),
		ref:    binary.BigEndian.Uint64(v[22:]),
	}, nil
}

// peeked is what is read of a record without its checksum being looked at.
type peeked struct {
	place
	flags   byte
	expires int64
	rest    []byte // text and payload
	text    int    // length of the text
}

// peek reads what stands in front of v's text. It is for records that are known to be good, or are verified later.
func peek(v []byte) (peeked, error) {
	if len(v) < recordFixed || v[0] != recordVersion {
		return peeked{}, fmt.Errorf("%w: %d bytes are no record", ErrDamaged, len(v))
	}
	p := peeked{flags: v[5], rest: v[recordFixed:], text: int(binary.BigEndian.Uint32(v[38:]))}
	p.offset = binary.BigEndian.Uint64(v[6:])
	p.history = p.flags&flagHistory != 0
	if need := 8 * bits.OnesCount8(p.flags&(flagStamped|flagHistory|flagExpires)); len(p.rest) < need {
		return peeked{}, errMalformed
	}
	p.stamp = int64(p.number(flagStamped))
	p.prev = p.number(flagHistory)
	p.expires = int64(p.number(flagExpires))
	if p.flags&^flagsKnown != 0 || p.text < 0 || p.text > len(p.rest) || (p.history && p.prev >= p.offset) {
		return peeked{}, errMalformed
	}
	return p, nil
}

// number takes the 8 bytes that flag stands for, 0 if it is not set.
func (p *peeked) number(flag byte) uint64 {
	if p.flags&flag == 0 {
		return 0
	}
	n := binary.BigEndian.Uint64(p.rest)
	p.rest = p.rest[8:]
	return n
}

// topic is the record's topic, pointing into it.
func (p *peeked) topic() ([]byte, error) {
	n, size := binary.Uvarint(p.rest[:p.text])
	if size <= 0 || n > uint64(p.text-size) {
		return nil, errMalformed
	}
	return p.rest[size : size+int(n)], nil
}

// decodeRecord verifies and decodes v. Nothing of the record points into v: its strings share one allocation, its payload
// is another.
func decodeRecord(v []byte) (broker.Record, error) {
	id, err := checkRecord(v)
	if err != nil {
		return broker.Record{}, err
	}
	p, err := peek(v)
	if err != nil {
		return broker.Record{}, err
	}
	raw := p.rest[:p.text]
	t := textReader{raw: raw, text: string(raw)}
	r := broker.Record{
		Offset: id.offset, Origin: id.origin, Ref: id.ref,
		Retain: p.flags&flagRetain != 0, Expires: p.expires,
		Time:  int64(binary.BigEndian.Uint64(v[30:])),
		Topic: t.next(), User: t.next(), ContentType: t.next(),
		Payload: slices.Clone(p.rest[p.text:]),
	}
	if p.flags&flagExclude != 0 {
		r.Exclude = t.next()
		t.bad = t.bad || r.Exclude == ""
	}
	for t.more() {
		if r.Headers == nil {
			r.Headers = make(map[string]string)
		}
		k := t.next()
		r.Headers[k] = t.next()
	}
	if t.bad {
		return broker.Record{}, errMalformed
	}
	return r, nil
}

var errMalformed = fmt.Errorf("%w: malformed although its checksum is right", ErrDamaged)

// textReader cuts a record's text into its strings. After a mistake bad is set and every string is empty.
type textReader struct {
	raw  []byte // what text is a copy of
	text string
	at   int
	bad  bool
}

func (t *textReader) more() bool { return !t.bad && t.at < len(t.text) }

func (t *textReader) next() string {
	if t.bad {
		return ""
	}
	n, size := binary.Uvarint(t.raw[t.at:])
	if size <= 0 || n > uint64(len(t.raw)-t.at-size) {
		t.bad = true
		return ""
	}
	from := t.at + size
	t.at = from + int(n)
	return t.text[from:t.at]
}
