package msgjson

import (
	"bytes"
	"encoding/json"
	"mime"
	"strings"
	"unicode/utf8"
)

// Kind is what a content type says of the bytes of a payload.
type Kind uint8

// The kinds. Msgpack is also what a payload without a content type is.
const (
	Other Kind = iota
	Msgpack
	JSON
	LikeJSON // of a type of its own, in JSON
	Text     // in UTF-8
)

// KindOf is the kind of a content type.
func KindOf(contentType string) Kind {
	switch contentType { // the common ones, at no cost
	case "", "application/msgpack":
		return Msgpack
	case "application/json":
		return JSON
	case "application/octet-stream":
		return Other
	}
	t, params, err := mime.ParseMediaType(contentType)
	charset := strings.ToLower(params["charset"])
	switch {
	case err != nil:
		return Other
	case t == "application/msgpack" || t == "application/x-msgpack" || t == "application/vnd.msgpack":
		return Msgpack
	case t == "application/json":
		return JSON
	case strings.HasSuffix(t, "+json"):
		return LikeJSON
	case strings.HasPrefix(t, "text/") && (charset == "" || charset == "utf-8" || charset == "us-ascii"):
		return Text
	}
	return Other
}

// AppendPayload appends the value in JSON that says the same as a payload of the given kind, on one line. ok is false, and dst as it was, if
// there is none: an empty payload has none.
func AppendPayload(dst []byte, kind Kind, payload []byte) (out []byte, ok bool) {
	switch {
	case len(payload) == 0:
	case kind == Msgpack:
		return Append(dst, payload)
	case kind == JSON || kind == LikeJSON:
		return appendCompact(dst, payload)
	case kind == Text && utf8.Valid(payload):
		return AppendString(dst, payload), true
	}
	return dst, false
}

// appendCompact appends JSON without what may stand between its tokens. It says no to what is not JSON in UTF-8.
func appendCompact(dst, payload []byte) (out []byte, ok bool) {
	if !utf8.Valid(payload) {
		return dst, false
	}
	compact := bytes.NewBuffer(dst)
	if json.Compact(compact, payload) != nil {
		return dst, false
	}
	return compact.Bytes(), true
}
