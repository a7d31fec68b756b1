package keyspace

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/carillon-mq/carillon/broker"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

const (
	sumBytes   = 4
	entryFixed = sumBytes + 8 + len(broker.LeaseID{}) + len(broker.WriteID{}) // in front of the value
)

// seal writes b's checksum, which also covers the key it stands under, into its first bytes.
func seal(key, b []byte) []byte {
	binary.BigEndian.PutUint32(b, sum(key, b))
	return b
}

func sum(key, b []byte) uint32 {
	return crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, b[sumBytes:])
}

func check(key, b []byte, size int) error {
	if len(b) < size || binary.BigEndian.Uint32(b) != sum(key, b) {
		return fmt.Errorf("%w: checksum mismatch of %q", ErrDamaged, key)
	}
	return nil
}

func sealEntry(e *broker.KeyEntry) []byte {
	b := make([]byte, sumBytes, entryFixed+len(e.Value))
	b = binary.BigEndian.AppendUint64(b, e.Revision)
	b = append(b, e.Lease[:]...)
	b = append(b, e.Write[:]...)
	return seal([]byte(e.Key), append(b, e.Value...))
}

// unsealEntry is the entry that v is under key, zero if v is nil. It shares nothing with either.
func unsealEntry(key, v []byte) (e broker.KeyEntry, err error) {
	if v == nil {
		return e, nil
	}
	if err := check(key, v, entryFixed); err != nil {
		return e, err
	}
	e.Key, e.Revision = string(key), binary.BigEndian.Uint64(v[sumBytes:])
	copy(e.Lease[:], v[sumBytes+8:])
	copy(e.Write[:], v[sumBytes+8+len(e.Lease):])
	e.Value = bytes.Clone(v[entryFixed:])
	return e, nil
}

// charge is what an entry counts.
func charge(e *broker.KeyEntry) uint64 {
	if e.Revision == 0 {
		return 0
	}
	return uint64(len(e.Key) + len(e.Value))
}

func (f figures) seal() []byte {
	b := make([]byte, sumBytes, sumBytes+24)
	for _, n := range []uint64{f.revision, f.keys, f.bytes} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	return seal(keyState, b)
}

func unsealFigures(v []byte) (f figures, err error) {
	if err := check(keyState, v, sumBytes+24); err != nil {
		return f, err
	}
	v = v[sumBytes:]
	return figures{binary.BigEndian.Uint64(v), binary.BigEndian.Uint64(v[8:]), binary.BigEndian.Uint64(v[16:])}, nil
}

func sealLease(id broker.LeaseID, ttl int64) []byte {
	return seal(id[:], binary.BigEndian.AppendUint64(make([]byte, sumBytes), uint64(ttl)))
}

func unsealLease(k, v []byte) (id broker.LeaseID, ttl int64, err error) {
	if len(k) != len(id) {
		return id, 0, fmt.Errorf("%w: the id of a lease has %d bytes", ErrDamaged, len(k))
	}
	if err := check(k, v, sumBytes+8); err != nil {
		return id, 0, err
	}
	return broker.LeaseID(k), int64(binary.BigEndian.Uint64(v[sumBytes:])), nil
}
