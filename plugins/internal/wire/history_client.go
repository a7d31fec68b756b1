package wire

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/plugins/internal/wire/storev1pb"
)

var (
	_ broker.HistoryStore     = (*StoreClient)(nil)
	_ broker.TermLister       = (*StoreClient)(nil)
	_ broker.StatisticsReader = (*StoreClient)(nil)
	_ broker.BackupMaker      = (*StoreClient)(nil)
)

const (
	maxTerms   = 1 << 16
	maxBuckets = 64
)

// powerError is err as the caller of an optional call gets it.
func powerError(err error) error {
	if status.Code(err) == codes.Unimplemented {
		return broker.ErrNoPower
	}
	return err
}

// ListTerms implements broker.TermLister.
func (c *StoreClient) ListTerms(ctx context.Context) ([]broker.Term, error) {
	m, err := c.rpc.ListTerms(ctx, &storev1pb.ListTermsRequest{})
	if err != nil {
		return nil, powerError(err)
	}
	if n := len(m.GetTerms()); n == 0 || n > maxTerms {
		return nil, malformed("a list of %d terms", n)
	}
	terms := make([]broker.Term, len(m.GetTerms()))
	for i, t := range m.GetTerms() {
		id, err := runIDFromWire(t.GetId())
		switch {
		case err != nil:
			return nil, err
		case id.IsZero():
			return nil, malformed("term %d has no id", i)
		case i > 0 && t.GetFirst() < terms[i-1].First:
			return nil, malformed("a term that begins at %d comes after one that begins at %d", t.GetFirst(), terms[i-1].First)
		}
		terms[i] = broker.Term{ID: id, First: t.GetFirst(), Started: time.UnixMilli(t.GetStartedMs())}
	}
	return terms, nil
}

// SetRetention implements broker.HistoryStore.
func (c *StoreClient) SetRetention(ctx context.Context, rules []broker.RetentionRule) error {
	m := &storev1pb.SetRetentionRequest{Rules: make([]*storev1pb.RetentionRule, len(rules))}
	for i, r := range rules {
		m.Rules[i] = &storev1pb.RetentionRule{Match: r.Match, Count: r.Count, Bytes: r.Bytes, AgeMs: ageToWire(r.Age)}
	}
	_, err := c.rpc.SetRetention(ctx, m)
	return powerError(err)
}

// ageToWire never makes a bound of no bound, or the other way round.
func ageToWire(age time.Duration) int64 {
	if age > 0 && age < time.Millisecond {
		return 1
	}
	return age.Milliseconds()
}

// ReadHistory implements broker.HistoryStore.
func (c *StoreClient) ReadHistory(ctx context.Context, q broker.HistoryQuery) (broker.HistoryPage, error) {
	m, err := c.rpc.ReadHistory(ctx, &storev1pb.ReadHistoryRequest{
		Filters: q.Filters, After: q.After, Through: q.Through, Last: uint32(q.Last), Limit: uint32(q.Limit),
	})
	if err != nil {
		return broker.HistoryPage{}, powerError(err)
	}
	p := broker.HistoryPage{
		After: m.GetAfter(), Through: m.GetThrough(), Done: m.GetDone(),
		TrimmedThrough: m.GetTrimmedThrough(), Floor: m.GetFloor(), Head: m.GetHead(), Damaged: m.GetDamaged(),
	}
	if p.Records, err = recordsFromWire(m.GetRecords()); err != nil {
		return broker.HistoryPage{}, err
	}
	return p, checkPage(&q, &p)
}

// checkPage holds a page to its contract.
func checkPage(q *broker.HistoryQuery, p *broker.HistoryPage) error {
	limit := q.Limit
	if limit == 0 {
		limit = broker.MaxHistoryRecords
	}
	switch {
	case p.After < q.After || q.Last == 0 && p.After != q.After:
		return malformed("a page after %d, wanted after %d", p.After, q.After)
	case p.Through < p.After || q.Through != 0 && p.Through > max(q.Through, p.After):
		return malformed("a page after %d looked through %d, wanted at most %d", p.After, p.Through, q.Through)
	case !p.Done && p.Through == p.After:
		return malformed("a page after %d came to nothing", p.After)
	case len(p.Records) > limit || len(p.Damaged) > broker.MaxHistoryRecords:
		return malformed("a page of %d records, wanted at most %d", len(p.Records), limit)
	}
	last := p.After
	for i := range p.Records {
		r := &p.Records[i]
		if r.Elided || r.Offset <= last || r.Offset > p.Through || !matchesAny(q.Filters, r.Topic) {
			return malformed("record %d does not belong into the page after %d", r.Offset, p.After)
		}
		last = r.Offset
	}
	return nil
}

// ReadStatistics implements broker.StatisticsReader.
func (c *StoreClient) ReadStatistics(ctx context.Context) (broker.StoreStatistics, error) {
	m, err := c.rpc.ReadStatistics(ctx, &storev1pb.ReadStatisticsRequest{})
	if err != nil {
		return broker.StoreStatistics{}, powerError(err)
	}
	if n := len(m.GetCommitBuckets()); n > maxBuckets {
		return broker.StoreStatistics{}, malformed("%d buckets of commits", n)
	}
	return broker.StoreStatistics{
		Head: m.GetHead(), Oldest: m.GetOldest(), Floor: m.GetFloor(),
		Records: m.GetRecords(), RecordBytes: m.GetRecordBytes(),
		HistoryRecords: m.GetHistoryRecords(), HistoryBytes: m.GetHistoryBytes(), HistoryTopics: m.GetHistoryTopics(),
		RetainedTopics: m.GetRetainedTopics(), RetainedBytes: m.GetRetainedBytes(), Keys: m.GetKeys(), Terms: m.GetTerms(),
		FileBytes: m.GetFileBytes(), FreeBytes: m.GetFreeBytes(), MaxFileBytes: m.GetMaxFileBytes(),
		Commits: m.GetCommits(), CommittedRecords: m.GetCommittedRecords(), CommitTime: time.Duration(m.GetCommitNanos()),
		CommitBuckets: m.GetCommitBuckets(),
		KeyspaceKeys:  m.GetKeyspaceKeys(), KeyspaceBytes: m.GetKeyspaceBytes(), Leases: m.GetLeases(),
	}, nil
}

// Backup implements broker.BackupMaker.
func (c *StoreClient) Backup(ctx context.Context, w io.Writer, bytesPerSecond int64) (uint64, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.rpc.Backup(ctx, &storev1pb.BackupRequest{BytesPerSecond: uint64(max(bytesPerSecond, 0))})
	if err != nil {
		return 0, powerError(err)
	}
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return 0, malformed("the backup ended before the last message")
		}
		if err != nil {
			return 0, powerError(err)
		}
		if _, err := w.Write(m.GetData()); err != nil {
			return 0, err
		}
		if m.GetLast() {
			return m.GetHead(), nil
		}
	}
}
