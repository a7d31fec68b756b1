package conformance

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/carillon-mq/carillon/protocol"
)

// packet is one from the wire, in the notation of scripts: fields and options by name, bin in hex, positions as *epoch seq term offset*.
type packet struct {
	name   string
	values map[string]any
}

// places are the members that hold the token of a position.
var places = []string{"position", "from", "to", "after"}

// decodePacket reads the first packet of b, checks it against its row of the table, and returns what is behind it.
func decodePacket(b []byte) (packet, []byte, error) {
	n, err := protocol.Gate(b)
	if err != nil {
		return packet{}, nil, err
	}
	v, _, err := decodeValue(b[:n])
	if err != nil {
		return packet{}, nil, err
	}
	list, ok := v.([]any)
	if !ok || len(list) == 0 {
		return packet{}, nil, fmt.Errorf("found %s, which is no packet [ENC-1]", show(v))
	}
	number, ok := integer(list[0])
	if !ok || number < 1 || number > 127 {
		return packet{}, nil, fmt.Errorf("found %s as a type [ENC-2]", show(list[0]))
	}
	f := forms.byNumber[int(number)]
	if f == nil {
		return packet{name: fmt.Sprintf("Type(%d)", number), values: map[string]any{"fields": list[1:]}}, b[n:], nil
	}
	p, err := f.read(list[1:])
	if err != nil {
		err = fmt.Errorf("%s: %w", f.name, err)
	}
	return p, b[n:], err
}

// read takes the elements behind the type apart.
func (f *form) read(elements []any) (packet, error) {
	p := packet{f.name, map[string]any{}}
	for i, m := range f.fields {
		var v any
		if i < len(elements) {
			v = elements[i]
		}
		if err := m.check(v); err != nil {
			return p, fmt.Errorf("%w [ENC-4] [ENC-12]", err)
		}
		p.values[m.name] = notation(m, v)
	}
	if len(elements) <= len(f.fields) {
		return p, nil
	}
	options, _ := elements[len(f.fields)].(map[string]any) // nil and an empty array are none
	for name, v := range options {
		m, known := f.member(name)
		if !known {
			m = member{name: name}
		}
		if v == nil {
			continue // absent, [ENC-4]
		}
		if err := m.check(v); err != nil {
			return p, fmt.Errorf("%w [ENC-12]", err)
		}
		p.values[name] = notation(m, v)
	}
	return p, nil
}

// apart is a Subscribes as the Subscribe packets that it stands for ([SUB-13]), and any other packet as it is: scripts do not say in which of
// both ways an SDK asks for several.
func (p packet) apart() []packet {
	list, ok := p.values["subscriptions"].([]any)
	if p.name != "Subscribes" || !ok {
		return []packet{p}
	}
	var all []packet
	for _, e := range list {
		elements, _ := e.([]any)
		one, err := forms.byName["Subscribe"].read(elements)
		if err != nil {
			return []packet{p}
		}
		_, placed := one.values["position"]
		_, newest := one.values["last"]
		for name, v := range p.values {
			_, own := one.values[name]
			if name == "subscriptions" || own || (placed || newest) && (name == "position" || name == "last") {
				continue
			}
			one.values[name] = v
		}
		all = append(all, one)
	}
	return all
}

// notation is a value from the wire as scripts write it.
func notation(m member, v any) any {
	if text, ok := v.(string); ok && m.typ == "bin" {
		v = bin(text)
	}
	b, ok := v.(bin)
	if !ok {
		return v
	}
	if slices.Contains(places, m.name) {
		if p, err := protocol.ParsePosition(b); err == nil {
			return placeText(p)
		}
	}
	return hex.EncodeToString(b)
}

func placeText(p protocol.Position) string {
	return fmt.Sprintf("%s %d %s %d", p.Epoch, p.Seq, p.Term, p.Offset)
}

// parsePlace reads *epoch seq term offset*.
func parsePlace(text string) (protocol.Position, error) {
	var p protocol.Position
	words := strings.Fields(text)
	if len(words) != 4 || len(words[0]) != 16 || len(words[2]) != 16 {
		return p, fmt.Errorf("%q is not epoch, seq, term and offset", text)
	}
	_, err1 := hex.Decode(p.Epoch[:], []byte(words[0]))
	_, err2 := hex.Decode(p.Term[:], []byte(words[2]))
	var err3, err4 error
	p.Seq, err3 = strconv.ParseUint(words[1], 10, 64)
	p.Offset, err4 = strconv.ParseUint(words[3], 10, 64)
	return p, errors.Join(err1, err2, err3, err4)
}

