package storebolt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/plugins/store-bolt/internal/keyspace"
)

var _ broker.BackupMaker = (*Store)(nil)

// copyAtOnce is how much is read in one transaction and written in another one.
const copyAtOnce = 4 << 20

// Backup implements broker.BackupMaker: it copies into a file beside the store's, verifies that, and writes it to w.
//
// No transaction lasts longer than a page: the retained records are copied while they change, then the log, and what the log
// has of them from the beginning of the copy on is applied to them. Old segments are not put in order meanwhile, so that the
// log only grows at its end.
func (s *Store) Backup(ctx context.Context, w io.Writer, bytesPerSecond int64) (head uint64, err error) {
	if err := s.settle(ctx); err != nil {
		return 0, err
	}
	s.backups.Add(1)
	defer s.backups.Add(-1)
	if err := s.settle(ctx); err != nil { // a commit that began before is over
		return 0, err
	}
	temp, err := os.CreateTemp(s.cfg.Dir, tempPattern)
	if err != nil {
		return 0, err
	}
	defer os.Remove(temp.Name())
	defer temp.Close()
	pace := pacer{ctx: ctx, rate: bytesPerSecond}
	if head, err = s.copyTo(temp.Name(), &pace); err != nil {
		return 0, fmt.Errorf("backup: %w", err)
	}
	if _, err := checkFile(temp.Name()); err != nil {
		return 0, fmt.Errorf("backup: %w", err)
	}
	page := make([]byte, 256<<10)
	for {
		n, err := temp.Read(page)
		if n > 0 {
			if _, err := w.Write(page[:n]); err != nil {
				return 0, err
			}
			if err := pace.wait(n); err != nil {
				return 0, err
			}
		}
		if errors.Is(err, io.EOF) {
			return head, nil
		}
		if err != nil {
			return 0, err
		}
	}
}

// pacer makes work last as long as its rate says.
type pacer struct {
	ctx   context.Context
	rate  int64 // bytes a second; 0: any
	ahead time.Duration
}

// wait is called after n bytes.
func (p *pacer) wait(n int) error {
	if p.rate <= 0 {
		return p.ctx.Err()
	}
	p.ahead += time.Duration(float64(n) / float64(p.rate) * float64(time.Second))
	if p.ahead < 10*time.Millisecond {
		return p.ctx.Err()
	}
	timer := time.NewTimer(p.ahead)
	defer timer.Stop()
	p.ahead = 0
	select {
	case <-timer.C:
		return nil
	case <-p.ctx.Done():
		return p.ctx.Err()
	}
}

// copier copies a store that is in use.
type copier struct {
	s    *Store
	to   *bolt.DB
	pace *pacer
	from uint64            // head when the copy began
	next uint64            // of the log
	last state             // of the last page
	news map[string][]byte // retained records committed since; nil: cleared
}

func (s *Store) copyTo(path string, pace *pacer) (head uint64, err error) {
	to, file, err := boltOpen(path, &bolt.Options{Timeout: lockTimeout, NoFreelistSync: true, NoSync: true}) // synced at the end
	if err != nil {
		return 0, err
	}
	defer file.Close()
	c := &copier{s: s, to: to, pace: pace, next: 1, news: make(map[string][]byte)}
	err = guard(c.run)
	if err == nil {
		err = to.Sync()
	}
	return c.last.head, errors.Join(err, to.Close())
}

func (c *copier) run() error {
	if err := c.to.Update(initBuckets); err != nil {
		return err
	}
	var err error
	if c.from, _, err = c.s.now(); err != nil {
		return err
	}
	if err := c.plain(bucketRetained); err != nil {
		return err
	}
	for done := false; !done; {
		if done, err = c.logPage(); err != nil {
			return fmt.Errorf("log: %w", err)
		}
	}
	err = c.s.view(func(from *bolt.Tx) error {
		return c.to.Update(func(to *bolt.Tx) error { return keyspace.Copy(from, to) })
	})
	if err != nil {
		return fmt.Errorf("keyspace: %w", err)
	}
	return c.retained()
}

// copied is a key with its value, and the nested bucket they are in.
type copied struct {
	in, key, value []byte
	sequence       uint64 // of in
}

// plain copies a bucket without nested ones, in pages.
func (c *copier) plain(name []byte) error {
	var after []byte
	for {
		var page []copied
		size := 0
		err := c.s.view(func(tx *bolt.Tx) error {
			cursor := tx.Bucket(name).Cursor()
			k, v := cursor.Seek(after)
			if after != nil && bytes.Equal(k, after) {
				k, v = cursor.Next()
			}
			for ; k != nil && size < copyAtOnce; k, v = cursor.Next() {
				page = append(page, copied{key: bytes.Clone(k), value: bytes.Clone(v)})
				size += len(k) + len(v)
			}
			return nil
		})
		if err != nil || len(page) == 0 {
			return err
		}
		after = page[len(page)-1].key
		if err := c.put(name, page); err != nil {
			return err
		}
		if err := c.pace.wait(size); err != nil {
			return err
		}
	}
}

