package plugintest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/carillon-mq/carillon/broker"
)

// storeKeyspace are the cases of the power keyspace.
var storeKeyspace = []Case{
	{
		Name: "of two who expect the same revision one sets the key", Power: broker.PowerKeyspace, run: onStore(testCompareAndSet),
		Does: "puts and deletes a key with the right, a stale and no revision, and looks at it after each",
		Says: "PutKey sets a key if its present revision is the expected one.",
	},
	{
		Name: "a put that is sent again is applied once, also after a kill", Power: broker.PowerKeyspace, Own: true, run: onStore(testPutAgain),
		Does: "puts a key, sends the same put again, kills the plugin, and sends it a third time",
		Says: "If the key's present entry has this write, the put has been done before and is answered as applied, with that entry.",
	},
	{
		Name: "keys outlive a kill, and revisions go on", Power: broker.PowerKeyspace, Own: true, run: onStore(testKeysKill),
		Does: "puts and deletes keys, kills the plugin, lists them, and puts another one",
		Says: "All changes are durable when they are answered or watched, and survive restarts and kills, as records do.",
	},
	{
		Name: "keys are listed in pages, in their order", Power: broker.PowerKeyspace, run: onStore(testListKeys),
		Does: "lists 40 keys of 60 KB under prefixes, in pages of several sizes",
		Says: "ListKeys is one page of the entries whose keys begin with a prefix, in increasing order of the keys' bytes.",
	},
	{
		Name: "a lease ends with its keys, and never early", Power: broker.PowerKeyspace, run: onStore(testLease),
		Does: "puts keys under a lease of 2 s, renews it once, and watches when which of them go",
		Says: "a lease never ends early. It ends at most 2 s late while the store is up.",
	},
	{
		Name: "a lease outlives a kill, and its time begins anew", Power: broker.PowerKeyspace, Own: true, run: onStore(testLeaseKill),
		Does: "puts a key under a lease of an hour, kills the plugin, renews the lease and revokes it",
		Says: "begins anew with each renewal and with each start of the store",
	},
	{
		Name: "a feed of keys brings what is there, and then every change", Power: broker.PowerKeyspace, run: onStore(testWatchKeys),
		Does: "watches a prefix while keys are put and deleted, inside and outside of it",
		Says: "first every present entry, in any order, then one message with caught_up set, then each change as it happens",
	},
}

func keyPut(key, value string, expect uint64) broker.KeyPut {
	return broker.KeyPut{Key: key, Value: []byte(value), Expect: expect, Write: broker.NewWriteID()}
}

// sameKey compares entries.
func sameKey(t *T, what string, want, got broker.KeyEntry) {
	if difference := differFields(want, got); difference != "" {
		t.Errorf("%s: %s", what, difference)
	}
}

// sameKeys compares lists of entries, and says where they differ first.
func sameKeys(t *T, what string, want, got []broker.KeyEntry) {
	if len(want) != len(got) {
		t.Errorf("%s: expected %d, got %d", what, len(want), len(got))
	}
	for i := range min(len(want), len(got)) {
		if difference := differFields(want[i], got[i]); difference != "" {
			t.Errorf("%s: number %d differs: %s", what, i+1, difference)
			return
		}
	}
}

// putKey puts, and fails the case if that is not applied as it was asked for.
func (s *store) putKey(t *T, p broker.KeyPut) broker.KeyEntry {
	e, err := s.PutKey(t.Context(), p)
	if err != nil {
		t.Fatalf("put %s: %v", p.Key, err)
	}
	sameKey(t, "the entry of "+p.Key, broker.KeyEntry{Key: p.Key, Value: p.Value, Revision: e.Revision, Lease: p.Lease, Write: p.Write}, e)
	return e
}

// getKey is a key's present entry.
func (s *store) getKey(t *T, key string) broker.KeyEntry {
	e, err := s.GetKey(t.Context(), key)
	if err != nil {
		t.Fatalf("get %s: %v", key, err)
	}
	return e
}

