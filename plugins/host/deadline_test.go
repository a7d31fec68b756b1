package host

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/plugins/internal/wire"
)

// silent is the connection to a store that answers nothing.
type silent struct{ grpc.ClientConnInterface }

func (silent) Invoke(ctx context.Context, _ string, _, _ any, _ ...grpc.CallOption) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestACallOfAStoreEndsAlthoughNobodyHasSetADeadline(t *testing.T) {
	calls := map[string]func(context.Context, *Store) error{
		"ListTerms":    func(ctx context.Context, s *Store) error { _, err := s.ListTerms(ctx); return err },
		"SetRetention": func(ctx context.Context, s *Store) error { return s.SetRetention(ctx, nil) },
		"ReadHistory": func(ctx context.Context, s *Store) error {
			_, err := s.ReadHistory(ctx, broker.HistoryQuery{})
			return err
		},
		"ReadStatistics": func(ctx context.Context, s *Store) error { _, err := s.ReadStatistics(ctx); return err },
		"GetKey":         func(ctx context.Context, s *Store) error { _, err := s.GetKey(ctx, "k"); return err },
	}
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &supervised{status: Status{Name: "store", State: Ready, Capabilities: []string{
					string(broker.PowerTerms), string(broker.PowerHistory), string(broker.PowerStatistics), string(broker.PowerKeyspace),
				}}}
				in := &instance{p: p, store: wire.NewStoreClient(silent{}), current: t.Context()}
				p.present = in
				began := time.Now()
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				giveUp := time.AfterFunc(time.Hour, cancel)
				defer giveUp.Stop()
				if err := call(ctx, &Store{p}); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 5*time.Second {
					t.Errorf("after %v: %v", time.Since(began), err)
				}
				if in.spec.Attach = "unix:/s"; name == "GetKey" {
					return
				}
				if err := call(ctx, &Store{p}); !errors.Is(err, context.Canceled) || time.Since(began) != time.Hour {
					t.Errorf("at a breakpoint, after %v: %v", time.Since(began), err)
				}
			})
		})
	}
}
