package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"unicode/utf8"

	"github.com/carillon-mq/carillon/protocol"
)

// maxDepth bounds how deep a JSON body nests.
const maxDepth = 64

// strictObject checks that body is exactly one JSON object that every parser reads the same way: valid UTF-8, no key twice in any
// object, nothing after it, at most maxDepth deep. It returns the object's own keys. (RFC 8259 section 4 leaves duplicates open.)
func strictObject(body []byte) (keys []string, refusal *protocol.Error) {
	if !utf8.Valid(body) {
		return nil, badBody("the body is not valid UTF-8")
	}
	if !startsAsObject(body) {
		return nil, badBody("the body does not start as a JSON object")
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	w := walker{dec: dec}
	if err := w.value(0); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, badBody("there is more after the JSON object, at byte %d", dec.InputOffset())
	}
	if !json.Valid(body) { // the token reader is a little more generous than the grammar
		return nil, badBody("the JSON is not well formed")
	}
	return w.top, nil
}

// startsAsObject reports whether the first byte that is no blank opens a JSON object.
func startsAsObject(body []byte) bool {
	return bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("{"))
}

// walker goes through one JSON value, token by token.
type walker struct {
	dec *json.Decoder
	top []string // keys of the outermost object
}

func (w *walker) value(depth int) *protocol.Error {
	t, err := w.token()
	if err != nil {
		return err
	}
	delim, ok := t.(json.Delim)
	if !ok {
		return nil
	}
	if depth == maxDepth {
		return badBody("the JSON is nested deeper than %d", maxDepth)
	}
	if delim == '[' {
		return w.array(depth)
	}
	return w.object(depth)
}

func (w *walker) array(depth int) *protocol.Error {
	for w.dec.More() {
		if err := w.value(depth + 1); err != nil {
			return err
		}
	}
	_, err := w.token()
	return err
}

func (w *walker) object(depth int) *protocol.Error {
	seen := map[string]bool{}
	for w.dec.More() {
		t, err := w.token()
		if err != nil {
			return err
		}
		key, ok := t.(string)
		if !ok {
			return badBody("the JSON is not well formed at byte %d", w.dec.InputOffset())
		}
		if seen[key] {
			return badBody("key %q is given twice in one object", clip(key))
		}
		seen[key] = true
		if depth == 0 {
			w.top = append(w.top, key)
		}
		if err := w.value(depth + 1); err != nil {
			return err
		}
	}
	_, err := w.token()
	return err
}

func (w *walker) token() (json.Token, *protocol.Error) {
	t, err := w.dec.Token()
	if err != nil {
		return nil, badBody("the JSON is not well formed at byte %d", w.dec.InputOffset())
	}
	return t, nil
}
