package storebolt

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	bolt "go.etcd.io/bbolt"

	"github.com/carillon-mq/carillon/broker"
)

// content is everything that can be read out of a store.
type content struct {
	Feed     []broker.Record
	Retained map[string]broker.Record
}

func readContent(s *Store) (content, error) {
	var c content
	var err error
	if c.Feed, _, err = readFeed(s, broker.FollowFrom{}); err != nil {
		return c, err
	}
	c.Retained, _, err = loadRetained(s)
	return c, err
}

// goodFile is the used part of a store's file with some segments, branches and large records in it.
func goodFile(t testing.TB) ([]byte, content) {
	t.Helper()
	cfg := Config{Dir: t.TempDir(), segmentRecords: 100}
	s := open(t, cfg)
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range 30 {
		batch := make([]broker.Record, 20)
		for j := range batch {
			n := 20*i + j + 1
			batch[j] = from(runA, uint64(n), record(fmt.Sprintf("orders.%d", rnd.IntN(200)), strings.Repeat("x", rnd.IntN(300))))
			batch[j].Retain = n%2 == 0
			if n%200 == 0 {
				batch[j].Payload = bytes.Repeat([]byte("y"), 20_000)
			}
		}
		appendAll(t, s, batch...)
	}
	want, err := readContent(s)
	if err != nil {
		t.Fatal(err)
	}
	closeStore(t, s)
	path := filepath.Join(cfg.Dir, fileName)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h, err := (&checker{file: f}).readHeads()
	if err != nil {
		t.Fatal(err)
	}
	return b[:h.pages*uint64(h.pageSize)], want // the rest was never written
}

// openDamaged opens a store of file, and reads it. An unchanged file is part of the promise when that fails at once.
func openDamaged(t testing.TB, dir string, file []byte) (content, error) {
	t.Helper()
	path := filepath.Join(dir, fileName)
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Open(Config{Dir: dir, segmentRecords: 100, Logger: discard})
	if err != nil {
		after, readErr := os.ReadFile(path)
		if readErr != nil || !bytes.Equal(file, after) {
			t.Errorf("refused (%v), but the file was changed (%v)", err, readErr)
		}
		if !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "move the file away") {
			t.Errorf("no path or no advice: %v", err)
		}
		return content{}, err
	}
	defer closeStore(t, s)
	return readContent(s)
}

func TestFlippedBitsAreFoundOrHarmless(t *testing.T) {
	good, want := goodFile(t)
	dir := t.TempDir()
	rnd := rand.New(rand.NewPCG(3, 4))
	rounds := campaign(150, 10_000)
	found := 0
	for range rounds {
		file := bytes.Clone(good)
		at, bit := rnd.IntN(len(file)), rnd.IntN(8)
		if rnd.IntN(3) == 0 {
			at = at&^4095 + rnd.IntN(64) // the head of a page
		}
		file[at] ^= 1 << bit
		got, err := openDamaged(t, dir, file)
		if err != nil {
			found++
			if !errors.Is(err, ErrDamaged) {
				t.Errorf("bit %d of byte %d: %v", bit, at, err)
			}
			continue
		}
		if !reflect.DeepEqual(want, got) && at >= 2*4096 {
			t.Errorf("bit %d of byte %d: other content: %s", bit, at, cmp.Diff(want, got))
		}
	}
	t.Logf("%d of %d flips were found, the others were in free space", found, rounds)
	if found < rounds/4 {
		t.Error("too few flips hit anything for this to be a test")
	}
}

// A page that says that it is page 0 is not taken for one of the small buckets, which have no id: bbolt would panic on it where nobody
// can recover.
func TestAPageThatHasLostItsIDIsRefused(t *testing.T) {
	good, want := goodFile(t)
	dir := t.TempDir()
	refused := 0
	for at := 2 * 4096; at < len(good); at += 4096 {
		file := bytes.Clone(good)
		clear(file[at : at+8])
		got, err := openDamaged(t, dir, file)
		if err == nil && !reflect.DeepEqual(want, got) {
			t.Errorf("page %d: other content: %s", at/4096, cmp.Diff(want, got))
		}
		if err != nil {
			refused++
		}
	}
	if refused == 0 {
		t.Error("no page was missed")
	}
}

func TestAShortenedFileIsRefused(t *testing.T) {
	good, want := goodFile(t)
	dir := t.TempDir()
	rnd := rand.New(rand.NewPCG(5, 6))
	for i := range campaign(30, 500) {
		n := rnd.IntN(len(good))
		if i%2 == 0 {
			n &^= 4095
		}
		got, err := openDamaged(t, dir, good[:n])
		if err == nil && !reflect.DeepEqual(want, got) {
			t.Errorf("cut to %d of %d bytes: other content", n, len(good))
		}
		if err != nil && !errors.Is(err, ErrDamaged) {
			t.Errorf("cut to %d of %d bytes: %v", n, len(good), err)
		}
	}
}