// logPage copies the next page of the log. With the last one, which the log ends in, it copies the small buckets, all of one
// transaction.
func (c *copier) logPage() (done bool, err error) {
	var page, keys, small []copied
	size := 0
	err = c.s.view(func(tx *bolt.Tx) error {
		log := tx.Bucket(bucketLog)
		st, err := readState(tx.Bucket(bucketMeta))
		if err != nil {
			return err
		}
		c.last = st
		for c.next <= st.head && size < copyAtOnce {
			before := c.next
			if page, err = c.segment(log, page, &size); err != nil {
				return err
			}
			if c.next == before {
				return broker.ErrTrimmed
			}
		}
		if done = c.next > st.head; done {
			keys = nested(tx.Bucket(bucketKeys))
			small = c.small(tx)
		}
		return nil
	})
	if err != nil {
		return false, err
	}
	if err := c.put(bucketLog, page); err != nil {
		return false, err
	}
	if done {
		if err := errors.Join(c.put(bucketKeys, keys), c.put(nil, small)); err != nil {
			return false, err
		}
	}
	return done, c.pace.wait(size)
}

// segment copies what the segment at next has from there on, until the page is full.
func (c *copier) segment(log *bolt.Bucket, page []copied, size *int) ([]copied, error) {
	seg, first := segmentOf(log, c.next)
	if seg == nil || first < c.next && (seg.Get(keyFrozen) != nil || seg.Get(key64(c.next)) == nil) { // that one is copied
		k, _ := log.Cursor().Seek(key64(c.next))
		if k == nil {
			return page, nil
		}
		seg, first = log.Bucket(k), be64(k)
	}
	in := key64(first)
	if frozen := seg.Get(keyFrozen); frozen != nil {
		page = append(page, copied{in: in, key: keyFrozen, value: bytes.Clone(frozen)})
		*size += len(frozen)
		return page, eachRecord(seg, first, c.see)
	}
	records := seg.Cursor()
	for k, v := records.Seek(key64(c.next)); k != nil && *size < copyAtOnce; k, v = records.Next() {
		page = append(page, copied{in, bytes.Clone(k), bytes.Clone(v), seg.Sequence()})
		*size += len(v)
		if err := c.see(be64(k), v); err != nil {
			return nil, err
		}
	}
	return page, nil
}

// see moves on behind a record of the log, and notes what it is for the retained ones.
func (c *copier) see(offset uint64, v []byte) error {
	c.next = offset + 1
	if offset <= c.from {
		return nil
	}
	p, err := peek(v)
	if err != nil || p.flags&flagRetain == 0 {
		return err
	}
	topic, err := p.topic()
	if err != nil {
		return err
	}
	if len(p.rest) == p.text {
		c.news[string(topic)] = nil
	} else {
		c.news[string(topic)] = bytes.Clone(v)
	}
	return nil
}

// nested is everything in the buckets of b.
func nested(b *bolt.Bucket) []copied {
	var all []copied
	_ = b.ForEachBucket(func(in []byte) error {
		return b.Bucket(in).ForEach(func(k, v []byte) error {
			all = append(all, copied{in: bytes.Clone(in), key: bytes.Clone(k), value: bytes.Clone(v)})
			return nil
		})
	})
	return all
}

// small is everything in the small buckets; in names the bucket.
func (c *copier) small(tx *bolt.Tx) []copied {
	var all []copied
	for _, name := range [][]byte{bucketMeta, bucketTerms, bucketGone} {
		_ = tx.Bucket(name).ForEach(func(k, v []byte) error {
			all = append(all, copied{in: name, key: bytes.Clone(k), value: bytes.Clone(v)})
			return nil
		})
	}
	return all
}

// put writes a page into the bucket top; nil: into the buckets that the entries name.
func (c *copier) put(top []byte, page []copied) error {
	return c.to.Update(func(tx *bolt.Tx) error {
		for _, e := range page {
			b := tx.Bucket(top)
			switch {
			case top == nil:
				b = tx.Bucket(e.in)
			case e.in != nil:
				var err error
				if b, err = b.CreateBucketIfNotExists(e.in); err != nil {
					return err
				}
				b.FillPercent = 1
			}
			if e.sequence != 0 && b.Sequence() == 0 {
				if err := b.SetSequence(e.sequence); err != nil {
					return err
				}
			}
			if err := b.Put(e.key, e.value); err != nil {
				return err
			}
		}
		return nil
	})
}

// retained applies what the log has brought since the copy began, writes the expiries, and compares with what was counted.
func (c *copier) retained() error {
	return c.to.Update(func(tx *bolt.Tx) error {
		b, expiry := tx.Bucket(bucketRetained), tx.Bucket(bucketExpiry)
		for topic, v := range c.news {
			err := b.Delete([]byte(topic))
			if v != nil {
				err = b.Put([]byte(topic), v)
			}
			if err != nil {
				return err
			}
		}
		var sum state
		err := b.ForEach(func(k, v []byte) error {
			sum.retained++
			sum.retainedBytes += uint64(retainedCost(string(k), len(v)))
			p, err := peek(v)
			if err != nil || p.expires == 0 {
				return err
			}
			return expiry.Put(expiryKey(p.expires, string(k)), []byte{})
		})
		if err != nil {
			return err
		}
		if sum.retained != c.last.retained || sum.retainedBytes != c.last.retainedBytes {
			return fmt.Errorf("retained: %w: %d records of %d bytes, and there should be %d of %d", ErrDamaged,
				sum.retained, sum.retainedBytes, c.last.retained, c.last.retainedBytes)
		}
		return nil
	})
}
