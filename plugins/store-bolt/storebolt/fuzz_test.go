package storebolt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"reflect"
	"testing"
)

// A file in which bytes were changed, that was cut off, or in which a part stands at another place is refused as it is, or served with
// what it had.
func FuzzFile(f *testing.F) {
	good, want := goodFile(f)
	dir := f.TempDir()
	f.Add([]byte{}, uint32(len(good)))
	f.Add([]byte{0, 0, 0x10, 0, 1}, uint32(len(good)))
	f.Add([]byte{0, 0, 0x20, 8, 0xff, 0, 0, 0x30, 0, 3}, uint32(len(good)))
	f.Add([]byte{}, uint32(len(good)/2))
	f.Add([]byte{0, 0, 0, 0, 0xff, 0, 0, 0x10, 0, 0xff}, uint32(len(good)))
	f.Fuzz(func(t *testing.T, edits []byte, size uint32) {
		file := bytes.Clone(good)
		heads := false
		for n := 0; len(edits) >= 5 && n < 64; n++ {
			at := int(binary.BigEndian.Uint32(edits)) % len(file)
			file[at] ^= edits[4]
			heads = heads || at < 2*4096
			edits = edits[5:]
		}
		file = file[:min(int(size), len(file))]
		got, err := openDamaged(t, dir, file)
		switch {
		case err != nil && !errors.Is(err, ErrDamaged) && len(file) == len(good):
			t.Errorf("refused as %v", err)
		case err == nil && !heads && !reflect.DeepEqual(want, got):
			t.Error("other content is served")
		}
	})
}

// What is read of a commit's ids is what would be written for them.
func FuzzKeys(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, 1, 2, 'k', 'd', 'd'})
	f.Add([]byte{0, 0, 0, 0})
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, 255, 255, 'k'})
	f.Fuzz(func(t *testing.T, v []byte) {
		if len(v) >= 4 { // the checksum would keep the fuzzer out
			v = bytes.Clone(v)
			binary.BigEndian.PutUint32(v, crc32.Checksum(v[4:], castagnoli))
		}
		again := make([]byte, 4)
		err := eachKey(v, func(offset uint64, key, digest []byte) error {
			again = append(binary.BigEndian.AppendUint64(again, offset), byte(len(key)), byte(len(digest)))
			again = append(append(again, key...), digest...)
			return nil
		})
		if err == nil && !bytes.Equal(again[4:], v[4:]) {
			t.Errorf("%x is read as %x", v, again)
		}
	})
}

// A configuration has a folder and limits above 0, or is refused.
func FuzzConfig(f *testing.F) {
	f.Add([]byte(`{"dir":"/data"}`))
	f.Add([]byte(`{"dir":"/data","max_keys":1,"keep_records":9223372036854775807}`))
	f.Add([]byte(`{"dir":"","max_keys":-1}`))
	f.Add([]byte(`{"dir":"a"}{}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ParseConfig(b)
		if err == nil && (c.Dir == "" || c.MaxKeys < 0 || c.KeepRecords < 0) {
			t.Errorf("%s is taken as %+v", b, c)
		}
	})
}
