package wire

import (
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/plugins/internal/wire/storev1pb"
	"github.com/carillon-mq/carillon/protocol"
)

var errNoPower = status.Error(codes.Unimplemented, broker.ErrNoPower.Error())

// power returns the Store for one call of the optional power P, which ends with inside.Done.
func power[P any](s *StoreServer) (p P, err error) {
	impl, err := s.open()
	if err != nil {
		return p, err
	}
	p, has := any(impl).(P)
	if !has {
		s.inside.Done()
		return p, errNoPower
	}
	return p, nil
}

// ListTerms implements the service.
func (s *StoreServer) ListTerms(ctx context.Context, _ *storev1pb.ListTermsRequest) (*storev1pb.ListTermsResponse, error) {
	impl, err := power[broker.TermLister](s)
	if err != nil {
		return nil, err
	}
	defer s.inside.Done()
	terms, err := impl.ListTerms(ctx)
	if err != nil {
		return nil, toStatus(err)
	}
	m := &storev1pb.ListTermsResponse{}
	for _, t := range terms {
		m.Terms = append(m.Terms, &storev1pb.Term{Id: runIDToWire(t.ID), First: t.First, StartedMs: t.Started.UnixMilli()})
	}
	return m, nil
}

// SetRetention implements the service.
func (s *StoreServer) SetRetention(ctx context.Context, m *storev1pb.SetRetentionRequest) (*storev1pb.SetRetentionResponse, error) {
	impl, err := power[broker.HistoryStore](s)
	if err != nil {
		return nil, err
	}
	defer s.inside.Done()
	rules, err := rulesFromWire(m.GetRules())
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	if err := impl.SetRetention(ctx, rules); err != nil {
		return nil, toStatus(err)
	}
	return &storev1pb.SetRetentionResponse{}, nil
}

func rulesFromWire(page []*storev1pb.RetentionRule) ([]broker.RetentionRule, error) {
	if len(page) > broker.MaxRetentionRules {
		return nil, malformed("%d rules, wanted at most %d", len(page), broker.MaxRetentionRules)
	}
	rules := make([]broker.RetentionRule, len(page))
	for i, r := range page {
		if err := protocol.ValidateFilter(r.GetMatch()); err != nil {
			return nil, malformed("rule %d: %v", i, err)
		}
		if r.GetAgeMs() < 0 || r.GetAgeMs() > math.MaxInt64/int64(time.Millisecond) {
			return nil, malformed("rule %d: an age of %d ms", i, r.GetAgeMs())
		}
		rules[i] = broker.RetentionRule{Match: r.GetMatch(), Count: r.GetCount(), Bytes: r.GetBytes(), Age: time.Duration(r.GetAgeMs()) * time.Millisecond}
	}
	return rules, nil
}

// ReadHistory implements the service.
func (s *StoreServer) ReadHistory(ctx context.Context, m *storev1pb.ReadHistoryRequest) (*storev1pb.ReadHistoryResponse, error) {
	impl, err := power[broker.HistoryStore](s)
	if err != nil {
		return nil, err
	}
	defer s.inside.Done()
	q := broker.HistoryQuery{
		Filters: m.GetFilters(), After: m.GetAfter(), Through: m.GetThrough(),
		Last: int(min(m.GetLast(), math.MaxInt32)), Limit: int(m.GetLimit()),
	}
	if err := checkQuery(&q); err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	p, err := impl.ReadHistory(ctx, q)
	if err != nil {
		return nil, toStatus(err)
	}
	if n := pageEnd(p.Records, len(p.Records)); n < len(p.Records) { // the wire takes a little more for each than the store counts
		p.Records = p.Records[:n]
		p.Through, p.Done = p.Records[n-1].Offset, false
		p.Damaged = slices.DeleteFunc(p.Damaged, func(offset uint64) bool { return offset > p.Through })
	}
	return &storev1pb.ReadHistoryResponse{
		Records: recordsToWire(p.Records), After: p.After, Through: p.Through, Done: p.Done,
		TrimmedThrough: p.TrimmedThrough, Floor: p.Floor, Head: p.Head, Damaged: p.Damaged,
	}, nil
}

func checkQuery(q *broker.HistoryQuery) error {
	if n := len(q.Filters); n == 0 || n > broker.MaxHistoryFilters {
		return malformed("%d filters, wanted 1 to %d", n, broker.MaxHistoryFilters)
	}
	if q.Limit > broker.MaxHistoryRecords {
		return malformed("a limit of %d records, wanted at most %d", q.Limit, broker.MaxHistoryRecords)
	}
	for _, f := range q.Filters {
		if err := protocol.ValidateFilter(f); err != nil {
			return err
		}
	}
	return nil
}

func matchesAny(filters []string, topic string) bool {
	for _, f := range filters {
		if protocol.Match(f, topic) {
			return true
		}
	}
	return false
}

// ReadStatistics implements the service.
func (s *StoreServer) ReadStatistics(ctx context.Context, _ *storev1pb.ReadStatisticsRequest) (*storev1pb.ReadStatisticsResponse, error) {
	impl, err := power[broker.StatisticsReader](s)
	if err != nil {
		return nil, err
	}
	defer s.inside.Done()
	f, err := impl.ReadStatistics(ctx)
	if err != nil {
		return nil, toStatus(err)
	}
	return &storev1pb.ReadStatisticsResponse{
		Head: f.Head, Oldest: f.Oldest, Floor: f.Floor, Records: f.Records, RecordBytes: f.RecordBytes,
		HistoryRecords: f.HistoryRecords, HistoryBytes: f.HistoryBytes, HistoryTopics: f.HistoryTopics,
		RetainedTopics: f.RetainedTopics, RetainedBytes: f.RetainedBytes, Keys: f.Keys, Terms: f.Terms,
		FileBytes: f.FileBytes, FreeBytes: f.FreeBytes, MaxFileBytes: f.MaxFileBytes,
		Commits: f.Commits, CommittedRecords: f.CommittedRecords, CommitNanos: uint64(f.CommitTime), CommitBuckets: f.CommitBuckets,
		KeyspaceKeys: f.KeyspaceKeys, KeyspaceBytes: f.KeyspaceBytes, Leases: f.Leases,
	}, nil
}

// Backup implements the service.
func (s *StoreServer) Backup(m *storev1pb.BackupRequest, stream grpc.ServerStreamingServer[storev1pb.BackupResponse]) error {
	impl, err := power[broker.BackupMaker](s)
	if err != nil {
		return err
	}
	defer s.inside.Done()
	pace := int64(min(m.GetBytesPerSecond(), math.MaxInt64))
	head, err := impl.Backup(stream.Context(), backupWriter{stream}, pace)
	if err != nil {
		if errors.Is(err, broker.ErrTrimmed) {
			err = errors.New("the log was trimmed faster than it could be copied; make keep_records and keep_bytes larger")
		}
		return toStatus(err)
	}
	return stream.Send(&storev1pb.BackupResponse{Head: head, Last: true})
}

// backupWriter sends what is written in messages of at most a page.
type backupWriter struct {
	stream grpc.ServerStreamingServer[storev1pb.BackupResponse]
}

func (w backupWriter) Write(b []byte) (int, error) {
	sent := 0
	for len(b) > 0 {
		n := min(len(b), pageBytes)
		if err := w.stream.Send(&storev1pb.BackupResponse{Data: b[:n]}); err != nil {
			return sent, err
		}
		sent += n
		b = b[n:]
	}
	return sent, nil
}
