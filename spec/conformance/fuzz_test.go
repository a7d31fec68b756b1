package conformance

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"
)

// seeds are the members of that name of the vectors of a kind.
func seeds(f *testing.F, kind, member string) (all []string) {
	f.Helper()
	text, err := os.ReadFile("../vectors/" + kind + ".json")
	if err != nil {
		f.Fatal(err)
	}
	var vectors []map[string]any
	if err := json.Unmarshal(text, &vectors); err != nil {
		f.Fatal(err)
	}
	for _, v := range vectors {
		if s, ok := v[member].(string); ok {
			all = append(all, s)
		}
	}
	return all
}

// Whatever a server or an SDK sends is a packet, which would be sent so, or is found wrong.
func FuzzPacket(f *testing.F) {
	for _, text := range seeds(f, "packet", "hex") {
		b, err := hex.DecodeString(text)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, _, err := decodePacket(b)
		if err != nil || forms.byName[p.name] == nil {
			return
		}
		again, err := encodePacket(map[string]any{p.name: p.values})
		if err != nil {
			t.Fatalf("%x is read as %+v, which cannot be written: %v", b, p, err)
		}
		q, _, err := decodePacket(again)
		if err != nil {
			t.Fatalf("%x is read as %+v, and what is written for it, %x, is not read: %v", b, p, again, err)
		}
		if thrice, err := encodePacket(map[string]any{q.name: q.values}); err != nil || !bytes.Equal(again, thrice) {
			t.Errorf("%x is read as %+v and written as %x, that as %x (%v)", b, p, again, thrice, err)
		}
	})
}

// So it is of text.
func FuzzTexts(f *testing.F) {
	for _, text := range seeds(f, "json", "json") {
		f.Add([]byte(text))
	}
	f.Add([]byte(`[15][16] [99,1]`))
	f.Add([]byte(`[4,1,null]`))
	f.Fuzz(func(t *testing.T, text []byte) {
		all, err := decodeTexts(text)
		for _, p := range all {
			if forms.byName[p.name] == nil {
				t.Errorf("%q is read as %+v (%v)", text, p, err)
			}
		}
	})
}
