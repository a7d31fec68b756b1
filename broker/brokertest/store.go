package brokertest

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/protocol"
)

var _ broker.Store = (*Store)(nil)

// ErrAway is what a Store that is away answers, and a lost answer is.
var ErrAway = errors.New("brokertest: the store is away")

// Store is a broker.Store in memory. It commits at once unless the test says otherwise. Its methods may be called from any goroutine.
type Store struct {
	mu      sync.Mutex
	changed chan struct{} // closed at every change
	state   State
	seen    map[ref]uint64 // offsets by who appended what
	lacks   []broker.Power
	away    bool
	cuts    int // feeds that began before the last cut end
	held    bool
	queue   []request
	between func()
	lose    int // answers
	fail    int // batches
	hide    int // batches
	reject  func(*broker.Record) *protocol.Error
	follows []broker.FollowFrom
	batches [][]broker.Record
	reading
}

type ref struct {
	origin protocol.RunID
	ref    uint64
}

type request struct {
	batch []broker.Record
	done  func([]broker.AppendResult, error)
}

// NewStore returns an empty store.
func NewStore() *Store {
	s := &Store{changed: make(chan struct{}), seen: map[ref]uint64{}, state: newState()}
	s.state.beginTerm()
	return s
}

func (s *Store) changedLocked() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// Hold makes commits wait for Release or Step.
func (s *Store) Hold() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = true
}

// Release commits what waits, and from now on everything at once.
func (s *Store) Release() {
	s.mu.Lock()
	s.held = false
	s.mu.Unlock()
	for s.Step() {
	}
}

// Step commits and answers the batch that waits longest. It reports whether there was one.
func (s *Store) Step() bool {
	s.mu.Lock()
	if len(s.queue) == 0 {
		s.mu.Unlock()
		return false
	}
	r := s.queue[0]
	s.queue = s.queue[1:]
	results, err := s.commitLocked(r.batch)
	between := s.between
	s.mu.Unlock()
	if between != nil {
		between()
	}
	r.done(results, err)
	return true
}

// Between has f called behind each commit, before the answer to it.
func (s *Store) Between(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.between = f
}

// Waiting is how many batches wait for Release.
func (s *Store) Waiting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.queue)
}

// Fail makes the next n batches fail: nothing of them is committed, and the broker is not told that.
func (s *Store) Fail(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = n
}

// LoseAnswers makes the next n batches be committed without the broker hearing of it: feeds end first.
func (s *Store) LoseAnswers(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lose = n
}

// Hide makes the next n batches be committed and answered but left out of every feed, which no store may do.
func (s *Store) Hide(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hide = n
}

// Reject makes f decide what is refused; nil refuses nothing.
func (s *Store) Reject(f func(*broker.Record) *protocol.Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reject = f
}

// Cut ends the feeds that are going on, as a broken connection does. What waits stays and is committed later.
func (s *Store) Cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cuts++
	s.changedLocked()
}

// GoAway ends feeds, forgets what waits and fails every call, until ComeBack.
func (s *Store) GoAway() {
	s.mu.Lock()
	s.away = true
	waiting := s.queue
	s.queue = nil
	s.changedLocked()
	s.mu.Unlock()
	for _, r := range waiting {
		r.done(nil, ErrAway)
	}
}

// Commit commits r as another broker on the same store would, and returns its offset.
func (s *Store) Commit(r broker.Record) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.add(r, false)
	s.clearLaterLocked(&r)
	s.changedLocked()
	return s.state.Head
}

// Follows are the calls of Follow so far, and Batches those of Append.
func (s *Store) Follows() []broker.FollowFrom {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.follows)
}

// Batches are the batches that Append was called with so far.
func (s *Store) Batches() [][]broker.Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.batches)
}

// commitLocked commits batch, or does what the test wants instead.
func (s *Store) commitLocked(batch []broker.Record) ([]broker.AppendResult, error) {
	if s.fail > 0 {
		s.fail--
		return nil, ErrAway
	}
	lost := s.lose > 0
	if lost {
		s.lose--
		s.cuts++
	}
	hidden := s.hide > 0
	if hidden {
		s.hide--
	}
	results := make([]broker.AppendResult, len(batch))
	for i, r := range batch {
		results[i] = s.appendLocked(r, hidden)
	}
	s.changedLocked()
	if lost {
		return nil, ErrAway
	}
	return results, nil
}

func (s *Store) appendLocked(r broker.Record, hidden bool) broker.AppendResult {
	if offset, seen := s.seen[ref{r.Origin, r.Ref}]; seen {
		return broker.AppendResult{Ref: r.Ref, Offset: offset, Duplicate: true}
	}
	if result, known := s.repeatedLocked(&r); known {
		return result
	}
	if s.reject != nil {
		if why := s.reject(&r); why != nil {
			return broker.AppendResult{Ref: r.Ref, Err: why}
		}
	}
	s.state.add(r, hidden)
	s.clearLaterLocked(&r)
	s.seen[ref{r.Origin, r.Ref}] = s.state.Head
	if len(r.Key) > 0 && s.hasLocked(broker.PowerKeys) {
		s.state.keys[string(r.Key)] = keyed{s.state.Head, string(r.Digest), time.Now()}
	}
	return broker.AppendResult{Ref: r.Ref, Offset: s.state.Head}
}

// Append implements broker.Store.
func (s *Store) Append(batch []broker.Record, done func([]broker.AppendResult, error)) {
	s.mu.Lock()
	if s.away {
		s.mu.Unlock()
		done(nil, ErrAway)
		return
	}
	s.batches = append(s.batches, slices.Clone(batch))
	s.queue = append(s.queue, request{batch, done})
	held := s.held
	s.mu.Unlock()
	if !held {
		s.Step()
	}
}

// LoadRetained implements broker.Store.
func (s *Store) LoadRetained(ctx context.Context, page func([]broker.Record) error) (uint64, error) {
	c := s.Copy()
	s.mu.Lock()
	away := s.away
	s.mu.Unlock()
	if away {
		return 0, ErrAway
	}
	records := slices.Collect(maps.Values(c.retained))
	for p := range slices.Chunk(records, 256) {
		if err := errors.Join(ctx.Err(), page(p)); err != nil {
			return 0, err
		}
	}
	return c.Head, nil
}
