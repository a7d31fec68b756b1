package wire

import (
	"errors"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/protocol"
)

// The fields of Record in store.proto.
const (
	recordOffset protowire.Number = iota + 1
	recordOrigin
	recordRef
	recordElided
	recordTopic
	recordRetain
	recordPayload
	recordContentType
	recordHeaders
	recordTime
	recordUser
	recordExpires
	recordKey
	recordDigest
	recordExclude
)

// The fields of an entry of a map.
const (
	entryKey   protowire.Number = 1
	entryValue protowire.Number = 2
)

// sizeRecord is the size of what appendRecord appends.
func sizeRecord(r *broker.Record) int {
	n := sizeUint(recordOffset, r.Offset) + sizeBytes(recordOrigin, runIDToWire(r.Origin)) + sizeUint(recordRef, r.Ref)
	if r.Elided {
		return n + sizeBool(recordElided, true)
	}
	n += sizeBytes(recordTopic, r.Topic) + sizeBool(recordRetain, r.Retain) + sizeBytes(recordPayload, r.Payload)
	n += sizeBytes(recordContentType, r.ContentType) + sizeUint(recordTime, uint64(r.Time)) + sizeBytes(recordUser, r.User)
	n += sizeUint(recordExpires, uint64(r.Expires)) + sizeBytes(recordKey, r.Key) + sizeBytes(recordDigest, r.Digest)
	n += sizeBytes(recordExclude, r.Exclude)
	for k, v := range r.Headers {
		n += sizeLength(recordHeaders, sizeEntry(k, v))
	}
	return n
}

func sizeEntry(k, v string) int { return sizeLength(entryKey, len(k)) + sizeLength(entryValue, len(v)) }

func appendRecord(b []byte, r *broker.Record) []byte {
	b = appendUint(b, recordOffset, r.Offset)
	b = appendBytes(b, recordOrigin, runIDToWire(r.Origin))
	b = appendUint(b, recordRef, r.Ref)
	if r.Elided {
		return appendBool(b, recordElided, true)
	}
	b = appendBytes(b, recordTopic, r.Topic)
	b = appendBool(b, recordRetain, r.Retain)
	b = appendBytes(b, recordPayload, r.Payload)
	b = appendBytes(b, recordContentType, r.ContentType)
	for k, v := range r.Headers {
		b = appendLength(b, recordHeaders, sizeEntry(k, v))
		b = append(appendLength(b, entryKey, len(k)), k...)
		b = append(appendLength(b, entryValue, len(v)), v...)
	}
	b = appendUint(b, recordTime, uint64(r.Time))
	b = appendBytes(b, recordUser, r.User)
	b = appendUint(b, recordExpires, uint64(r.Expires))
	b = appendBytes(b, recordKey, r.Key)
	b = appendBytes(b, recordDigest, r.Digest)
	return appendBytes(b, recordExclude, r.Exclude)
}

var errNotUTF8 = errors.New("a string is not UTF-8")

// decodeRecord decodes b into r, which is empty. Payload, key and digest point into b. bad is what breaks the contract, err what is no
// protobuf.
func decodeRecord(b []byte, r *broker.Record) (bad, err error) {
	f := fields{b: b}
	var origin []byte
	for f.next() {
		switch {
		case f.is(recordOrigin, protowire.BytesType):
			origin = f.bytes()
		case f.typ == protowire.VarintType:
			takeNumber(r, &f)
		case f.typ == protowire.BytesType:
			takeBytes(r, &f)
		default:
			f.skip()
		}
	}
	if f.err != nil {
		return nil, f.err
	}
	if r.Origin, bad = runIDFromWire(origin); bad != nil {
		return bad, nil
	}
	if r.Elided {
		*r = broker.Record{Offset: r.Offset, Origin: r.Origin, Ref: r.Ref, Elided: true}
		return nil, nil
	}
	return checkRecord(r), nil
}

func takeNumber(r *broker.Record, f *fields) {
	switch num, v := f.num, f.varint(); num {
	case recordOffset:
		r.Offset = v
	case recordRef:
		r.Ref = v
	case recordElided:
		r.Elided = protowire.DecodeBool(v)
	case recordRetain:
		r.Retain = protowire.DecodeBool(v)
	case recordTime:
		r.Time = int64(v)
	case recordExpires:
		r.Expires = int64(v)
	default: // of a later version
	}
}

func takeBytes(r *broker.Record, f *fields) {
	switch f.num {
	case recordTopic:
		r.Topic = f.text()
	case recordPayload:
		r.Payload = f.bytes()
	case recordContentType:
		r.ContentType = f.text()
	case recordHeaders:
		takeHeader(r, f)
	case recordUser:
		r.User = f.text()
	case recordKey:
		r.Key = f.bytes()
	case recordDigest:
		r.Digest = f.bytes()
	case recordExclude:
		r.Exclude = f.text()
	default:
		f.skip()
	}
}

func takeHeader(r *broker.Record, f *fields) {
	entry := fields{b: f.bytes()}
	var k, v string
	for entry.next() {
		switch {
		case entry.is(entryKey, protowire.BytesType):
			k = entry.text()
		case entry.is(entryValue, protowire.BytesType):
			v = entry.text()
		default:
			entry.skip()
		}
	}
	if f.err == nil {
		f.err = entry.err
	}
	if r.Headers == nil {
		r.Headers = make(map[string]string)
	}
	r.Headers[k] = v
}

// text is a copy of the field's bytes, which have to be UTF-8.
func (f *fields) text() string {
	b := f.bytes()
	if f.err == nil && !utf8.Valid(b) {
		f.err = errNotUTF8
	}
	return string(b)
}

// checkRecord says how a record that is not elided breaks the contract.
func checkRecord(r *broker.Record) error {
	if err := protocol.ValidateTopic(r.Topic); err != nil {
		return malformed("record %d: %v", r.Offset, err)
	}
	return checkKey(r)
}
