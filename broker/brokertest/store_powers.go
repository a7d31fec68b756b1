package brokertest

import (
	"context"
	"slices"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/protocol"
)

var _ broker.PoweredStore = (*Store)(nil)

// Without takes powers away for good, and returns s.
func (s *Store) Without(powers ...broker.Power) *Store {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lacks = append(s.lacks, powers...)
	return s
}

// Has implements broker.PoweredStore. A Store begins with terms, history, keys, ttl and keyspace.
func (s *Store) Has(p broker.Power) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.away && s.hasLocked(p)
}

func (s *Store) hasLocked(p broker.Power) bool {
	has := []broker.Power{broker.PowerTerms, broker.PowerHistory, broker.PowerKeys, broker.PowerTTL, broker.PowerKeyspace}
	return slices.Contains(has, p) && !slices.Contains(s.lacks, p)
}

// mayLocked is the error of a call that needs p.
func (s *Store) mayLocked(ctx context.Context, p broker.Power) error {
	switch {
	case s.away:
		return ErrAway
	case !s.hasLocked(p):
		return broker.ErrNoPower
	}
	return ctx.Err()
}

// expired reports whether r ends by now.
func expired(r *broker.Record, now time.Time) bool {
	return r.Expires != 0 && r.Expires <= now.UnixMilli()
}

// clearLaterLocked has r, which was committed, cleared when it ends, if it is its topic's retained record then.
func (s *Store) clearLaterLocked(r *broker.Record) {
	if r.Retain && r.Expires != 0 && s.hasLocked(broker.PowerTTL) {
		time.AfterFunc(time.Until(time.UnixMilli(r.Expires)), s.clearExpired)
	}
}

// clearExpired commits the clears that are due.
func (s *Store) clearExpired() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clearExpiredLocked()
}

func (s *Store) clearExpiredLocked() {
	now := time.Now()
	for topic, r := range s.state.retained {
		if !s.away && expired(&r, now) {
			s.state.add(broker.Record{Topic: topic, Retain: true, Time: now.UnixMilli()}, false)
			s.changedLocked()
		}
	}
}

// keyWindow is how long a record's key is known.
const keyWindow = 2 * time.Minute

// keyed is what is known of a record with a key.
type keyed struct {
	offset uint64
	digest string
	at     time.Time
}

func (k keyed) holds(now time.Time) bool { return now.Sub(k.at) < keyWindow }

// repeatedLocked answers for r if another record has its key.
func (s *Store) repeatedLocked(r *broker.Record) (result broker.AppendResult, known bool) {
	first, known := s.state.keys[string(r.Key)]
	switch {
	case len(r.Key) == 0 || !known || !first.holds(time.Now()) || !s.hasLocked(broker.PowerKeys):
		return broker.AppendResult{}, false
	case first.digest != string(r.Digest):
		return broker.AppendResult{Ref: r.Ref, Err: protocol.Errorf(protocol.CodeDuplicateID, "another message has this id")}, true
	}
	return broker.AppendResult{Ref: r.Ref, Offset: first.offset, Duplicate: true, Repeats: true}, true
}
