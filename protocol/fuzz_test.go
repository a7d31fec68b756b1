package protocol

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/vmihailenco/msgpack/v5"
)

// seed adds the bytes of every vector of the given kinds.
func seed(f *testing.F, kinds ...string) {
	f.Helper()
	for _, kind := range kinds {
		text, err := os.ReadFile("../spec/vectors/" + kind + ".json")
		if err != nil {
			f.Fatal(err)
		}
		var vectors []vector
		if err := json.Unmarshal(text, &vectors); err != nil {
			f.Fatal(err)
		}
		for _, v := range vectors {
			if v.Hex != nil {
				b, _ := hex.DecodeString(*v.Hex)
				f.Add(b)
			}
		}
	}
}

// What the gate lets through, the msgpack library finds to be one whole value of the same length, and nothing less is let through.
func FuzzGate(f *testing.F) {
	seed(f, "gate", "packet", "message")
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := Gate(b)
		if err != nil {
			if CodeOf(err) != CodeBadPacket || n != 0 {
				t.Fatalf("found %d, %v", n, err)
			}
			return
		}
		in := bytes.NewReader(b)
		raw, err := msgpack.NewDecoder(in).DecodeRaw()
		if err != nil || len(raw) != n {
			t.Fatalf("the gate passes %d bytes, the library %d: %v", n, len(raw), err)
		}
		if again, err := Gate(b[:n]); err != nil || again != n {
			t.Fatalf("the same value alone: %d, %v", again, err)
		}
		if _, err := Gate(b[:n-1]); err == nil {
			t.Fatalf("passes without its last byte")
		}
	})
}

