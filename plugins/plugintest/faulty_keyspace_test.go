package plugintest_test

import (
	"context"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/plugins/kit"
	"github.com/carillon-mq/carillon/plugins/store-bolt/storebolt"
)

// unlocked is a good store whose keyspace has a fault.
type unlocked struct {
	*storebolt.Store
	onPut    func(*broker.KeyPut)
	onDelete func(expect *uint64)
	onGrant  func(*time.Duration)
	onList   func(*broker.KeyPage)
	onWatch  func(*broker.KeyFeed)
}

func (u *unlocked) PutKey(ctx context.Context, p broker.KeyPut) (broker.KeyEntry, error) {
	asked := p
	if u.onPut != nil {
		u.onPut(&p)
	}
	e, err := u.Store.PutKey(ctx, p)
	if err == nil {
		e.Write, e.Lease = asked.Write, asked.Lease
	}
	return e, err
}

func (u *unlocked) DeleteKey(ctx context.Context, key string, expect uint64) (broker.KeyEntry, error) {
	if u.onDelete != nil {
		u.onDelete(&expect)
	}
	return u.Store.DeleteKey(ctx, key, expect)
}

func (u *unlocked) GrantLease(ctx context.Context, id broker.LeaseID, ttl time.Duration) error {
	if u.onGrant != nil {
		u.onGrant(&ttl)
	}
	return u.Store.GrantLease(ctx, id, ttl)
}

func (u *unlocked) ListKeys(ctx context.Context, q broker.KeyQuery) (broker.KeyPage, error) {
	p, err := u.Store.ListKeys(ctx, q)
	if u.onList != nil {
		u.onList(&p)
	}
	return p, err
}

func (u *unlocked) WatchKeys(ctx context.Context, prefix string, on func(broker.KeyFeed) error) error {
	return u.Store.WatchKeys(ctx, prefix, func(f broker.KeyFeed) error {
		if u.onWatch != nil {
			u.onWatch(&f)
		}
		return on(f)
	})
}

func keyFault(u unlocked) func(*storebolt.Store) kit.Store {
	return func(s *storebolt.Store) kit.Store {
		u.Store = s
		return &u
	}
}

// keyspaceFaults are mistakes in a keyspace.
var keyspaceFaults = map[string]func(*storebolt.Store) kit.Store{
	"a put does not compare":       keyFault(unlocked{onPut: func(p *broker.KeyPut) { p.Expect = broker.AnyRevision }}),
	"a put is not known again":     keyFault(unlocked{onPut: func(p *broker.KeyPut) { p.Write = broker.NewWriteID() }}),
	"a key is under no lease":      keyFault(unlocked{onPut: func(p *broker.KeyPut) { p.Lease = broker.LeaseID{} }}),
	"a delete does not compare":    keyFault(unlocked{onDelete: func(expect *uint64) { *expect = broker.AnyRevision }}),
	"a lease never ends":           keyFault(unlocked{onGrant: func(ttl *time.Duration) { *ttl = broker.MaxLease }}),
	"a lease ends early":           keyFault(unlocked{onGrant: func(ttl *time.Duration) { *ttl = max(*ttl/2, broker.MinLease) }}),
	"a list is never longer":       keyFault(unlocked{onList: func(p *broker.KeyPage) { p.Done = true }}),
	"a list forgets a value":       keyFault(unlocked{onList: forgetValue}),
	"what is deleted is not told":  keyFault(unlocked{onWatch: showDeleted}),
	"a feed of keys has no values": keyFault(unlocked{onWatch: func(f *broker.KeyFeed) { eachValue(f.Entries) }}),
}

func forgetValue(p *broker.KeyPage) { eachValue(p.Entries) }

func eachValue(entries []broker.KeyEntry) {
	for i := range entries {
		entries[i].Value = nil
	}
}

// showDeleted tells of a deletion as if the key were there.
func showDeleted(f *broker.KeyFeed) {
	for i := range f.Entries {
		if e := &f.Entries[i]; e.Deleted {
			e.Deleted, e.Write = false, broker.NewWriteID()
		}
	}
}
