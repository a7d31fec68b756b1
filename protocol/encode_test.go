package protocol

import (
	"bytes"
	"math"
	"strings"
	"testing"

	"github.com/vmihailenco/msgpack/v5"
)

// [ENC-3]: every value in its shortest form, as the library writes it, on both sides of every bound.
func TestTheEncoderWritesWhatTheLibraryWrites(t *testing.T) {
	bounds := []uint64{0, 1, 15, 16, 31, 32, 127, 128, 255, 256, 65535, 65536, math.MaxUint32, math.MaxUint32 + 1, MaxInt}
	check := func(what string, n uint64, ours func(*encoder), library func(*msgpack.Encoder) error) {
		t.Helper()
		var e encoder
		ours(&e)
		var out bytes.Buffer
		if err := library(msgpack.NewEncoder(&out)); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(e.b, out.Bytes()) {
			t.Errorf("%s of %d: found % x, the library writes % x", what, n, e.b[:min(len(e.b), 9)], out.Bytes()[:min(out.Len(), 9)])
		}
	}
	for _, n := range bounds {
		check("an integer", n, func(e *encoder) { e.uint(n) }, func(l *msgpack.Encoder) error { return l.EncodeUint(n) })
		if n > 1<<17 {
			continue
		}
		text := strings.Repeat("x", int(n))
		check("a str", n, func(e *encoder) { e.str(text) }, func(l *msgpack.Encoder) error { return l.EncodeString(text) })
		check("a bin", n, func(e *encoder) { e.bin([]byte(text)) }, func(l *msgpack.Encoder) error { return l.EncodeBytes([]byte(text)) })
		if n > MaxArray {
			continue
		}
		check("an array", n, func(e *encoder) { e.head(0x90, 0xdc, int(n)) }, func(l *msgpack.Encoder) error { return l.EncodeArrayLen(int(n)) })
		check("a map", n, func(e *encoder) { e.pairs(int(n)) }, func(l *msgpack.Encoder) error { return l.EncodeMapLen(int(n)) })
	}
	for _, v := range []bool{true, false} {
		check("a bool", 0, func(e *encoder) { e.bool(v) }, func(l *msgpack.Encoder) error { return l.EncodeBool(v) })
	}
	check("nil", 0, func(e *encoder) { e.null() }, func(l *msgpack.Encoder) error { return l.EncodeNil() })
}
