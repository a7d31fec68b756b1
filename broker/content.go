package broker

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"slices"
	"sync"

	"github.com/carillon-mq/carillon/protocol"
)

// keyBytes is how many bytes of SHA-256 a record's key has, and its digest (Record.Key).
const keyBytes = 16

// keyedRecord is a Record with room for its key and digest.
type keyedRecord struct {
	Record
	names [2 * keyBytes]byte
}

// name gives the record the key and the digest by which the store knows a repetition of it, in this run of the broker or another.
func (k *keyedRecord) name(user string, r *PublishRequest) {
	d := digestings.Get().(*digesting)
	defer digestings.Put(d)
	d.write(k.names[:keyBytes], r.appendID(d.buf[:0], user), nil)
	d.write(k.names[keyBytes:], r.appendContent(d.buf[:0]), r.Payload)
	k.Key, k.Digest = k.names[:keyBytes:keyBytes], k.names[keyBytes:]
}

// digesting is what a SHA-256 takes.
type digesting struct {
	buf []byte
	sum hash.Hash
}

var digestings = sync.Pool{New: func() any { return &digesting{sum: sha256.New()} }}

// write hashes b, which lies in d.buf, and more.
func (d *digesting) write(to, b, more []byte) {
	d.sum.Reset()
	d.sum.Write(b)
	d.sum.Write(more)
	d.buf = d.sum.Sum(b[:0])
	copy(to, d.buf)
}

// appendContent appends all of r's content but the payload, which comes behind it. Two publishes have the same content if the bytes
// of both are the same.
func (r *PublishRequest) appendContent(b []byte) []byte {
	var room [protocol.MaxHeaders]string
	names := room[:0]
	for name := range r.Headers {
		names = append(names, name)
	}
	slices.Sort(names)
	retain := byte(0)
	if r.Retain {
		retain = 1
	}
	b = appendField(appendField(append(b, retain), r.Topic), r.ContentType)
	b = binary.LittleEndian.AppendUint64(b, uint64(len(names)))
	for _, name := range names {
		b = appendField(appendField(b, name), r.Headers[name])
	}
	return b
}

// appendID appends what names r among all publishes.
func (r *PublishRequest) appendID(b []byte, user string) []byte {
	return append(appendField(b, user), r.MessageID...)
}

func appendField(b []byte, field string) []byte {
	return append(binary.LittleEndian.AppendUint64(b, uint64(len(field))), field...)
}
