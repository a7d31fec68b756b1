package storebolt

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/carillon-mq/carillon/broker"
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

	queue queue
	done  chan struct{} // closed when the committer has ended

	// The committer's own.
	state    state
	segments []segment
	origins  map[protocol.RunID]origin
	arena    []byte
	newest   []recordID

	mu       sync.Mutex
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
	s := &Store{cfg: cfg, db: db, file: file, done: make(chan struct{}), changed: make(chan struct{})}
	s.queue.init()
	if err := s.load(); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	sweep(cfg.Dir)
	go s.run()
	return s, nil
}

// load reads what the committer keeps in memory, and begins the term.
func (s *Store) load() error {
	path := s.file.Name()
	err := guard(func() error {
		return s.db.View(func(tx *bolt.Tx) error {
			meta, log := tx.Bucket(bucketMeta), tx.Bucket(bucketLog)
			if meta == nil || log == nil || tx.Bucket(bucketTerms) == nil || tx.Bucket(bucketRetained) == nil {
				return fmt.Errorf("%w: it is a bbolt file, but no store", ErrDamaged)
			}
			err := checkFormat(meta)
			if err != nil {
				return err
			}
			if s.state, err = readState(meta); err != nil {
				return err
			}
			if s.origins, err = readOrigins(meta); err != nil {
				return err
			}
			s.segments, err = readSegments(log, s.state.head)
			return err
		})
	})
	if err != nil {
		return repairHint(path, err)
	}
	err = guard(func() error {
		return s.db.Update(func(tx *bolt.Tx) error {
			var err error
			s.term, err = startTerm(tx.Bucket(bucketTerms), s.state.head+1, time.Now())
			return err
		})
	})
	if err != nil {
		return fmt.Errorf("begin a term in %s: %w", path, err)
	}
	s.head, s.retained = s.state.head, s.state
	return nil
}

// Close commits what Append has taken, ends the feeds, and closes the file. After a failure the file's lock is kept until
// the process ends, if bbolt was left in the middle of something.
func (s *Store) Close() error {
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
	close(s.changed)
	s.changed = make(chan struct{})
	return nil
}

// CheckHealth returns why the store has ended, or nil. It is kit.HealthChecker.
func (s *Store) CheckHealth() error { return s.failure() }

// Term is the term that this opening has begun (log.md P2).
func (s *Store) Term() Term { return s.term }

// Terms is the list of terms, oldest first: at most the newest 4,096.
func (s *Store) Terms() ([]Term, error) {
	var all []Term
	err := s.view(func(tx *bolt.Tx) error {
		var err error
		all, err = readTerms(tx.Bucket(bucketTerms))
		return err
	})
	return all, err
}

// Stats are figures of a Store.
type Stats struct {
	Head           uint64 // highest committed offset
	RetainedTopics int
	RetainedBytes  int64 // as they are charged
	FileBytes      int64
}

// Stats returns the present figures.
func (s *Store) Stats() Stats {
	s.mu.Lock()
	st := s.retained
	s.mu.Unlock()
	out := Stats{Head: st.head, RetainedTopics: int(st.retained), RetainedBytes: int64(st.retainedBytes)}
	if info, err := s.file.Stat(); err == nil {
		out.FileBytes = info.Size()
	}
	return out
}

// view runs fn in a read transaction, which must be short: its pages can't be used again meanwhile.
func (s *Store) view(fn func(tx *bolt.Tx) error) error {
	return guard(func() error { return s.db.View(fn) })
}
