package wire

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/plugins/internal/wire/storev1pb"
)

// powerful is a Store with every power, that answers what it is told to and notes what it was asked.
type powerful struct {
	storeFuncs
	terms  []broker.Term
	rules  []broker.RetentionRule
	query  broker.HistoryQuery
	page   broker.HistoryPage
	stats  broker.StoreStatistics
	backup string
}

func (p *powerful) ListTerms(context.Context) ([]broker.Term, error) { return p.terms, nil }

func (p *powerful) SetRetention(_ context.Context, rules []broker.RetentionRule) error {
	p.rules = rules
	return nil
}

func (p *powerful) ReadHistory(_ context.Context, q broker.HistoryQuery) (broker.HistoryPage, error) {
	p.query = q
	return p.page, nil
}

func (p *powerful) ReadStatistics(context.Context) (broker.StoreStatistics, error) {
	return p.stats, nil
}

func (p *powerful) Backup(_ context.Context, w io.Writer, _ int64) (uint64, error) {
	_, err := io.WriteString(w, p.backup)
	return 7, err
}

func TestEveryPowerCrossesTheWire(t *testing.T) {
	first := record(1)
	first.Offset, first.Expires = 12, 1_800_000_000_000
	p := &powerful{
		terms: []broker.Term{{ID: run1, First: 1, Started: time.UnixMilli(5)}, {ID: run2, First: 9, Started: time.UnixMilli(6)}},
		page: broker.HistoryPage{
			Records: []broker.Record{first}, After: 10, Through: 20, TrimmedThrough: 11, Floor: 3, Head: 30, Damaged: []uint64{15},
		},
		stats: broker.StoreStatistics{
			Head: 1, Oldest: 2, Floor: 3, Records: 4, RecordBytes: 5, HistoryRecords: 6, HistoryBytes: 7, HistoryTopics: 8, RetainedTopics: 9,
			RetainedBytes: 10, Keys: 11, Terms: 12, FileBytes: 13, FreeBytes: 14, MaxFileBytes: 15, Commits: 16, CommittedRecords: 17,
			CommitTime: 18, CommitBuckets: []uint64{16, 0},
		},
		backup: strings.Repeat("backup ", 300_000),
	}
	client, _ := connectStore(t, p)
	ctx := t.Context()
	same := func(what string, want, got any, err error) {
		t.Helper()
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v\n(-want +got):\n%s", what, err, diff)
		}
	}
	terms, err := client.ListTerms(ctx)
	same("terms", p.terms, terms, err)
	rules := []broker.RetentionRule{{Match: "a.>", Count: 1, Bytes: 2, Age: 3 * time.Second}, {Match: "b"}}
	err = client.SetRetention(ctx, rules)
	same("rules", rules, p.rules, err)
	q := broker.HistoryQuery{Filters: []string{"x", "orders.*"}, After: 10, Through: 40, Limit: 5}
	page, err := client.ReadHistory(ctx, q)
	same("page", p.page, page, err)
	same("query", q, p.query, nil)
	stats, err := client.ReadStatistics(ctx)
	same("statistics", p.stats, stats, err)
	var copied bytes.Buffer
	head, err := client.Backup(ctx, &copied, 0)
	same("backup", uint64(7), head, err)
	if copied.String() != p.backup {
		t.Errorf("%d bytes of the backup, want %d", copied.Len(), len(p.backup))
	}
}

func TestAStoreWithoutPowersSaysSo(t *testing.T) {
	client, _ := connectStore(t, &storeFuncs{})
	ctx := t.Context()
	_, terms := client.ListTerms(ctx)
	_, read := client.ReadHistory(ctx, broker.HistoryQuery{Filters: []string{"a"}})
	_, stats := client.ReadStatistics(ctx)
	_, backup := client.Backup(ctx, io.Discard, 0)
	for call, err := range map[string]error{
		"terms": terms, "rules": client.SetRetention(ctx, nil), "history": read, "statistics": stats, "backup": backup,
	} {
		if !errors.Is(err, broker.ErrNoPower) {
			t.Errorf("%s: %v, want ErrNoPower", call, err)
		}
	}
}

