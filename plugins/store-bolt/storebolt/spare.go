package storebolt

import (
	"errors"
	"math/bits"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/carillon-mq/carillon/broker"
)

// The bucket spare has one value of zeros, whose pages lie in one piece. In a file that is nearly full what is free lies in pieces, and what
// takes something away may need several pages in a row: a record that is deleted lets those be written anew that share its page, each of
// which may be large. A commit of that kind that does not fit uses the spare's pages; until they are there again, only what makes nothing
// grow is admitted, unless a quarter is free. A file has a spare once it has come to half of its limit. docs/adr/0022-a-full-file-can-be-emptied.md
// has the reasons.
var (
	bucketSpare = []byte("spare")
	keySpare    = []byte{0}
)

const (
	spareFixed   = 128 << 10 // for everything but the records beside the one that goes
	spareRecords = 5         // bbolt leaves four on one page, however large they are, and puts a single one to those beside it
	spareRetry   = time.Second
)

// spare is the committer's own.
type spare struct {
	held    int64 // bytes of the value; 0: there is none
	largest int   // no retained record is larger, as far as the spare has to know; 0: not known
	retry   time.Time
}

// size is what the value has to have.
func (p *spare) size(limit int64) int64 {
	return min(spareFixed+spareRecords*int64(p.largest), limit/8)
}

func (p *spare) load(tx *bolt.Tx) {
	if b := tx.Bucket(bucketSpare); b != nil {
		p.held = int64(len(b.Get(keySpare)))
		p.largest = int(max(p.held-spareFixed, 0) / spareRecords)
	}
}

// keepSpare sees to it that there is a spare, and one that is large enough for what group retains. It reports false when that is not so and
// not much is free.
func (s *Store) keepSpare(group []request) (kept bool, err error) {
	p := &s.spare
	if s.room.pages.Load() <= s.room.limit/2 && p.held == 0 {
		return true, nil
	}
	if p.largest == 0 {
		if p.largest, err = s.largestRetained(); err != nil {
			return false, err
		}
	}
	for i := range group {
		p.largest = max(p.largest, largestOf(group[i].batch))
	}
	want := p.size(s.room.limit)
	if p.held >= want {
		return true, nil
	}
	if time.Now().After(p.retry) {
		err = s.setSpare(want)
		if !errors.Is(err, bolterrors.ErrMaxSizeReached) {
			return err == nil, err
		}
		p.retry = time.Now().Add(spareRetry)
	}
	return s.room.used.Load() <= s.room.limit/4*3, nil
}

// largestOf is the size of the largest record of batch that is to be retained, rounded up, so that the spare seldom grows.
func largestOf(batch []broker.Record) int {
	largest := 0
	for i := range batch {
		if r := &batch[i]; r.Retain && len(r.Payload) > 0 {
			largest = max(largest, recordSize(r))
		}
	}
	return roundUp(largest)
}

func roundUp(n int) int { return 1 << bits.Len(uint(max(n, 1024)-1)) }

func (s *Store) largestRetained() (largest int, err error) {
	err = s.view(func(tx *bolt.Tx) error {
		return tx.Bucket(bucketRetained).ForEach(func(_, v []byte) error {
			largest = max(largest, len(v))
			return nil
		})
	})
	return roundUp(largest), err
}

// setSpare commits a spare of size bytes in place of the one that is there; 0: none.
func (s *Store) setSpare(size int64) error {
	err := guard(func() error {
		tx, err := s.db.Begin(true)
		if err != nil {
			return err
		}
		if err := putSpare(tx, size); err != nil {
			return errors.Join(err, tx.Rollback())
		}
		return tx.Commit()
	})
	if err == nil {
		s.spare.held = size
	}
	return err
}

func putSpare(tx *bolt.Tx, size int64) error {
	if tx.Bucket(bucketSpare) != nil {
		if err := tx.DeleteBucket(bucketSpare); err != nil {
			return err
		}
	}
	if size == 0 {
		return nil
	}
	b, err := tx.CreateBucket(bucketSpare)
	if err != nil {
		return err
	}
	return b.Put(keySpare, make([]byte, size))
}

// squeeze commits what group takes away although it does not fit at once: in smaller steps, and by the spare.
func (s *Store) squeeze(group []request, results [][]broker.AppendResult, now int64) error {
	for i := range group {
		results[i] = make([]broker.AppendResult, len(group[i].batch))
		if err := s.squeezeOne(group[i:i+1], results[i], now); err != nil {
			return err
		}
	}
	return nil
}

// squeezeOne commits step, which is one request, or both halves of it one after the other. What does not even fit by itself is refused.
func (s *Store) squeezeOne(step []request, results []broker.AppendResult, now int64) error {
	answers := make([][]broker.AppendResult, 1)
	err := s.commitOnce(step, answers, now, tight)
	if errors.Is(err, bolterrors.ErrMaxSizeReached) && s.spare.held > 0 {
		err = s.spend(step, answers, now)
	}
	batch := step[0].batch
	half := len(batch) / 2
	switch {
	case !errors.Is(err, bolterrors.ErrMaxSizeReached):
		copy(results, answers[0])
		return err
	case half == 0:
		refuseAdded(answers, s.room.refusal())
		refuseRules(step, s.room.refusal())
		refuseOp(step[0].op, s.room.refusal())
		copy(results, answers[0])
		return nil
	}
	first, second := step[0], step[0]
	first.batch, second.batch, second.rules = batch[:half], batch[half:], nil
	if err := s.squeezeOne([]request{first}, results[:half], now); err != nil {
		return err
	}
	return s.squeezeOne([]request{second}, results[half:], now)
}

// spend commits group in place of the spare, and makes a new one, if there is room. Nobody reads meanwhile: pages that a reader may look at are
// not free.
func (s *Store) spend(group []request, results [][]broker.AppendResult, now int64) error {
	s.reading.Lock()
	defer s.reading.Unlock()
	size := s.spare.held
	if err := s.setSpare(0); err != nil {
		return err
	}
	err := s.commitOnce(group, results, now, tight)
	if err != nil && !errors.Is(err, bolterrors.ErrMaxSizeReached) {
		return err
	}
	if again := s.setSpare(size); again != nil && !errors.Is(again, bolterrors.ErrMaxSizeReached) {
		return again
	}
	return err
}
