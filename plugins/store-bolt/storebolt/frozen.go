package storebolt

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/carillon-mq/carillon/broker"
)

// A segment that is full is frozen: its records become one value, under keyFrozen in the segment's bucket, so that a large
// log has few keys and few pages to be looked at when it is opened. Numbers are big endian, or uvarints:
//
//	0  version, 1
//	1  CRC32C of everything from byte 5 to the end of the index, 4 bytes
//	5  length of the index, 4 bytes
//	9  index: number of topics; each topic as length and bytes; number of records; time of the first (8 bytes); for each record
//	     what its offset is above the one before (the first: above the segment's key)
//	     length
//	     milliseconds of its stamp above the one before
//	     0 without history, or 1 + its topic's place in the list
//	     with history: 0 if the topic's record before is its last one in this segment, else 1 + that offset
//	   records, one after the other, each with its own checksum
const (
	frozenVersion = 1
	frozenFixed   = 9
)

var keyFrozen = []byte{0}

// frozenRecord is one record of a frozen segment.
type frozenRecord struct {
	place
	topic uint64 // 1 + its place in the list of topics; 0: it has no history
	value []byte // in the frozen value
}

// freezer builds a frozen value.
type freezer struct {
	first   uint64 // the segment's key
	names   []byte
	places  map[string]uint64 // of topics, from 1
	lastOf  []uint64          // by place-1: the topic's newest record
	entries []byte
	count   int
	last    place
	data    []byte
}

func newFreezer(first uint64) *freezer {
	return &freezer{first: first, places: make(map[string]uint64), last: place{offset: first}}
}

// add appends a record's encoding. Its offset is above all others'. history says whether it may still be in a history.
func (f *freezer) add(v []byte, history bool) error {
	p, err := peek(v)
	if err != nil {
		return err
	}
	if f.count == 0 {
		f.last.stamp = p.stamp
		f.entries = binary.BigEndian.AppendUint64(f.entries, uint64(p.stamp))
	}
	stamp := max(p.stamp, f.last.stamp)
	f.entries = binary.AppendUvarint(f.entries, p.offset-f.last.offset)
	f.entries = binary.AppendUvarint(f.entries, uint64(len(v)))
	f.entries = binary.AppendUvarint(f.entries, uint64(stamp-f.last.stamp))
	if !history || !p.history {
		f.entries = binary.AppendUvarint(f.entries, 0)
	} else {
		name, err := p.topic()
		if err != nil {
			return err
		}
		f.addHistory(name, p.place)
	}
	f.count++
	f.last.offset, f.last.stamp = p.offset, stamp
	f.data = append(f.data, v...)
	return nil
}

func (f *freezer) addHistory(name []byte, p place) {
	at, known := f.places[string(name)]
	if !known {
		at = uint64(len(f.places) + 1)
		f.places[string(name)] = at
		f.lastOf = append(f.lastOf, 0)
		f.names = binary.AppendUvarint(f.names, uint64(len(name)))
		f.names = append(f.names, name...)
	}
	f.entries = binary.AppendUvarint(f.entries, at)
	if p.prev != 0 && f.lastOf[at-1] == p.prev {
		f.entries = binary.AppendUvarint(f.entries, 0)
	} else {
		f.entries = binary.AppendUvarint(f.entries, 1+p.prev)
	}
	f.lastOf[at-1] = p.offset
}

// value is the frozen value.
func (f *freezer) value() []byte {
	index := binary.AppendUvarint(nil, uint64(len(f.places)))
	index = append(index, f.names...)
	index = binary.AppendUvarint(index, uint64(f.count))
	index = append(index, f.entries...)
	v := make([]byte, 0, frozenFixed+len(index)+len(f.data))
	v = append(v, frozenVersion, 0, 0, 0, 0)
	v = binary.BigEndian.AppendUint32(v, uint32(len(index)))
	v = append(v, index...)
	putFrozenChecksum(v, uint64(len(v)))
	return append(v, f.data...)
}