func TestRecordsWithAKeyOfTheWrongSizeAreRefusedAlone(t *testing.T) {
	client, _ := connectStore(t, &storeFuncs{append: func(batch []broker.Record, done func([]broker.AppendResult, error)) {
		results := make([]broker.AppendResult, len(batch))
		for i := range batch {
			results[i] = broker.AppendResult{Ref: batch[i].Ref, Offset: batch[i].Ref}
		}
		done(results, nil)
	}})
	batch := []broker.Record{record(1), record(2), record(3), record(4)}
	batch[0].Key, batch[0].Digest = make([]byte, 16), make([]byte, 8)
	batch[1].Key, batch[1].Digest = make([]byte, 15), make([]byte, 8)
	batch[2].Key = make([]byte, 32)
	batch[3].Expires = -1
	a := appendAndWait(t, client, batch)
	for i, refused := range []bool{false, true, true, true} {
		if got := a.results[i].Err != nil; got != refused {
			t.Errorf("record %d: %+v, refused %v", i, a.results[i], refused)
		}
	}
}

// rawHistory answers every page with the same message.
type rawHistory struct {
	storev1pb.UnimplementedStoreServiceServer
	page  *storev1pb.ReadHistoryResponse
	terms *storev1pb.ListTermsResponse
}

func (s *rawHistory) ReadHistory(context.Context, *storev1pb.ReadHistoryRequest) (*storev1pb.ReadHistoryResponse, error) {
	return s.page, nil
}

func (s *rawHistory) ListTerms(context.Context, *storev1pb.ListTermsRequest) (*storev1pb.ListTermsResponse, error) {
	return s.terms, nil
}

func TestPagesThatBreakTheContractAreNoAnswer(t *testing.T) {
	rec := func(offset uint64, topic string) *storev1pb.Record {
		return &storev1pb.Record{Offset: offset, Topic: topic}
	}
	page := func(through uint64, done bool, r ...*storev1pb.Record) *storev1pb.ReadHistoryResponse {
		return &storev1pb.ReadHistoryResponse{After: 10, Through: through, Done: done, Records: r}
	}
	for name, bad := range map[string]*storev1pb.ReadHistoryResponse{
		"a record from before":        page(20, true, rec(10, "a")),
		"one twice":                   page(20, true, rec(12, "a"), rec(12, "a")),
		"one behind the end":          page(20, true, rec(21, "a")),
		"another topic":               page(20, true, rec(12, "b")),
		"an elided one":               page(20, true, &storev1pb.Record{Offset: 12, Elided: true}),
		"too many":                    page(20, true, rec(12, "a"), rec(13, "a"), rec(14, "a"), rec(15, "a")),
		"an end before the beginning": page(9, true),
		"further than asked":          page(41, true),
		"nothing, and not done":       page(10, false),
		"another beginning":           {After: 11, Through: 20, Done: true},
	} {
		t.Run(name, func(t *testing.T) {
			plugin := &rawHistory{page: bad}
			client, _ := run(t, NewStoreClient(connect(t, func(r grpc.ServiceRegistrar) { storev1pb.RegisterStoreServiceServer(r, plugin) })))
			_, err := client.ReadHistory(t.Context(), broker.HistoryQuery{Filters: []string{"a"}, After: 10, Through: 40, Limit: 3})
			if !errors.Is(err, ErrMalformed) {
				t.Errorf("got %v, wanted ErrMalformed", err)
			}
		})
	}
}

func TestTermsThatBreakTheContractAreNoAnswer(t *testing.T) {
	for name, terms := range map[string][]*storev1pb.Term{
		"none":         nil,
		"without id":   {{First: 1}},
		"half an id":   {{Id: []byte{1}, First: 1}},
		"out of order": {{Id: run1[:], First: 5}, {Id: run2[:], First: 4}},
	} {
		t.Run(name, func(t *testing.T) {
			plugin := &rawHistory{terms: &storev1pb.ListTermsResponse{Terms: terms}}
			client, _ := run(t, NewStoreClient(connect(t, func(r grpc.ServiceRegistrar) { storev1pb.RegisterStoreServiceServer(r, plugin) })))
			if _, err := client.ListTerms(t.Context()); !errors.Is(err, ErrMalformed) {
				t.Errorf("got %v, wanted ErrMalformed", err)
			}
		})
	}
}
