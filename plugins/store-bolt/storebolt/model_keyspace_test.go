package storebolt

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/protocol"
)

// keyModel is what a keyspace is, without a file.
type keyModel struct {
	t     *testing.T
	cfg   Config
	store *Store
	clock atomic.Int64

	revision uint64
	keys     map[string]broker.KeyEntry
	leases   map[broker.LeaseID]modelLease
	last     broker.KeyPut
}

type modelLease struct{ ttl, end int64 }

const modelKeys = 5 // the limit

func TestAKeyspaceIsAMapWithRevisions(t *testing.T) {
	dir, runs := t.TempDir(), 0
	rapid.Check(t, func(rt *rapid.T) {
		runs++
		m := &keyModel{t: t, keys: map[string]broker.KeyEntry{}, leases: map[broker.LeaseID]modelLease{}}
		m.clock.Store(1_700_000_000_000)
		m.cfg = Config{
			Dir: filepath.Join(dir, strconv.Itoa(runs)), Logger: discard, tick: time.Hour, now: m.clock.Load, MaxKeyspaceKeys: modelKeys,
		}
		m.reopen(rt)
		defer func() { closeStore(t, m.store) }()
		rt.Repeat(map[string]func(*rapid.T){
			"put":    m.put,
			"repeat": m.repeat,
			"delete": m.delete,
			"grant":  m.grant,
			"renew":  m.renew,
			"revoke": m.revoke,
			"wait":   m.wait,
			"list":   m.list,
			"watch":  m.watch,
			"append": m.append,
			"reopen": m.reopen,
		})
	})
}

func (m *keyModel) reopen(t *rapid.T) {
	if m.store != nil {
		closeStore(m.t, m.store)
		facts, problems, err := Check(m.cfg.Dir)
		if err != nil || len(problems) > 0 || facts.KeyspaceKeys != uint64(len(m.keys)) || facts.Leases != uint64(len(m.leases)) {
			t.Fatalf("%d keys, %d leases, want %d and %d: %v, %v",
				facts.KeyspaceKeys, facts.Leases, len(m.keys), len(m.leases), problems, err)
		}
	}
	var err error
	if m.store, err = Open(m.cfg); err != nil {
		t.Fatal(err)
	}
	for id, l := range m.leases {
		m.leases[id] = modelLease{l.ttl, m.clock.Load() + l.ttl}
	}
}

func (m *keyModel) key(t *rapid.T) string {
	return fmt.Sprintf("%s/%d", rapid.SampledFrom([]string{"a", "b"}).Draw(t, "folder"), rapid.IntRange(1, 4).Draw(t, "key"))
}

func (m *keyModel) lease(t *rapid.T) broker.LeaseID {
	return broker.LeaseID{byte(rapid.IntRange(1, 3).Draw(t, "lease"))}
}

func (m *keyModel) expect(t *rapid.T, key string) uint64 {
	return rapid.SampledFrom([]uint64{0, m.keys[key].Revision, m.keys[key].Revision, broker.AnyRevision, m.revision + 1}).Draw(t, "expect")
}

func (m *keyModel) put(t *rapid.T) {
	p := broker.KeyPut{Key: m.key(t), Value: []byte(rapid.SampledFrom([]string{"", "x", "yy"}).Draw(t, "value")), Write: broker.NewWriteID()}
	p.Expect = m.expect(t, p.Key)
	if rapid.Bool().Draw(t, "leased") {
		p.Lease = m.lease(t)
	}
	m.send(t, p)
}

// send puts p, and does the same to the model.
func (m *keyModel) send(t *rapid.T, p broker.KeyPut) {
	old := m.keys[p.Key]
	_, leased := m.leases[p.Lease]
	want, wantErr := broker.KeyEntry{}, error(nil)
	switch {
	case old.Revision != 0 && old.Write == p.Write:
		want = old
	case p.Expect != broker.AnyRevision && p.Expect != old.Revision:
		want, wantErr = old, broker.ErrKeyChanged
	case p.Lease != broker.LeaseID{} && !leased:
		wantErr = broker.ErrNoLease
	case old.Revision == 0 && len(m.keys) == modelKeys:
		wantErr = protocol.Errorf(protocol.CodeQuota, "full")
	default:
		m.revision++
		want = broker.KeyEntry{Key: p.Key, Value: p.Value, Revision: m.revision, Lease: p.Lease, Write: p.Write}
		m.keys[p.Key] = want
		m.last = p
	}
	got, err := m.store.PutKey(m.t.Context(), p)
	if d := cmp.Diff(want, got, ignoreEmpty); d != "" || !sameOutcome(err, wantErr) {
		t.Fatalf("put %+v on %+v: %v, want %v: %s", p, old, err, wantErr, d)
	}
}

// sameOutcome compares errors by what the contract tells apart.
func sameOutcome(got, want error) bool {
	a, isA := errors.AsType[*protocol.Error](got)
	b, isB := errors.AsType[*protocol.Error](want)
	if isA || isB {
		return isA && isB && a.Code == b.Code
	}
	return errors.Is(got, want)
}

