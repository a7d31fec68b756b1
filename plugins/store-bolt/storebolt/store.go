package storebolt

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/plugins/store-bolt/internal/keyspace"
	"github.com/carillon-mq/carillon/protocol"
)

var _ broker.Store = (*Store)(nil)

// ErrClosed is returned by calls to a Store after Close.
var ErrClosed = errors.New("the store is closed")

// Store is a broker.Store in a bbolt file. It is made by Open and ended by Close; its methods are safe for concurrent use.
type Store struct {
	cfg  Config
	db   *bolt.DB
	file *os.File // db's
	term Term

	queue    queue
	done     chan struct{} // closed when the committer has ended
	ended    chan struct{} // closed when err is set
	stop     chan struct{} // closed by Close, for the ticker
	stopping sync.Once
	ticking  sync.WaitGroup

	clock   clock
	index   *index
	room    room
	reading sync.RWMutex // held by readers of the file; the committer takes it when it needs every page
	backups atomic.Int32 // that are being made: old segments stay as they are

	// The committer's own.
	ahead      ahead
	spare      spare
	keyspace   *keyspace.Space // some of it is for everybody
	state      state
	origins    map[protocol.RunID]origin
	keys       *keyTable
	nextExpiry int64
	scratch    scratch

	mu       sync.Mutex
	dense    uint64 // lowest offset from which on every record is held
	heldKeys int
	commits  commitFigures
	head     uint64        // highest committed offset; mirrors state for everybody else
	retained state         // as of the last commit, for Stats
	tail     tail          // names of the newest records
	changed  chan struct{} // closed and replaced with every commit, and when err is set
	err      error         // why the store has ended: the failure, or ErrClosed
}

// Open opens the store in cfg.Dir, making it if there is none, and begins a term. It fails, and leaves the file as it is,
// when another process has the file open, when it is damaged or of a newer version, or when the folder can't be written.
func Open(cfg Config) (*Store, error) {
	cfg = cfg.withDefaults()
	if cfg.Dir == "" {
		return nil, errors.New("the store needs a folder")
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, err
	}
	cfg.Dir = dir
	db, file, err := openFile(cfg)
	if err != nil {
		return nil, err
	}
	s := &Store{cfg: cfg, db: db, file: file, done: make(chan struct{}), ended: make(chan struct{}), stop: make(chan struct{}), changed: make(chan struct{})}
	s.queue.init()
	if err := s.load(); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	sweep(cfg.Dir)
	go s.run()
	s.ticking.Go(s.tick)
	return s, nil
}

// load reads what is kept in memory, brings an older file to the present format, and begins the term.
func (s *Store) load() error {
	path := s.file.Name()
	format := uint64(0)
	err := guard(func() error {
		return s.db.View(func(tx *bolt.Tx) error {
			var err error
			format, err = checkBuckets(tx)
			if err == nil {
				s.state, err = readState(tx.Bucket(bucketMeta))
			}
			return err
		})
	})
	if err == nil && format < fileFormat {
		err = guard(func() error { return s.db.Update(func(tx *bolt.Tx) error { return migrate(tx, s.state) }) })
	}
	if err == nil {
		err = guard(func() error { return s.db.View(s.loadMemory) })
	}
	if err != nil {
		return repairHint(path, err)
	}
	err = guard(func() error {
		return s.db.Update(func(tx *bolt.Tx) error {
			var err error
			if s.term, err = startTerm(tx.Bucket(bucketTerms), s.state.head+1, time.Now()); err == nil {
				err = s.loadKeyspace(tx)
			}
			return err
		})
	})
	if err != nil {
		return fmt.Errorf("begin a term in %s: %w", path, err)
	}
	s.head, s.retained, s.dense, s.heldKeys = s.state.head, s.state, s.index.dense, s.keys.count
	s.room.limit = s.cfg.MaxFileBytes
	s.ahead = ahead{file: s.file, limit: s.cfg.MaxFileBytes}
	return s.view(func(tx *bolt.Tx) error {
		s.measure(tx)
		return nil
	})
}

// checkBuckets returns the format of the file.
func checkBuckets(tx *bolt.Tx) (uint64, error) {
	meta := tx.Bucket(bucketMeta)
	for _, name := range [][]byte{bucketMeta, bucketLog, bucketTerms, bucketRetained} {
		if tx.Bucket(name) == nil {
			return 0, fmt.Errorf("%w: it is a bbolt file, but no store", ErrDamaged)
		}
	}
	format, err := readFormat(meta)
	if err != nil || format < fileFormat {
		return format, err
	}
	for _, name := range [][]byte{bucketGone, bucketExpiry, bucketKeys} {
		if tx.Bucket(name) == nil {
			return 0, fmt.Errorf("%w: it has no bucket %s", ErrDamaged, name)
		}
	}
	return format, nil
}

// loadMemory reads what the committer and the readers of the history keep in memory.
func (s *Store) loadMemory(tx *bolt.Tx) error {
	meta := tx.Bucket(bucketMeta)
	s.clock = newClock(s.cfg.now, s.state.stamp)
	r, err := unsealRules(meta.Get(keyRules))
	if err != nil {
		return err
	}
	if s.origins, err = readOrigins(meta); err != nil {
		return err
	}
	if s.index, err = loadIndex(tx, s.state, r); err != nil {
		return err
	}
	s.index.hot = s.cfg.hotSegments
	s.index.slide(s.cfg.KeepRecords, s.cfg.KeepBytes)
	if s.keys, err = loadKeys(tx.Bucket(bucketKeys), s.clock.now()); err != nil {
		return err
	}
	s.spare.load(tx)
	c := commit{expiry: tx.Bucket(bucketExpiry)}
	s.nextExpiry = c.firstExpiry()
	return nil
}

// Close commits what Append has taken, ends the feeds, and closes the file. After a failure the file's lock is kept until
// the process ends, if bbolt was left in the middle of something.
func (s *Store) Close() error {
	s.stopping.Do(func() { close(s.stop) })
	s.ticking.Wait()
	s.queue.close()
	<-s.done
	failure := s.end(ErrClosed)
	switch {
	case errors.Is(failure, ErrClosed):
		return nil
	case errors.Is(failure, ErrDamaged):
		return nil
	}
	return s.db.Close()
}

// end makes err the reason why the store has ended, unless there is one already, which it returns then.
func (s *Store) end(err error) (earlier error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	s.err = err
	close(s.ended)
	close(s.changed)
	s.changed = make(chan struct{})
	return nil
}

// CheckHealth returns why the store has ended, or nil. It is kit.HealthChecker.
func (s *Store) CheckHealth() error { return s.failure() }

// view runs fn in a read transaction, which must be short: its pages can't be used again meanwhile.
func (s *Store) view(fn func(tx *bolt.Tx) error) error {
	s.reading.RLock()
	defer s.reading.RUnlock()
	return guard(func() error { return s.db.View(fn) })
}
