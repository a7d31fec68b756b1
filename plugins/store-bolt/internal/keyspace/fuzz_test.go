package keyspace

import (
	"bytes"
	"testing"

	"github.com/carillon-mq/carillon/broker"
)

// Whatever stands in the file under a key, it is an entry that would be written so, or damaged.
func FuzzEntry(f *testing.F) {
	f.Add([]byte("a.b"), sealEntry(&broker.KeyEntry{Key: "a.b", Value: []byte("x"), Revision: 7, Lease: broker.LeaseID{1}, Write: broker.WriteID{2}}))
	f.Add(keyState, figures{7, 1, 4}.seal())
	f.Add(bytes.Repeat([]byte{1}, len(broker.LeaseID{})), sealLease(broker.LeaseID{1}, 10_000))
	f.Add([]byte("a"), []byte{})
	f.Fuzz(func(t *testing.T, key, v []byte) {
		if len(v) >= sumBytes { // the checksum would keep the fuzzer out
			v = seal(key, bytes.Clone(v))
		}
		if e, err := unsealEntry(key, v); err == nil && len(v) > 0 && !bytes.Equal(sealEntry(&e), v) {
			t.Errorf("%x is read as %+v", v, e)
		}
		if id, ttl, err := unsealLease(key, v); err == nil && !bytes.Equal(sealLease(id, ttl)[sumBytes:], v[sumBytes:sumBytes+8]) {
			t.Errorf("%x is read as the lease %x of %d", v, id, ttl)
		}
		if len(v) >= sumBytes {
			v = seal(keyState, v)
		}
		if figures, err := unsealFigures(v); err == nil && !bytes.Equal(figures.seal()[sumBytes:], v[sumBytes:sumBytes+24]) {
			t.Errorf("%x is read as %+v", v, figures)
		}
	})
}