// repeat sends the last put that was applied again, as who has not heard the answer does.
func (m *keyModel) repeat(t *rapid.T) {
	if m.last.Key != "" {
		m.send(t, m.last)
	}
}

func (m *keyModel) delete(t *rapid.T) {
	key := m.key(t)
	expect := max(m.expect(t, key), 1)
	old := m.keys[key]
	want, wantErr := broker.KeyEntry{}, error(nil)
	switch {
	case old.Revision == 0:
	case expect != broker.AnyRevision && expect != old.Revision:
		want, wantErr = old, broker.ErrKeyChanged
	default:
		m.remove(key)
	}
	got, err := m.store.DeleteKey(m.t.Context(), key, expect)
	if d := cmp.Diff(want, got, ignoreEmpty); d != "" || !errors.Is(err, wantErr) {
		t.Fatalf("delete %s of %d: %v, want %v: %s", key, expect, err, wantErr, d)
	}
}

func (m *keyModel) remove(key string) {
	m.revision++
	delete(m.keys, key)
}

func (m *keyModel) grant(t *rapid.T) {
	id, ttl := m.lease(t), rapid.Int64Range(1000, 5000).Draw(t, "ttl")
	if err := m.store.GrantLease(m.t.Context(), id, time.Duration(ttl)*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	m.leases[id] = modelLease{ttl, m.clock.Load() + ttl}
}

func (m *keyModel) renew(t *rapid.T) {
	id := m.lease(t)
	l, known := m.leases[id]
	if err := m.store.RenewLease(m.t.Context(), id); known && err != nil || !known && !errors.Is(err, broker.ErrNoLease) {
		t.Fatalf("renew %v: %v, known %v", id, err, known)
	}
	if known {
		m.leases[id] = modelLease{l.ttl, m.clock.Load() + l.ttl}
	}
}

func (m *keyModel) revoke(t *rapid.T) {
	id := m.lease(t)
	if err := m.store.RevokeLease(m.t.Context(), id); err != nil {
		t.Fatal(err)
	}
	m.end(id)
}

func (m *keyModel) end(id broker.LeaseID) {
	delete(m.leases, id)
	for key, e := range m.keys {
		if e.Lease == id {
			m.remove(key)
		}
	}
}

// wait lets time go by, and the store's ticker tick.
func (m *keyModel) wait(t *rapid.T) {
	now := m.clock.Add(rapid.Int64Range(1, 3000).Draw(t, "wait"))
	settleAll(m.t, m.store)
	for id, l := range m.leases {
		if l.end <= now {
			m.end(id)
		}
	}
}

func (m *keyModel) append(t *rapid.T) { appendAll(m.t, m.store, record("t", "x")) }

func (m *keyModel) list(t *rapid.T) {
	prefix, limit := rapid.SampledFrom([]string{"", "a", "a/", "b/2", "c"}).Draw(t, "prefix"), rapid.IntRange(1, 4).Draw(t, "limit")
	var got []broker.KeyEntry
	for after, done := "", false; !done; {
		p, err := m.store.ListKeys(m.t.Context(), broker.KeyQuery{Prefix: prefix, After: after, Limit: limit})
		if err != nil || len(p.Entries) > limit || !p.Done && len(p.Entries) == 0 {
			t.Fatalf("%d entries, %v", len(p.Entries), err)
		}
		got = append(got, p.Entries...)
		if done = p.Done; !done {
			after = got[len(got)-1].Key
		}
	}
	if d := cmp.Diff(m.under(prefix), got, ignoreEmpty); d != "" {
		t.Fatal(d)
	}
	key := m.key(t)
	if e, err := m.store.GetKey(m.t.Context(), key); err != nil || !cmp.Equal(e, m.keys[key], ignoreEmpty) {
		t.Fatalf("%s is %+v, want %+v: %v", key, e, m.keys[key], err)
	}
	if st, err := m.store.ReadStatistics(m.t.Context()); err != nil || st.KeyspaceKeys != uint64(len(m.keys)) || st.Leases != uint64(len(m.leases)) {
		t.Fatalf("%d keys, %d leases: %v", st.KeyspaceKeys, st.Leases, err)
	}
}

// under is every entry under prefix, in order.
func (m *keyModel) under(prefix string) (entries []broker.KeyEntry) {
	for key, e := range m.keys {
		if strings.HasPrefix(key, prefix) {
			entries = append(entries, e)
		}
	}
	slices.SortFunc(entries, func(a, b broker.KeyEntry) int { return strings.Compare(a.Key, b.Key) })
	return entries
}

func (m *keyModel) watch(t *rapid.T) {
	prefix := rapid.SampledFrom([]string{"", "a/", "c"}).Draw(t, "prefix")
	var got []broker.KeyEntry
	enough := errors.New("enough")
	err := m.store.WatchKeys(context.Background(), prefix, func(f broker.KeyFeed) error {
		got = append(got, f.Entries...)
		if f.CaughtUp {
			return enough
		}
		return nil
	})
	if d := cmp.Diff(m.under(prefix), got, ignoreEmpty); d != "" || !errors.Is(err, enough) {
		t.Fatalf("%v: %s", err, d)
	}
}