// encodePacket writes a packet of a script: {Publish: {…}}, or {array: […]} for any array. Its variables have been filled in.
func encodePacket(written map[string]any) ([]byte, error) {
	if len(written) != 1 {
		return nil, fmt.Errorf("found %s, wanted one packet", show(written))
	}
	name := slices.Collect(maps.Keys(written))[0]
	if name == "array" {
		v, err := literal(written[name])
		if err != nil {
			return nil, err
		}
		return appendValue(nil, v)
	}
	f := forms.byName[name]
	if f == nil {
		return nil, fmt.Errorf("%s is no packet of the table", name)
	}
	values, _ := written[name].(map[string]any)
	b, err := f.write(values)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return b, nil
}

// write encodes the fields, and behind them the options that values has: those of the table in its order, then others by name.
func (f *form) write(values map[string]any) ([]byte, error) {
	list := []any{f.number}
	left := maps.Clone(values)
	for _, m := range f.fields {
		v, err := wireValue(m, values[m.name])
		if err != nil {
			return nil, err
		}
		list = append(list, v)
		delete(left, m.name)
	}
	var options pairs
	for _, m := range f.options {
		if _, given := left[m.name]; !given {
			continue
		}
		v, err := wireValue(m, left[m.name])
		if err != nil {
			return nil, err
		}
		options = append(options, pair{m.name, v})
		delete(left, m.name)
	}
	for _, name := range slices.Sorted(maps.Keys(left)) { // what only a later version or an extension has
		v, err := literal(left[name])
		if err != nil {
			return nil, err
		}
		options = append(options, pair{name, v})
	}
	if len(options) > 0 {
		list = append(list, options)
	}
	return appendValue(nil, list)
}

// wireValue is what a script gives for a member as the wire has it. A nil goes as it is.
func wireValue(m member, v any) (any, error) {
	text, isText := v.(string)
	switch {
	case m.typ == "bin" && isText && strings.Contains(text, " ") && slices.Contains(places, m.name):
		p, err := parsePlace(text)
		return bin(p.Append(nil)), err
	case m.typ == "bin" && isText:
		b, err := parseHex(text)
		return bin(b), err
	case m.typ == "int" && isText: // a variable that has been filled in
		n, err := strconv.ParseInt(text, 10, 64)
		return n, err
	case m.typ == "str" && v != nil && !isText: // so has this, and looked like a number
		return fmt.Sprint(v), nil
	}
	return v, nil
}

// literal is v with every text of the form <78> as the bin that it stands for.
func literal(v any) (any, error) {
	switch v := v.(type) {
	case string:
		if inner, ok := strings.CutPrefix(v, "<"); ok && strings.HasSuffix(inner, ">") {
			inner = strings.TrimSuffix(inner, ">")
			if p, err := parsePlace(inner); err == nil {
				return bin(p.Append(nil)), nil
			}
			b, err := parseHex(inner)
			return bin(b), err
		}
	case []any:
		list := make([]any, 0, len(v))
		for _, e := range v {
			e, err := literal(e)
			if err != nil {
				return nil, err
			}
			list = append(list, e)
		}
		return list, nil
	case map[string]any:
		m := make(map[string]any, len(v))
		for key, e := range v {
			e, err := literal(e)
			if err != nil {
				return nil, err
			}
			m[key] = e
		}
		return m, nil
	}
	return v, nil
}

var repeated = regexp.MustCompile(`^([0-9a-f]+)\*(\d+)$`)

// parseHex reads hex with blanks, in which XX*N repeats the bytes XX N times, as the spec writes it.
func parseHex(text string) ([]byte, error) {
	var out []byte
	for part := range strings.FieldsSeq(text) {
		n := 1
		if m := repeated.FindStringSubmatch(part); m != nil {
			part = m[1]
			n, _ = strconv.Atoi(m[2]) // digits
		}
		b, err := hex.DecodeString(part)
		if err != nil {
			return nil, fmt.Errorf("%q is not hex: %w", text, err)
		}
		for range n {
			out = append(out, b...)
		}
	}
	return out, nil
}

func (p packet) String() string { return show(map[string]any{p.name: p.values}) }

// maxShown is how much of a value reports show.
const maxShown = 300

// show writes a value for people.
func show(v any) string {
	if b, ok := v.(bin); ok {
		v = "<" + hex.EncodeToString(b) + ">"
	}
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	if len(text) > maxShown {
		return string(text[:maxShown]) + "…"
	}
	return string(text)
}
