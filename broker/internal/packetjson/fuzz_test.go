package packetjson

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"math/big"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vmihailenco/msgpack/v5"

	"github.com/carillon-mq/carillon/broker/internal/msgjson"
	"github.com/carillon-mq/carillon/protocol"
)

// What is read passes the gate, is in encoding/json the same, and goes to JSON and back.
func FuzzRead(f *testing.F) {
	for _, v := range vectors(f, "json") {
		f.Add([]byte(v.JSON))
	}
	for _, v := range vectors(f, "packet") {
		packet, _ := hex.DecodeString(v.Hex)
		if text, err := Append(nil, packet); err == nil {
			f.Add(text)
		}
	}
	for _, text := range []string{
		`[7,1,"a","\ud83d\udd14\/",{"type":"text/plain"}] [7,1,"a",9,{"type":"image/png"}]` + "\n[6,1e2]",
		`[126,{"a":[true,false,null,{"b":-0.0}]}]`, `[7,null,"a",{"x":[[[]]]},null,[1]]`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		decoder := json.NewDecoder(bytes.NewReader(text))
		decoder.UseNumber()
		for rest, err := text, error(nil); ; {
			var out []byte
			before := rest
			out, rest, err = Read(nil, rest)
			if len(out) > len(before)+32*(1+bytes.Count(before, []byte("["))) {
				t.Fatalf("%d bytes became %d", len(before), len(out))
			}
			for packet := out; len(packet) > 0; {
				n, err := protocol.Gate(packet)
				if err != nil {
					t.Fatalf("%x does not pass the gate: %v", packet, err)
				}
				compare(t, decoder, packet[:n])
				roundTrip(t, packet[:n])
				packet = packet[n:]
			}
			if _, ok := errors.AsType[*RequestError](err); ok {
				var skipped []any
				if err := decoder.Decode(&skipped); err != nil {
					t.Fatalf("encoding/json: %v", err)
				}
				if len(bytes.TrimSpace(rest)) > 0 {
					continue
				}
			} else if err != nil {
				if protocol.CodeOf(err) != protocol.CodeBadPacket {
					t.Fatalf("found %v", err)
				}
				return
			}
			if _, err := decoder.Token(); !errors.Is(err, io.EOF) || len(rest) > 0 {
				t.Fatalf("encoding/json finds more: %v, %q", err, rest)
			}
			return
		}
	})
}

// compare holds a packet against the next value of the decoder.
func compare(t *testing.T, decoder *json.Decoder, packet []byte) {
	var want []any
	if err := decoder.Decode(&want); err != nil {
		t.Fatalf("%x was read, and encoding/json: %v", packet, err)
	}
	raw, _, err := protocol.Next(packet)
	if err != nil || placesOf(raw.Type) != (place{}) {
		return
	}
	var got []any
	if err := msgpack.Unmarshal(packet, &got); err != nil {
		t.Fatal(err)
	}
	if want, got := plain(want), plain(got); !reflect.DeepEqual(want, got) { // cmp takes seconds for 20 lists in one another
		t.Fatalf("%x (-encoding/json +found):\n%s", packet, cmp.Diff(want, got))
	}
}

// plain is v with every number as a fraction of text.
func plain(v any) any {
	switch v := v.(type) {
	case json.Number:
		r, _ := new(big.Rat).SetString(string(v))
		return r.RatString()
	case int8, int16, int32, int64, uint8, uint16, uint32, uint64:
		text, _ := json.Marshal(v)
		return string(text)
	case []any:
		for i := range v {
			v[i] = plain(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = plain(v[k])
		}
	}
	return v
}

// roundTrip takes a packet, if it is one, to JSON and back.
func roundTrip(t *testing.T, packet []byte) {
	raw, _, err := protocol.Next(packet)
	if err != nil {
		return
	}
	p, err := protocol.DecodePacket(raw)
	if err != nil {
		return
	}
	packet = p.Append(nil)
	text, err := Append(nil, packet)
	if err != nil || !json.Valid(text) {
		t.Fatalf("%x becomes %q: %v", packet, text, err)
	}
	if m, ok := p.(*protocol.Message); ok && msgjson.KindOf(m.ContentType) != msgjson.Text && msgjson.KindOf(m.ContentType) != msgjson.Other {
		return // shown as a value
	}
	if again, rest, err := Read(nil, text); err != nil || len(rest) > 0 || !bytes.Equal(again, packet) {
		t.Fatalf("%x became %s and %x: %v", packet, text, again, err)
	}
}

// An integer is read exactly as it is, in whatever way it is written.
func FuzzInteger(f *testing.F) {
	for _, s := range []string{"0", "-0", "1.5", "1.50e1", "9007199254740991", "9007199254740992", "0.0001e4", "1e15", "9007199254740991.0", "-1", "10e-1", "1e-999"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		end, ok := 0, false
		if len(s) > 0 {
			end, ok = scanNumber([]byte(s), 0)
		}
		if ok = ok && end == len(s); ok != (json.Valid([]byte(s)) && (s[0] == '-' || s[0] >= '0' && s[0] <= '9') && end == len(s)) {
			t.Fatalf("%q is a number: %t", s, ok)
		}
		if e := exponentOf(s); !ok || e < -500 || e > 500 {
			return
		}
		want, _ := new(big.Rat).SetString(s)
		limit := new(big.Rat).SetInt64(protocol.MaxInt)
		v, got := integer([]byte(s))
		if got != (want.IsInt() && want.Sign() >= 0 && want.Cmp(limit) <= 0) {
			t.Fatalf("%q is an integer: %t", s, got)
		}
		if got && want.Cmp(new(big.Rat).SetInt64(int64(v))) != 0 {
			t.Fatalf("%q is %d", s, v)
		}
	})
}

func exponentOf(s string) int {
	if i := bytes.IndexAny([]byte(s), "eE"); i >= 0 && i+1 < len(s) {
		return exponent([]byte(s[i+1:]))
	}
	return 0
}

// Whatever stands for a packet is written as one line of JSON, or not at all.
func FuzzAppend(f *testing.F) {
	for _, v := range vectors(f, "packet") {
		packet, _ := hex.DecodeString(v.Hex)
		f.Add(packet)
	}
	f.Fuzz(func(t *testing.T, packets []byte) {
		out, err := Append([]byte("x"), packets)
		if err != nil {
			if string(out) != "x" {
				t.Fatalf("found %q left behind", out)
			}
			return
		}
		for line := range bytes.Lines(out[1:]) {
			if !json.Valid(line) || line[0] != '[' {
				t.Fatalf("%x is written %q", packets, line)
			}
		}
	})
}
