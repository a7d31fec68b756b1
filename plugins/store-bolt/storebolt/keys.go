package storebolt

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"hash/maphash"

	bolt "go.etcd.io/bbolt"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/protocol"
)

// The keys of records are kept for keyWindow, in generations: a bucket of keys for each, by the number of its first offset,
// with one value for each commit, by the commit's first key's offset. A generation is forgotten as a whole. In memory there is
// only a hash of each key with the offset of its record; the file decides whether it is the same key.
const (
	keyWindow     = 120_000 // milliseconds
	keyGeneration = 30_000
)

// keyTable is the keys of the window. Only the committer uses it.
type keyTable struct {
	seed        maphash.Seed
	generations []*generation // oldest first; the last one is the one that grows
	count       int
}

// generation is the keys of some time, by their hash, or the next free number above it.
type generation struct {
	first uint64            // its bucket
	began int64             // by the store's clock
	table map[uint64]uint32 // offset of the record above first
}

// keyed is a key of the present commit.
type keyed struct {
	offset uint64
	digest []byte
}

// loadKeys reads the table. The time from which the window is counted is now.
func loadKeys(keys *bolt.Bucket, now int64) (*keyTable, error) {
	t := &keyTable{seed: maphash.MakeSeed()}
	err := keys.ForEach(func(k, v []byte) error {
		if v != nil {
			return fmt.Errorf("%w: an entry of the keys is no bucket", ErrDamaged)
		}
		if len(k) != 8 {
			return fmt.Errorf("%w: a generation's key has %d bytes", ErrDamaged, len(k))
		}
		g := &generation{first: binary.BigEndian.Uint64(k), began: now, table: make(map[uint64]uint32)}
		t.generations = append(t.generations, g)
		return keys.Bucket(k).ForEach(func(_, v []byte) error {
			return eachKey(v, func(offset uint64, key, _ []byte) error {
				if offset < g.first || offset-g.first > 1<<32-1 {
					return errMalformed
				}
				t.note(g, key, offset)
				return nil
			})
		})
	})
	if err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	return t, nil
}

func (t *keyTable) note(g *generation, key []byte, offset uint64) {
	h := maphash.Bytes(t.seed, key)
	for {
		if _, taken := g.table[h]; !taken {
			break
		}
		h++
	}
	g.table[h] = uint32(offset - g.first)
	t.count++
}

// find returns the record that has key, nil if there is none. The oldest gone generations are not looked at.
func (t *keyTable) find(keys *bolt.Bucket, key []byte, gone int) (*keyed, error) {
	h := maphash.Bytes(t.seed, key)
	for i := len(t.generations) - 1; i >= gone; i-- {
		g := t.generations[i]
		for at := h; ; at++ {
			above, noted := g.table[at]
			if !noted {
				break
			}
			k, err := g.read(keys, g.first+uint64(above), key)
			if k != nil || err != nil {
				return k, err
			}
		}
	}
	return nil, nil
}

// read returns what the file has of the key of the record at offset, nil if it is another key.
func (g *generation) read(keys *bolt.Bucket, offset uint64, key []byte) (*keyed, error) {
	b := keys.Bucket(key64(g.first))
	if b == nil {
		return nil, fmt.Errorf("keys: %w: generation %d is gone", ErrDamaged, g.first)
	}
	c := b.Cursor()
	k, v := c.Seek(key64(offset))
	if k == nil {
		_, v = c.Last()
	} else if !bytes.Equal(k, key64(offset)) {
		_, v = c.Prev()
	}
	var found *keyed
	err := eachKey(v, func(at uint64, other, digest []byte) error {
		if at == offset && bytes.Equal(other, key) {
			found = &keyed{offset, bytes.Clone(digest)}
		}
		return nil
	})
	return found, err
}

// eachKey reads one commit's keys: a CRC32C, then for each key the record's offset (8 bytes), the lengths of key and digest,
// key, digest.
func eachKey(v []byte, on func(offset uint64, key, digest []byte) error) error {
	if len(v) < 4 || binary.BigEndian.Uint32(v) != crc32.Checksum(v[4:], castagnoli) {
		return fmt.Errorf("keys: %w: checksum mismatch", ErrDamaged)
	}
	for v = v[4:]; len(v) > 0; {
		if len(v) < 10 || len(v) < 10+int(v[8])+int(v[9]) {
			return errMalformed
		}
		key, end := 10+int(v[8]), 10+int(v[8])+int(v[9])
		if err := on(binary.BigEndian.Uint64(v), v[10:key], v[key:end]); err != nil {
			return err
		}
		v = v[end:]
	}
	return nil
}

