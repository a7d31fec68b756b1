package carillon

import (
	"bytes"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vmihailenco/msgpack/v5"
)

func TestDecodeByContentType(t *testing.T) {
	type order struct {
		Total int       `json:"total" msgpack:"total"`
		When  time.Time `json:"-" msgpack:"when"`
	}
	when := time.Unix(1000, 5)
	packed, err := msgpack.Marshal(order{5, when})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		contentType, payload string
		want                 order
	}{
		{"", string(packed), order{5, when}},
		{"application/msgpack", string(packed), order{5, when}},
		{"application/json", `{"total":5}`, order{Total: 5}},
		{"Application/Problem+JSON; charset=utf-8", `{"total":5}`, order{Total: 5}},
	}
	for _, test := range tests {
		m := &Message{ContentType: test.contentType, Payload: []byte(test.payload)}
		var got order
		if err := m.Decode(&got); err != nil {
			t.Errorf("%q: %v", test.contentType, err)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", test.contentType, diff)
		}
	}
	var text string
	var raw []byte
	m := &Message{ContentType: "text/plain", Payload: []byte("hello")}
	if m.Decode(&text) != nil || m.Decode(&raw) != nil || text != "hello" || string(raw) != "hello" {
		t.Errorf("got %q and %q, want hello", text, raw)
	}
	if err := m.Decode(&order{}); err == nil {
		t.Error("text was decoded into a struct")
	}
}

func TestHostilePayloadsAreRefusedBeforeTheLibrarySeesThem(t *testing.T) {
	deep := func(n int) string { return strings.Repeat("\x91", n) + "\x01" }
	tests := []struct {
		name, payload string
		ok            bool
	}{
		{"nothing", "", false},
		{"an array of four billion", "\xdd\xff\xff\xff\xff", false},
		{"a map of four billion", "\xdf\xff\xff\xff\xff", false},
		{"a string longer than there is", "\xdb\xff\xff\xff\xff", false},
		{"bytes longer than there are", "\xc6\xff\xff\xff\xff", false},
		{"an extension longer than there is", "\xc9\xff\xff\xff\xff\x01", false},
		{"a length that is cut", "\xdc\x00", false},
		{"a number that is cut", "\xcf\x00", false},
		{"the byte that is never used", "\xc1", false},
		{"two values", "\x01\x02", false},
		{"nested 64 deep", deep(64), true},
		{"nested 65 deep", deep(65), false},
		{"a map of 100", "\xde\x00\x64" + strings.Repeat("\xa1k\x01", 100), true},
		{"an array of 2000", "\xdc\x07\xd0" + strings.Repeat("\x01", 2000), true},
	}
	for _, test := range tests {
		if err := checkMsgpack([]byte(test.payload)); (err == nil) != test.ok {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}

// The check and the library agree on where a value ends.
func FuzzCheckMsgpack(f *testing.F) {
	for _, v := range []any{nil, true, 1, -1, 300, 1 << 40, 1.5, float32(1), "s", []byte("b"), []int{1, 2}, map[string]any{"a": []any{nil}}, time.Unix(1, 0)} {
		b, err := msgpack.Marshal(v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if checkMsgpack(b) != nil {
			return
		}
		r := bytes.NewReader(b)
		if err := msgpack.NewDecoder(r).Skip(); err == nil && r.Len() != 0 {
			t.Errorf("%x: the library leaves %d bytes", b, r.Len())
		}
		var v any
		_ = msgpack.Unmarshal(b, &v)
	})
}

// A program that imports the client gets the protocol, a WebSocket and msgpack, and nothing of the broker.
func TestDependencies(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	allowed := []string{
		"github.com/carillon-mq/carillon/sdk/go", "github.com/carillon-mq/carillon/protocol",
		"github.com/coder/websocket", "github.com/vmihailenco/msgpack/v5", "github.com/vmihailenco/tagparser/v2",
	}
	for path := range strings.FieldsSeq(string(out)) {
		first, _, _ := strings.Cut(path, "/")
		if !strings.Contains(first, ".") {
			continue // the standard library
		}
		if !slices.ContainsFunc(allowed, func(a string) bool { return path == a || strings.HasPrefix(path, a+"/") }) {
			t.Errorf("the client depends on %s", path)
		}
	}
}
