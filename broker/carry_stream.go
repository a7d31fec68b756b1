package broker

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/carillon-mq/carillon/protocol"
)

// A log on its way over a restart is a head of 16 bytes and then blocks:
//
//	"carillon log" version
//	length bytes sum       length and version: 4 bytes, big-endian; the highest bit of length is set in the last block
//
// sum is that of everything from the head on, so nothing of a block is looked at before it is known to be what was written there.
const (
	carryMagic   = "carillon log"
	carryVersion = 1
	carryBlock   = 64 << 10 // most bytes of a block
	carryLast    = 1 << 31
	carrySum     = 16 // bytes of a SHA-256
)

var (
	errCarryMagic  = errors.New("it does not begin like a log")
	errCarryEnd    = errors.New("it ends too early")
	errCarrySum    = errors.New("it is damaged: checksum mismatch")
	errCarryBeyond = errors.New("it goes on behind its end")
	errCarryForm   = errors.New("it does not have the form of a log")
)

// carryWriter writes numbers and bytes into blocks. After an error it does nothing.
type carryWriter struct {
	w     io.Writer
	sum   hash.Hash
	block []byte // its length first
	err   error
}

func newCarryWriter(w io.Writer) *carryWriter {
	c := &carryWriter{w: w, sum: sha256.New(), block: make([]byte, 4, 4+carryBlock+carrySum)}
	head := binary.BigEndian.AppendUint32([]byte(carryMagic), carryVersion)
	c.sum.Write(head)
	_, c.err = w.Write(head)
	return c
}

func (c *carryWriter) uint(v uint64) {
	var b [binary.MaxVarintLen64]byte
	c.raw(b[:binary.PutUvarint(b[:], v)])
}

func (c *carryWriter) int(v int64) {
	var b [binary.MaxVarintLen64]byte
	c.raw(b[:binary.PutVarint(b[:], v)])
}

func (c *carryWriter) bytes(b []byte) {
	c.uint(uint64(len(b)))
	c.raw(b)
}

func (c *carryWriter) raw(b []byte) {
	for len(b) > 0 && c.err == nil {
		n := min(len(b), 4+carryBlock-len(c.block))
		c.block = append(c.block, b[:n]...)
		if b = b[n:]; len(c.block) == 4+carryBlock {
			c.flush(0)
		}
	}
}

func (c *carryWriter) flush(last uint32) {
	binary.BigEndian.PutUint32(c.block, uint32(len(c.block)-4)|last)
	c.sum.Write(c.block)
	c.block = append(c.block, c.sum.Sum(nil)[:carrySum]...)
	_, c.err = c.w.Write(c.block)
	c.block = c.block[:4]
}

// close writes the last block.
func (c *carryWriter) close() error {
	if c.err == nil {
		c.flush(carryLast)
	}
	return c.err
}

// carryReader reads what a carryWriter wrote. After an error it gives zeros.
type carryReader struct {
	r    io.Reader
	sum  hash.Hash
	buf  []byte // the block and its sum
	rest []byte // of the block, what was not read
	last bool
	err  error
}

func newCarryReader(r io.Reader) *carryReader {
	c := &carryReader{r: r, sum: sha256.New(), buf: make([]byte, 4+carryBlock+carrySum)}
	head := c.buf[:len(carryMagic)+4]
	c.full(head)
	switch version := binary.BigEndian.Uint32(head[len(carryMagic):]); {
	case c.err != nil:
	case string(head[:len(carryMagic)]) != carryMagic:
		c.err = errCarryMagic
	case version != carryVersion:
		c.err = fmt.Errorf("it is of version %d, this broker reads version %d", version, carryVersion)
	}
	c.sum.Write(head)
	return c
}

func (c *carryReader) full(b []byte) {
	if c.err != nil {
		return
	}
	if _, c.err = io.ReadFull(c.r, b); errors.Is(c.err, io.EOF) || errors.Is(c.err, io.ErrUnexpectedEOF) {
		c.err = errCarryEnd
	}
}

// more sees to it that there is something in rest. It reports false at the end and after an error.
func (c *carryReader) more() bool {
	for len(c.rest) == 0 && c.err == nil && !c.last {
		c.fill()
	}
	return c.err == nil && len(c.rest) > 0
}

// fill reads the next block.
func (c *carryReader) fill() {
	head := c.buf[:4]
	c.full(head)
	length := binary.BigEndian.Uint32(head)
	c.last = length&carryLast != 0
	if length &^= carryLast; c.err == nil && length > carryBlock {
		c.err = errCarrySum
	}
	if c.err != nil {
		return
	}
	block := c.buf[:4+length+carrySum]
	c.full(block[4:])
	content, sum := block[:4+length], block[4+length:]
	c.sum.Write(content)
	if c.err == nil && !bytes.Equal(sum, c.sum.Sum(nil)[:carrySum]) {
		c.err = errCarrySum
	}
	if c.rest = content[4:]; c.err != nil || !c.last {
		return
	}
	var beyond [1]byte
	if _, err := io.ReadFull(c.r, beyond[:]); err == nil {
		c.err = errCarryBeyond
	} else if !errors.Is(err, io.EOF) {
		c.err = err
	}
}

// ReadByte implements io.ByteReader.
func (c *carryReader) ReadByte() (byte, error) {
	if !c.more() {
		return 0, errCarryForm
	}
	b := c.rest[0]
	c.rest = c.rest[1:]
	return b, nil
}

func (c *carryReader) fail(err error) {
	if c.err == nil {
		c.err = err
	}
}

// uint reads a number up to protocol.MaxInt.
func (c *carryReader) uint() uint64 {
	v, err := binary.ReadUvarint(c)
	if err != nil || v > protocol.MaxInt {
		c.fail(errCarryForm)
		return 0
	}
	return v
}

func (c *carryReader) int() int64 {
	v, err := binary.ReadVarint(c)
	if err != nil || v > protocol.MaxInt || v < -protocol.MaxInt {
		c.fail(errCarryForm)
		return 0
	}
	return v
}

// bytes reads at most limit bytes with their length. They are the caller's, and exactly as long as their array.
func (c *carryReader) bytes(limit uint64) []byte {
	n := c.uint()
	if n > limit {
		c.fail(errCarryForm)
	}
	if c.err != nil {
		return nil
	}
	if n <= carryBlock {
		b := make([]byte, n)
		c.raw(b)
		return b
	}
	var b []byte // grows with what is really there
	for c.err == nil && uint64(len(b)) < n {
		had := len(b)
		b = append(b, make([]byte, min(n-uint64(had), carryBlock))...)
		c.raw(b[had:])
	}
	return append(make([]byte, 0, n), b...)
}

func (c *carryReader) raw(b []byte) {
	for len(b) > 0 {
		if !c.more() {
			c.fail(errCarryForm)
			return
		}
		n := copy(b, c.rest)
		b, c.rest = b[n:], c.rest[n:]
	}
}

func (c *carryReader) run() (id protocol.RunID) {
	c.raw(id[:])
	return id
}

// close reports what was wrong, also that not everything was read.
func (c *carryReader) close() error {
	if c.more() {
		c.fail(errCarryForm)
	}
	return c.err
}
