package messageids

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"hash/crc32"
	"slices"
	"sync"
	"time"
)

// Publish is what a publish with an id is known by. Two of a user with the same id are the same if all else is.
type Publish struct {
	User, ID           string
	Topic, ContentType string
	Payload            []byte
	Headers            map[string]string
	Retain             bool
	Exclude            string        // "": none
	TTL                time.Duration // 0: none
}

// NameBytes is how many bytes of SHA-256 each of a publish's two names has.
const NameBytes = 16

// Names are the key of p and the digest of its content, by which a store knows a repetition, in this run of the broker or another.
func (p *Publish) Names(into *[2 * NameBytes]byte) (key, digest []byte) {
	h := hashers.Get().(*hasher)
	defer hashers.Put(h)
	key, digest = into[:NameBytes:NameBytes], into[NameBytes:]
	h.name(key, p.appendID(h.buf[:0]), nil)
	h.name(digest, p.appendContent(h.buf[:0]), p.Payload)
	return key, digest
}

// hasher is what a SHA-256 takes.
type hasher struct {
	buf []byte
	sum hash.Hash
}

var hashers = sync.Pool{New: func() any { return &hasher{sum: sha256.New()} }}

// name hashes b, which lies in h.buf, and more.
func (h *hasher) name(to, b, more []byte) {
	h.sum.Reset()
	h.sum.Write(b)
	h.sum.Write(more)
	h.buf = h.sum.Sum(b[:0])
	copy(to, h.buf)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// hash is the key of p, which nobody can aim at another's, and a checksum of its content, which is to tell what a user has mixed up.
func (t *Table[W]) hash(p *Publish) (key, digest uint64) {
	room := t.room.Swap(nil)
	if room == nil {
		room = new([]byte)
	}
	sum := sha256.Sum256(p.appendID(append((*room)[:0], t.salt[:]...)))
	key = max(binary.LittleEndian.Uint64(sum[:]), 1)
	content := p.appendContent((*room)[:0])
	*room = content
	defer t.room.Store(room)
	digest = uint64(crc32.Update(crc32.ChecksumIEEE(content), crc32.IEEETable, p.Payload))
	return key, digest<<32 | uint64(crc32.Update(crc32.Checksum(content, castagnoli), castagnoli, p.Payload))
}

// appendContent appends all of p's content but the payload, which comes behind it. Two publishes have the same content if the bytes
// of both are the same.
func (p *Publish) appendContent(b []byte) []byte {
	var room [16]string
	names := room[:0]
	for name := range p.Headers {
		names = append(names, name)
	}
	slices.Sort(names)
	b = appendField(appendField(append(b, p.flags()), p.Topic), p.ContentType)
	if p.Exclude != "" {
		b = appendField(b, p.Exclude)
	}
	if p.TTL != 0 {
		b = binary.LittleEndian.AppendUint64(b, uint64(p.TTL.Milliseconds()))
	}
	b = binary.LittleEndian.AppendUint64(b, uint64(len(names)))
	for _, name := range names {
		b = appendField(appendField(b, name), p.Headers[name])
	}
	return b
}

// flags say what appendContent appends. What is not there takes no byte, so that a message which could be published before it was thought of
// is the same as then: stores keep what is made of it.
func (p *Publish) flags() (flags byte) {
	if p.Retain {
		flags |= 1
	}
	if p.Exclude != "" {
		flags |= 2
	}
	if p.TTL != 0 {
		flags |= 4
	}
	return flags
}

// appendID appends what names p among all publishes.
func (p *Publish) appendID(b []byte) []byte {
	return append(appendField(b, p.User), p.ID...)
}

func appendField(b []byte, field string) []byte {
	return append(binary.LittleEndian.AppendUint64(b, uint64(len(field))), field...)
}
