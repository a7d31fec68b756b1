package packetjson

import (
	"encoding/base64"
	"maps"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/carillon-mq/carillon/broker/internal/msgjson"
	"github.com/carillon-mq/carillon/protocol"
)

// Append appends packets, one or more in msgpack that are of this house, as text: a line for each ([JSN-6]). It fails, and leaves dst as it
// was, for what is no packet of the protocol's.
func Append(dst, packets []byte) (out []byte, err error) {
	out = dst
	for len(packets) > 0 {
		raw, rest, err := protocol.Next(packets)
		if err != nil {
			return dst, err
		}
		if out, err = appendPacket(out, raw, packets[:len(packets)-len(rest)]); err != nil {
			return dst, err
		}
		packets = rest
	}
	return out, nil
}

func appendPacket(dst []byte, raw protocol.Raw, packet []byte) ([]byte, error) {
	switch raw.Type {
	case protocol.TypeMessage:
		var m protocol.Message
		if err := m.Decode(raw); err != nil {
			return dst, err
		}
		return AppendMessage(dst, &m), nil
	case protocol.TypePublish:
		var p protocol.Publish
		if err := p.Decode(raw); err != nil {
			return dst, err
		}
		return appendPublish(dst, &p), nil
	default:
		out, ok := msgjson.AppendWith(dst, packet, appendCursor)
		if !ok {
			return dst, protocol.Errorf(protocol.CodeBadPacket, "found a %s that has no form in JSON", raw.Type)
		}
		return append(out, '\n'), nil
	}
}

// appendCursor appends a token as its cursor ([JSN-3]).
func appendCursor(dst, token []byte) []byte {
	dst = tokenText.AppendEncode(append(dst, '"'), token)
	return append(dst, '"')
}

// AppendMessage appends m as text ([JSN-5]).
func AppendMessage(dst []byte, m *protocol.Message) []byte {
	dst = strconv.AppendUint(append(dst, "[9,"...), m.Seq, 10)
	dst = strconv.AppendUint(append(dst, ','), m.Offset, 10)
	dst = msgjson.AppendString(append(dst, ','), m.Topic)
	dst = append(dst, ',')
	kind := msgjson.KindOf(m.ContentType)
	if m.Encoding != "" {
		kind = msgjson.Other
	}
	dst, plain := msgjson.AppendPayload(dst, kind, m.Payload)
	if !plain {
		dst = appendBase64(dst, m.Payload)
	}
	dst = strconv.AppendInt(append(dst, ','), max(m.Time, 0), 10)
	o := options{dst: dst}
	if m.ContentType != "" && !(plain && kind == msgjson.Msgpack) {
		o.text("type", m.ContentType)
	}
	o.headers(m.Headers)
	o.flag("retain", m.Retain)
	o.text("encoding", m.Encoding)
	o.flag("base64", !plain)
	return o.end()
}

// appendPublish appends p as text that Read makes p of again.
func appendPublish(dst []byte, p *protocol.Publish) []byte {
	dst = append(dst, "[7,"...)
	if p.ID == 0 {
		dst = append(dst, "null"...)
	} else {
		dst = strconv.AppendUint(dst, p.ID, 10)
	}
	dst = msgjson.AppendString(append(dst, ','), p.Topic)
	dst, plain := appendPublished(append(dst, ','), p)
	o := options{dst: dst}
	o.flag("retain", p.Retain)
	o.text("type", p.ContentType)
	o.headers(p.Headers)
	o.flag("receivers", p.Receivers)
	o.text("mid", p.MessageID)
	if p.TTL > 0 {
		o.name("ttl")
		o.dst = strconv.AppendUint(o.dst, p.TTL, 10)
	}
	o.text("exclude", p.Exclude)
	o.flag("base64", !plain)
	return o.end()
}

// appendPublished appends the payload of p, as it is if it is JSON. plain is false when it is base64.
func appendPublished(dst []byte, p *protocol.Publish) (out []byte, plain bool) {
	switch kind := msgjson.KindOf(p.ContentType); kind {
	case msgjson.JSON, msgjson.LikeJSON:
		var n nest
		end, ok := 0, utf8.Valid(p.Payload)
		if ok {
			end, ok = n.skipValue(p.Payload, 0)
		}
		if ok && end == len(p.Payload) && skipSpace(p.Payload, 0) == 0 { // nothing is lost
			return append(dst, p.Payload...), true
		}
	case msgjson.Text:
		if out, ok := msgjson.AppendPayload(dst, kind, p.Payload); ok {
			return out, true
		}
	case msgjson.Msgpack, msgjson.Other:
	}
	return appendBase64(dst, p.Payload), false
}

func appendBase64(dst, payload []byte) []byte {
	dst = base64.StdEncoding.AppendEncode(append(dst, '"'), payload)
	return append(dst, '"')
}

// options appends the options of a packet, those that there are, and its end.
type options struct {
	dst []byte
	n   int
}

func (o *options) name(name string) {
	if o.n++; o.n == 1 {
		o.dst = append(o.dst, ",{"...)
	} else {
		o.dst = append(o.dst, ',')
	}
	o.dst = append(msgjson.AppendString(o.dst, name), ':')
}

func (o *options) flag(name string, v bool) {
	if v {
		o.name(name)
		o.dst = append(o.dst, "true"...)
	}
}

func (o *options) text(name, v string) {
	if v != "" {
		o.name(name)
		o.dst = msgjson.AppendString(o.dst, v)
	}
}

func (o *options) headers(h map[string]string) {
	if len(h) == 0 {
		return
	}
	o.name("headers")
	sep := byte('{')
	for _, k := range slices.Sorted(maps.Keys(h)) {
		o.dst = msgjson.AppendString(append(o.dst, sep), k)
		o.dst = msgjson.AppendString(append(o.dst, ':'), h[k])
		sep = ','
	}
	o.dst = append(o.dst, '}')
}

func (o *options) end() []byte {
	if o.n > 0 {
		o.dst = append(o.dst, '}')
	}
	return append(o.dst, "]\n"...)
}