func TestADamagedRecordIsNamed(t *testing.T) {
	for _, test := range []struct{ name, bucket, want string }{
		{"in the log", "log", "record at offset 2"},
		{"retained", "retained", `retained record of "b"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := Config{Dir: t.TempDir()}
			s := open(t, cfg)
			appendAll(t, s, retained("a", "fine"), retained("b", "hurt"), retained("c", "fine"))
			closeStore(t, s)
			damageRecord(t, filepath.Join(cfg.Dir, fileName), test.bucket)
			s = open(t, cfg)
			_, err := readContent(s)
			if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %s", err, test.want)
			}
			if r := appendAll(t, s, retained("b", "healed"))[0]; r.Err != nil {
				t.Error(r.Err)
			}
			if all, _, err := loadRetained(s); err != nil || string(all["b"].Payload) != "healed" {
				t.Errorf("after it was replaced: %v", err)
			}
		})
	}
}

// damageRecord changes the second value of the bucket without its checksum.
func damageRecord(t *testing.T, path, bucket string) {
	t.Helper()
	db, err := bolt.Open(path, 0o600, &bolt.Options{NoFreelistSync: true})
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		b := tx.Bucket([]byte(bucket))
		if bucket == "log" {
			b = b.Bucket(key64(1))
		}
		c := b.Cursor()
		c.First()
		k, v := c.Next()
		broken := bytes.Clone(v)
		broken[len(broken)-1] ^= 1
		return b.Put(k, broken)
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestFilesThatAreNoStoreAreRefusedAndNotTouched(t *testing.T) {
	noise := make([]byte, 64<<10)
	rnd := rand.New(rand.NewPCG(7, 8))
	for i := range noise {
		noise[i] = byte(rnd.Uint32())
	}
	for _, test := range []struct {
		name string
		file []byte
	}{
		{"empty", nil},
		{"one byte", []byte{1}},
		{"random bytes", noise},
		{"zeros", make([]byte, 64<<10)},
		{"somebody's notes", []byte(strings.Repeat("dear diary\n", 10_000))},
		{"another bbolt file", otherBolt(t, func(*bolt.Tx) error { return nil })},
		{"a newer format", otherBolt(t, func(tx *bolt.Tx) error {
			if err := initBuckets(tx); err != nil {
				return err
			}
			return tx.Bucket(bucketMeta).Put(keyFormat, sealNumbers(fileFormat+1))
		})},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, err := openDamaged(t, t.TempDir(), test.file); err == nil {
				t.Error("it was opened")
			}
		})
	}
}

func otherBolt(t *testing.T, fill func(*bolt.Tx) error) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "other.db")
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Update(fill), db.Close()); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestAFileThatAToolHasCompactedIsOpened(t *testing.T) {
	good, want := goodFile(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "old"), good, 0o600); err != nil {
		t.Fatal(err)
	}
	from, err := bolt.Open(filepath.Join(dir, "old"), 0o600, &bolt.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	to, err := bolt.Open(filepath.Join(dir, fileName), 0o600, nil) // with a list of free pages
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(bolt.Compact(to, from, 0), from.Close(), to.Close()); err != nil {
		t.Fatal(err)
	}
	s := open(t, Config{Dir: dir})
	got, err := readContent(s)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestADamagedHeadPageIsToldAndTwoAreRefused(t *testing.T) {
	good, want := goodFile(t)
	dir := t.TempDir()
	path := filepath.Join(dir, fileName)
	pageSize := os.Getpagesize()
	for page := range 2 {
		file := bytes.Clone(good)
		file[page*pageSize+pageHeader+20] ^= 1
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
		var log strings.Builder
		s := open(t, Config{Dir: dir, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		got, err := readContent(s)
		if err != nil || len(got.Feed) > len(want.Feed) || !reflect.DeepEqual(got.Feed, want.Feed[:len(got.Feed)]) {
			t.Errorf("page %d: %d records of %d, %v", page, len(got.Feed), len(want.Feed), err)
		}
		if !strings.Contains(log.String(), "damaged head page") || !strings.Contains(log.String(), fmt.Sprintf("page %d", page)) {
			t.Errorf("page %d: nobody was told: %s", page, log.String())
		}
		closeStore(t, s)
	}
	file := bytes.Clone(good)
	file[pageHeader+20] ^= 1
	file[pageSize+pageHeader+20] ^= 1
	if _, err := openDamaged(t, dir, file); !errors.Is(err, ErrDamaged) {
		t.Errorf("both: %v", err)
	}
}

// One flag of a segment's entry lost, and bbolt takes its bucket for a value: its records would be missing as if they had been trimmed.
func TestASegmentThatIsNoBucketIsRefused(t *testing.T) {
	good, _ := goodFile(t)
	path := filepath.Join(t.TempDir(), fileName)
	if err := os.WriteFile(path, good, 0o600); err != nil {
		t.Fatal(err)
	}
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		log := tx.Bucket(bucketLog)
		first, _ := log.Cursor().First()
		first = bytes.Clone(first)
		if err := log.DeleteBucket(first); err != nil {
			return err
		}
		return log.Put(first, []byte("what was a bucket"))
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := openDamaged(t, t.TempDir(), file); !errors.Is(err, ErrDamaged) {
		t.Errorf("found %v, wanted it refused as damaged", err)
	}
}

// damageKey changes the value of key1 of the keyspace without its checksum.
func damageKey(t *testing.T, path string) {
	t.Helper()
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		keys := tx.Bucket([]byte("keyspace")).Bucket([]byte("keys"))
		v := bytes.Clone(keys.Get([]byte("key1")))
		v[len(v)-1]++
		return keys.Put([]byte("key1"), v)
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}
