package wire

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/plugins/internal/wire/storev1pb"
	"github.com/carillon-mq/carillon/protocol"
)

var _ broker.KeyspaceStore = (*StoreClient)(nil)

// GetKey implements broker.KeyspaceStore.
func (c *StoreClient) GetKey(ctx context.Context, key string) (broker.KeyEntry, error) {
	m, err := c.rpc.GetKey(ctx, &storev1pb.GetKeyRequest{Key: key})
	if err != nil {
		return broker.KeyEntry{}, powerError(err)
	}
	return entryOfKey(m.GetEntry(), key)
}

// ListKeys implements broker.KeyspaceStore.
func (c *StoreClient) ListKeys(ctx context.Context, q broker.KeyQuery) (broker.KeyPage, error) {
	if err := q.Check(); err != nil {
		return broker.KeyPage{}, err
	}
	m, err := c.rpc.ListKeys(ctx, &storev1pb.ListKeysRequest{Prefix: q.Prefix, After: q.After, Limit: uint32(q.Limit)})
	if err != nil {
		return broker.KeyPage{}, powerError(err)
	}
	p := broker.KeyPage{Done: m.GetDone()}
	if p.Entries, err = entriesFromWire(m.GetEntries()); err != nil {
		return broker.KeyPage{}, err
	}
	return p, checkKeyPage(&q, &p)
}

// checkKeyPage holds a page to its contract.
func checkKeyPage(q *broker.KeyQuery, p *broker.KeyPage) error {
	limit := q.Limit
	if limit == 0 {
		limit = broker.MaxKeyPage
	}
	if len(p.Entries) > limit || !p.Done && len(p.Entries) == 0 {
		return malformed("a page of %d keys, wanted at most %d", len(p.Entries), limit)
	}
	last := q.After
	for i := range p.Entries {
		e := &p.Entries[i]
		if e.Deleted || e.Key <= last || !strings.HasPrefix(e.Key, q.Prefix) {
			return malformed("key %q does not belong into the page of %q after %q", e.Key, q.Prefix, last)
		}
		last = e.Key
	}
	return nil
}

// PutKey implements broker.KeyspaceStore.
func (c *StoreClient) PutKey(ctx context.Context, p broker.KeyPut) (broker.KeyEntry, error) {
	if err := p.Check(); err != nil {
		return broker.KeyEntry{}, err
	}
	m, err := c.rpc.PutKey(ctx, &storev1pb.PutKeyRequest{
		Key: p.Key, Value: p.Value, Expect: expectToWire(p.Expect), Lease: idToWire(p.Lease), Write: p.Write[:],
	})
	if err != nil {
		return broker.KeyEntry{}, powerError(err)
	}
	if m.GetApplied() && (m.GetNoLease() || m.GetRefusal() != nil || m.GetEntry() == nil) {
		return broker.KeyEntry{}, malformed("a put of %q both applied and not", p.Key)
	}
	switch {
	case m.GetRefusal() != nil:
		refusal, err := refusalFromWire(m.GetRefusal(), refusesKey)
		if err == nil {
			err = refusal
		}
		return broker.KeyEntry{}, err
	case m.GetNoLease():
		if p.Lease == (broker.LeaseID{}) {
			return broker.KeyEntry{}, malformed("a put of %q under no lease misses one", p.Key)
		}
		return broker.KeyEntry{}, broker.ErrNoLease
	}
	entry, err := entryOfKey(m.GetEntry(), p.Key)
	switch {
	case err != nil:
		return broker.KeyEntry{}, err
	case !m.GetApplied() && entry.Write == p.Write && entry.Revision != 0:
		return broker.KeyEntry{}, malformed("a put of %q was applied and is said not to be", p.Key)
	case !m.GetApplied():
		return entry, broker.ErrKeyChanged
	case entry.Write != p.Write:
		return broker.KeyEntry{}, malformed("a put of %q was answered with the entry of another", p.Key)
	}
	return entry, nil
}

