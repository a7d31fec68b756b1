package conformance

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"unicode/utf8"

	"github.com/carillon-mq/carillon/protocol"
)

// bin is a msgpack bin; a string is a str.
type bin []byte

// pairs are a map in a given order.
type pairs []pair

type pair struct {
	key   string
	value any
}

// appendValue appends v in its shortest form ([ENC-10]). v is nil, a bool, a number, a string, a bin, a list or a map.
func appendValue(b []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return append(b, 0xc0), nil
	case bool:
		if v {
			return append(b, 0xc3), nil
		}
		return append(b, 0xc2), nil
	case string:
		if len(v) < 32 {
			b = append(b, 0xa0|byte(len(v)))
		} else {
			b = appendLength(b, 0xd9, len(v))
		}
		return append(b, v...), nil
	case bin:
		return append(appendLength(b, 0xc4, len(v)), v...), nil
	case []any:
		b = appendCount(b, 0x90, 0xdc, len(v))
		return appendAll(b, v)
	case map[string]any:
		ordered := make(pairs, 0, len(v))
		for _, key := range slices.Sorted(maps.Keys(v)) {
			ordered = append(ordered, pair{key, v[key]})
		}
		return appendValue(b, ordered)
	case pairs:
		b = appendCount(b, 0x80, 0xde, len(v))
		for _, p := range v {
			var err error
			if b, err = appendAll(b, []any{p.key, p.value}); err != nil {
				return nil, err
			}
		}
		return b, nil
	case float32:
		return binary.BigEndian.AppendUint32(append(b, 0xca), math.Float32bits(v)), nil
	case float64:
		if n, whole := integer(v); whole {
			return appendInteger(b, n), nil
		}
		return binary.BigEndian.AppendUint64(append(b, 0xcb), math.Float64bits(v)), nil
	}
	if n, whole := integer(v); whole {
		return appendInteger(b, n), nil
	}
	return nil, fmt.Errorf("%v has no form in a packet", v)
}

func appendAll(b []byte, all []any) ([]byte, error) {
	for _, v := range all {
		var err error
		if b, err = appendValue(b, v); err != nil {
			return nil, err
		}
	}
	return b, nil
}

func appendCount(b []byte, short, long byte, n int) []byte {
	if n < 16 {
		return append(b, short|byte(n))
	}
	return binary.BigEndian.AppendUint16(append(b, long), uint16(n))
}

// appendLength writes the head of n bytes, in one byte, two or four behind the codes from first on.
func appendLength(b []byte, first byte, n int) []byte {
	switch {
	case n < 1<<8:
		return append(b, first, byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(b, first+1), uint16(n))
	}
	return binary.BigEndian.AppendUint32(append(b, first+2), uint32(n))
}

func appendInteger(b []byte, n int64) []byte {
	switch {
	case n < 0:
		return binary.BigEndian.AppendUint64(append(b, 0xd3), uint64(n))
	case n < 1<<7:
		return append(b, byte(n))
	case n < 1<<8:
		return append(b, 0xcc, byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(b, 0xcd), uint16(n))
	case n < 1<<32:
		return binary.BigEndian.AppendUint32(append(b, 0xce), uint32(n))
	}
	return binary.BigEndian.AppendUint64(append(b, 0xcf), uint64(n))
}

// integer is v as an integer, if it is one.
func integer(v any) (int64, bool) {
	switch v := v.(type) {
	case int:
		return int64(v), true
	case int64:
		return v, true
	case uint64:
		return int64(v), v <= math.MaxInt64
	case float64:
		return int64(v), v == math.Trunc(v) && math.Abs(v) <= protocol.MaxInt
	}
	return 0, false
}

var errCut = errors.New("a value is cut short")

// decodeValue reads the first value of b and returns what is behind it. protocol.Gate has let b through.
func decodeValue(b []byte) (v any, rest []byte, err error) {
	if len(b) == 0 {
		return nil, nil, errCut
	}
	head, b := b[0], b[1:]
	switch {
	case head < 0x80:
		return int64(head), b, nil
	case head < 0x90:
		return decodeMap(b, int(head&0x0f))
	case head < 0xa0:
		return decodeList(b, int(head&0x0f))
	case head < 0xc0:
		return decodeText(b, int(head&0x1f))
	case head >= 0xe0:
		return int64(int8(head)), b, nil
	}
	switch head {
	case 0xc0:
		return nil, b, nil
	case 0xc2, 0xc3:
		return head == 0xc3, b, nil
	}
	width, known := map[byte]int{
		0xc4: 1, 0xc5: 2, 0xc6: 4, 0xca: 4, 0xcb: 8, 0xcc: 1, 0xcd: 2, 0xce: 4, 0xcf: 8, 0xd0: 1, 0xd1: 2, 0xd2: 4, 0xd3: 8,
		0xd9: 1, 0xda: 2, 0xdb: 4, 0xdc: 2, 0xdd: 4, 0xde: 2, 0xdf: 4,
	}[head]
	if !known || len(b) < width {
		return nil, nil, errCut
	}
	var n uint64
	for _, digit := range b[:width] {
		n = n<<8 | uint64(digit)
	}
	return decodeLong(head, width, n, b[width:])
}

// decodeLong reads what follows a head whose number n took so many bytes.
func decodeLong(head byte, width int, n uint64, b []byte) (any, []byte, error) {
	switch head {
	case 0xca:
		return math.Float32frombits(uint32(n)), b, nil // no integer ([ENC-3])
	case 0xcb:
		return math.Float64frombits(n), b, nil
	case 0xd0, 0xd1, 0xd2, 0xd3: // the sign is the first bit
		shift := 64 - 8*width
		return int64(n<<shift) >> shift, b, nil
	case 0xcc, 0xcd, 0xce, 0xcf:
		return int64(n), b, nil
	}
	if n > uint64(len(b)) {
		return nil, nil, errCut
	}
	switch head {
	case 0xc4, 0xc5, 0xc6:
		return bin(b[:n]), b[n:], nil
	case 0xd9, 0xda, 0xdb:
		return decodeText(b, int(n))
	case 0xdc, 0xdd:
		return decodeList(b, int(n))
	}
	return decodeMap(b, int(n))
}

func decodeText(b []byte, n int) (any, []byte, error) {
	if len(b) < n || !utf8.Valid(b[:n]) {
		return nil, nil, errCut
	}
	return string(b[:n]), b[n:], nil
}

func decodeList(b []byte, n int) (v any, rest []byte, err error) {
	list := make([]any, 0, n)
	for range n {
		if v, b, err = decodeValue(b); err != nil {
			return nil, nil, err
		}
		list = append(list, v)
	}
	return list, b, nil
}

func decodeMap(b []byte, n int) (any, []byte, error) {
	m := make(map[string]any, n)
	for range n {
		key, rest, err := decodeValue(b)
		if err != nil {
			return nil, nil, err
		}
		value, rest, err := decodeValue(rest)
		if err != nil {
			return nil, nil, err
		}
		name, ok := key.(string)
		if _, twice := m[name]; !ok || twice {
			return nil, nil, fmt.Errorf("the key %s is no str, or comes twice", show(key)) // [ENC-8]
		}
		m[name], b = value, rest
	}
	return m, b, nil
}
