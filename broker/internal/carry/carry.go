// Package carry is the form of a log on its way over a restart: numbers and bytes in blocks with checksums, so that nothing is read of a
// file that is not as it was written.
package carry

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
	magic       = "carillon log"
	formVersion = 2
	blockBytes  = 64 << 10 // most bytes of a block
	lastBlock   = 1 << 31
	sumBytes    = 16 // bytes of a SHA-256
)

var (
	errMagic  = errors.New("it does not begin like a log")
	errEnd    = errors.New("it ends too early")
	errSum    = errors.New("it is damaged: checksum mismatch")
	errBeyond = errors.New("it goes on behind its end")

	// ErrForm is that a log which is as it was written does not have the form of one.
	ErrForm = errors.New("it does not have the form of a log")
)

// Writer writes numbers and bytes into blocks. After an error it does nothing.
type Writer struct {
	w     io.Writer
	sum   hash.Hash
	block []byte // its length first
	Err   error
}

// NewWriter begins a log.
func NewWriter(w io.Writer) *Writer {
	c := &Writer{w: w, sum: sha256.New(), block: make([]byte, 4, 4+blockBytes+sumBytes)}
	head := binary.BigEndian.AppendUint32([]byte(magic), formVersion)
	c.sum.Write(head)
	_, c.Err = w.Write(head)
	return c
}

// Uint writes a number.
func (c *Writer) Uint(v uint64) {
	var b [binary.MaxVarintLen64]byte
	c.Raw(b[:binary.PutUvarint(b[:], v)])
}

// Int writes a number that may be negative.
func (c *Writer) Int(v int64) {
	var b [binary.MaxVarintLen64]byte
	c.Raw(b[:binary.PutVarint(b[:], v)])
}

// Bytes writes b behind its length.
func (c *Writer) Bytes(b []byte) {
	c.Uint(uint64(len(b)))
	c.Raw(b)
}

// Raw writes b, whose length the reader knows.
func (c *Writer) Raw(b []byte) {
	for len(b) > 0 && c.Err == nil {
		n := min(len(b), 4+blockBytes-len(c.block))
		c.block = append(c.block, b[:n]...)
		if b = b[n:]; len(c.block) == 4+blockBytes {
			c.flush(0)
		}
	}
}

func (c *Writer) flush(last uint32) {
	binary.BigEndian.PutUint32(c.block, uint32(len(c.block)-4)|last)
	c.sum.Write(c.block)
	c.block = append(c.block, c.sum.Sum(nil)[:sumBytes]...)
	_, c.Err = c.w.Write(c.block)
	c.block = c.block[:4]
}

// Close writes the last block.
func (c *Writer) Close() error {
	if c.Err == nil {
		c.flush(lastBlock)
	}
	return c.Err
}

// Reader reads what a Writer wrote. After an error it gives zeros.
type Reader struct {
	r    io.Reader
	sum  hash.Hash
	buf  []byte // the block and its sum
	Rest []byte // of the block, what was not read
	last bool
	Err  error
}

// NewReader reads the beginning of a log.
func NewReader(r io.Reader) *Reader {
	c := &Reader{r: r, sum: sha256.New(), buf: make([]byte, 4+blockBytes+sumBytes)}
	head := c.buf[:len(magic)+4]
	c.full(head)
	switch version := binary.BigEndian.Uint32(head[len(magic):]); {
	case c.Err != nil:
	case string(head[:len(magic)]) != magic:
		c.Err = errMagic
	case version != formVersion:
		c.Err = fmt.Errorf("it is of version %d, this broker reads version %d", version, formVersion)
	}
	c.sum.Write(head)
	return c
}

func (c *Reader) full(b []byte) {
	if c.Err != nil {
		return
	}
	if _, c.Err = io.ReadFull(c.r, b); errors.Is(c.Err, io.EOF) || errors.Is(c.Err, io.ErrUnexpectedEOF) {
		c.Err = errEnd
	}
}

// More sees to it that there is something in rest. It reports false at the end and after an error.
func (c *Reader) More() bool {
	for len(c.Rest) == 0 && c.Err == nil && !c.last {
		c.fill()
	}
	return c.Err == nil && len(c.Rest) > 0
}

// fill reads the next block.
func (c *Reader) fill() {
	head := c.buf[:4]
	c.full(head)
	length := binary.BigEndian.Uint32(head)
	c.last = length&lastBlock != 0
	if length &^= lastBlock; c.Err == nil && length > blockBytes {
		c.Err = errSum
	}
	if c.Err != nil {
		return
	}
	block := c.buf[:4+length+sumBytes]
	c.full(block[4:])
	content, sum := block[:4+length], block[4+length:]
	c.sum.Write(content)
	if c.Err == nil && !bytes.Equal(sum, c.sum.Sum(nil)[:sumBytes]) {
		c.Err = errSum
	}
	if c.Rest = content[4:]; c.Err != nil || !c.last {
		return
	}
	var beyond [1]byte
	if _, err := io.ReadFull(c.r, beyond[:]); err == nil {
		c.Err = errBeyond
	} else if !errors.Is(err, io.EOF) {
		c.Err = err
	}
}

// ReadByte implements io.ByteReader.
func (c *Reader) ReadByte() (byte, error) {
	if !c.More() {
		return 0, ErrForm
	}
	b := c.Rest[0]
	c.Rest = c.Rest[1:]
	return b, nil
}

// Fail makes err the Reader's error, unless it has one.
func (c *Reader) Fail(err error) {
	if c.Err == nil {
		c.Err = err
	}
}

// Uint reads a number up to protocol.MaxInt.
func (c *Reader) Uint() uint64 {
	v, err := binary.ReadUvarint(c)
	if err != nil || v > protocol.MaxInt {
		c.Fail(ErrForm)
		return 0
	}
	return v
}

// Int reads a number between -protocol.MaxInt and protocol.MaxInt.
func (c *Reader) Int() int64 {
	v, err := binary.ReadVarint(c)
	if err != nil || v > protocol.MaxInt || v < -protocol.MaxInt {
		c.Fail(ErrForm)
		return 0
	}
	return v
}

// Bytes reads at most limit bytes with their length. They are the caller's, and exactly as long as their array.
func (c *Reader) Bytes(limit uint64) []byte {
	n := c.Uint()
	if n > limit {
		c.Fail(ErrForm)
	}
	if c.Err != nil {
		return nil
	}
	if n <= blockBytes {
		b := make([]byte, n)
		c.Raw(b)
		return b
	}
	var b []byte // grows with what is really there
	for c.Err == nil && uint64(len(b)) < n {
		had := len(b)
		b = append(b, make([]byte, min(n-uint64(had), blockBytes))...)
		c.Raw(b[had:])
	}
	return append(make([]byte, 0, n), b...)
}

// Raw fills b.
func (c *Reader) Raw(b []byte) {
	for len(b) > 0 {
		if !c.More() {
			c.Fail(ErrForm)
			return
		}
		n := copy(b, c.Rest)
		b, c.Rest = b[n:], c.Rest[n:]
	}
}

// Close reports what was wrong, also that not everything was read.
func (c *Reader) Close() error {
	if c.More() {
		c.Fail(ErrForm)
	}
	return c.Err
}