// DeleteKey implements broker.KeyspaceStore.
func (c *StoreClient) DeleteKey(ctx context.Context, key string, expect uint64) (broker.KeyEntry, error) {
	if err := broker.CheckKey(key); err != nil {
		return broker.KeyEntry{}, err
	}
	m, err := c.rpc.DeleteKey(ctx, &storev1pb.DeleteKeyRequest{Key: key, Expect: expectToWire(expect)})
	if err != nil {
		return broker.KeyEntry{}, powerError(err)
	}
	if m.GetApplied() {
		if m.GetEntry() != nil {
			return broker.KeyEntry{}, malformed("key %q was deleted and is there", key)
		}
		return broker.KeyEntry{}, nil
	}
	entry, err := entryOfKey(m.GetEntry(), key)
	switch {
	case err != nil:
		return broker.KeyEntry{}, err
	case entry.Revision == 0 || expect == broker.AnyRevision || expect == entry.Revision:
		return broker.KeyEntry{}, malformed("key %q was not deleted and could have been", key)
	}
	return entry, broker.ErrKeyChanged
}

// WatchKeys implements broker.KeyspaceStore.
func (c *StoreClient) WatchKeys(ctx context.Context, prefix string, on func(broker.KeyFeed) error) error {
	if err := broker.CheckKeyPrefix(prefix); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.rpc.WatchKeys(ctx, &storev1pb.WatchKeysRequest{Prefix: prefix})
	if err != nil {
		return powerError(err)
	}
	caughtUp, last := false, uint64(0)
	for {
		m, err := stream.Recv()
		switch {
		case errors.Is(err, io.EOF):
			return malformed("the feed of keys ended without an error")
		case err != nil:
			return powerError(err)
		case m.GetCaughtUp() && caughtUp:
			return malformed("the feed of keys caught up twice")
		}
		feed := broker.KeyFeed{CaughtUp: m.GetCaughtUp()}
		if feed.Entries, err = entriesFromWire(m.GetEntries()); err != nil {
			return err
		}
		for i := range feed.Entries {
			e := &feed.Entries[i]
			switch {
			case !strings.HasPrefix(e.Key, prefix):
				return malformed("key %q in the feed of %q", e.Key, prefix)
			case !caughtUp && e.Deleted || caughtUp && e.Revision <= last:
				return malformed("the feed of keys brought revision %d of %q after %d", e.Revision, e.Key, last)
			case caughtUp:
				last = e.Revision
			}
		}
		caughtUp = caughtUp || feed.CaughtUp
		if err := on(feed); err != nil {
			return err
		}
	}
}

// GrantLease implements broker.KeyspaceStore.
func (c *StoreClient) GrantLease(ctx context.Context, id broker.LeaseID, ttl time.Duration) error {
	if err := broker.CheckLease(id, ttl); err != nil {
		return err
	}
	m, err := c.rpc.GrantLease(ctx, &storev1pb.GrantLeaseRequest{Id: id[:], TtlMs: ttl.Milliseconds()})
	if err != nil || m.GetRefusal() == nil {
		return powerError(err)
	}
	refusal, err := refusalFromWire(m.GetRefusal(), refusesKey)
	if err != nil {
		return err
	}
	return refusal
}

// RenewLease implements broker.KeyspaceStore.
func (c *StoreClient) RenewLease(ctx context.Context, id broker.LeaseID) error {
	m, err := c.rpc.RenewLease(ctx, &storev1pb.RenewLeaseRequest{Id: id[:]})
	if err == nil && m.GetNoLease() {
		return broker.ErrNoLease
	}
	return powerError(err)
}

// RevokeLease implements broker.KeyspaceStore.
func (c *StoreClient) RevokeLease(ctx context.Context, id broker.LeaseID) error {
	_, err := c.rpc.RevokeLease(ctx, &storev1pb.RevokeLeaseRequest{Id: id[:]})
	return powerError(err)
}

// refusesKey reports whether a keyspace may refuse a change with code.
func refusesKey(code protocol.Code) bool {
	return code == protocol.CodeQuota || code == protocol.CodeStoreUnavailable
}
