package brokertest_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/brokertest"
)

func TestALeaseEndsWithItsKeysAndNeverEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, lease := brokertest.NewStore(), broker.NewLeaseID()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		if err := s.GrantLease(ctx, lease, 10*time.Second); err != nil {
			t.Fatal(err)
		}
		if _, err := s.PutKey(ctx, broker.KeyPut{Key: "k", Lease: lease, Write: broker.NewWriteID()}); err != nil {
			t.Fatal(err)
		}
		var gone atomic.Pointer[time.Time] // when the key has gone
		go func() {
			_ = s.WatchKeys(ctx, "", func(f broker.KeyFeed) error {
				for _, e := range f.Entries {
					if e.Deleted {
						now := time.Now()
						gone.Store(&now)
					}
				}
				return nil
			})
		}()
		time.Sleep(9 * time.Second)
		if err := s.RenewLease(ctx, lease); err != nil {
			t.Error(err)
		}
		time.Sleep(9 * time.Second)
		copied := s.Copy()
		if e, err := s.GetKey(ctx, "k"); err != nil || e.Revision == 0 || gone.Load() != nil {
			t.Errorf("found %+v, gone at %v, %v", e, gone.Load(), err)
		}
		renewed := time.Now().Add(-9 * time.Second)
		time.Sleep(time.Second)
		synctest.Wait()
		if at := gone.Load(); at == nil || at.Sub(renewed) != 10*time.Second {
			t.Errorf("found it gone at %v, wanted 10 s after %v", at, renewed)
		}
		if err := s.RenewLease(ctx, lease); !errors.Is(err, broker.ErrNoLease) {
			t.Errorf("found %v", err)
		}
		s.Restore(copied) // a start renews
		time.Sleep(9 * time.Second)
		if e, err := s.GetKey(ctx, "k"); err != nil || e.Revision == 0 {
			t.Errorf("found %+v, %v", e, err)
		}
		time.Sleep(time.Second)
		if e, err := s.GetKey(ctx, "k"); err != nil || e.Revision != 0 {
			t.Errorf("found %+v, %v", e, err)
		}
	})
}
