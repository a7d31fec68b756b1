package carillon

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/vmihailenco/msgpack/v5"
)

// The content types the client writes itself. msgpack is the default and is not written.
const (
	typeBytes = "application/octet-stream"
	typeText  = "text/plain"
	typeJSON  = "application/json"
)

// Raw is a payload that is published as it is. An empty ContentType says msgpack.
type Raw struct {
	ContentType string
	Data        []byte
}

// JSON makes Publish encode v as JSON.
func JSON(v any) any { return asJSON{v} }

type asJSON struct{ v any }

// encode turns the value given to Publish into a payload and its content type. The payload may alias the value.
func encode(value any) (payload []byte, contentType string, err error) {
	switch v := value.(type) {
	case []byte:
		return v, typeBytes, nil
	case string:
		return []byte(v), typeText, nil
	case Raw:
		return v.Data, v.ContentType, nil
	case json.RawMessage:
		return v, typeJSON, nil
	case asJSON:
		payload, err = json.Marshal(v.v)
		return payload, typeJSON, err
	}
	payload, err = msgpack.Marshal(value)
	return payload, "", err
}

func decode(contentType string, payload []byte, v any) error {
	kind, _, _ := strings.Cut(contentType, ";")
	switch kind = strings.ToLower(strings.TrimSpace(kind)); {
	case kind == "" || kind == "application/msgpack" || kind == "application/vnd.msgpack" || kind == "application/x-msgpack":
		if err := checkMsgpack(payload); err != nil {
			return err
		}
		return msgpack.Unmarshal(payload, v)
	case kind == typeJSON || strings.HasSuffix(kind, "+json"):
		return json.Unmarshal(payload, v)
	}
	switch v := v.(type) {
	case *string:
		*v = string(payload)
	case *[]byte:
		*v = append([]byte(nil), payload...)
	default:
		return fmt.Errorf("carillon: cannot decode a payload of type %q into %T", contentType, v)
	}
	return nil
}

// maxValueDepth bounds how deep arrays and maps of a payload are nested.
const maxValueDepth = 64

var errMsgpack = errors.New("carillon: the payload is not one complete msgpack value")

// checkMsgpack reports whether b is exactly one complete msgpack value. The library may only see what has passed it: it
// allocates by declared lengths and recurses without bound. Unlike protocol.Gate, which is for packets, it leaves sizes to the
// bytes that are there, and allows extension types: a payload is the application's own.
func checkMsgpack(b []byte) error {
	var open [maxValueDepth]uint64 // values still to come, per open array or map
	depth := 0
	for {
		values, skip, ok := msgpackHead(b)
		if !ok || skip+values > uint64(len(b)) {
			return errMsgpack
		}
		b = b[skip:]
		if values > 0 {
			if depth == maxValueDepth {
				return fmt.Errorf("%w: nested more than %d deep", errMsgpack, maxValueDepth)
			}
			open[depth] = values
			depth++
			continue
		}
		for depth > 0 {
			if open[depth-1]--; open[depth-1] > 0 {
				break
			}
			depth--
		}
		if depth == 0 {
			if len(b) > 0 {
				return fmt.Errorf("%w: %d bytes too many", errMsgpack, len(b))
			}
			return nil
		}
	}
}

// msgpackHead reads the value at the start of b: how many values it holds if it is an array or a map, and how many bytes it takes
// without them. ok is false for an invalid byte or an incomplete length.
func msgpackHead(b []byte) (values, skip uint64, ok bool) {
	if len(b) == 0 {
		return 0, 0, false
	}
	switch c := b[0]; {
	case c == 0xc1:
		return 0, 1, false
	case c < 0x80, c >= 0xe0, c == 0xc0, c == 0xc2, c == 0xc3:
		return 0, 1, true
	case c < 0x90:
		return 2 * uint64(c&0x0f), 1, true
	case c < 0xa0:
		return uint64(c & 0x0f), 1, true
	case c < 0xc0:
		return 0, 1 + uint64(c&0x1f), true
	case c <= 0xc6: // bin
		n, size, ok := msgpackLength(b, c-0xc4)
		return 0, n + size, ok
	case c <= 0xc9: // ext
		n, size, ok := msgpackLength(b, c-0xc7)
		return 0, n + size + 1, ok
	case c <= 0xcb: // float
		return 0, 1 + 4<<(c-0xca), true
	case c <= 0xd3: // int
		return 0, 1 + 1<<(c&3), true
	case c <= 0xd8: // fixext
		return 0, 2 + 1<<(c-0xd4), true
	case c <= 0xdb: // str
		n, size, ok := msgpackLength(b, c-0xd9)
		return 0, n + size, ok
	case c <= 0xdd: // array
		n, size, ok := msgpackLength(b, c-0xdc+1)
		return n, size, ok
	default: // map
		n, size, ok := msgpackLength(b, c-0xde+1)
		return 2 * n, size, ok
	}
}

// msgpackLength reads a length of 1<<width bytes after the first byte; size is that of both.
func msgpackLength(b []byte, width byte) (n, size uint64, ok bool) {
	size = 1 + 1<<width
	if uint64(len(b)) < size {
		return 0, size, false
	}
	switch width {
	case 0:
		n = uint64(b[1])
	case 1:
		n = uint64(binary.BigEndian.Uint16(b[1:]))
	default:
		n = uint64(binary.BigEndian.Uint32(b[1:]))
	}
	return n, size, true
}