func testCompareAndSet(t *T, s *store) {
	sameKey(t, "a key that was never there", broker.KeyEntry{}, s.getKey(t, "a"))
	first := s.putKey(t, keyPut("a", "1", 0))
	second := s.putKey(t, keyPut("a", "2", first.Revision))
	if second.Revision <= first.Revision {
		t.Errorf("revision %d after %d", second.Revision, first.Revision)
	}
	for _, expect := range []uint64{0, first.Revision, second.Revision + 1000} {
		e, err := s.PutKey(t.Context(), keyPut("a", "3", expect))
		if !errors.Is(err, broker.ErrKeyChanged) {
			t.Errorf("a put that expects %d of a key at %d: %v", expect, second.Revision, err)
		}
		sameKey(t, "the entry that is in the way", second, e)
	}
	e, err := s.DeleteKey(t.Context(), "a", first.Revision)
	if !errors.Is(err, broker.ErrKeyChanged) {
		t.Errorf("a delete that expects %d of a key at %d: %v", first.Revision, second.Revision, err)
	}
	sameKey(t, "the entry that is in the way", second, e)
	sameKey(t, "the entry", second, s.getKey(t, "a"))
	third := s.putKey(t, keyPut("a", "4", broker.AnyRevision))
	for range 2 { // the second time it is not there
		if _, err := s.DeleteKey(t.Context(), "a", third.Revision); err != nil {
			t.Errorf("delete: %v", err)
		}
	}
	sameKey(t, "a key that was deleted", broker.KeyEntry{}, s.getKey(t, "a"))
	if again := s.putKey(t, keyPut("a", "", 0)); again.Revision <= third.Revision {
		t.Errorf("revision %d after %d and a delete", again.Revision, third.Revision)
	}
}

func testPutAgain(t *T, s *store) {
	p := keyPut("a", "1", 0)
	first := s.putKey(t, p)
	sameKey(t, "the same put again", first, s.putKey(t, p))
	s.crash(t)
	sameKey(t, "the same put again, after a kill", first, s.putKey(t, p))
	sameKey(t, "the entry", first, s.getKey(t, "a"))
}

func testKeysKill(t *T, s *store) {
	var want []broker.KeyEntry
	for i := range 20 {
		want = append(want, s.putKey(t, keyPut(fmt.Sprintf("k/%02d", i), strings.Repeat("x", i*100), 0)))
	}
	if _, err := s.DeleteKey(t.Context(), "k/19", broker.AnyRevision); err != nil {
		t.Fatalf("delete: %v", err)
	}
	s.crash(t)
	sameKeys(t, "the keys, after a kill", want[:19], s.keys(t, broker.KeyQuery{}))
	if e := s.putKey(t, keyPut("k/19", "", 0)); e.Revision <= want[19].Revision {
		t.Errorf("revision %d after a kill, and %d before", e.Revision, want[19].Revision)
	}
}

// keys reads pages to the end.
func (s *store) keys(t *T, q broker.KeyQuery) (all []broker.KeyEntry) {
	for {
		p, err := s.ListKeys(t.Context(), q)
		if err != nil {
			t.Fatalf("list %+v: %v", q, err)
		}
		all = append(all, p.Entries...)
		if p.Done {
			return all
		}
		q.After = all[len(all)-1].Key
	}
}

func testListKeys(t *T, s *store) {
	var want []broker.KeyEntry
	value := strings.Repeat("v", 60_000)
	for _, folder := range []string{"a", "b/", "b/c"} {
		for i := range 13 {
			want = append(want, s.putKey(t, keyPut(fmt.Sprintf("%s%02d", folder, i), value, 0)))
		}
	}
	want = append(want, s.putKey(t, keyPut("z", "", 0)))
	for _, limit := range []int{0, 1, 7, 40} {
		sameKeys(t, fmt.Sprintf("all keys, %d at a time", limit), want, s.keys(t, broker.KeyQuery{Limit: limit}))
		sameKeys(t, fmt.Sprintf("keys of b/, %d at a time", limit), want[13:39], s.keys(t, broker.KeyQuery{Prefix: "b/", Limit: limit}))
	}
	sameKeys(t, "keys of b/ behind one", want[20:39], s.keys(t, broker.KeyQuery{Prefix: "b/", After: want[19].Key}))
	sameKeys(t, "keys behind one that is not there", want[39:], s.keys(t, broker.KeyQuery{After: "c"}))
	sameKeys(t, "keys of a prefix without any", []broker.KeyEntry(nil), s.keys(t, broker.KeyQuery{Prefix: "c"}))
}

