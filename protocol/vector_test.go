package protocol

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// vector is one object of spec/vectors; a kind uses some of the fields. The text of the spec says what they mean.
type vector struct {
	Name      string   `json:"name"`
	Hex       *string  `json:"hex"`
	Error     string   `json:"error"`
	ID        uint64   `json:"id"`
	Canonical *bool    `json:"canonical"`
	Packet    any      `json:"packet"`
	Packets   []any    `json:"packets"`
	Length    int      `json:"length"`
	Topic     *string  `json:"topic"`
	Filter    *string  `json:"filter"`
	Match     bool     `json:"match"`
	Wider     string   `json:"wider"`
	Narrower  string   `json:"narrower"`
	Covers    bool     `json:"covers"`
	Text      *string  `json:"text"`
	Level     string   `json:"level"`
	Cursor    *string  `json:"cursor"`
	Position  string   `json:"position"`
	Steps     []step   `json:"steps"`
	bytes     []byte   // of Hex
	_         struct{} // keyed literals only
}

// eachVector runs f on every vector of a kind.
func eachVector(t *testing.T, kind string, f func(t *testing.T, v *vector)) {
	t.Helper()
	text, err := os.ReadFile("../spec/vectors/" + kind + ".json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []vector
	if err := json.Unmarshal(text, &vectors); err != nil {
		t.Fatal(err)
	}
	if len(vectors) == 0 {
		t.Fatal("no vectors")
	}
	for _, v := range vectors {
		t.Run(v.Name, func(t *testing.T) {
			if v.Hex != nil {
				if v.bytes, err = hex.DecodeString(*v.Hex); err != nil {
					t.Fatal(err)
				}
			}
			f(t, &v)
		})
	}
}

// refused checks err against the code that the vector wants, and reports whether it wants one.
func (v *vector) refused(t *testing.T, err error) bool {
	t.Helper()
	var e *Error
	switch {
	case v.Error == "" && err != nil:
		t.Fatalf("refused: %v", err)
	case v.Error != "" && !errors.As(err, &e):
		t.Fatalf("found %v, wanted the error %s", err, v.Error)
	case v.Error != "" && e.Code.String() != v.Error:
		t.Fatalf("found %v, wanted the error %s", err, v.Error)
	}
	return v.Error != ""
}

// name is a topic or filter given as text or as bytes.
func (v *vector) name(text *string) string {
	if text != nil {
		return *text
	}
	return string(v.bytes)
}

func TestGateVectors(t *testing.T) {
	eachVector(t, "gate", func(t *testing.T, v *vector) {
		n, err := Gate(v.bytes)
		if !v.refused(t, err) && n != v.Length {
			t.Errorf("found a value of %d bytes, wanted %d", n, v.Length)
		}
	})
}

func TestPacketVectors(t *testing.T) {
	eachVector(t, "packet", func(t *testing.T, v *vector) {
		r, rest, err := Next(v.bytes)
		if err == nil && len(rest) != 0 {
			t.Fatalf("%d bytes left over", len(rest))
		}
		var p Packet
		if err == nil {
			p, err = DecodePacket(r)
		}
		if v.refused(t, err) {
			if id, _ := r.ID(); v.ID != 0 && id != v.ID {
				t.Errorf("found id %d, wanted %d", id, v.ID)
			}
			return
		}
		if diff := cmp.Diff(v.Packet, describe(t, p)); diff != "" {
			t.Errorf("decoded (-wanted +found):\n%s", diff)
		}
		canonical := v.Canonical == nil || *v.Canonical
		if encoded := p.Append(nil); bytes.Equal(encoded, v.bytes) != canonical {
			t.Errorf("canonical is %t, and it encodes to %x", canonical, encoded)
		}
		if built := build(t, v.Packet); !bytes.Equal(built.Append(nil), p.Append(nil)) {
			t.Errorf("the packet encodes to %x, wanted %x", built.Append(nil), p.Append(nil))
		}
	})
}

func TestMessageVectors(t *testing.T) {
	eachVector(t, "message", func(t *testing.T, v *vector) {
		var found []any
		err := decodeAll(v.bytes, func(p Packet) { found = append(found, describe(t, p)) })
		if v.refused(t, err) {
			return
		}
		if diff := cmp.Diff(v.Packets, found); diff != "" {
			t.Errorf("decoded (-wanted +found):\n%s", diff)
		}
	})
}

// decodeAll goes through one transport message as a receiver does.
func decodeAll(message []byte, f func(Packet)) error {
	for first := true; first || len(message) > 0; first = false {
		r, rest, err := Next(message)
		if err != nil {
			return err
		}
		p, err := DecodePacket(r)
		if err != nil {
			return err
		}
		f(p)
		message = rest
	}
	return nil
}

func TestTopicVectors(t *testing.T) {
	eachVector(t, "topic", func(t *testing.T, v *vector) { v.refused(t, ValidateTopic(v.name(v.Topic))) })
}

func TestFilterVectors(t *testing.T) {
	eachVector(t, "filter", func(t *testing.T, v *vector) { v.refused(t, ValidateFilter(v.name(v.Filter))) })
}

func TestMatchVectors(t *testing.T) {
	eachVector(t, "match", func(t *testing.T, v *vector) {
		if ValidateFilter(*v.Filter) != nil || ValidateTopic(*v.Topic) != nil {
			t.Fatal("the vector is not valid")
		}
		if got := Match(*v.Filter, *v.Topic); got != v.Match {
			t.Errorf("Match(%q, %q) = %t", *v.Filter, *v.Topic, got)
		}
	})
}

func TestCoversVectors(t *testing.T) {
	eachVector(t, "covers", func(t *testing.T, v *vector) {
		if ValidateFilter(v.Wider) != nil || ValidateFilter(v.Narrower) != nil {
			t.Fatal("the vector is not valid")
		}
		if got := Covers(v.Wider, v.Narrower); got != v.Covers {
			t.Errorf("Covers(%q, %q) = %t", v.Wider, v.Narrower, got)
		}
	})
}

func TestEscapeVectors(t *testing.T) {
	eachVector(t, "escape", func(t *testing.T, v *vector) {
		got, err := UnescapeLevel(v.Level)
		if v.refused(t, err) {
			return
		}
		text := v.name(v.Text)
		if level := EscapeLevel(text); level != v.Level || got != text {
			t.Errorf("%q is written %q and %q is read %q, wanted %q", text, level, v.Level, got, v.Level)
		}
		if err := ValidateTopic("$user." + v.Level + ".x"); err != nil {
			t.Errorf("%q is no level: %v", v.Level, err)
		}
	})
}

func TestPositionVectors(t *testing.T) {
	eachVector(t, "position", func(t *testing.T, v *vector) {
		if v.Hex != nil {
			p, err := ParsePosition(v.bytes)
			if !v.refused(t, err) && (place(p) != v.Position || !bytes.Equal(p.Append(nil), v.bytes)) {
				t.Errorf("found %s and %x, wanted %s", place(p), p.Append(nil), v.Position)
			}
		}
		if v.Cursor != nil {
			p, err := ParseCursor(*v.Cursor)
			if !v.refused(t, err) && (place(p) != v.Position || p.Cursor() != *v.Cursor) {
				t.Errorf("found %s and %s, wanted %s", place(p), p.Cursor(), v.Position)
			}
		}
	})
}