// Whatever decodes, encodes canonically: it decodes to the same packet, and encodes to the same bytes.
func FuzzDecode(f *testing.F) {
	seed(f, "packet", "message")
	for _, p := range samples() {
		f.Add(p.Append(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, rest, err := Next(b)
		if err != nil {
			return
		}
		r.ID()
		p, err := DecodePacket(r)
		if err != nil {
			if CodeOf(err) == CodeInternal {
				t.Fatalf("%v has no code", err)
			}
			return
		}
		checkAgainstLibrary(t, b[:len(b)-len(rest)], p)
		canonical := p.Append(nil)
		if len(canonical) > len(b)+40 { // Disconnect says what its code implies
			t.Fatalf("%d bytes became %d", len(b), len(canonical))
		}
		again, rest, err := Next(canonical)
		if err != nil || len(rest) != 0 {
			t.Fatalf("%x does not pass the gate: %v", canonical, err)
		}
		q, err := DecodePacket(again)
		if err != nil {
			t.Fatalf("%x: %v", canonical, err)
		}
		if diff := cmp.Diff(p, q, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("(-first +again):\n%s", diff)
		}
		if !bytes.Equal(q.Append(nil), canonical) {
			t.Fatalf("%x encodes to %x", canonical, q.Append(nil))
		}
		if m, ok := p.(*Message); ok {
			finished := FinishMessage(m.AppendTail(make([]byte, MessageHeadroom)), m.Seq, m.Offset)
			if !bytes.Equal(finished, canonical) {
				t.Fatalf("finished to %x, wanted %x", finished, canonical)
			}
		}
	})
}

// checkAgainstLibrary compares the hot packets with what the library reads in the same places.
func checkAgainstLibrary(t *testing.T, b []byte, p Packet) {
	t.Helper()
	d := msgpack.NewDecoder(bytes.NewReader(b))
	d.SetMapDecoder(func(d *msgpack.Decoder) (any, error) { return nil, d.Skip() })
	n, err := d.DecodeArrayLen()
	if err != nil {
		t.Fatalf("the library: %v", err)
	}
	var e [7]any
	for i := range min(n, len(e)) {
		code, err := d.PeekCode()
		if err != nil {
			t.Fatalf("the library, element %d: %v", i, err)
		}
		if code >= 0x80 && code <= 0x8f || code == 0xde || code == 0xdf {
			return // options are told apart by the round trip
		}
		if e[i], err = d.DecodeInterface(); err != nil {
			t.Fatalf("the library, element %d: %v", i, err)
		}
	}
	switch p := p.(type) {
	case *Publish:
		compare(t, e[2:4], p.Topic, p.Payload)
	case *Message:
		compare(t, e[1:6], p.Seq, p.Offset, p.Topic, p.Payload, uint64(p.Time))
	case *Published:
		compare(t, e[1:5], p.ID, p.Seq, p.Offset, uint64(p.Durability))
	case *Replay:
		compare(t, e[1:4], p.Subscription, p.Count, uint64(p.Kind))
	}
}

func compare(t *testing.T, library []any, ours ...any) {
	t.Helper()
	for i, v := range library {
		switch v := v.(type) {
		case string:
			if s, ok := ours[i].(string); ok && s == v || !ok && string(ours[i].([]byte)) == v {
				continue
			}
		case []byte:
			if bytes.Equal(v, ours[i].([]byte)) {
				continue
			}
		default:
			if n, ok := number(v); ok && n == ours[i] {
				continue
			}
		}
		t.Fatalf("field %d: the library reads %#v, we %#v", i, v, ours[i])
	}
}

func number(v any) (uint64, bool) {
	switch v := v.(type) {
	case int8:
		return uint64(v), v >= 0
	case int16:
		return uint64(v), v >= 0
	case int32:
		return uint64(v), v >= 0
	case int64:
		return uint64(v), v >= 0
	case uint8:
		return uint64(v), true
	case uint16:
		return uint64(v), true
	case uint32:
		return uint64(v), true
	case uint64:
		return v, true
	case float64:
		return uint64(v), v >= 0
	}
	return 0, false
}

func FuzzMatch(f *testing.F) {
	f.Add("a.*", "a.>", "a.b")
	f.Add(">", "$x.*", "$x.b")
	f.Add("*.b.>", "a.b.c.>", "a.b.c.d")
	f.Fuzz(func(t *testing.T, wider, narrower, topic string) {
		if ValidateFilter(wider) != nil || ValidateFilter(narrower) != nil || ValidateTopic(topic) != nil {
			return
		}
		if got := Match(wider, topic); got != refMatch(wider, topic) {
			t.Fatalf("Match(%q, %q) = %t", wider, topic, got)
		}
		if !Covers(wider, wider) {
			t.Fatalf("%q does not cover itself", wider)
		}
		if Covers(wider, narrower) && Match(narrower, topic) && !Match(wider, topic) {
			t.Fatalf("%q covers %q, which alone matches %q", wider, narrower, topic)
		}
		if both := Match(wider, topic) && Match(narrower, topic); both && !Overlaps(wider, narrower) || Overlaps(wider, narrower) != Overlaps(narrower, wider) {
			t.Fatalf("%q and %q overlap: %t, the other way round %t, in %q: %t", wider, narrower, Overlaps(wider, narrower), Overlaps(narrower, wider), topic, both)
		}
		if Covers(wider, topic) != Match(wider, topic) || Overlaps(wider, topic) != Match(wider, topic) {
			t.Fatalf("%q covers and matches %q differently", wider, topic)
		}
	})
}

func FuzzPosition(f *testing.F) {
	seed(f, "position")
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, err := ParsePosition(b); err == nil {
			if !bytes.Equal(p.Append(nil), b) {
				t.Fatalf("%x is the token %x", b, p.Append(nil))
			}
			if back, err := ParseCursor(p.Cursor()); err != nil || back != p {
				t.Fatalf("cursor %s: %v", p.Cursor(), err)
			}
		}
		if p, err := ParseCursor(string(b)); err == nil && p.Cursor() != string(b) {
			t.Fatalf("%q is the cursor %q", b, p.Cursor())
		}
	})
}

func FuzzLevel(f *testing.F) {
	for _, s := range []string{"", "%", "$a", "john.doe@x.com", "\xff", "\u202e", "%2E", "a b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		level := EscapeLevel(s)
		if back, err := UnescapeLevel(level); err != nil || back != s {
			t.Fatalf("%q is written %q and read %q: %v", s, level, back, err)
		}
		if len(level) <= MaxTopicBytes {
			if err := ValidateTopic(level); err != nil || IsReserved(level) {
				t.Fatalf("%q is written %q, which is no level: %v", s, level, err)
			}
		}
		if back, err := UnescapeLevel(s); err == nil && EscapeLevel(back) != s {
			t.Fatalf("%q is read %q and written %q", s, back, EscapeLevel(back))
		}
	})
}