// repeated answers for r when its key is known, or when there is no room for it.
func (c *commit) repeated(r *broker.Record) (result broker.AppendResult, known bool, err error) {
	if len(r.Key) == 0 {
		return result, false, nil
	}
	var first *keyed
	if k, pending := c.keyed[string(r.Key)]; pending {
		first = &k
	} else if first, err = c.store.keys.find(c.keys, r.Key, c.forgetKeys); err != nil {
		return result, false, err
	}
	switch {
	case first == nil && c.heldKeys+len(c.keyed) >= c.store.cfg.MaxKeys:
		return broker.AppendResult{Err: protocol.Errorf(protocol.CodeQuota,
			"%d messages with an id were published in the last minutes, that is the limit", c.heldKeys)}, true, nil
	case first == nil:
		return result, false, nil
	case bytes.Equal(first.digest, r.Digest):
		return broker.AppendResult{Offset: first.offset, Duplicate: true, Repeats: true}, true, nil
	}
	return broker.AppendResult{Err: protocol.Errorf(protocol.CodeDuplicateID,
		"another message with this id was published less than %d minutes ago", keyWindow/60_000)}, true, nil
}

// keep notes the key of r, which is committed at offset.
func (c *commit) keep(r *broker.Record, offset uint64) {
	if len(r.Key) == 0 {
		return
	}
	if len(c.keyPage) == 0 {
		c.keyPage, c.firstKey = append(c.keyPage, 0, 0, 0, 0), offset
	}
	c.keyed[string(r.Key)] = keyed{offset, r.Digest}
	c.keyPage = binary.BigEndian.AppendUint64(c.keyPage, offset)
	c.keyPage = append(c.keyPage, byte(len(r.Key)), byte(len(r.Digest)))
	c.keyPage = append(c.keyPage, r.Key...)
	c.keyPage = append(c.keyPage, r.Digest...)
}

// dropKeys drops the generations that are over.
func (c *commit) dropKeys() error {
	t := c.store.keys
	c.heldKeys = t.count
	for c.forgetKeys < len(t.generations) && t.over(c.forgetKeys, c.now) {
		g := t.generations[c.forgetKeys]
		if err := c.keys.DeleteBucket(key64(g.first)); err != nil {
			return fmt.Errorf("keys: %w", err)
		}
		c.heldKeys -= len(g.table)
		c.forgetKeys++
	}
	return nil
}

// putKeys writes the keys of this commit, and begins a new generation when it is time.
func (c *commit) putKeys() error {
	t := c.store.keys
	if len(c.keyPage) == 0 {
		return nil
	}
	binary.BigEndian.PutUint32(c.keyPage, crc32.Checksum(c.keyPage[4:], castagnoli))
	n := len(t.generations)
	if n == c.forgetKeys || c.how == tight || c.now-t.generations[n-1].began >= keyGeneration || c.state.head-t.generations[n-1].first > 1<<31 {
		c.newKeys = &generation{first: c.firstKey, began: c.now, table: make(map[uint64]uint32, t.expected())}
		b, err := c.keys.CreateBucket(key64(c.firstKey))
		if err != nil {
			return err
		}
		return b.Put(key64(c.firstKey), c.keyPage)
	}
	b := c.keys.Bucket(key64(t.generations[n-1].first))
	if b == nil {
		return fmt.Errorf("keys: %w: generation %d is gone", ErrDamaged, t.generations[n-1].first)
	}
	b.FillPercent = 1
	return b.Put(key64(c.firstKey), c.keyPage)
}

// expected is about how many keys the next generation will have: no more than the last one had.
func (t *keyTable) expected() int {
	if n := len(t.generations); n > 0 {
		return len(t.generations[n-1].table)
	}
	return 0
}

// over reports whether every key of generation i is older than the window: it ended when the next one began.
func (t *keyTable) over(i int, now int64) bool {
	end := t.generations[i].began + keyGeneration
	if i+1 < len(t.generations) {
		end = t.generations[i+1].began
	}
	return now-end > keyWindow
}

// due reports whether a generation is over.
func (t *keyTable) due(now int64) bool { return len(t.generations) > 0 && t.over(0, now) }

// apply takes over what c has committed.
func (t *keyTable) apply(c *commit) {
	for _, g := range t.generations[:c.forgetKeys] {
		t.count -= len(g.table)
	}
	t.generations = t.generations[c.forgetKeys:]
	if c.newKeys != nil {
		t.generations = append(t.generations, c.newKeys)
	}
	for key, k := range c.keyed {
		t.note(t.generations[len(t.generations)-1], []byte(key), k.offset)
	}
}
