package bench

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strconv"
)

// The messages of a fan-out are numbered, in a form that is found at once in every encoding: {"n": 7, "pad": "…"}.
var (
	numberHead = []byte("\x82\xa1n\xcf")
	numberJSON = []byte(`{"n":`)
)

// minNumbered is the size of the shortest payload with a number.
const minNumbered = 32

// appendNumbered appends a payload of size bytes in msgpack.
func appendNumbered(b []byte, n uint64, size int) []byte {
	start := len(b)
	b = binary.BigEndian.AppendUint64(append(b, numberHead...), n)
	b = append(b, "\xa3pad\xda"...)
	pad := max(size-(len(b)-start)-2, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(pad))
	return append(b, bytes.Repeat([]byte("x"), pad)...)
}

// numberIn is the number in a packet.
func numberIn(packet []byte) (n uint64, ok bool) {
	i := bytes.Index(packet, numberHead)
	if i < 0 || len(packet) < i+len(numberHead)+8 {
		return 0, false
	}
	return binary.BigEndian.Uint64(packet[i+len(numberHead):]), true
}

// order checks that numbers come from 0, each once and none left out.
type order struct{ next uint64 }

func (o *order) take(n uint64) error {
	if n != o.next {
		return fmt.Errorf("found message %d, wanted %d: the run is invalid", n, o.next)
	}
	o.next++
	return nil
}

// takeJSON takes the numbers in text and returns how many there were.
func (o *order) takeJSON(text []byte) (count int, err error) {
	for {
		i := bytes.Index(text, numberJSON)
		if i < 0 {
			return count, nil
		}
		text = text[i+len(numberJSON):]
		end := bytes.IndexByte(text, ',')
		n, err := strconv.ParseUint(string(text[:max(end, 0)]), 10, 64)
		if err != nil {
			return count, err
		}
		if err := o.take(n); err != nil {
			return count, err
		}
		count++
	}
}
