package brokertest

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/protocol"
)

var _ broker.KeyspaceStore = (*Store)(nil)

// keyspace is that of a State. It is small: every call looks at all of it.
type keyspace struct {
	revision uint64
	keys     map[string]broker.KeyEntry // deleted ones stay, as what a feed tells of them
	leases   map[broker.LeaseID]lease
}

type lease struct {
	ttl time.Duration
	end time.Time
}

// maxKeys is how many keys a Store takes, maxLeases how many leases: what the contract asks for at least.
const (
	maxKeys   = 10_000
	maxLeases = 1_000
)

func newKeyspace() keyspace {
	return keyspace{keys: map[string]broker.KeyEntry{}, leases: map[broker.LeaseID]lease{}}
}

func (k *keyspace) clone() keyspace {
	return keyspace{k.revision, maps.Clone(k.keys), maps.Clone(k.leases)}
}

// renewAll is what the start of a store does.
func (k *keyspace) renewAll(now time.Time) {
	for id, l := range k.leases {
		k.leases[id] = lease{l.ttl, now.Add(l.ttl)}
	}
}

// present is the entry of key, zero if it is not there.
func (k *keyspace) present(key string) broker.KeyEntry {
	if e := k.keys[key]; !e.Deleted {
		return e
	}
	return broker.KeyEntry{}
}

func (k *keyspace) remove(key string) {
	k.revision++
	k.keys[key] = broker.KeyEntry{Key: key, Revision: k.revision, Deleted: true}
}

func (k *keyspace) end(id broker.LeaseID) {
	delete(k.leases, id)
	for key, e := range k.keys {
		if e.Lease == id && !e.Deleted {
			k.remove(key)
		}
	}
}

// expire ends the leases that are over.
func (k *keyspace) expire(now time.Time) (changed bool) {
	for id, l := range k.leases {
		if !l.end.After(now) {
			k.end(id)
			changed = true
		}
	}
	return changed
}

func (k *keyspace) put(p *broker.KeyPut) (broker.KeyEntry, error) {
	old := k.present(p.Key)
	_, leased := k.leases[p.Lease]
	switch {
	case old.Revision != 0 && old.Write == p.Write:
		return old, nil
	case p.Expect != broker.AnyRevision && p.Expect != old.Revision:
		return old, broker.ErrKeyChanged
	case p.Lease != broker.LeaseID{} && !leased:
		return broker.KeyEntry{}, broker.ErrNoLease
	case old.Revision == 0 && k.count() >= maxKeys:
		return broker.KeyEntry{}, protocol.Errorf(protocol.CodeQuota, "there are %d keys, that is the limit", maxKeys)
	}
	k.revision++
	e := broker.KeyEntry{Key: p.Key, Value: slices.Clone(p.Value), Revision: k.revision, Lease: p.Lease, Write: p.Write}
	k.keys[p.Key] = e
	return e, nil
}

func (k *keyspace) count() (n int) {
	for _, e := range k.keys {
		if !e.Deleted {
			n++
		}
	}
	return n
}

// under is what begins with prefix, deleted keys too, in order of keys.
func (k *keyspace) under(prefix string) (entries []broker.KeyEntry) {
	for key, e := range k.keys {
		if strings.HasPrefix(key, prefix) {
			entries = append(entries, e)
		}
	}
	slices.SortFunc(entries, func(a, b broker.KeyEntry) int { return cmp.Compare(a.Key, b.Key) })
	return entries
}

// changeKeys has fn look at the keyspace, and change it, when what is over has ended.
func (s *Store) changeKeys(ctx context.Context, fn func(k *keyspace) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.mayLocked(ctx, broker.PowerKeyspace); err != nil {
		return err
	}
	k := &s.state.keyspace
	before := k.revision
	k.expire(time.Now())
	err := fn(k)
	if k.revision != before {
		s.changedLocked()
	}
	return err
}

// endLeases ends what is over, for who watches.
func (s *Store) endLeases() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.away && s.state.keyspace.expire(time.Now()) {
		s.changedLocked()
	}
}

// wakeLeasesLocked sees to it that leases end although nobody asks for anything.
func (s *Store) wakeLeasesLocked() {
	for _, l := range s.state.keyspace.leases {
		time.AfterFunc(l.ttl, s.endLeases)
	}
}

// GetKey implements broker.KeyspaceStore.
func (s *Store) GetKey(ctx context.Context, key string) (e broker.KeyEntry, err error) {
	if err := broker.CheckKey(key); err != nil {
		return e, err
	}
	err = s.changeKeys(ctx, func(k *keyspace) (err error) {
		e = k.present(key)
		return nil
	})
	return e, err
}

