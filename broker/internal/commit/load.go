package commit

import (
	"context"

	"github.com/carillon-mq/carillon/broker/internal/archive"
	"github.com/carillon-mq/carillon/broker/internal/rules"
	"github.com/carillon-mq/carillon/broker/store"
)

// prepare tells the store that has come which histories to keep, which it has to know before the first record, and asks for its terms.
func (c *Committer) prepare(ctx context.Context) (err error) {
	c.terms = nil
	c.keyed.Store(store.Has(c.opt.Store, store.PowerKeys))
	if lister, ok := c.opt.Store.(store.TermLister); ok && store.Has(c.opt.Store, store.PowerTerms) {
		if c.terms, err = lister.ListTerms(ctx); err != nil {
			return err
		}
	}
	stored := len(c.opt.Rules.StoredFilters()) > 0
	switch c.keeps = store.Has(c.opt.Store, store.PowerHistory); {
	case c.keeps && stored:
		return c.retain(ctx)
	case stored && !c.following:
		c.opt.Logger.Warn("the store keeps no history: messages of stored topics are committed, and clients that come back are told a gap")
	case c.keeps && !c.following && c.historyOf(ctx) > 0:
		c.opt.Logger.Warn("the store keeps a history, and no rule of topics has class stored: what it has stays as it is until one has")
	}
	return nil
}

// retain tells the store the rules, and the log what they cost: a rule that is gone or narrower ends a history at once.
func (c *Committer) retain(ctx context.Context) error {
	before := c.historyOf(ctx)
	if err := c.history.SetRetention(ctx, c.opt.Rules.Retention()); err != nil {
		return err
	}
	if after := c.historyOf(ctx); after < before {
		c.opt.Logger.Warn("the rules of topics keep less than the store had: stored messages are gone", "count", before-after)
	}
	return nil
}

// historyOf is how many messages the store keeps in histories; 0 when it does not say.
func (c *Committer) historyOf(ctx context.Context) uint64 {
	reader, ok := c.opt.Store.(store.StatisticsReader)
	if !ok || !store.Has(c.opt.Store, store.PowerStatistics) {
		return 0
	}
	st, err := reader.ReadStatistics(ctx)
	if err != nil {
		return 0
	}
	return st.HistoryRecords
}

// loadLog brings the newest that the store keeps of stored topics into the log, at most half of it, so that clients that come back
// after a start are served from memory (log.md P7).
func (c *Committer) loadLog(ctx context.Context, head uint64) error {
	filters := c.opt.Rules.StoredFilters()
	if head == 0 || !c.keeps || len(filters) == 0 {
		c.log.Follow(head)
		return nil
	}
	q := store.HistoryQuery{Filters: filters, Through: head}
	if err := c.sizeUp(ctx, &q); err != nil {
		return err
	}
	missing := uint64(0)
	for first := true; ; first = false {
		found, err := c.history.ReadHistory(ctx, q)
		if err != nil {
			return err
		}
		if first {
			c.log.Follow(found.After)
		}
		for i := range found.Records {
			if m := c.message(&found.Records[i]); m.Kept {
				c.opt.Ring.Load(&m)
			}
		}
		missing = max(missing, found.Lost())
		if found.Done || found.Through >= head {
			break
		}
		q.After, q.Last = found.Through, 0
	}
	c.log.Loaded(missing, head)
	return nil
}

// sizeUp asks for as many of the newest messages as fit half of the log, by the size of the very newest.
func (c *Committer) sizeUp(ctx context.Context, q *store.HistoryQuery) error {
	q.Last = 100
	found, err := c.history.ReadHistory(ctx, *q)
	if err != nil || len(found.Records) == 0 {
		return err
	}
	var bytes int64
	for i := range found.Records {
		m := archive.Message(&found.Records[i], rules.Stored)
		bytes += m.Weight()
	}
	q.Last = int(c.opt.Load*int64(len(found.Records))/bytes) + 1
	return nil
}
