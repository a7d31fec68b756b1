package storebolt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/broker"
)

func putKey(t testing.TB, s *Store, key, value string, lease broker.LeaseID) broker.KeyEntry {
	t.Helper()
	e, err := s.PutKey(t.Context(), broker.KeyPut{
		Key: key, Value: []byte(value), Expect: broker.AnyRevision, Lease: lease, Write: broker.NewWriteID(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestOfManyWhoCompareAndSetOneWinsEachTime(t *testing.T) {
	s := open(t, Config{Dir: t.TempDir()})
	const writers, each = 8, 20
	var group sync.WaitGroup
	var lost atomic.Int64
	for range writers {
		group.Go(func() {
			for done := 0; done < each; {
				e, err := s.GetKey(t.Context(), "counter")
				if err != nil {
					t.Error(err)
					return
				}
				_, err = s.PutKey(t.Context(), broker.KeyPut{
					Key: "counter", Value: append(e.Value, '.'), Expect: e.Revision, Write: broker.NewWriteID(),
				})
				switch {
				case err == nil:
					done++
				case errors.Is(err, broker.ErrKeyChanged):
					lost.Add(1)
				default:
					t.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	e, err := s.GetKey(t.Context(), "counter")
	if err != nil || len(e.Value) != writers*each || e.Revision != writers*each {
		t.Errorf("%d at revision %d, want %d: %v", len(e.Value), e.Revision, writers*each, err)
	}
	if lost.Load() == 0 {
		t.Log("nobody was in anybody's way")
	}
}

func TestAFeedOfKeysEndsWithWhatIsThere(t *testing.T) {
	now := new(atomic.Int64)
	now.Store(1_700_000_000_000)
	s := open(t, Config{Dir: t.TempDir(), tick: time.Hour, now: now.Load})
	lease := broker.NewLeaseID()
	if err := s.GrantLease(t.Context(), lease, time.Second); err != nil {
		t.Fatal(err)
	}
	putKey(t, s, "w/before", "x", broker.LeaseID{})
	ctx, cancel := context.WithCancel(t.Context())
	seen, last, caughtUp := map[string]string{}, uint64(0), false
	end := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		err := s.WatchKeys(ctx, "w/", func(f broker.KeyFeed) error {
			for _, e := range f.Entries {
				if caughtUp && e.Revision <= last {
					t.Errorf("revision %d after %d", e.Revision, last)
				}
				last = e.Revision
				seen[e.Key] = string(e.Value)
				if e.Deleted {
					delete(seen, e.Key)
				}
				if e.Key == "w/end" {
					close(end)
				}
			}
			caughtUp = caughtUp || f.CaughtUp
			return nil
		})
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	var writers sync.WaitGroup
	for w := range 4 {
		writers.Go(func() {
			for i := range 100 {
				key := fmt.Sprintf("w/%d", rand.IntN(6))
				switch {
				case i%5 == 4:
					if _, err := s.DeleteKey(t.Context(), key, broker.AnyRevision); err != nil {
						t.Error(err)
					}
				case i%7 == 3:
					putKey(t, s, "w/leased"+fmt.Sprint(w), "x", lease)
				default:
					putKey(t, s, key, fmt.Sprint(w, i), broker.LeaseID{})
				}
				putKey(t, s, "other", "x", broker.LeaseID{})
			}
		})
	}
	writers.Wait()
	now.Add(1000)
	settleAll(t, s)
	putKey(t, s, "w/end", "x", broker.LeaseID{})
	<-end
	cancel()
	watching.Wait()
	p, err := s.ListKeys(t.Context(), broker.KeyQuery{Prefix: "w/"})
	if err != nil || len(p.Entries) != len(seen) {
		t.Errorf("the feed ends with %v, there is %+v, %v", seen, p.Entries, err)
	}
	for _, e := range p.Entries {
		if v, known := seen[e.Key]; !known || v != string(e.Value) || e.Lease == lease {
			t.Errorf("the feed ends with %s=%s, there is %+v", e.Key, v, e)
		}
	}
}

func TestAFeedOfKeysEndsWithTheStore(t *testing.T) {
	s := open(t, Config{Dir: t.TempDir()})
	caughtUp, ended := make(chan struct{}), make(chan error)
	go func() {
		ended <- s.WatchKeys(context.Background(), "", func(f broker.KeyFeed) error {
			close(caughtUp)
			return nil
		})
	}()
	<-caughtUp
	closeStore(t, s)
	if err := <-ended; !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}

// Keys of a lease are deleted some at a time; in between the lease is gone already, also for who opens the file then.
func TestALeaseOfManyKeysEndsInSteps(t *testing.T) {
	now := new(atomic.Int64)
	now.Store(1_700_000_000_000)
	cfg := Config{Dir: t.TempDir(), tick: time.Hour, now: now.Load}
	s := open(t, cfg)
	lease := broker.NewLeaseID()
	if err := s.GrantLease(t.Context(), lease, time.Second); err != nil {
		t.Fatal(err)
	}
	const keys = 2500
	var writers sync.WaitGroup
	for w := range 50 {
		writers.Go(func() {
			for i := range keys / 50 {
				putKey(t, s, fmt.Sprintf("k/%d/%d", w, i), "x", lease)
			}
		})
	}
	writers.Wait()
	now.Add(999)
	settleAll(t, s)
	if err := s.RenewLease(t.Context(), lease); err != nil {
		t.Fatal(err)
	}
	now.Add(999)
	settleAll(t, s)
	if st, _ := s.ReadStatistics(t.Context()); st.KeyspaceKeys != keys || st.Leases != 1 {
		t.Fatalf("%d keys under %d leases before the end", st.KeyspaceKeys, st.Leases)
	}
	now.Add(1)
	if err := s.RenewLease(t.Context(), lease); !errors.Is(err, broker.ErrNoLease) {
		t.Errorf("renewed at its end: %v", err)
	}
	late := broker.KeyPut{Key: "late", Lease: lease, Write: broker.NewWriteID()} // the commit that ends it
	if _, err := s.PutKey(t.Context(), late); !errors.Is(err, broker.ErrNoLease) {
		t.Errorf("a key under a lease that has ended: %v", err)
	}
	closeStore(t, s)
	s = open(t, cfg)
	for range 3 {
		settleAll(t, s)
	}
	if st, _ := s.ReadStatistics(t.Context()); st.KeyspaceKeys != 0 || st.Leases != 0 {
		t.Errorf("%d keys, %d leases after the end", st.KeyspaceKeys, st.Leases)
	}
}

func TestABackupHasTheKeyspace(t *testing.T) {
	s := open(t, Config{Dir: t.TempDir()})
	lease := broker.NewLeaseID()
	if err := s.GrantLease(t.Context(), lease, time.Hour); err != nil {
		t.Fatal(err)
	}
	want := []broker.KeyEntry{putKey(t, s, "a", "x", broker.LeaseID{}), putKey(t, s, "b", "y", lease)}
	var file bytes.Buffer
	if _, err := s.Backup(t.Context(), &file, 0); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, fileName), file.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, problems, err := Check(dir); err != nil || len(problems) > 0 {
		t.Fatal(problems, err)
	}
	restored := open(t, Config{Dir: dir})
	p, err := restored.ListKeys(t.Context(), broker.KeyQuery{})
	if err != nil || len(p.Entries) != 2 || p.Entries[0].Revision != want[0].Revision || p.Entries[1].Lease != lease {
		t.Errorf("%+v, want %+v: %v", p.Entries, want, err)
	}
	if err := restored.RevokeLease(t.Context(), lease); err != nil {
		t.Fatal(err)
	}
	if e, err := restored.GetKey(t.Context(), "b"); err != nil || e.Revision != 0 {
		t.Errorf("%+v, %v", e, err)
	}
}

func TestADamagedKeyIsToldAndNotGivenOut(t *testing.T) {
	cfg := Config{Dir: t.TempDir()}
	s := open(t, cfg)
	for i := range 5 {
		putKey(t, s, fmt.Sprintf("key%d", i), "some value of some length", broker.LeaseID{})
	}
	closeStore(t, s)
	damageKey(t, filepath.Join(cfg.Dir, fileName))
	if _, problems, err := Check(cfg.Dir); err != nil || len(problems) != 1 {
		t.Errorf("%v, %v", problems, err)
	}
	s = open(t, cfg)
	if e, err := s.GetKey(t.Context(), "key1"); err == nil {
		t.Errorf("found %+v", e)
	}
	if e, err := s.GetKey(t.Context(), "key2"); err != nil || e.Revision == 0 {
		t.Errorf("found %+v, %v", e, err)
	}
}