// ListKeys implements broker.KeyspaceStore.
func (s *Store) ListKeys(ctx context.Context, q broker.KeyQuery) (p broker.KeyPage, err error) {
	if err := q.Check(); err != nil {
		return p, err
	}
	if q.Limit == 0 {
		q.Limit = broker.MaxKeyPage
	}
	err = s.changeKeys(ctx, func(k *keyspace) (err error) {
		p.Done = true
		size := 0
		for _, e := range k.under(q.Prefix) {
			if e.Deleted || e.Key <= q.After {
				continue
			}
			size += len(e.Key) + len(e.Value)
			if n := len(p.Entries); n == q.Limit || n > 0 && size > maxPageBytes {
				p.Done = false
				break
			}
			p.Entries = append(p.Entries, e)
		}
		return nil
	})
	return p, err
}

// PutKey implements broker.KeyspaceStore.
func (s *Store) PutKey(ctx context.Context, p broker.KeyPut) (e broker.KeyEntry, err error) {
	if err := p.Check(); err != nil {
		return e, err
	}
	err = s.changeKeys(ctx, func(k *keyspace) (err error) {
		e, err = k.put(&p)
		return err
	})
	return e, err
}

// DeleteKey implements broker.KeyspaceStore.
func (s *Store) DeleteKey(ctx context.Context, key string, expect uint64) (e broker.KeyEntry, err error) {
	if err := broker.CheckKey(key); err != nil {
		return e, err
	}
	err = s.changeKeys(ctx, func(k *keyspace) (err error) {
		switch old := k.present(key); {
		case old.Revision == 0:
		case expect != broker.AnyRevision && expect != old.Revision:
			e = old
			return broker.ErrKeyChanged
		default:
			k.remove(key)
		}
		return nil
	})
	return e, err
}

// WatchKeys implements broker.KeyspaceStore.
func (s *Store) WatchKeys(ctx context.Context, prefix string, on func(broker.KeyFeed) error) error {
	if err := broker.CheckKeyPrefix(prefix); err != nil {
		return err
	}
	feed, told := broker.KeyFeed{CaughtUp: true}, uint64(0)
	for {
		s.mu.Lock()
		changed, cuts := s.changed, s.cuts
		if err := s.mayLocked(ctx, broker.PowerKeyspace); err != nil {
			s.mu.Unlock()
			return err
		}
		for _, e := range s.state.keyspace.under(prefix) {
			if e.Revision > told && !(feed.CaughtUp && e.Deleted) {
				feed.Entries = append(feed.Entries, e)
			}
		}
		told = s.state.keyspace.revision
		s.mu.Unlock()
		slices.SortFunc(feed.Entries, func(a, b broker.KeyEntry) int { return cmp.Compare(a.Revision, b.Revision) })
		if feed.CaughtUp || len(feed.Entries) > 0 {
			if err := on(feed); err != nil {
				return err
			}
		}
		feed = broker.KeyFeed{}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
		if s.cut(cuts) {
			return ErrAway
		}
	}
}

// cut reports whether feeds have been ended since.
func (s *Store) cut(since int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cuts != since
}

// GrantLease implements broker.KeyspaceStore.
func (s *Store) GrantLease(ctx context.Context, id broker.LeaseID, ttl time.Duration) error {
	if err := broker.CheckLease(id, ttl); err != nil {
		return err
	}
	return s.changeKeys(ctx, func(k *keyspace) error {
		if _, known := k.leases[id]; !known && len(k.leases) >= maxLeases {
			return protocol.Errorf(protocol.CodeQuota, "there are %d leases, that is the limit", maxLeases)
		}
		k.leases[id] = lease{ttl, time.Now().Add(ttl)}
		time.AfterFunc(ttl, s.endLeases)
		return nil
	})
}

// RenewLease implements broker.KeyspaceStore.
func (s *Store) RenewLease(ctx context.Context, id broker.LeaseID) error {
	return s.changeKeys(ctx, func(k *keyspace) error {
		l, known := k.leases[id]
		if !known {
			return broker.ErrNoLease
		}
		k.leases[id] = lease{l.ttl, time.Now().Add(l.ttl)}
		time.AfterFunc(l.ttl, s.endLeases)
		return nil
	})
}

// RevokeLease implements broker.KeyspaceStore.
func (s *Store) RevokeLease(ctx context.Context, id broker.LeaseID) error {
	return s.changeKeys(ctx, func(k *keyspace) error {
		k.end(id)
		return nil
	})
}
