package brokertest

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/protocol"
)

var _ broker.TermLister = (*Store)(nil)

// State is what a store has committed. It is a value: a State kept aside does not change.
type State struct {
	Term     protocol.RunID // the present one
	Head     uint64
	floor    uint64          // records up to here are no longer held for feeds
	log      []broker.Record // from floor+1 on, hidden ones left out
	retained map[string]broker.Record
	terms    []broker.Term // the last one is Term
	keys     map[string]keyed
	past     past
	keyspace keyspace
}

func newState() State {
	return State{retained: map[string]broker.Record{}, keys: map[string]keyed{}, past: newPast(), keyspace: newKeyspace()}
}

// clone is a copy that shares nothing that changes.
func (c *State) clone() State {
	d := *c
	d.log, d.retained, d.terms, d.keys = slices.Clone(c.log), maps.Clone(c.retained), slices.Clone(c.terms), maps.Clone(c.keys)
	d.past, d.keyspace = c.past.clone(), c.keyspace.clone()
	return d
}

// beginTerm is what a store does each time it opens for writing. The time of the keys and of the leases is
// counted anew.
func (c *State) beginTerm() {
	now := time.Now()
	c.Term = protocol.NewRunID()
	c.keyspace.renewAll(now)
	c.terms = append(c.terms, broker.Term{ID: c.Term, First: c.Head + 1, Started: now})
	for name, k := range c.keys {
		if k.holds(now) {
			k.at = now
			c.keys[name] = k
		}
	}
}

func (c *State) add(r broker.Record, hidden bool) {
	c.Head++
	r.Offset, r.Key, r.Digest = c.Head, nil, nil
	if !hidden {
		c.log = append(c.log, r)
	}
	c.past.add(r)
	switch {
	case !r.Retain:
	case len(r.Payload) == 0:
		delete(c.retained, r.Topic)
	default:
		c.retained[r.Topic] = r
	}
}

// ComeBack opens the store again, with the same records and a new term.
func (s *Store) ComeBack() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = false
	s.state.beginTerm()
	s.clearExpiredLocked()
	s.wakeLeasesLocked()
	s.changedLocked()
}

// Trim drops the records up to offset from the feeds. Histories keep them.
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
	return s.state.clone()
}

// Restore puts an older copy in place, as who restores a backup does, and ends the feeds. The copy's terms are kept, and a new
// one begins behind its head.
func (s *Store) Restore(c State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state = c.clone()
	s.state.beginTerm()
	s.seen = map[ref]uint64{}
	for _, r := range s.state.log {
		s.seen[ref{r.Origin, r.Ref}] = r.Offset
	}
	for _, r := range s.state.retained {
		s.clearLaterLocked(&r)
	}
	s.wakeLeasesLocked()
	s.cuts++
	s.changedLocked()
}

// Log is what feeds bring, and Retained the retained records by topic.
func (s *Store) Log() []broker.Record { return s.Copy().log }

// Retained are the retained records by topic.
func (s *Store) Retained() map[string]broker.Record { return s.Copy().retained }

// ListTerms implements broker.TermLister.
func (s *Store) ListTerms(ctx context.Context) ([]broker.Term, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.mayLocked(ctx, broker.PowerTerms); err != nil {
		return nil, err
	}
	return slices.Clone(s.state.terms), nil
}
