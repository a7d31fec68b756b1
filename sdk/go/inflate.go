package carillon

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/carillon-mq/carillon/protocol"
)

// inflater reads one compressed payload. It is large, and idle connections need none.
type inflater struct {
	from bytes.Reader
	flate.Resetter
	io.Reader
}

var inflaters = sync.Pool{New: func() any {
	z := new(inflater)
	r := flate.NewReader(&z.from)
	z.Reader, z.Resetter = r, r.(flate.Resetter)
	return z
}}

// inflate replaces the payload of m, which is compressed, by what it stands for ([MSG-5]). That is valid until the next one. An error means
// that the connection is broken.
func (cn *connection) inflate(m *protocol.Message) error {
	if m.Encoding != cn.compress || m.Encoding != protocol.CompressDeflate {
		return fmt.Errorf("found a payload of the encoding %q, which was not agreed", m.Encoding)
	}
	z := inflaters.Get().(*inflater)
	defer inflaters.Put(z)
	z.from.Reset(m.Payload)
	defer z.from.Reset(nil)
	if err := z.Reset(&z.from, nil); err != nil {
		return fmt.Errorf("inflate: %w", err)
	}
	b, err := readAtMost(z, cn.plain[:0], cn.maxPayload)
	switch {
	case err != nil:
		return fmt.Errorf("inflate: %w", err)
	case z.from.Len() > 0:
		return fmt.Errorf("found %d bytes behind a compressed payload", z.from.Len())
	}
	m.Payload = b
	if cap(b) <= keepBuffer {
		cn.plain = b
	}
	return nil
}

var errTooLong = errors.New("found more than the limit of a payload")

// readAtMost appends all of r to b, which is empty, and fails when that is more than most bytes.
func readAtMost(r io.Reader, b []byte, most int) ([]byte, error) {
	for {
		b = slices.Grow(b, 512)
		n, err := r.Read(b[len(b):min(cap(b), most+1)])
		b = b[:len(b)+n]
		switch {
		case len(b) > most:
			return nil, errTooLong
		case errors.Is(err, io.EOF):
			return b, nil
		case err != nil:
			return nil, err
		}
	}
}