// putFrozenChecksum writes the checksum of v, whose index ends at end.
func putFrozenChecksum(v []byte, end uint64) {
	binary.BigEndian.PutUint32(v[1:], crc32.Checksum(v[5:end], castagnoli))
}

// thawer reads a frozen value from its beginning.
type thawer struct {
	topics [][]byte // names, pointing into the value
	lastOf []uint64
	index  []byte // what is not read yet
	data   []byte
	left   int // records
	last   place
	total  int // records in all
	bad    bool
}

// thaw begins to read the frozen value of the segment with the key first. The index is verified, the records are not.
func thaw(v []byte, first uint64) (*thawer, error) {
	if len(v) < frozenFixed || v[0] != frozenVersion {
		return nil, fmt.Errorf("%w: %d bytes are no frozen segment", ErrDamaged, len(v))
	}
	end := uint64(frozenFixed) + uint64(binary.BigEndian.Uint32(v[5:]))
	if end > uint64(len(v)) || binary.BigEndian.Uint32(v[1:]) != crc32.Checksum(v[5:end], castagnoli) {
		return nil, fmt.Errorf("%w: checksum mismatch of a frozen segment", ErrDamaged)
	}
	t := &thawer{index: v[frozenFixed:end], data: v[end:], last: place{offset: first}}
	n := t.uvarint()
	if n > uint64(len(t.index)) {
		return nil, errMalformed
	}
	t.topics, t.lastOf = make([][]byte, n), make([]uint64, n)
	for i := range t.topics {
		t.topics[i] = t.bytes(t.uvarint())
	}
	n = t.uvarint()
	if n > uint64(len(t.index)) {
		return nil, errMalformed
	}
	t.left, t.total = int(n), int(n)
	if stamp := t.bytes(8); n > 0 && len(stamp) == 8 {
		t.last.stamp = int64(binary.BigEndian.Uint64(stamp))
	}
	if t.bad || n == 0 {
		return nil, errMalformed
	}
	return t, nil
}

// next returns the next record; ok is false after the last, and when the index makes no sense, which sets bad.
func (t *thawer) next() (r frozenRecord, ok bool) {
	if t.left == 0 || t.bad {
		return r, false
	}
	above, size, later := t.uvarint(), t.uvarint(), t.uvarint()
	r.topic = t.uvarint()
	r.offset, r.stamp = t.last.offset+above, t.last.stamp+int64(later)
	if size > uint64(len(t.data)) || r.topic > uint64(len(t.topics)) || (above == 0 && t.left != t.total) {
		t.bad = true
		return r, false
	}
	if r.history = r.topic != 0; r.history {
		switch n := t.uvarint(); n {
		case 0:
			r.prev = t.lastOf[r.topic-1]
		default:
			r.prev = n - 1
		}
		t.lastOf[r.topic-1] = r.offset
	}
	r.value, t.data = t.data[:size:size], t.data[size:]
	t.left--
	t.last = r.place
	return r, !t.bad
}

func (t *thawer) uvarint() uint64 {
	n, size := binary.Uvarint(t.index)
	if size <= 0 {
		t.bad = true
		return 0
	}
	t.index = t.index[size:]
	return n
}

func (t *thawer) bytes(n uint64) []byte {
	if n > uint64(len(t.index)) {
		t.bad = true
		return nil
	}
	b := t.index[:n]
	t.index = t.index[n:]
	return b
}

// frozenData is the part of a frozen value with the records, which the index's positions refer to.
func frozenData(v []byte) []byte {
	if len(v) < frozenFixed {
		return nil
	}
	end := uint64(frozenFixed) + uint64(binary.BigEndian.Uint32(v[5:]))
	return v[min(end, uint64(len(v))):]
}

// frozenPage appends the records after offset after to page, as readLog does.
func (p *logPage) frozen(v []byte, first uint64, from broker.FollowFrom) error {
	t, err := thaw(v, first)
	if err != nil {
		return err
	}
	for r, ok := t.next(); ok && !p.full(); r, ok = t.next() {
		if r.offset < p.next {
			continue
		}
		if err := p.add(r.value, from); err != nil {
			return err
		}
	}
	if t.bad {
		return errMalformed
	}
	return nil
}
