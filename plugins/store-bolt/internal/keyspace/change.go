package keyspace

import (
	"bytes"
	"errors"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/protocol"
)

// Op is one thing to be done. One of Put, Delete, Grant and Revoke is set; Do fills in Entry and Err.
type Op struct {
	Put    *broker.KeyPut
	Delete *Delete
	Grant  *Grant
	Revoke *broker.LeaseID

	Entry broker.KeyEntry // the new one of Put, the present one with broker.ErrKeyChanged
	Err   error           // broker.ErrKeyChanged, broker.ErrNoLease, or a *protocol.Error
}

// Delete deletes a key.
type Delete struct {
	Key    string
	Expect uint64
}

// Grant grants a lease.
type Grant struct {
	ID  broker.LeaseID
	TTL time.Duration
}

// endsAtOnce is how many keys of ended leases one change deletes, so that nobody waits long for it.
const endsAtOnce = 1024

// Change is what one transaction changes. It is not used by two goroutines.
type Change struct {
	space *Space
	b     buckets
	now   int64
	full  *protocol.Error // nothing may grow, and this is said; nil: it may

	figures figures
	touched map[string]touch // by key
	granted map[broker.LeaseID]int64
	ended   []broker.LeaseID
	emptied []broker.LeaseID // of the orphans
	halved  []broker.LeaseID // new orphans
	leases  int
}

// touch is a change of a key.
type touch struct {
	revision uint64
	deleted  bool
}

// Begin begins a change in tx. When full is not nil, whatever would make something grow is refused with it.
func (s *Space) Begin(tx *bolt.Tx, now int64, full *protocol.Error) (*Change, error) {
	b, err := open(tx)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return &Change{
		space: s, b: b, now: now, full: full, figures: s.figures, touched: map[string]touch{}, granted: map[broker.LeaseID]int64{},
		leases: len(s.leases),
	}, nil
}

// IsEmpty reports whether nothing has changed that the file has to know.
func (c *Change) IsEmpty() bool {
	return len(c.touched)+len(c.granted)+len(c.ended)+len(c.emptied) == 0
}

// Do does op. An error is one of the file: the transaction must not be committed then.
func (c *Change) Do(op *Op) error {
	op.Entry, op.Err = broker.KeyEntry{}, nil
	switch {
	case op.Put != nil:
		return c.put(op)
	case op.Delete != nil:
		return c.delete(op)
	case op.Grant != nil:
		return c.grant(op)
	case op.Revoke != nil:
		return c.revoke(*op.Revoke)
	}
	return nil
}

func (c *Change) put(op *Op) error {
	p := op.Put
	old, err := c.get(p.Key)
	if err != nil {
		return err
	}
	switch {
	case old.Revision != 0 && old.Write == p.Write: // it has been done before
		op.Entry = old
		return nil
	case p.Expect != broker.AnyRevision && p.Expect != old.Revision:
		op.Entry, op.Err = old, broker.ErrKeyChanged
		return nil
	case p.Lease != broker.LeaseID{} && !c.holds(p.Lease):
		op.Err = broker.ErrNoLease
		return nil
	}
	e := broker.KeyEntry{Key: p.Key, Value: bytes.Clone(p.Value), Lease: p.Lease, Write: p.Write, Revision: c.figures.revision + 1}
	if refusal := c.refuse(&old, &e); refusal != nil {
		op.Err = refusal
		return nil
	}
	c.figures.revision++
	c.figures.bytes += charge(&e) - charge(&old)
	if old.Revision == 0 {
		c.figures.keys++
	}
	c.touched[e.Key] = touch{revision: e.Revision}
	op.Entry = e
	return errors.Join(c.b.keys.Put([]byte(e.Key), sealEntry(&e)), c.bind(e.Key, old.Lease, e.Lease))
}

// holds reports whether the lease is there and has not ended.
func (c *Change) holds(id broker.LeaseID) bool {
	if c.b.leases.Get(id[:]) == nil {
		return false
	}
	_, granted := c.granted[id]
	return granted || !c.space.over(id, c.now)
}

func (c *Change) refuse(old, e *broker.KeyEntry) *protocol.Error {
	limits := &c.space.limits
	switch {
	case c.full != nil && charge(e) > charge(old):
		return c.full
	case old.Revision == 0 && c.figures.keys >= uint64(limits.Keys):
		return protocol.Errorf(protocol.CodeQuota, "the keyspace has %d keys, that is the limit", limits.Keys)
	case charge(e) > charge(old) && c.figures.bytes+charge(e)-charge(old) > uint64(limits.Bytes):
		return protocol.Errorf(protocol.CodeQuota, "the keyspace has %d bytes of %d", c.figures.bytes, limits.Bytes)
	}
	return nil
}

