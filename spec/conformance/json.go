package conformance

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/carillon-mq/carillon/protocol"
)

// SubprotocolJSON is that of packets as text ([JSN-1]).
const SubprotocolJSON = "carillon.v1.json"

// decodeText reads the packets of a text message, each a JSON array. Payloads stay the JSON values that they are, and tokens become
// positions.
func decodeTexts(text []byte) ([]packet, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var all []packet
	for {
		var list []any
		switch err := d.Decode(&list); {
		case errors.Is(err, io.EOF):
			return all, nil
		case err != nil:
			return all, fmt.Errorf("found %.100q, wanted JSON arrays [JSN-1]: %w", text, err)
		}
		list, _ = fromJSON(list).([]any)
		if len(list) == 0 {
			return all, errors.New("found an empty array, which is no packet [ENC-1]")
		}
		number, _ := integer(list[0])
		f := forms.byNumber[int(number)]
		if f == nil {
			return all, fmt.Errorf("found %s as a type [ENC-2]", show(list[0]))
		}
		p, err := f.readJSON(list[1:])
		if err != nil {
			return all, fmt.Errorf("%s: %w", f.name, err)
		}
		all = append(all, p)
	}
}

// readJSON is read for elements that have come as JSON.
func (f *form) readJSON(elements []any) (packet, error) {
	loose := *f // any JSON value may be a payload
	loose.fields = slices.Clone(f.fields)
	for i, m := range loose.fields {
		switch {
		case m.name == "payload":
			loose.fields[i].typ = "any"
		case i < len(elements) && slices.Contains(places, m.name) && elements[i] != nil:
			text, _ := elements[i].(string)
			p, err := protocol.ParseCursor(text)
			if err != nil {
				return packet{}, fmt.Errorf("%s: %w [JSN-3]", m.name, err)
			}
			elements[i] = bin(p.Append(nil))
		}
	}
	return loose.read(elements)
}

// fromJSON has integers where they have been read as text.
func fromJSON(v any) any {
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		f, _ := v.Float64() // it has been read as a number
		return f
	case []any:
		for i := range v {
			v[i] = fromJSON(v[i])
		}
	case map[string]any:
		for name := range v {
			v[name] = fromJSON(v[name])
		}
	}
	return v
}
