package broker

import "context"

// prepare tells the store that has come which histories to keep, which it has to know before the first record, and asks for its terms.
func (c *committer) prepare(ctx context.Context) (err error) {
	c.terms = nil
	c.keyed.Store(hasPower(c.store, PowerKeys))
	if lister, ok := c.store.(TermLister); ok && hasPower(c.store, PowerTerms) {
		if c.terms, err = lister.ListTerms(ctx); err != nil {
			return err
		}
	}
	stored := len(c.b.opt.storedFilters()) > 0
	switch c.keeps = hasPower(c.store, PowerHistory); {
	case c.keeps && stored:
		return c.retain(ctx)
	case stored && !c.following:
		c.b.opt.Logger.Warn("the store keeps no history: messages of stored topics are committed, and clients that come back are told a gap")
	case c.keeps && !c.following && c.historyOf(ctx) > 0:
		c.b.opt.Logger.Warn("the store keeps a history, and no rule of topics has class stored: what it has stays as it is until one has")
	}
	return nil
}

// retain tells the store the rules, and the log what they cost: a rule that is gone or narrower ends a history at once.
func (c *committer) retain(ctx context.Context) error {
	before := c.historyOf(ctx)
	if err := c.b.archive.store.SetRetention(ctx, c.b.opt.retention()); err != nil {
		return err
	}
	if after := c.historyOf(ctx); after < before {
		c.b.opt.Logger.Warn("the rules of topics keep less than the store had: stored messages are gone", "count", before-after)
	}
	return nil
}

// historyOf is how many messages the store keeps in histories; 0 when it does not say.
func (c *committer) historyOf(ctx context.Context) uint64 {
	reader, ok := c.store.(StatisticsReader)
	if !ok || !hasPower(c.store, PowerStatistics) {
		return 0
	}
	st, err := reader.ReadStatistics(ctx)
	if err != nil {
		return 0
	}
	return st.HistoryRecords
}

// hasPower reports whether the store that is there has p.
func hasPower(s Store, p Power) bool {
	if powered, ok := s.(PoweredStore); ok {
		return powered.Has(p)
	}
	var ok bool
	switch p {
	case PowerTerms:
		_, ok = s.(TermLister)
	case PowerHistory:
		_, ok = s.(HistoryStore)
	case PowerStatistics:
		_, ok = s.(StatisticsReader)
	case PowerBackup:
		_, ok = s.(BackupMaker)
	case PowerTTL, PowerKeys: // fields of a record: nothing to tell it by
	}
	return ok
}

// loadLog brings the newest that the store keeps of stored topics into the log, at most half of it, so that clients that come back
// after a start are served from memory (log.md P7).
func (c *committer) loadLog(ctx context.Context, head uint64) error {
	filters := c.b.opt.storedFilters()
	if head == 0 || !c.keeps || len(filters) == 0 {
		c.b.followStore(head)
		return nil
	}
	q := HistoryQuery{Filters: filters, Through: head}
	if err := c.sizeUp(ctx, &q); err != nil {
		return err
	}
	missing := uint64(0)
	for first := true; ; first = false {
		found, err := c.b.archive.store.ReadHistory(ctx, q)
		if err != nil {
			return err
		}
		if first {
			c.b.followStore(found.After)
		}
		for i := range found.Records {
			if m := found.Records[i].message(c.b.opt.classOf(found.Records[i].Topic)); m.Kept {
				c.b.ring.Load(&m)
			}
		}
		missing = max(missing, found.lost())
		if found.Done || found.Through >= head {
			break
		}
		q.After, q.Last = found.Through, 0
	}
	c.b.ring.Loaded(missing, head)
	c.b.nudgeAll()
	c.b.markShards(head)
	return nil
}

// sizeUp asks for as many of the newest messages as fit half of the log, by the size of the very newest.
func (c *committer) sizeUp(ctx context.Context, q *HistoryQuery) error {
	q.Last = 100
	found, err := c.b.archive.store.ReadHistory(ctx, *q)
	if err != nil || len(found.Records) == 0 {
		return err
	}
	var bytes int64
	for i := range found.Records {
		m := found.Records[i].message(ClassStored)
		bytes += m.Weight()
	}
	q.Last = int(c.b.opt.RingBytes/2*int64(len(found.Records))/bytes) + 1
	return nil
}

// lost is the offset up to which something is missing.
func (h *HistoryPage) lost() uint64 {
	lost := max(h.TrimmedThrough, h.Floor)
	if n := len(h.Damaged); n > 0 {
		lost = max(lost, h.Damaged[n-1])
	}
	return lost
}
