package brokertest

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"

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
	away    bool
	cuts    int // feeds that began before the last cut end
	held    bool
	queue   []request
	lose    int // answers
	fail    int // batches
	hide    int // batches
	reject  func(*broker.Record) *protocol.Error
	follows []broker.FollowFrom
	batches [][]broker.Record
}

// State is what a store has committed. It is a value: a State kept aside does not change.
type State struct {
	Term     protocol.RunID
	Head     uint64
	floor    uint64          // records up to here are no longer held
	log      []broker.Record // from floor+1 on, hidden ones left out
	retained map[string]broker.Record
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
	return &Store{
		changed: make(chan struct{}), seen: map[ref]uint64{},
		state: State{Term: protocol.NewRunID(), retained: map[string]broker.Record{}},
	}
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
	s.mu.Unlock()
	r.done(results, err)
	return true
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

// ComeBack opens the store again, with the same records and a new term.
func (s *Store) ComeBack() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = false
	s.state.Term = protocol.NewRunID()
	s.changedLocked()
}

// Commit commits r as another broker on the same store would, and returns its offset.
func (s *Store) Commit(r broker.Record) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addLocked(r, false)
	s.changedLocked()
	return s.state.Head
}

// Trim drops the records up to offset.
func (s *Store) Trim(offset uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.floor = offset
	s.state.log = slices.DeleteFunc(slices.Clone(s.state.log), func(r broker.Record) bool { return r.Offset <= offset })
}

// Copy is what the store has committed by now.
func (s *Store) Copy() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.state
	c.log, c.retained = slices.Clone(c.log), maps.Clone(c.retained)
	return c
}

// Restore puts an older copy in place, as who restores a backup does, and ends the feeds.
func (s *Store) Restore(c State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.log, c.retained = slices.Clone(c.log), maps.Clone(c.retained)
	c.Term = protocol.NewRunID()
	s.state = c
	s.seen = map[ref]uint64{}
	for _, r := range c.log {
		s.seen[ref{r.Origin, r.Ref}] = r.Offset
	}
	s.cuts++
	s.changedLocked()
}

// Log is what feeds bring, and Retained the retained records by topic.
func (s *Store) Log() []broker.Record { return s.Copy().log }

// Retained are the retained records by topic.
func (s *Store) Retained() map[string]broker.Record { return s.Copy().retained }

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
	if s.reject != nil {
		if why := s.reject(&r); why != nil {
			return broker.AppendResult{Ref: r.Ref, Err: why}
		}
	}
	s.addLocked(r, hidden)
	s.seen[ref{r.Origin, r.Ref}] = s.state.Head
	return broker.AppendResult{Ref: r.Ref, Offset: s.state.Head}
}

func (s *Store) addLocked(r broker.Record, hidden bool) {
	s.state.Head++
	r.Offset = s.state.Head
	if !hidden {
		s.state.log = append(s.state.log, r)
	}
	switch {
	case !r.Retain:
	case len(r.Payload) == 0:
		delete(s.state.retained, r.Topic)
	default:
		s.state.retained[r.Topic] = r
	}
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

// Follow implements broker.Store.
func (s *Store) Follow(ctx context.Context, from broker.FollowFrom, on func(broker.Feed) error) error {
	s.mu.Lock()
	s.follows = append(s.follows, from)
	cuts, start := s.cuts, s.state.Head
	s.mu.Unlock()
	after, caughtUp := min(from.After, start), false
	for {
		s.mu.Lock()
		changed := s.changed
		var feed broker.Feed
		switch {
		case s.away || s.cuts != cuts:
			s.mu.Unlock()
			return ErrAway
		case after < s.state.floor:
			s.mu.Unlock()
			return broker.ErrTrimmed
		case after >= start && !caughtUp:
			caughtUp = true
			feed = broker.Feed{CaughtUp: true, Term: s.state.Term, Head: start}
		case after < s.state.Head:
			feed.Records = s.pageLocked(after, from.Origin)
			after = s.state.Head
		}
		s.mu.Unlock()
		if err := ctx.Err(); err != nil {
			return err
		}
		if feed.CaughtUp || len(feed.Records) > 0 {
			if err := on(feed); err != nil {
				return err
			}
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// pageLocked is what was committed after an offset; of origin's own records only the names.
func (s *Store) pageLocked(after uint64, origin protocol.RunID) []broker.Record {
	var page []broker.Record
	for _, r := range s.state.log {
		switch {
		case r.Offset <= after:
		case !origin.IsZero() && r.Origin == origin:
			page = append(page, broker.Record{Offset: r.Offset, Origin: r.Origin, Ref: r.Ref, Elided: true})
		default:
			page = append(page, r)
		}
	}
	return page
}
