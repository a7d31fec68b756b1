package bench

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strconv"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// The messages of a bench are numbered and say when they were due, in a form that is found at once in every encoding:
// {"n": 7, "t": 123456, "pad": "…"}.
var (
	numberHead = []byte("\x83\xa1n\xcf")
	dueHead    = []byte("\xa1t\xcf")
	numberJSON = []byte(`{"n":`)
)

// minNumbered is the size of the shortest payload with a number; what is in front of the padding is as long.
const minNumbered = 30

// numbered is a payload of size bytes in msgpack. due is in nanoseconds of the client's clock; 0 means that nobody is to look how long the
// message took.
func numbered(n uint64, due int64, size int) []byte {
	b := make([]byte, 0, max(size, minNumbered))
	b = binary.BigEndian.AppendUint64(append(b, numberHead...), n)
	b = binary.BigEndian.AppendUint64(append(b, dueHead...), uint64(due))
	b = append(b, "\xa3pad\xda"...)
	pad := max(size-minNumbered, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(pad))
	return append(b, bytes.Repeat([]byte("x"), pad)...)
}

// numberAt reads what stands at the beginning of a numbered payload.
func numberAt(b []byte) (n uint64, due int64, ok bool) {
	if len(b) < minNumbered || !bytes.HasPrefix(b, numberHead) {
		return 0, 0, false
	}
	n = binary.BigEndian.Uint64(b[len(numberHead):])
	return n, int64(binary.BigEndian.Uint64(b[len(numberHead)+8+len(dueHead):])), true
}

// epoch is when the client's clock began.
var epoch = time.Now()

// clock is the client's clock, in nanoseconds.
func clock() int64 { return int64(time.Since(epoch)) }

// order checks that numbers come from 0, each once and none left out.
type order struct {
	next  uint64
	shape shape
	times *times // nil: nobody looks at the times
}

// shape is what the last message looked like: how long its packet was, where in it the number stood, and its first two bytes. The next one
// looks the same, but for a longer sequence number now and then.
type shape struct {
	size, at int
	head     [2]byte
}

func (o *order) take(n uint64, due int64) error {
	if n != o.next {
		return fmt.Errorf("found message %d, wanted %d: the run is invalid", n, o.next)
	}
	o.next++
	if o.times != nil {
		o.times.took(n, due)
	}
	return nil
}

// times are how long messages took, as one of the client's goroutines has seen it.
type times struct {
	now  int64 // when what is being looked at was read
	each *hdrhistogram.Histogram
	last []int64 // by number: how long it took to its last subscriber; nil if nobody asks
	// batches are how long the goroutine took for all that was ready at once: by that the last of it may have been read late.
	batches *hdrhistogram.Histogram
}

// Latencies are recorded in microseconds, from 1 to a minute, to three digits.
const (
	lowestLatency  = 1
	highestLatency = 60_000_000
	latencyDigits  = 3
)

func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(lowestLatency, highestLatency, latencyDigits)
}

func (t *times) took(n uint64, due int64) {
	if due == 0 {
		return
	}
	record(t.each, t.now-due)
	if n < uint64(len(t.last)) {
		t.last[n] = max(t.last[n], t.now-due)
	}
}

// record puts nanoseconds into h.
func record(h *hdrhistogram.Histogram, ns int64) {
	_ = h.RecordValue(min(max(ns/1000, lowestLatency), highestLatency)) // it is within the bounds
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
		if err := o.take(n, 0); err != nil {
			return count, err
		}
		count++
	}
}
