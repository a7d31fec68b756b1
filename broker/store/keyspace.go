package store

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
)

// KeyspaceStore is a Store with a keyspace: small values that brokers on one store share and change one at a time. Calls have
// 5 s. An answer is given when the change is durable.
//
// Every change has a revision above all earlier ones. After a store was restored from an older copy a revision may be given twice:
// who keeps revisions reads afresh when the term is another one.
type KeyspaceStore interface {
	// GetKey is the present entry of key; its Revision is 0 if there is none.
	GetKey(ctx context.Context, key string) (KeyEntry, error)

	// ListKeys is one page, exact at one moment, of at most 1 MiB.
	ListKeys(ctx context.Context, q KeyQuery) (KeyPage, error)

	// PutKey sets a key and returns its new entry. Errors: ErrKeyChanged with the present entry, ErrNoLease, a *protocol.Error
	// (quota, store_unavailable). A put that is repeated with the same Write is applied once.
	PutKey(ctx context.Context, p KeyPut) (KeyEntry, error)

	// DeleteKey deletes key if its revision is expect, or any with AnyRevision. To delete what is not there is no error. Error:
	// ErrKeyChanged with the present entry.
	DeleteKey(ctx context.Context, key string, expect uint64) (KeyEntry, error)

	// WatchKeys is the feed of the changes of keys that begin with prefix: first every present entry, in any order, then one
	// KeyFeed with CaughtUp set, then changes in increasing order of revisions, of each key the last one at least. It blocks
	// until ctx ends, on fails, or the store goes away, and returns that error. Who watches again begins afresh.
	WatchKeys(ctx context.Context, prefix string, on func(KeyFeed) error) error

	// GrantLease makes the lease id, which the caller has drawn (NewLeaseID), or sets the time of one that is there and renews
	// it. A lease that is not renewed for ttl ends, at most 2 s late and never early, and its keys with it. Its holder counts from
	// the moment at which it called. ttl is MinLease to MaxLease. A start of the store renews every lease.
	GrantLease(ctx context.Context, id LeaseID, ttl time.Duration) error

	// RenewLease begins the lease's time anew, or fails with ErrNoLease.
	RenewLease(ctx context.Context, id LeaseID) error

	// RevokeLease ends the lease, if it is there, and its keys.
	RevokeLease(ctx context.Context, id LeaseID) error
}

// PowerKeyspace is the Power of a KeyspaceStore.
const PowerKeyspace Power = "keyspace"

// Bounds of a keyspace.
const (
	MaxKeyBytes      = 255
	MaxKeyValueBytes = 64 << 10
	MaxKeyPage       = 1024
	MinLease         = time.Second
	MaxLease         = 24 * time.Hour
)

// AnyRevision is what a key may have that is to be changed whatever it has. 0 is: it must not be there.
const AnyRevision uint64 = math.MaxUint64

var (
	// ErrKeyChanged is returned when a key does not have the expected revision.
	ErrKeyChanged = errors.New("the key has another revision")
	// ErrNoLease is returned when a lease is not there, or not any more.
	ErrNoLease = errors.New("there is no such lease")
	// ErrKeyBounds is wrapped by errors about a key, a value, a lease or a time that a keyspace does not take.
	ErrKeyBounds = errors.New("out of the keyspace's bounds")
)

// LeaseID names a lease. It is random.
type LeaseID [16]byte

// WriteID names a put. It is random.
type WriteID [16]byte

// NewLeaseID draws an id.
func NewLeaseID() (id LeaseID) {
	_, _ = rand.Read(id[:]) // never fails
	return id
}

// NewWriteID draws an id.
func NewWriteID() (id WriteID) {
	_, _ = rand.Read(id[:])
	return id
}

// KeyEntry is what a keyspace has of a key.
type KeyEntry struct {
	Key      string
	Value    []byte
	Revision uint64  // of its last change; 0: there is no such key
	Lease    LeaseID // that it is under; zero: none
	Write    WriteID // of the put that made it
	Deleted  bool    // in a KeyFeed: it is not there any more; only Key and Revision are set
}

// KeyPut asks for a key to be set.
type KeyPut struct {
	Key    string
	Value  []byte
	Expect uint64  // revision that the key must have; 0: it must not be there; AnyRevision
	Lease  LeaseID // to put it under; zero: under none
	Write  WriteID
}

// KeyQuery asks for the entries above After of keys that begin with Prefix, in increasing order of keys.
type KeyQuery struct {
	Prefix string
	After  string
	Limit  int // 0 is MaxKeyPage
}

// KeyPage is the answer to a KeyQuery.
type KeyPage struct {
	Entries []KeyEntry
	Done    bool // there are no others behind them
}

// KeyFeed is one step of WatchKeys.
type KeyFeed struct {
	Entries  []KeyEntry
	CaughtUp bool
}

// CheckKey says what is wrong with key, or nothing. It has 1 to 255 bytes out of A to Z, a to z, 0 to 9, and - _ = /.
func CheckKey(key string) error {
	if key == "" {
		return fmt.Errorf("%w: an empty key", ErrKeyBounds)
	}
	return CheckKeyPrefix(key)
}

// CheckKeyPrefix is CheckKey for the beginning of a key, which may be empty.
func CheckKeyPrefix(prefix string) error {
	if len(prefix) > MaxKeyBytes {
		return fmt.Errorf("%w: a key of %d bytes, wanted at most %d", ErrKeyBounds, len(prefix), MaxKeyBytes)
	}
	if i := strings.IndexFunc(prefix, func(r rune) bool { return !isKeyRune(r) }); i >= 0 {
		return fmt.Errorf("%w: the key %q, wanted letters, digits, and - _ = /", ErrKeyBounds, prefix)
	}
	return nil
}

func isKeyRune(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("-_=/", r)
}

// Check says what is wrong with p, or nothing.
func (p *KeyPut) Check() error {
	switch {
	case len(p.Value) > MaxKeyValueBytes:
		return fmt.Errorf("%w: a value of %d bytes, wanted at most %d", ErrKeyBounds, len(p.Value), MaxKeyValueBytes)
	case p.Write == (WriteID{}):
		return fmt.Errorf("%w: a put without a name", ErrKeyBounds)
	}
	return CheckKey(p.Key)
}

// Check says what is wrong with q, or nothing.
func (q *KeyQuery) Check() error {
	if q.Limit < 0 || q.Limit > MaxKeyPage {
		return fmt.Errorf("%w: a page of %d, wanted at most %d", ErrKeyBounds, q.Limit, MaxKeyPage)
	}
	return errors.Join(CheckKeyPrefix(q.Prefix), CheckKeyPrefix(q.After))
}

// CheckLease says what is wrong with a lease of this id and time, or nothing.
func CheckLease(id LeaseID, ttl time.Duration) error {
	switch {
	case id == (LeaseID{}):
		return fmt.Errorf("%w: a lease without an id", ErrKeyBounds)
	case ttl < MinLease || ttl > MaxLease:
		return fmt.Errorf("%w: a lease of %v, wanted %v to %v", ErrKeyBounds, ttl, MinLease, MaxLease)
	}
	return nil
}
