package packetjson

import (
	"bytes"
	"encoding/base64"
	"strings"

	"github.com/carillon-mq/carillon/broker/internal/msgjson"
	"github.com/carillon-mq/carillon/protocol"
)

// packet is what has to be known of one before it is whole.
type packet struct {
	place
	t    protocol.Type
	from int // in out

	// Of one with a payload.
	text        []byte // that it is in JSON; nil: there is none
	behind      int    // where in out it belongs
	typed       bool   // there is the option type
	contentType string
	base64      bool
	bare        bool // the options are a map of nothing
}

// isJSON reports whether the payload is JSON without a word ([JSN-4]).
func (p *packet) isJSON() bool { return p.t == protocol.TypePublish && !p.base64 && !p.typed }

// payload takes the text of the payload, which the options decide about.
func (r *reader) payload() bool {
	r.peek()
	end, ok := r.nest.skipValue(r.in, r.i)
	if !ok {
		r.i = end
		return r.unexpected("JSON")
	}
	r.p.text, r.p.behind = r.in[r.i:end], len(r.out)
	r.i = end
	return true
}

// insertPayload puts the payload into the packet, which has n elements without it and more with it. A payload that is refused is an empty one.
func (r *reader) insertPayload(n int) (elements int, refusal *protocol.Error) {
	p := &r.p
	switch {
	case n == p.options && p.isJSON():
		r.endOptions(r.begin(), 0)
		n++
	case n == p.options+1 && p.bare:
		r.out = r.out[:len(r.out)-1]
		n--
	}
	r.spare = append(r.spare[:0], r.out[p.behind:]...)
	behind := len(r.spare)
	r.out = r.out[:p.behind]
	kind := msgjson.KindOf(p.contentType)
	switch {
	case p.base64:
		refusal = r.appendBase64()
	case p.isJSON() || kind == msgjson.JSON || kind == msgjson.LikeJSON:
		r.out = append(appendBinHead(r.out, len(p.text)), p.text...)
	case kind == msgjson.Text || strings.HasPrefix(p.contentType, "text/"):
		refusal = r.appendText()
	default:
		refusal = badPayload("a payload of type %q, wanted one in JSON, text, or base64: true", p.contentType)
	}
	if refusal != nil {
		r.out = appendBinHead(r.out[:p.behind], 0)
	}
	r.out = append(r.out, r.spare[:behind]...)
	return n, refusal
}

func badPayload(format string, a ...any) *protocol.Error {
	return protocol.Errorf(protocol.CodeBadArgs, "Publish.payload: found "+format, a...)
}

// appendText appends a payload that is text.
func (r *reader) appendText() *protocol.Error {
	s, ok := scanString(r.p.text, 0)
	if r.p.text[0] != '"' || !ok || s.halves {
		return badPayload("JSON that is no text, wanted a string for the type %q", r.p.contentType)
	}
	if s.size == 0 {
		return badPayload("an empty text, wanted base64: true for a payload of nothing")
	}
	r.out = appendText(appendBinHead(r.out, s.size), r.p.text, 0, s)
	return nil
}

// appendBase64 appends a payload that is bytes.
func (r *reader) appendBase64() *protocol.Error {
	s, ok := scanString(r.p.text, 0)
	if r.p.text[0] != '"' || !ok {
		return badPayload("JSON that is no string, wanted base64")
	}
	at := len(r.spare)
	r.spare = appendText(r.spare, r.p.text, 0, s)
	text := r.spare[at:]
	size := base64.StdEncoding.DecodedLen(len(text)) - bytes.Count(text, []byte{'='})
	if bytes.ContainsAny(text, "\r\n") || len(text)%4 != 0 || size < 0 {
		return badPayload("%d bytes that are no base64 with padding", len(text))
	}
	r.out = appendBinHead(r.out, size)
	from := len(r.out)
	var err error
	if r.out, err = base64.StdEncoding.Strict().AppendDecode(r.out, text); err != nil || len(r.out) != from+size {
		return badPayload("%d bytes that are no base64 with padding", len(text))
	}
	return nil
}

// tokenText is how tokens are written: cursors ([POS-4]).
var tokenText = base64.RawURLEncoding.Strict()

// appendToken appends the token of a cursor, and for what is none a bin that is no token, which is refused as one ([JSN-3], [POS-3]).
func appendToken(dst, cursor []byte) []byte {
	var b [protocol.MaxPositionBytes]byte
	if len(cursor) > tokenText.EncodedLen(len(b)) || bytes.ContainsAny(cursor, "\r\n") {
		return appendBinHead(dst, 0)
	}
	n, err := tokenText.Decode(b[:], cursor)
	if err != nil {
		return appendBinHead(dst, 0)
	}
	return append(appendBinHead(dst, n), b[:n]...)
}
