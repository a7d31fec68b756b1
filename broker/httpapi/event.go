package httpapi

import (
	"bytes"
	"encoding/base64"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/carillon-mq/carillon/broker/internal/msgjson"
	"github.com/carillon-mq/carillon/protocol"
)

// An event of a message is the same bytes for every stream, made once:
//
//	event: message
//	data: {"topic":"orders.42","data":{"total":5},"ts":1763694900123}
//	id: AeSlhyg8PIr1Ab5j9cl7IYyOAA
//
// Long-poll and snapshots cut the object out of it.
const (
	eventHead = "event: message\ndata: "
	eventID   = "\nid: "
	eventEnd  = "\n\n"
)

// encodeEvent is m as an event. at is the position behind it; a message without one has no id.
func encodeEvent(m *protocol.Message, at protocol.Position) []byte {
	b := make([]byte, 0, len(eventHead)+len(m.Topic)+len(m.Payload)*4/3+160)
	b = append(b, eventHead...)
	b = appendObject(b, m)
	if !at.IsZero() {
		b = append(append(b, eventID...), at.Cursor()...)
	}
	return append(b, eventEnd...)
}

// eventObject is the JSON object in an event, and the cursor, nil if it has none. Both are parts of the event.
func eventObject(event []byte) (object, cursor []byte) {
	object = event[len(eventHead) : len(event)-len(eventEnd)]
	if i := bytes.LastIndexByte(object, '\n'); i >= 0 { // no JSON of ours has a line break
		return object[:i], object[i+len(eventID):]
	}
	return object, nil
}

// appendRetained appends an object as one of a snapshot.
func appendRetained(b, object []byte) []byte {
	b = append(b, object[:len(object)-1]...)
	return append(b, `,"retained":true}`...)
}

// appendObject appends m as a JSON object.
func appendObject(b []byte, m *protocol.Message) []byte {
	b = msgjson.AppendString(append(b, `{"topic":`...), m.Topic)
	b = appendPayload(b, m)
	if len(m.Headers) > 0 {
		b = append(b, `,"headers":`...)
		sep := byte('{')
		for _, k := range slices.Sorted(maps.Keys(m.Headers)) {
			b = msgjson.AppendString(append(b, sep), k)
			b = msgjson.AppendString(append(b, ':'), m.Headers[k])
			sep = ','
		}
		b = append(b, '}')
	}
	if m.Retain {
		b = append(b, `,"retain":true`...)
	}
	b = strconv.AppendInt(append(b, `,"ts":`...), m.Time, 10)
	return append(b, '}')
}

// appendPayload appends the payload as `data` if it has a form in JSON that says the same, else as `data_base64`; and the content type,
// unless the form says it: `data` is msgpack or JSON without one, `data_base64` is msgpack.
func appendPayload(b []byte, m *protocol.Message) []byte {
	kind := msgjson.KindOf(m.ContentType)
	start := len(b)
	b = append(b, `,"data":`...)
	b, ok := msgjson.AppendPayload(b, kind, m.Payload)
	if !ok {
		b = append(b[:start], `,"data_base64":"`...)
		b = append(base64.StdEncoding.AppendEncode(b, m.Payload), '"')
	}
	if kind == msgjson.Msgpack || kind == msgjson.JSON && ok {
		return b
	}
	return msgjson.AppendString(append(b, `,"content_type":`...), strings.ToValidUTF8(m.ContentType, "\uFFFD"))
}
