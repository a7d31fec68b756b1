package host

import (
	"context"
	"io"
	"slices"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/plugins/internal/wire"
)

var (
	_ broker.PoweredStore     = (*Store)(nil)
	_ broker.HistoryStore     = (*Store)(nil)
	_ broker.TermLister       = (*Store)(nil)
	_ broker.StatisticsReader = (*Store)(nil)
	_ broker.BackupMaker      = (*Store)(nil)
)

// Has implements broker.PoweredStore: whether the process that is ready now has announced p.
func (s *Store) Has(p broker.Power) bool {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	return s.p.present != nil && slices.Contains(s.p.status.Capabilities, string(p))
}

// storeDeadline is what the contract gives a store's calls that answer or fail.
const storeDeadline = 5 * time.Second

// askSoon is ask for a call that answers or fails: who has set no deadline gets the contract's. A store that is healthy and leaves one
// question without an answer would keep the feed waiting for ever. One that is attached to may stand at a breakpoint as long as it likes.
func askSoon[A any](ctx context.Context, s *Store, p broker.Power, call func(context.Context, *wire.StoreClient) (A, error)) (A, error) {
	_, bounded := ctx.Deadline()
	in, err := s.p.ready()
	if attached := err == nil && in.spec.attached(); !bounded && !attached {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, storeDeadline)
		defer cancel()
	}
	return ask(ctx, s, p, call)
}

// ask is one call of the optional power p.
func ask[A any](ctx context.Context, s *Store, p broker.Power, call func(context.Context, *wire.StoreClient) (A, error)) (answer A, err error) {
	in, err := s.p.ready()
	if err != nil {
		return answer, err
	}
	if !s.Has(p) {
		return answer, broker.ErrNoPower
	}
	ctx, cancel := in.while(ctx)
	defer cancel(nil)
	if answer, err = call(ctx, in.store); err != nil {
		var none A // what broke the contract is not handed on
		return none, s.p.callError(ctx, err)
	}
	return answer, nil
}

// ListTerms implements broker.TermLister.
func (s *Store) ListTerms(ctx context.Context) ([]broker.Term, error) {
	return askSoon(ctx, s, broker.PowerTerms, func(ctx context.Context, c *wire.StoreClient) ([]broker.Term, error) { return c.ListTerms(ctx) })
}

// SetRetention implements broker.HistoryStore.
func (s *Store) SetRetention(ctx context.Context, rules []broker.RetentionRule) error {
	_, err := askSoon(ctx, s, broker.PowerHistory, func(ctx context.Context, c *wire.StoreClient) (struct{}, error) {
		return struct{}{}, c.SetRetention(ctx, rules)
	})
	return err
}

// ReadHistory implements broker.HistoryStore.
func (s *Store) ReadHistory(ctx context.Context, q broker.HistoryQuery) (broker.HistoryPage, error) {
	return askSoon(ctx, s, broker.PowerHistory, func(ctx context.Context, c *wire.StoreClient) (broker.HistoryPage, error) {
		return c.ReadHistory(ctx, q)
	})
}

// ReadStatistics implements broker.StatisticsReader.
func (s *Store) ReadStatistics(ctx context.Context) (broker.StoreStatistics, error) {
	return askSoon(ctx, s, broker.PowerStatistics, func(ctx context.Context, c *wire.StoreClient) (broker.StoreStatistics, error) {
		return c.ReadStatistics(ctx)
	})
}

// Backup implements broker.BackupMaker.
func (s *Store) Backup(ctx context.Context, w io.Writer, bytesPerSecond int64) (uint64, error) {
	return ask(ctx, s, broker.PowerBackup, func(ctx context.Context, c *wire.StoreClient) (uint64, error) {
		return c.Backup(ctx, w, bytesPerSecond)
	})
}
