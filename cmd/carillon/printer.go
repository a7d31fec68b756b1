package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"strings"
	"unicode/utf8"

	carillon "github.com/carillon-mq/carillon/sdk/go"
)

// form is how `carillon sub` prints a message.
type form uint8

const (
	formText form = iota // topic and payload on one line, for people
	formJSON             // a JSON object a line, for programs
	formRaw              // the payload's bytes and a line end
)

// formOf is the form that the flags --json and --raw ask for.
func formOf(json, raw bool) form {
	switch {
	case json:
		return formJSON
	case raw:
		return formRaw
	}
	return formText
}

// printer writes messages to out and what else there is to say to err.
type printer struct {
	out     *bufio.Writer
	err     io.Writer
	form    form
	failure error
}

// line is a message as --json prints it. Data is JSON when the payload has a JSON form, otherwise DataBase64 is set.
type line struct {
	Topic      string            `json:"topic"`
	Data       json.RawMessage   `json:"data,omitempty"`
	DataBase64 []byte            `json:"data_base64,omitempty"`
	Type       string            `json:"type,omitempty"`
	Headers    map[string]string `json:"headers,omitempty"`
	Retained   bool              `json:"retained,omitempty"`
	Cleared    bool              `json:"cleared,omitempty"`
	Time       int64             `json:"ts"` // Unix milliseconds
	Cursor     carillon.Cursor   `json:"cursor,omitempty"`
}

func (p *printer) message(m *carillon.Message) {
	data, isJSON := jsonForm(m)
	cleared := m.Retain && len(m.Payload) == 0
	switch p.form {
	case formRaw:
		p.write(append(m.Payload, '\n'))
	case formJSON:
		l := line{
			Topic: m.Topic, Type: m.ContentType, Headers: m.Headers, Retained: m.Retained, Cleared: cleared,
			Time: m.Time.UnixMilli(), Cursor: m.Cursor(),
		}
		switch {
		case cleared:
		case isJSON:
			l.Data = data
		default:
			l.DataBase64 = m.Payload
		}
		p.object(l)
	default:
		p.write([]byte(oneLine(m.Topic) + " " + text(m, data, cleared) + "\n"))
	}
}

// reply prints a message whose topic says nothing: the inbox that it came to.
func (p *printer) reply(m *carillon.Message) {
	if p.form != formText {
		p.message(m)
		return
	}
	data, _ := jsonForm(m)
	p.write([]byte(text(m, data, false) + "\n"))
}

// text is a payload for people, on one line.
func text(m *carillon.Message, data json.RawMessage, cleared bool) string {
	switch {
	case cleared:
		return "(cleared)"
	case isText(m.ContentType) && utf8.Valid(m.Payload):
		return oneLine(string(m.Payload))
	case data != nil:
		return oneLine(string(data))
	}
	return fmt.Sprintf("(%d bytes of %s)", len(m.Payload), oneLine(kindOf(m.ContentType)))
}

func kindOf(contentType string) string {
	if contentType == "" {
		return "msgpack"
	}
	return contentType
}

func isText(contentType string) bool {
	t, _, err := mime.ParseMediaType(contentType)
	return err == nil && strings.HasPrefix(t, "text/")
}

// jsonForm is a payload as JSON: JSON as it is, text as a string, msgpack if JSON has all its kinds.
func jsonForm(m *carillon.Message) (json.RawMessage, bool) {
	if isText(m.ContentType) {
		if !utf8.Valid(m.Payload) {
			return nil, false
		}
		data, err := marshal(string(m.Payload))
		return data, err == nil
	}
	if m.ContentType != "" && json.Valid(m.Payload) && utf8.Valid(m.Payload) && strings.Contains(m.ContentType, "json") {
		data, err := marshal(json.RawMessage(m.Payload)) // on one line
		return data, err == nil
	}
	var v any
	if err := m.Decode(&v); err != nil || !hasJSONForm(v) {
		return nil, false
	}
	data, err := marshal(v)
	return data, err == nil
}

// hasJSONForm reports whether nothing in v, a decoded msgpack value, would change its meaning in JSON.
func hasJSONForm(v any) bool {
	switch v := v.(type) {
	case nil, bool, string, int8, int16, int32, int64, uint8, uint16, uint32, uint64, float32, float64:
		return true
	case []any:
		for _, e := range v {
			if !hasJSONForm(e) {
				return false
			}
		}
		return true
	case map[string]any:
		for _, e := range v {
			if !hasJSONForm(e) {
				return false
			}
		}
		return true
	}
	return false // bytes, extension types, keys that are no strings
}

// gap tells that messages are missing: on err for people, and in the stream for programs.
func (p *printer) gap(g *carillon.GapError) {
	fmt.Fprintln(p.err, printable(g.Error()))
	if p.form != formJSON {
		return
	}
	type gap struct {
		Filter string          `json:"filter"`
		Reason string          `json:"reason"`
		From   carillon.Cursor `json:"from,omitempty"`
		To     carillon.Cursor `json:"to,omitempty"`
		Count  *int64          `json:"count,omitempty"` // absent when not known
	}
	out := gap{Filter: g.Filter, Reason: string(g.Reason), From: g.From, To: g.To}
	if g.Count >= 0 {
		out.Count = &g.Count
	}
	p.object(struct {
		Gap gap `json:"gap"`
	}{out})
}

func (p *printer) object(v any) {
	b, err := marshal(v)
	if err != nil {
		p.failure = err
		return
	}
	p.write(append(b, '\n'))
}

// marshal is v as JSON on one line, without the escapes that only HTML needs.
func marshal(v any) (json.RawMessage, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

func (p *printer) write(b []byte) {
	if p.failure == nil {
		_, p.failure = p.out.Write(b)
	}
}

// flush hands what was printed on and returns what went wrong on the way.
func (p *printer) flush() error {
	if p.failure == nil {
		p.failure = p.out.Flush()
	}
	return p.failure
}
