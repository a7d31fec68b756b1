package storebolt

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/protocol"
)

const (
	keepTerms   = 4096
	keepOrigins = 64
)

// state is what every commit changes.
type state struct {
	head          uint64 // highest committed offset
	retained      uint64 // topics with a retained record
	retainedBytes uint64 // what they are charged, see retainedCost
	floor         uint64 // highest record of any topic with a history that was forgotten
	stamp         int64  // of the last record, by the store's clock
}

func (s state) seal() []byte {
	return sealNumbers(s.head, s.retained, s.retainedBytes, s.floor, uint64(s.stamp))
}

// readState reads the state of a file of the present format, or of format 1.
func readState(meta *bolt.Bucket) (state, error) {
	var s state
	var stamp uint64
	v := meta.Get(keyState)
	err := unsealNumbers(v, &s.head, &s.retained, &s.retainedBytes)
	if err != nil {
		err = unsealNumbers(v, &s.head, &s.retained, &s.retainedBytes, &s.floor, &stamp)
	}
	if err != nil {
		return state{}, fmt.Errorf("state: %w", err)
	}
	s.stamp = int64(stamp)
	return s, nil
}

// readFormat returns the file's format, which is one that this version can read.
func readFormat(meta *bolt.Bucket) (format uint64, err error) {
	if err := unsealNumbers(meta.Get(keyFormat), &format); err != nil {
		return 0, fmt.Errorf("format: %w", err)
	}
	if format == 0 || format > fileFormat {
		return 0, fmt.Errorf("it has format %d and this version knows %d: it was written by a newer version", format, fileFormat)
	}
	return format, nil
}

// migrate brings a file of format 1 to the present one: buckets are added, records stay as they are. An older version does
// not open it anymore.
func migrate(tx *bolt.Tx, st state) error {
	for _, name := range [][]byte{bucketGone, bucketExpiry, bucketKeys} {
		if _, err := tx.CreateBucketIfNotExists(name); err != nil {
			return err
		}
	}
	meta := tx.Bucket(bucketMeta)
	if err := meta.Put(keyState, st.seal()); err != nil {
		return err
	}
	return meta.Put(keyFormat, sealNumbers(fileFormat))
}

// origin is how far one broker run has come: the highest ref that was committed for it, and where.
type origin struct {
	ref    uint64
	offset uint64
}

func originKey(id protocol.RunID) []byte {
	return append(bytes.Clone(prefixOrigin), id[:]...)
}

func readOrigins(meta *bolt.Bucket) (map[protocol.RunID]origin, error) {
	all := make(map[protocol.RunID]origin)
	c := meta.Cursor()
	for k, v := c.Seek(prefixOrigin); bytes.HasPrefix(k, prefixOrigin); k, v = c.Next() {
		var o origin
		id := k[len(prefixOrigin):]
		if err := unsealNumbers(v, &o.ref, &o.offset); err != nil || len(id) != len(protocol.RunID{}) {
			return nil, fmt.Errorf("origin %x: %w", id, ErrDamaged)
		}
		all[protocol.RunID(id)] = o
	}
	return all, nil
}

// Term is one time that the file was open for writing (log.md P2). Offsets from First on, up to the next term's First,
// were assigned in it.
type Term = broker.Term

// startTerm appends a term to the list, of which it keeps the newest 4,096.
func startTerm(terms *bolt.Bucket, first uint64, now time.Time) (Term, error) {
	t := Term{First: first, Started: now}
	if _, err := rand.Read(t.ID[:]); err != nil {
		return Term{}, err
	}
	number := uint64(1)
	if k, _ := terms.Cursor().Last(); k != nil {
		if len(k) != 8 {
			return Term{}, fmt.Errorf("terms: %w", ErrDamaged)
		}
		number = binary.BigEndian.Uint64(k) + 1
	}
	id := binary.BigEndian.Uint64(t.ID[:])
	if err := terms.Put(key64(number), sealNumbers(id, first, uint64(now.UnixMilli()))); err != nil {
		return Term{}, err
	}
	if number > keepTerms {
		return t, terms.Delete(key64(number - keepTerms))
	}
	return t, nil
}

func readTerms(terms *bolt.Bucket) ([]Term, error) {
	var all []Term
	err := terms.ForEach(func(k, v []byte) error {
		var id, first, started uint64
		if err := unsealNumbers(v, &id, &first, &started); err != nil {
			return fmt.Errorf("term %x: %w", k, err)
		}
		t := Term{First: first, Started: time.UnixMilli(int64(started))}
		binary.BigEndian.PutUint64(t.ID[:], id)
		all = append(all, t)
		return nil
	})
	return all, err
}
