package wire

import (
	"unicode/utf8"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/plugins/internal/wire/storev1pb"
	"github.com/carillon-mq/carillon/protocol"
)

// recordToWire shares the record's payload and headers.
func recordToWire(r *broker.Record) *storev1pb.Record {
	p := &storev1pb.Record{Offset: r.Offset, Origin: runIDToWire(r.Origin), Ref: r.Ref, Elided: r.Elided}
	if r.Elided {
		return p
	}
	p.Topic, p.Retain, p.Payload, p.ContentType = r.Topic, r.Retain, r.Payload, r.ContentType
	p.Headers, p.TimeMs, p.User = r.Headers, r.Time, r.User
	p.ExpiresMs, p.Key, p.Digest, p.Exclude = r.Expires, r.Key, r.Digest, r.Exclude
	return p
}

// recordFromWire shares the message's payload and headers.
func recordFromWire(p *storev1pb.Record) (broker.Record, error) {
	origin, err := runIDFromWire(p.GetOrigin())
	if err != nil {
		return broker.Record{}, err
	}
	r := broker.Record{Offset: p.GetOffset(), Origin: origin, Ref: p.GetRef(), Elided: p.GetElided()}
	if r.Elided {
		return r, nil
	}
	r.Topic, r.Retain, r.Payload, r.ContentType = p.GetTopic(), p.GetRetain(), p.GetPayload(), p.GetContentType()
	r.Headers, r.Time, r.User = p.GetHeaders(), p.GetTimeMs(), p.GetUser()
	r.Expires, r.Key, r.Digest, r.Exclude = p.GetExpiresMs(), p.GetKey(), p.GetDigest(), p.GetExclude()
	return r, checkRecord(&r)
}

// checkKey checks the lengths of a record's key and digest, and that it does not end before time began.
func checkKey(r *broker.Record) error {
	k, d := len(r.Key), len(r.Digest)
	switch {
	case r.Expires < 0:
		return malformed("record %d expires at %d", r.Offset, r.Expires)
	case k == 0 && d == 0:
		return nil
	case k < 16 || k > 32 || d < 8 || d > 32:
		return malformed("a key of %d bytes with a digest of %d, wanted 16 to 32 and 8 to 32", k, d)
	}
	return nil
}

// recordSize is about what r takes in a message, never less.
func recordSize(r *broker.Record) int {
	n := 114 + len(r.Topic) + len(r.Payload) + len(r.ContentType) + len(r.User) + len(r.Key) + len(r.Digest) + len(r.Exclude)
	for k, v := range r.Headers {
		n += 16 + len(k) + len(v)
	}
	return n
}

// refuseRecord says why r cannot cross the wire at all, nil if it can.
func refuseRecord(r *broker.Record) *protocol.Error {
	if recordSize(r) > recordBytes {
		return protocol.Errorf(protocol.CodeTooLarge, "found %d bytes, a plugin takes at most %d", recordSize(r), recordBytes)
	}
	if err := checkKey(r); err != nil {
		return protocol.Errorf(protocol.CodeBadArgs, "%v", err)
	}
	valid := utf8.ValidString(r.Topic) && utf8.ValidString(r.ContentType) && utf8.ValidString(r.User) && utf8.ValidString(r.Exclude)
	for k, v := range r.Headers {
		valid = valid && utf8.ValidString(k) && utf8.ValidString(v)
	}
	if !valid {
		return protocol.Errorf(protocol.CodeBadArgs, "topic, content type, headers, user and excluded origin must be UTF-8")
	}
	return nil
}

// pageEnd is the end of the page that starts at records[0]: at most pageBytes and limit records, at least one.
func pageEnd(records []broker.Record, limit int) int {
	size := 0
	for i := range records {
		size += recordSize(&records[i])
		if i > 0 && (size > pageBytes || i >= limit) {
			return i
		}
	}
	return len(records)
}

func recordsToWire(records []broker.Record) []*storev1pb.Record {
	page := make([]*storev1pb.Record, len(records))
	for i := range records {
		page[i] = recordToWire(&records[i])
	}
	return page
}

func runIDToWire(id protocol.RunID) []byte {
	if id.IsZero() {
		return nil
	}
	return id[:]
}

func runIDFromWire(b []byte) (protocol.RunID, error) {
	switch len(b) {
	case 0:
		return protocol.RunID{}, nil
	case len(protocol.RunID{}):
		return protocol.RunID(b), nil
	}
	return protocol.RunID{}, malformed("an id of %d bytes, wanted %d", len(b), len(protocol.RunID{}))
}
