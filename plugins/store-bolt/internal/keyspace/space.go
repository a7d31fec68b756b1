package keyspace

import (
	"errors"
	"fmt"
	"math"
	"sync"

	bolt "go.etcd.io/bbolt"

	"github.com/carillon-mq/carillon/broker"
)

var (
	bucketKeyspace = []byte("keyspace")
	bucketKeys     = []byte("keys")
	bucketLeases   = []byte("leases")
	bucketLeased   = []byte("leased")
	keyState       = []byte("state")
)

// ErrDamaged is wrapped by errors about what is in the buckets.
var ErrDamaged = errors.New("the keyspace is damaged")

// Limits bound what a Space takes.
type Limits struct {
	Keys   int
	Bytes  int64 // of keys and values
	Leases int
}

// Space is a keyspace. Apply, Begin and Due are for the one writer; the others may be called by anybody.
type Space struct {
	limits Limits

	mu       sync.Mutex
	figures  figures
	leases   map[broker.LeaseID]*lease
	soonest  int64                   // no lease ends before
	orphans  map[broker.LeaseID]bool // leases that have ended and have keys still
	watchers map[*watcher]struct{}
}

// lease is what is known of one beside the file.
type lease struct {
	ttl    int64 // milliseconds
	end    int64 // by the store's clock
	ending bool  // by a change that is not durable yet
}

// figures are what the entry state has.
type figures struct {
	revision, keys, bytes uint64
}

// Figures are what a Space holds.
type Figures struct {
	Keys, Bytes, Leases uint64
}

// Create makes the buckets in a file that lacks them.
func Create(tx *bolt.Tx) error {
	top, err := tx.CreateBucketIfNotExists(bucketKeyspace)
	for _, name := range [][]byte{bucketKeys, bucketLeases, bucketLeased} {
		if err == nil {
			_, err = top.CreateBucketIfNotExists(name)
		}
	}
	if err == nil && top.Get(keyState) == nil {
		err = top.Put(keyState, figures{}.seal())
	}
	return err
}

// Exists reports whether the file of tx has the buckets.
func Exists(tx *bolt.Tx) bool { return tx.Bucket(bucketKeyspace) != nil }

// Copy puts everything that there is in from into to, which has no keyspace.
func Copy(from, to *bolt.Tx) error {
	source := from.Bucket(bucketKeyspace)
	if source == nil {
		return nil
	}
	if err := Create(to); err != nil {
		return err
	}
	target := to.Bucket(bucketKeyspace)
	for _, name := range [][]byte{bucketKeys, bucketLeases, bucketLeased} {
		if err := source.Bucket(name).ForEach(target.Bucket(name).Put); err != nil {
			return err
		}
	}
	return target.Put(keyState, source.Get(keyState))
}

// Check looks at every entry, and compares with what was counted.
func Check(tx *bolt.Tx) error {
	b, err := open(tx)
	if err != nil {
		return err
	}
	noted, err := unsealFigures(b.top.Get(keyState))
	if err != nil {
		return err
	}
	if _, err := Load(tx, Limits{}, 0); err != nil {
		return err
	}
	found := figures{revision: noted.revision}
	under := 0
	err = b.keys.ForEach(func(k, v []byte) error {
		e, err := unsealEntry(k, v)
		if err != nil {
			return err
		}
		found.keys++
		found.bytes += charge(&e)
		if e.Revision == 0 || e.Revision > noted.revision {
			return fmt.Errorf("%w: %q has revision %d of %d", ErrDamaged, k, e.Revision, noted.revision)
		}
		if e.Lease != (broker.LeaseID{}) {
			under++
			if b.leased.Get(append(e.Lease[:], k...)) == nil {
				return fmt.Errorf("%w: the lease of %q does not have it", ErrDamaged, k)
			}
		}
		return nil
	})
	switch {
	case err != nil:
		return err
	case found != noted:
		return fmt.Errorf("%w: %d keys of %d bytes, and there should be %d of %d", ErrDamaged, found.keys, found.bytes, noted.keys, noted.bytes)
	case b.leased.Stats().KeyN != under:
		return fmt.Errorf("%w: leases have %d keys, and there are %d", ErrDamaged, b.leased.Stats().KeyN, under)
	}
	return nil
}

// buckets are those of one transaction.
type buckets struct {
	top, keys, leases, leased *bolt.Bucket
}

func open(tx *bolt.Tx) (b buckets, err error) {
	if b.top = tx.Bucket(bucketKeyspace); b.top == nil {
		return b, fmt.Errorf("%w: its bucket is missing", ErrDamaged)
	}
	b.keys, b.leases, b.leased = b.top.Bucket(bucketKeys), b.top.Bucket(bucketLeases), b.top.Bucket(bucketLeased)
	if b.keys == nil || b.leases == nil || b.leased == nil {
		return b, fmt.Errorf("%w: a bucket is missing", ErrDamaged)
	}
	return b, nil
}

// Load reads what a Space has to know. The time of every lease begins at now, in milliseconds of the clock that goes on evenly.
func Load(tx *bolt.Tx, limits Limits, now int64) (*Space, error) {
	s := &Space{
		limits: limits, leases: map[broker.LeaseID]*lease{}, orphans: map[broker.LeaseID]bool{}, watchers: map[*watcher]struct{}{},
	}
	b, err := open(tx)
	if err != nil {
		return nil, err
	}
	if s.figures, err = unsealFigures(b.top.Get(keyState)); err != nil {
		return nil, err
	}
	err = b.leases.ForEach(func(k, v []byte) error {
		id, ttl, err := unsealLease(k, v)
		s.leases[id] = &lease{ttl: ttl, end: now + ttl}
		return err
	})
	if err != nil {
		return nil, err
	}
	return s, b.leased.ForEach(func(k, _ []byte) error {
		if len(k) <= len(broker.LeaseID{}) {
			return fmt.Errorf("%w: an entry of a lease has %d bytes", ErrDamaged, len(k))
		}
		if id := broker.LeaseID(k[:len(broker.LeaseID{})]); s.leases[id] == nil {
			s.orphans[id] = true
		}
		return nil
	})
}

// Figures are the present ones.
func (s *Space) Figures() Figures {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Figures{s.figures.keys, s.figures.bytes, uint64(len(s.leases))}
}

// Renew begins a lease's time anew at now, or returns broker.ErrNoLease.
func (s *Space) Renew(id broker.LeaseID, now int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.leases[id]
	if l == nil || l.ending || l.end <= now {
		return broker.ErrNoLease
	}
	l.end = now + l.ttl
	return nil
}

// over reports whether a lease has ended by its time.
func (s *Space) over(id broker.LeaseID, now int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.leases[id]
	return l == nil || l.ending || l.end <= now
}

// Due reports whether a lease has ended at now, or keys of one are left.
func (s *Space) Due(now int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.orphans) > 0 {
		return true
	}
	if now < s.soonest {
		return false
	}
	s.soonest = math.MaxInt64
	for _, l := range s.leases {
		s.soonest = min(s.soonest, l.end)
	}
	return s.soonest <= now
}

// ending marks the leases that have ended at now, which from here on nobody renews, and returns them and those that have keys left.
func (s *Space) ending(now int64) (ended, left []broker.LeaseID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, l := range s.leases {
		if l.end <= now {
			l.ending = true
			ended = append(ended, id)
		}
	}
	for id := range s.orphans {
		left = append(left, id)
	}
	return ended, left
}
