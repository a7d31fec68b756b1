package storebolt

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// seal puts a CRC32C in front of b. It is for the small values of meta and terms.
func seal(b []byte) []byte {
	out := make([]byte, 4, 4+len(b))
	binary.BigEndian.PutUint32(out, crc32.Checksum(b, castagnoli))
	return append(out, b...)
}

// unseal undoes seal for a value of size bytes. What it returns points into v.
func unseal(v []byte, size int) ([]byte, error) {
	if len(v) != 4+size || binary.BigEndian.Uint32(v) != crc32.Checksum(v[4:], castagnoli) {
		return nil, fmt.Errorf("%w: checksum mismatch", ErrDamaged)
	}
	return v[4:], nil
}

// sealNumbers and unsealNumbers are seal and unseal for big-endian numbers.
func sealNumbers(n ...uint64) []byte {
	b := make([]byte, 0, 8*len(n))
	for _, x := range n {
		b = binary.BigEndian.AppendUint64(b, x)
	}
	return seal(b)
}

func unsealNumbers(v []byte, n ...*uint64) error {
	b, err := unseal(v, 8*len(n))
	if err != nil {
		return err
	}
	for i, x := range n {
		*x = binary.BigEndian.Uint64(b[8*i:])
	}
	return nil
}

func key64(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

func be64(b []byte) uint64 { return binary.BigEndian.Uint64(b) }
