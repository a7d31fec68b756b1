package host

import (
	"context"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/plugins/internal/wire"
)

var _ broker.KeyspaceStore = (*Store)(nil)

// askKeyspace is one call of the keyspace that answers or fails. Unlike ask it returns the answer with an error, too: a
// broker.ErrKeyChanged comes with the present entry.
func askKeyspace[A any](ctx context.Context, s *Store, call func(context.Context, *wire.StoreClient) (A, error)) (answer A, err error) {
	ctx, cancel := context.WithTimeout(ctx, storeDeadline)
	defer cancel()
	_, err = ask(ctx, s, broker.PowerKeyspace, func(ctx context.Context, c *wire.StoreClient) (struct{}, error) {
		var err error
		answer, err = call(ctx, c)
		return struct{}{}, err
	})
	return answer, err
}

func doKeyspace(ctx context.Context, s *Store, call func(context.Context, *wire.StoreClient) error) error {
	_, err := askKeyspace(ctx, s, func(ctx context.Context, c *wire.StoreClient) (struct{}, error) { return struct{}{}, call(ctx, c) })
	return err
}

// GetKey implements broker.KeyspaceStore.
func (s *Store) GetKey(ctx context.Context, key string) (broker.KeyEntry, error) {
	return askKeyspace(ctx, s, func(ctx context.Context, c *wire.StoreClient) (broker.KeyEntry, error) { return c.GetKey(ctx, key) })
}

// ListKeys implements broker.KeyspaceStore.
func (s *Store) ListKeys(ctx context.Context, q broker.KeyQuery) (broker.KeyPage, error) {
	return askKeyspace(ctx, s, func(ctx context.Context, c *wire.StoreClient) (broker.KeyPage, error) { return c.ListKeys(ctx, q) })
}

// PutKey implements broker.KeyspaceStore.
func (s *Store) PutKey(ctx context.Context, p broker.KeyPut) (broker.KeyEntry, error) {
	return askKeyspace(ctx, s, func(ctx context.Context, c *wire.StoreClient) (broker.KeyEntry, error) { return c.PutKey(ctx, p) })
}

// DeleteKey implements broker.KeyspaceStore.
func (s *Store) DeleteKey(ctx context.Context, key string, expect uint64) (broker.KeyEntry, error) {
	return askKeyspace(ctx, s, func(ctx context.Context, c *wire.StoreClient) (broker.KeyEntry, error) {
		return c.DeleteKey(ctx, key, expect)
	})
}

// WatchKeys implements broker.KeyspaceStore. It has no deadline.
func (s *Store) WatchKeys(ctx context.Context, prefix string, on func(broker.KeyFeed) error) error {
	_, err := ask(ctx, s, broker.PowerKeyspace, func(ctx context.Context, c *wire.StoreClient) (struct{}, error) {
		return struct{}{}, c.WatchKeys(ctx, prefix, on)
	})
	return err
}

// GrantLease implements broker.KeyspaceStore.
func (s *Store) GrantLease(ctx context.Context, id broker.LeaseID, ttl time.Duration) error {
	return doKeyspace(ctx, s, func(ctx context.Context, c *wire.StoreClient) error { return c.GrantLease(ctx, id, ttl) })
}

// RenewLease implements broker.KeyspaceStore.
func (s *Store) RenewLease(ctx context.Context, id broker.LeaseID) error {
	return doKeyspace(ctx, s, func(ctx context.Context, c *wire.StoreClient) error { return c.RenewLease(ctx, id) })
}

// RevokeLease implements broker.KeyspaceStore.
func (s *Store) RevokeLease(ctx context.Context, id broker.LeaseID) error {
	return doKeyspace(ctx, s, func(ctx context.Context, c *wire.StoreClient) error { return c.RevokeLease(ctx, id) })
}
