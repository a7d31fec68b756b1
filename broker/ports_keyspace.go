package broker

import (
	"time"

	"github.com/carillon-mq/carillon/broker/store"
)

// The port to a store's keyspace, see package store.
type (
	// KeyspaceStore is a Store with a keyspace.
	KeyspaceStore = store.KeyspaceStore
	// LeaseID names a lease. It is random.
	LeaseID = store.LeaseID
	// WriteID names a put. It is random.
	WriteID = store.WriteID
	// KeyEntry is what a keyspace has of a key.
	KeyEntry = store.KeyEntry
	// KeyPut asks for a key to be set.
	KeyPut = store.KeyPut
	// KeyQuery asks for entries in order of keys.
	KeyQuery = store.KeyQuery
	// KeyPage is the answer to a KeyQuery.
	KeyPage = store.KeyPage
	// KeyFeed is one step of a feed of keys.
	KeyFeed = store.KeyFeed
)

// PowerKeyspace is the Power of a KeyspaceStore.
const PowerKeyspace = store.PowerKeyspace

// Bounds of a keyspace.
const (
	MaxKeyBytes      = store.MaxKeyBytes
	MaxKeyValueBytes = store.MaxKeyValueBytes
	MaxKeyPage       = store.MaxKeyPage // of one page
	MinLease         = store.MinLease
	MaxLease         = store.MaxLease
)

// AnyRevision is what a key may have that is to be changed whatever it has. 0 is: it must not be there.
const AnyRevision = store.AnyRevision

var (
	// ErrKeyChanged is returned when a key does not have the expected revision.
	ErrKeyChanged = store.ErrKeyChanged
	// ErrNoLease is returned when a lease is not there, or not any more.
	ErrNoLease = store.ErrNoLease
	// ErrKeyBounds is wrapped by errors about a key, a value, a lease or a time that a keyspace does not take.
	ErrKeyBounds = store.ErrKeyBounds
)

// NewLeaseID draws an id.
func NewLeaseID() LeaseID { return store.NewLeaseID() }

// NewWriteID draws an id.
func NewWriteID() WriteID { return store.NewWriteID() }

// CheckKey says what is wrong with key, or nothing.
func CheckKey(key string) error { return store.CheckKey(key) }

// CheckKeyPrefix says what is wrong with the beginning of a key, or nothing.
func CheckKeyPrefix(prefix string) error { return store.CheckKeyPrefix(prefix) }

// CheckLease says what is wrong with a lease of this id and time, or nothing.
func CheckLease(id LeaseID, ttl time.Duration) error { return store.CheckLease(id, ttl) }
