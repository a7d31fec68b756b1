package msgjson_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vmihailenco/msgpack/v5"

	"github.com/carillon-mq/carillon/broker/internal/msgjson"
)

func TestWhatIsWritten(t *testing.T) {
	for _, tt := range []struct {
		name, msgpack, json string // json "": it has no form
	}{
		{"zero", "00", "0"},
		{"small negative", "ff", "-1"},
		{"null", "c0", "null"},
		{"false", "c2", "false"},
		{"true", "c3", "true"},
		{"uint64", "cf ffffffffffffffff", "18446744073709551615"},
		{"int8", "d0 80", "-128"},
		{"int64", "d3 8000000000000000", "-9223372036854775808"},
		{"float32", "ca 3f000000", "0.5"},
		{"float32 with its own value", "ca 3dcccccd", "0.10000000149011612"},
		{"float64", "cb 3fb999999999999a", "0.1"},
		{"small float", "cb 3e112e0be826d695", "1e-9"},
		{"large float", "cb 444b1ae4d6e2ef50", "1e+21"},
		{"whole float", "cb 4008000000000000", "3"},
		{"NaN", "cb 7ff8000000000001", ""},
		{"infinity", "cb 7ff0000000000000", ""},
		{"text", "a3 616263", `"abc"`},
		{"text cut off inside a character", "a8 220a0d09015c7fe2", ""},
		{"text with what JSON escapes", "ac 220a0d0908015c0c7fe282ac", `"\"\n\r\t\b\u0001\\\f` + "\x7f€\""},
		{"text that is not UTF-8", "a2 c328", ""},
		{"array", "93 01 a1 61 c0", `[1,"a",null]`},
		{"array in a wide head", "dd 00000001 01", "[1]"},
		{"map", "82 a1 61 01 a1 62 90", `{"a":1,"b":[]}`},
		{"map with a number as key", "81 01 02", ""},
		{"a key twice", "82 a1 61 01 a1 61 02", `{"a":1,"a":2}`},
		{"bin", "c4 01 00", ""},
		{"bin inside", "91 c4 01 00", ""},
		{"ext", "d4 01 00", ""},
		{"timestamp of 4 bytes", "d6 ff 00000000", `"1970-01-01T00:00:00Z"`},
		{"timestamp of 8 bytes", "d7 ff 1dcd6500 6592c240", `"2024-01-01T13:46:40.125Z"`},
		{"timestamp of 12 bytes", "c7 0c ff 3b9ac9ff ffffffff ffffffff", `"1969-12-31T23:59:59.999999999Z"`},
		{"timestamp of the last year", "c7 0c ff 00000000 0000003afff4417f", `"9999-12-31T23:59:59Z"`},
		{"timestamp beyond it", "c7 0c ff 00000000 0000003afff44180", ""},
		{"timestamp with too many nanoseconds", "c7 0c ff 3b9aca00 0000000000000000", ""},
		{"timestamp cut off", "d6 ff 000000", ""},
		{"timestamp of 3 bytes", "c7 03 ff 000000", ""},
		{"ext of another type", "d6 01 00000000", ""},
		{"map with a timestamp as key", "81 d6 ff 00000000 01", ""},
		{"the unused byte", "c1", ""},
		{"nothing", "", ""},
		{"two values", "01 02", ""},
		{"cut off", "92 01", ""},
		{"an array of four billion", "dd ffffffff", ""},
		{"a text of four gigabytes", "db ffffffff 61", ""},
		{"32 deep", strings.Repeat("91", 32) + "01", strings.Repeat("[", 32) + "1" + strings.Repeat("]", 32)},
		{"33 deep", strings.Repeat("91", 33) + "01", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, err := hex.DecodeString(strings.ReplaceAll(tt.msgpack, " ", ""))
			if err != nil {
				t.Fatal(err)
			}
			out, ok := msgjson.Append([]byte("x"), b)
			if string(out) != "x"+tt.json || ok != (tt.json != "") {
				t.Errorf("found %s (%v), wanted %s", out, ok, tt.json)
			}
		})
	}
}

// FuzzAppend compares with the msgpack library and encoding/json: what has a form reads in both as the same.
func FuzzAppend(f *testing.F) {
	for _, v := range []any{
		nil, 1, -1, 300, -300, 1 << 40, 1.5, float32(0.1), 1e300, 1e-7, uint64(math.MaxUint64), "", "a\"\n\x00€",
		[]any{1, "a", []any{}},
		map[string]any{"a": 1, "": map[string]any{"b": []int{1, 2}}},
		[]byte("bin"),
		[]any{[]byte("bin")},
		map[int]int{1: 2},
		time.Unix(1, 0),
		map[string]any{"at": time.Unix(1_700_000_000, 123_456_789)},
		time.Unix(-1, 5),
	} {
		b, err := msgpack.Marshal(v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte("\xdd\xff\xff\xff\xff"))
	f.Add([]byte("\x82\xa1a\x01\xa1a\x02"))
	f.Fuzz(func(t *testing.T, b []byte) {
		out, ok := msgjson.Append(nil, b)
		if !ok {
			if len(out) != 0 {
				t.Fatalf("found %d bytes left behind", len(out))
			}
			return
		}
		if !json.Valid(out) || bytes.ContainsAny(out, "\r\n") || len(out) > 6*len(b)+24 {
			t.Fatalf("found %q of %x", out, b)
		}
		var fromJSON any
		if err := json.Unmarshal(out, &fromJSON); err != nil {
			t.Fatal(err)
		}
		var fromMsgpack any
		if err := msgpack.Unmarshal(b, &fromMsgpack); err != nil {
			t.Fatalf("the library refuses %x: %v", b, err)
		}
		if want := plain(fromMsgpack); !reflect.DeepEqual(want, fromJSON) { // cmp takes seconds for 20 lists in one another
			t.Fatalf("%x is %s:\n%s", b, out, cmp.Diff(want, fromJSON))
		}
	})
}

// plain is v with every number as encoding/json reads it.
func plain(v any) any {
	switch v := v.(type) {
	case int8:
		return float64(v)
	case int16:
		return float64(v)
	case int32:
		return float64(v)
	case int64:
		return float64(v)
	case uint8:
		return float64(v)
	case uint16:
		return float64(v)
	case uint32:
		return float64(v)
	case uint64:
		return float64(v)
	case float32:
		return float64(v)
	case time.Time:
		return v.UTC().Format(time.RFC3339Nano)
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = plain(v[i])
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for k := range v {
			out[k] = plain(v[k])
		}
		return out
	}
	return v
}

func BenchmarkAppend(b *testing.B) {
	in, err := msgpack.Marshal(map[string]any{"id": 42, "status": "shipped", "total": 19.99, "items": []string{"a", "b"}, "by": "alice"})
	if err != nil {
		b.Fatal(err)
	}
	dst := make([]byte, 0, 512)
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := msgjson.Append(dst, in); !ok {
			b.Fatal("no form")
		}
	}
}