const leaseTime = 2 * time.Second

func testLease(t *T, s *store) {
	lease := broker.NewLeaseID()
	under := func(key string) broker.KeyPut {
		p := keyPut(key, "", broker.AnyRevision)
		p.Lease = lease
		return p
	}
	if _, err := s.PutKey(t.Context(), under("early")); !errors.Is(err, broker.ErrNoLease) {
		t.Errorf("a put under a lease that is not there: %v", err)
	}
	if err := s.GrantLease(t.Context(), lease, leaseTime); err != nil {
		t.Fatalf("grant: %v", err)
	}
	s.putKey(t, under("a"))
	s.putKey(t, under("freed"))
	freed := s.putKey(t, keyPut("freed", "", broker.AnyRevision))
	t.wait(leaseTime * 6 / 10)
	renewed := time.Now()
	if err := s.RenewLease(t.Context(), lease); err != nil {
		t.Fatalf("renew, before its end: %v", err)
	}
	for s.getKey(t, "a").Revision != 0 {
		if time.Since(renewed) > leaseTime+2*time.Second {
			t.Fatalf("a key is there %v after the last renewal of a lease of %v", time.Since(renewed), leaseTime)
		}
		t.wait(50 * time.Millisecond)
	}
	if lasted := time.Since(renewed); lasted < leaseTime {
		t.Errorf("a key is gone %v after the last renewal of a lease of %v", lasted, leaseTime)
	}
	sameKey(t, "a key that is under the lease no more", freed, s.getKey(t, "freed"))
	if err := s.RenewLease(t.Context(), lease); !errors.Is(err, broker.ErrNoLease) {
		t.Errorf("renew, after its end: %v", err)
	}
}

func testLeaseKill(t *T, s *store) {
	lease := broker.NewLeaseID()
	if err := s.GrantLease(t.Context(), lease, time.Hour); err != nil {
		t.Fatalf("grant: %v", err)
	}
	p := keyPut("a", "1", 0)
	p.Lease = lease
	want := s.putKey(t, p)
	s.crash(t)
	sameKey(t, "a key under a lease, after a kill", want, s.getKey(t, "a"))
	if err := s.RenewLease(t.Context(), lease); err != nil {
		t.Errorf("renew, after a kill: %v", err)
	}
	for range 2 {
		if err := s.RevokeLease(t.Context(), lease); err != nil {
			t.Errorf("revoke: %v", err)
		}
	}
	sameKey(t, "a key of a lease that was revoked", broker.KeyEntry{}, s.getKey(t, "a"))
	s.crash(t)
	sameKey(t, "the same, after a kill", broker.KeyEntry{}, s.getKey(t, "a"))
}

func testWatchKeys(t *T, s *store) {
	want := []broker.KeyEntry{s.putKey(t, keyPut("w/1", "x", 0))}
	s.putKey(t, keyPut("v/1", "x", 0))
	ctx, cancel := context.WithTimeout(t.Context(), t.patience())
	defer cancel()
	var found []broker.KeyEntry
	step := 0
	err := s.WatchKeys(ctx, "w/", func(f broker.KeyFeed) error {
		found = append(found, f.Entries...)
		for f.CaughtUp || len(f.Entries) > 0 && step > 0 {
			f = broker.KeyFeed{}
			switch step++; step {
			case 1:
				want = append(want, s.putKey(t, keyPut("w/2", "y", 0)))
				s.putKey(t, keyPut("v/2", "y", 0))
			case 2:
				if _, err := s.DeleteKey(t.Context(), "w/1", broker.AnyRevision); err != nil {
					return err
				}
			default:
				return errEnough
			}
		}
		return nil
	})
	if !errors.Is(err, errEnough) {
		t.Fatalf("the feed ended with %v, it had brought %+v", err, found)
	}
	last := found[len(found)-1]
	if len(found) != 3 || !last.Deleted || last.Key != "w/1" || last.Revision <= want[1].Revision {
		t.Fatalf("the feed brought %+v", found)
	}
	sameKeys(t, "what the feed brought", want, found[:2])
}
