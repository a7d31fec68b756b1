package wire

import (
	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/plugins/internal/wire/storev1pb"
)

func expectToWire(revision uint64) *uint64 {
	if revision == broker.AnyRevision {
		return nil
	}
	return &revision
}

func expectFromWire(revision *uint64) uint64 {
	if revision == nil {
		return broker.AnyRevision
	}
	return *revision
}

func idToWire[ID ~[16]byte](id ID) []byte {
	if id == (ID{}) {
		return nil
	}
	return id[:]
}

func idFromWire[ID ~[16]byte](b []byte) (id ID, err error) {
	switch len(b) {
	case 0:
		return id, nil
	case len(id):
		return ID(b), nil
	}
	return id, malformed("an id of %d bytes, wanted %d", len(b), len(id))
}

// entryToWire shares the entry's value. It is nil for a key that is not there.
func entryToWire(e *broker.KeyEntry) *storev1pb.KeyEntry {
	if e.Revision == 0 {
		return nil
	}
	if e.Deleted {
		return &storev1pb.KeyEntry{Key: e.Key, Revision: e.Revision, Deleted: true}
	}
	return &storev1pb.KeyEntry{Key: e.Key, Value: e.Value, Revision: e.Revision, Lease: idToWire(e.Lease), Write: idToWire(e.Write)}
}

func entriesToWire(entries []broker.KeyEntry) []*storev1pb.KeyEntry {
	page := make([]*storev1pb.KeyEntry, len(entries))
	for i := range entries {
		page[i] = entryToWire(&entries[i])
	}
	return page
}

// entriesEnd is the end of the page that starts at entries[0]: at most pageBytes, at least one.
func entriesEnd(entries []broker.KeyEntry) int {
	size := 0
	for i := range entries {
		size += 64 + len(entries[i].Key) + len(entries[i].Value)
		if i > 0 && (size > pageBytes || i >= broker.MaxKeyPage) {
			return i
		}
	}
	return len(entries)
}

// entryFromWire shares the message's value.
func entryFromWire(p *storev1pb.KeyEntry) (e broker.KeyEntry, err error) {
	if err := broker.CheckKey(p.GetKey()); err != nil {
		return e, malformed("%v", err)
	}
	e = broker.KeyEntry{Key: p.GetKey(), Value: p.GetValue(), Revision: p.GetRevision(), Deleted: p.GetDeleted()}
	if e.Lease, err = idFromWire[broker.LeaseID](p.GetLease()); err == nil {
		e.Write, err = idFromWire[broker.WriteID](p.GetWrite())
	}
	switch {
	case err != nil:
		return e, err
	case e.Revision == 0:
		return e, malformed("key %q has no revision", e.Key)
	case e.Deleted && (len(e.Value) > 0 || e.Lease != broker.LeaseID{} || e.Write != broker.WriteID{}):
		return e, malformed("key %q is deleted and has a value", e.Key)
	case !e.Deleted && e.Write == broker.WriteID{}, len(e.Value) > broker.MaxKeyValueBytes:
		return e, malformed("key %q was put by nobody, or has a value of %d bytes", e.Key, len(e.Value))
	}
	return e, nil
}

func entriesFromWire(page []*storev1pb.KeyEntry) ([]broker.KeyEntry, error) {
	entries := make([]broker.KeyEntry, len(page))
	for i, p := range page {
		var err error
		if entries[i], err = entryFromWire(p); err != nil {
			return nil, err
		}
	}
	return entries, nil
}

// entryOfKey is the entry of key, zero if p is nil.
func entryOfKey(p *storev1pb.KeyEntry, key string) (broker.KeyEntry, error) {
	if p == nil {
		return broker.KeyEntry{}, nil
	}
	e, err := entryFromWire(p)
	if err == nil && (e.Key != key || e.Deleted) {
		err = malformed("key %q in place of %q", e.Key, key)
	}
	if err != nil {
		return broker.KeyEntry{}, err
	}
	return e, nil
}
