package storebolt

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	bolt "go.etcd.io/bbolt"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/plugins/store-bolt/internal/keyspace"
)

// What can be done with a store that no broker uses. Each of these fails, and says so, while one has the file open.

// Facts is what a file says of itself.
type Facts struct {
	Path   string
	Format uint64
	broker.StoreStatistics
	TermList []Term
	Warning  string // a damaged head page; empty if there is none
}

// Inspect reads the store in dir without changing it. Every page is checked, records are not.
func Inspect(dir string) (*Facts, error) {
	var facts *Facts
	err := offline(dir, func(f *Facts, tx *bolt.Tx) error {
		facts = f
		return f.read(tx)
	})
	return facts, err
}

// maxProblems is how many problems Check lists.
const maxProblems = 100

// Check is Inspect, and looks at every record. What is wrong without making the store unusable is in problems.
func Check(dir string) (facts *Facts, problems []string, err error) {
	err = offline(dir, func(f *Facts, tx *bolt.Tx) error {
		facts = f
		if err := f.read(tx); err != nil {
			return err
		}
		problems = checkRecords(tx)
		return nil
	})
	return facts, problems, err
}

// offline calls fn in a transaction of the store in dir, whose pages are in order.
func offline(dir string, fn func(*Facts, *bolt.Tx) error) error {
	path := filepath.Join(dir, fileName)
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("there is no store: %w", err)
	}
	warning, err := checkFile(path)
	if err != nil {
		return err
	}
	db, file, err := boltOpen(path, &bolt.Options{ReadOnly: true, Timeout: lockTimeout, PreLoadFreelist: true})
	if err != nil {
		return err
	}
	f := &Facts{Path: path, Warning: warning}
	if info, err := file.Stat(); err == nil {
		f.FileBytes = uint64(info.Size())
	}
	err = guard(func() error {
		f.FreeBytes = uint64(db.Stats().FreePageN) * uint64(db.Info().PageSize)
		return db.View(func(tx *bolt.Tx) error { return fn(f, tx) })
	})
	if err != nil {
		err = repairHint(path, err)
	}
	return errors.Join(err, db.Close())
}

func (f *Facts) read(tx *bolt.Tx) error {
	var err error
	if f.Format, err = checkBuckets(tx); err != nil {
		return err
	}
	st, err := readState(tx.Bucket(bucketMeta))
	if err != nil {
		return err
	}
	r, err := unsealRules(tx.Bucket(bucketMeta).Get(keyRules))
	if err != nil {
		return err
	}
	x, err := loadIndex(tx, st, r)
	if err != nil {
		return err
	}
	if keys := tx.Bucket(bucketKeys); keys != nil {
		t, err := loadKeys(keys, 0)
		if err != nil {
			return err
		}
		f.Keys = uint64(t.count)
	}
	if keyspace.Exists(tx) {
		ks, err := keyspace.Load(tx, keyspace.Limits{}, 0)
		if err != nil {
			return err
		}
		n := ks.Figures()
		f.KeyspaceKeys, f.KeyspaceBytes, f.Leases = n.Keys, n.Bytes, n.Leases
	}
	if f.TermList, err = readTerms(tx.Bucket(bucketTerms)); err != nil {
		return err
	}
	f.Head, f.Oldest, f.Floor, f.Terms = st.head, x.dense, x.floor, uint64(len(f.TermList))
	f.Records, f.RecordBytes = x.records, x.bytes
	f.HistoryRecords, f.HistoryBytes, f.HistoryTopics = x.live, x.liveBytes, uint64(len(x.ids))
	f.RetainedTopics, f.RetainedBytes = st.retained, st.retainedBytes
	return nil
}

