package storebolt

import (
	"context"
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/plugins/store-bolt/internal/keyspace"
	"github.com/carillon-mq/carillon/protocol"
)

var _ broker.KeyspaceStore = (*Store)(nil)

// The keyspace is changed by the committer, in the same transactions as the log: what comes together shares an fsync.

// maxLeases is how many leases there may be.
const maxLeases = 10_000

// loadKeyspace makes the keyspace in a file that has none, and reads it.
func (s *Store) loadKeyspace(tx *bolt.Tx) (err error) {
	if err := keyspace.Create(tx); err != nil {
		return err
	}
	limits := keyspace.Limits{Keys: s.cfg.MaxKeyspaceKeys, Bytes: s.cfg.MaxKeyspaceBytes, Leases: maxLeases}
	if s.keyspace, err = keyspace.Load(tx, limits, s.clock.now()); err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return nil
}

// change has op done by the committer. Its outcome is in op.
func (s *Store) change(ctx context.Context, op *keyspace.Op, bytes int) error {
	done := make(chan error, 1)
	if !s.queue.put(request{op: op, bytes: bytes + 256, done: func(_ []broker.AppendResult, err error) { done <- err }}) {
		return ErrClosed
	}
	select {
	case err := <-done:
		if err != nil {
			return err
		}
		return op.Err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// do does what r asks of the keyspace, if it does.
func (c *commit) do(r request) error {
	switch {
	case r.op == nil:
		return nil
	case r.refused:
		refuseOp(r.op, protocol.Errorf(protocol.CodeStoreUnavailable, "%d bytes wait for the store's disk", maxQueueBytes))
		return nil
	}
	if err := c.beginKeyspace(); err != nil {
		return err
	}
	return c.keyspace.Do(r.op)
}

func refuseOp(op *keyspace.Op, why *protocol.Error) {
	if op != nil {
		op.Entry, op.Err = broker.KeyEntry{}, why
	}
}

func (c *commit) beginKeyspace() (err error) {
	if c.keyspace != nil {
		return nil
	}
	var full *protocol.Error
	if c.how >= shrinking {
		full = c.store.room.refusal()
	}
	c.keyspace, err = c.store.keyspace.Begin(c.meta.Tx(), c.now, full)
	return err
}

// endLeases ends the leases that have ended.
func (c *commit) endLeases() error {
	if !c.store.keyspace.Due(c.now) || c.how == tight && c.only(1) == 0 {
		return nil
	}
	if err := c.beginKeyspace(); err != nil {
		return err
	}
	return c.keyspace.EndLeases()
}

// GetKey implements broker.KeyspaceStore.
func (s *Store) GetKey(_ context.Context, key string) (e broker.KeyEntry, err error) {
	if err := broker.CheckKey(key); err != nil {
		return e, err
	}
	err = s.viewKeyspace(func(tx *bolt.Tx) error {
		e, err = keyspace.Get(tx, key)
		return err
	})
	return e, err
}

// ListKeys implements broker.KeyspaceStore.
func (s *Store) ListKeys(_ context.Context, q broker.KeyQuery) (p broker.KeyPage, err error) {
	if err := q.Check(); err != nil {
		return p, err
	}
	err = s.viewKeyspace(func(tx *bolt.Tx) error {
		p, err = keyspace.List(tx, q)
		return err
	})
	return p, err
}

// viewKeyspace is view, while the store is open.
func (s *Store) viewKeyspace(fn func(tx *bolt.Tx) error) error {
	if err := s.failure(); err != nil {
		return err
	}
	return s.view(fn)
}

// PutKey implements broker.KeyspaceStore.
func (s *Store) PutKey(ctx context.Context, p broker.KeyPut) (broker.KeyEntry, error) {
	if err := p.Check(); err != nil {
		return broker.KeyEntry{}, err
	}
	op := &keyspace.Op{Put: &p}
	err := s.change(ctx, op, len(p.Key)+len(p.Value))
	return s.outcome(ctx, op, err)
}

// DeleteKey implements broker.KeyspaceStore.
func (s *Store) DeleteKey(ctx context.Context, key string, expect uint64) (broker.KeyEntry, error) {
	if err := broker.CheckKey(key); err != nil {
		return broker.KeyEntry{}, err
	}
	op := &keyspace.Op{Delete: &keyspace.Delete{Key: key, Expect: expect}}
	err := s.change(ctx, op, len(key))
	return s.outcome(ctx, op, err)
}

// outcome is what a change of a key came to. After ctx has ended the committer may still write to op.
func (s *Store) outcome(ctx context.Context, op *keyspace.Op, err error) (broker.KeyEntry, error) {
	if err != nil && ctx.Err() != nil {
		return broker.KeyEntry{}, err
	}
	return op.Entry, err
}

// WatchKeys implements broker.KeyspaceStore.
func (s *Store) WatchKeys(ctx context.Context, prefix string, on func(broker.KeyFeed) error) error {
	if err := broker.CheckKeyPrefix(prefix); err != nil {
		return err
	}
	return s.keyspace.Watch(ctx, s.ended, prefix, s.viewKeyspace, on)
}

// GrantLease implements broker.KeyspaceStore.
func (s *Store) GrantLease(ctx context.Context, id broker.LeaseID, ttl time.Duration) error {
	if err := broker.CheckLease(id, ttl); err != nil {
		return err
	}
	return s.change(ctx, &keyspace.Op{Grant: &keyspace.Grant{ID: id, TTL: ttl}}, 0)
}

// RenewLease implements broker.KeyspaceStore. It costs no commit: a start renews every lease.
func (s *Store) RenewLease(_ context.Context, id broker.LeaseID) error {
	if err := s.failure(); err != nil {
		return err
	}
	return s.keyspace.Renew(id, s.clock.now())
}

// RevokeLease implements broker.KeyspaceStore.
func (s *Store) RevokeLease(ctx context.Context, id broker.LeaseID) error {
	return s.change(ctx, &keyspace.Op{Revoke: &id}, 0)
}