// bind notes the lease that key is under now.
func (c *Change) bind(key string, old, now broker.LeaseID) error {
	if old == now {
		return nil
	}
	if old != (broker.LeaseID{}) {
		if err := c.b.leased.Delete(append(old[:], key...)); err != nil {
			return err
		}
	}
	if now != (broker.LeaseID{}) {
		return c.b.leased.Put(append(now[:], key...), []byte{})
	}
	return nil
}

func (c *Change) get(key string) (broker.KeyEntry, error) {
	return unsealEntry([]byte(key), c.b.keys.Get([]byte(key)))
}

func (c *Change) delete(op *Op) error {
	old, err := c.get(op.Delete.Key)
	switch {
	case err != nil:
		return err
	case old.Revision == 0:
		return nil
	case op.Delete.Expect != broker.AnyRevision && op.Delete.Expect != old.Revision:
		op.Entry, op.Err = old, broker.ErrKeyChanged
		return nil
	}
	return c.remove(&old)
}

func (c *Change) remove(old *broker.KeyEntry) error {
	c.figures.revision++
	c.figures.keys--
	c.figures.bytes -= charge(old)
	c.touched[old.Key] = touch{revision: c.figures.revision, deleted: true}
	return errors.Join(c.b.keys.Delete([]byte(old.Key)), c.bind(old.Key, old.Lease, broker.LeaseID{}))
}

func (c *Change) grant(op *Op) error {
	id, ttl := op.Grant.ID, op.Grant.TTL.Milliseconds()
	switch {
	case c.holds(id):
	case c.full != nil:
		op.Err = c.full
		return nil
	case c.leases >= c.space.limits.Leases:
		op.Err = protocol.Errorf(protocol.CodeQuota, "there are %d leases, that is the limit", c.leases)
		return nil
	default:
		if err := c.revoke(id); err != nil { // one that has ended may have keys left
			return err
		}
		c.leases++
	}
	c.granted[id] = ttl
	return c.b.leases.Put(id[:], sealLease(id, ttl))
}

func (c *Change) revoke(id broker.LeaseID) error {
	if c.b.leases.Get(id[:]) != nil {
		if err := c.end(id); err != nil {
			return err
		}
	} else if k, _ := c.b.leased.Cursor().Seek(id[:]); !bytes.HasPrefix(k, id[:]) {
		return nil
	}
	_, err := c.empty(id, int(c.figures.keys))
	return err
}

// end ends a lease. Its keys are left.
func (c *Change) end(id broker.LeaseID) error {
	delete(c.granted, id)
	c.leases--
	c.ended = append(c.ended, id)
	return c.b.leases.Delete(id[:])
}

// empty deletes at most so many keys of a lease that has ended. It returns how many are left of most.
func (c *Change) empty(id broker.LeaseID, most int) (left int, err error) {
	var names []string
	cursor := c.b.leased.Cursor()
	k, _ := cursor.Seek(id[:])
	for ; bytes.HasPrefix(k, id[:]) && len(names) < most; k, _ = cursor.Next() {
		names = append(names, string(k[len(id):]))
	}
	more := bytes.HasPrefix(k, id[:])
	for _, name := range names {
		old, err := c.get(name)
		if err != nil {
			return 0, err
		}
		if err := c.remove(&old); err != nil {
			return 0, err
		}
	}
	if more {
		c.halved = append(c.halved, id)
	} else {
		c.emptied = append(c.emptied, id)
	}
	return most - len(names), nil
}

// EndLeases ends what has ended by its time, and deletes keys of it, most of them at once.
func (c *Change) EndLeases() error {
	ended, left := c.space.ending(c.now)
	for _, id := range ended {
		if _, granted := c.granted[id]; granted || c.b.leases.Get(id[:]) == nil {
			continue // by this change, or revoked by it
		}
		if err := c.end(id); err != nil {
			return err
		}
		left = append(left, id)
	}
	room := endsAtOnce
	for _, id := range left {
		var err error
		if room, err = c.empty(id, room); err != nil {
			return err
		}
	}
	return nil
}

// Finish writes what the file has to know beside the keys.
func (c *Change) Finish() error {
	if len(c.touched) == 0 {
		return nil
	}
	return c.b.top.Put(keyState, c.figures.seal())
}

// Apply makes c the state of the space. It is durable.
func (s *Space) Apply(c *Change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.figures = c.figures
	for _, id := range c.ended {
		delete(s.leases, id)
	}
	for id, ttl := range c.granted {
		s.leases[id] = &lease{ttl: ttl, end: c.now + ttl}
		s.soonest = min(s.soonest, c.now+ttl)
	}
	for _, id := range c.halved {
		s.orphans[id] = true
	}
	for _, id := range c.emptied {
		delete(s.orphans, id)
	}
	for w := range s.watchers {
		w.note(c.touched)
	}
}