// checkRecords looks at every record of the log and at every retained one.
func checkRecords(tx *bolt.Tx) (problems []string) {
	note := func(format string, a ...any) {
		if len(problems) < maxProblems {
			problems = append(problems, fmt.Sprintf(format, a...))
		}
	}
	log := tx.Bucket(bucketLog)
	_ = log.ForEachBucket(func(k []byte) error {
		err := eachRecord(log.Bucket(k), be64(k), func(offset uint64, v []byte) error {
			r, err := decodeRecord(v)
			if err == nil && r.Offset != offset {
				err = fmt.Errorf("%w: it is the record of offset %d", ErrDamaged, r.Offset)
			}
			if err != nil {
				note("log: record at offset %d: %v", offset, err)
			}
			return nil
		})
		if err != nil {
			note("log: segment of offset %d: %v", be64(k), err)
		}
		return nil
	})
	if keyspace.Exists(tx) {
		if err := keyspace.Check(tx); err != nil {
			note("%v", err)
		}
	}
	var sum state
	expiry := tx.Bucket(bucketExpiry)
	_ = tx.Bucket(bucketRetained).ForEach(func(k, v []byte) error {
		r, err := decodeRecord(v)
		if err == nil && (r.Topic != string(k) || !r.Retain || len(r.Payload) == 0) {
			err = fmt.Errorf("%w: it is another's", ErrDamaged)
		}
		if err != nil {
			note("retained record of %q: %v", k, err)
		}
		if err == nil && r.Expires != 0 && expiry != nil && expiry.Get(expiryKey(r.Expires, r.Topic)) == nil {
			note("retained record of %q expires, and nothing will clear it", k)
		}
		sum.retained++
		sum.retainedBytes += uint64(retainedCost(string(k), len(v)))
		return nil
	})
	if st, err := readState(tx.Bucket(bucketMeta)); err == nil && (st.retained != sum.retained || st.retainedBytes != sum.retainedBytes) {
		note("retained: %d records of %d bytes, and there should be %d of %d", sum.retained, sum.retainedBytes, st.retained, st.retainedBytes)
	}
	return problems
}

// Compact writes the store in dir anew without free pages, and puts the new file in the place of the old one, of which
// nothing is changed until then.
func Compact(dir string) (before, after int64, err error) {
	path := filepath.Join(dir, fileName)
	if _, err := os.Stat(path); err != nil {
		return 0, 0, fmt.Errorf("there is no store: %w", err)
	}
	if _, err := checkFile(path); err != nil {
		return 0, 0, err
	}
	from, file, err := boltOpen(path, &bolt.Options{Timeout: lockTimeout, NoFreelistSync: true}) // for writing: nobody else has it
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	if info, err := file.Stat(); err == nil {
		before = info.Size()
	}
	temp, err := os.CreateTemp(dir, tempPattern)
	if err != nil {
		return 0, 0, err
	}
	defer os.Remove(temp.Name())
	_ = temp.Close()
	if err := compactInto(temp.Name(), from); err != nil {
		return 0, 0, fmt.Errorf("compact: %w", err)
	}
	if _, err := checkFile(temp.Name()); err != nil {
		return 0, 0, fmt.Errorf("compact: %w", err)
	}
	if info, err := os.Stat(temp.Name()); err == nil {
		after = info.Size()
	}
	if err := os.Rename(temp.Name(), path); err != nil {
		return 0, 0, err
	}
	return before, after, syncDir(dir)
}

func compactInto(path string, from *bolt.DB) error {
	to, _, err := boltOpen(path, &bolt.Options{Timeout: lockTimeout, NoFreelistSync: true, NoSync: true}) // synced at the end
	if err != nil {
		return err
	}
	err = guard(func() error {
		if err := bolt.Compact(to, from, copyAtOnce); err != nil {
			return err
		}
		return to.Sync()
	})
	return errors.Join(err, to.Close())
}

// BackupFile copies the store in dir to a new file. A file that is there is not touched.
func BackupFile(dir, to string) (size int64, err error) {
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return 0, err
	}
	err = offline(dir, func(_ *Facts, tx *bolt.Tx) error {
		if _, err := checkBuckets(tx); err != nil {
			return err
		}
		size, err = tx.WriteTo(out)
		return err
	})
	if err == nil {
		err = out.Sync()
	}
	err = errors.Join(err, out.Close())
	if err == nil {
		_, err = checkFile(to)
	}
	if err == nil {
		err = syncDir(filepath.Dir(to))
	}
	if err != nil {
		_ = os.Remove(to)
	}
	return size, err
}
