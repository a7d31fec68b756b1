// Package deflate compresses payloads with raw DEFLATE (RFC 1951, [CON-12]). A writer takes about a megabyte, so there are only so many; who
// finds none goes without.
package deflate

import (
	"io"
	"sync/atomic"

	"github.com/klauspost/compress/flate"
)

// level is one at which ordinary payloads take about the time of the fastest, and about the bytes of the best (docs/adr/0023).
const level = 5

// Result is what has become of a payload.
type Result uint8

// The results.
const (
	Done      Result = iota
	Worthless        // what is compressed is hardly shorter
	Busy             // all writers are at work
)

// Pool has a bounded number of writers, made as they are needed. Its methods may be called from any goroutine.
type Pool struct {
	most int64
	made atomic.Int64
	free chan *writer
}

// NewPool returns a pool of at most n writers.
func NewPool(n int) *Pool { return &Pool{most: int64(n), free: make(chan *writer, n)} }

// writer is one at work, and what it has made.
type writer struct {
	flate *flate.Writer
	out   []byte
}

// Write implements io.Writer.
func (w *writer) Write(b []byte) (int, error) {
	w.out = append(w.out, b...)
	return len(b), nil
}

// Append appends payload to dst, compressed into at most 7/8 of its bytes. Unless it is Done, dst is as it was. It does not wait for a writer.
func (p *Pool) Append(dst, payload []byte) (out []byte, r Result) {
	w := p.take()
	if w == nil {
		return dst, Busy
	}
	w.out = dst
	w.flate.Reset(w)
	_, err := w.flate.Write(payload)
	if err == nil {
		err = w.flate.Close()
	}
	out, w.out = w.out, nil
	p.free <- w // has room for all that are made
	if err != nil || (len(out)-len(dst))*8 > len(payload)*7 {
		return dst, Worthless
	}
	return out, Done
}

// take takes a writer, nil when there is none.
func (p *Pool) take() *writer {
	select {
	case w := <-p.free:
		return w
	default:
	}
	if p.made.Add(1) > p.most {
		p.made.Add(-1)
		return nil
	}
	f, err := flate.NewWriter(io.Discard, level)
	if err != nil {
		return nil // the level is one that there is
	}
	return &writer{flate: f}
}
