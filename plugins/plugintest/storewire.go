package plugintest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/plugins/internal/wire/storev1pb"
	"github.com/carillon-mq/carillon/protocol"
)

// Bounds of messages (spec/plugin/store/v1/store.proto).
const (
	loadRecords  = 256
	messageBytes = 1 << 20
)

func (s *store) rpc() storev1pb.StoreServiceClient {
	return storev1pb.NewStoreServiceClient(s.process.conn)
}

// testAnswers sends batches on a stream of its own and reads what comes for them.
func testAnswers(t *T, s *store) {
	const batches = 300
	ctx, cancel := context.WithTimeout(t.ctx, t.patience())
	defer cancel()
	stream, err := s.rpc().Append(ctx)
	if err != nil {
		t.Fatal(err)
	}
	sent := make(chan error, 1)
	go func() { // ends with ctx at the latest, and is waited for through sent
		for batch := range batches {
			m := &storev1pb.AppendRequest{Batch: uint64(batch + 1)}
			for i := range 1 + batch%5 {
				m.Records = append(m.Records, &storev1pb.Record{
					Origin: s.run[:], Ref: uint64(10*batch + i + 1), Topic: fmt.Sprintf("t%d", i), Payload: []byte("x"), TimeMs: 1_700_000_000_000,
				})
			}
			if err := stream.Send(m); err != nil {
				sent <- err
				return
			}
		}
		sent <- stream.CloseSend()
	}()
	last := uint64(0)
	for batch := range batches {
		m, err := stream.Recv()
		if err != nil {
			t.Fatalf("expected the answer to batch %d of %d, got: %v", batch+1, batches, err)
		}
		if m.GetBatch() != uint64(batch+1) || len(m.GetResults()) != 1+batch%5 {
			t.Fatalf("expected the answer to batch %d with %d results, got one to batch %d with %d", batch+1, 1+batch%5, m.GetBatch(), len(m.GetResults()))
		}
		for _, r := range m.GetResults() {
			if r.GetOffset() <= last || r.GetDuplicate() || r.GetRefusal() != nil {
				t.Fatalf("batch %d: expected a new offset above %d, got %v", batch+1, last, r)
			}
			last = r.GetOffset()
		}
	}
	if err := <-sent; err != nil {
		t.Errorf("sending: %v", err)
	}
}

func testLoadMessages(t *T, s *store) {
	const topics = 700
	for i := range topics / 100 {
		var batch []broker.Record
		for j := range 100 {
			batch = append(batch, s.retained(fmt.Sprintf("t.%d", 100*i+j), strings.Repeat("x", 4000)))
		}
		committed(t, batch, s.append(t, batch...))
	}
	ctx, cancel := context.WithTimeout(t.ctx, t.patience())
	defer cancel()
	stream, err := s.rpc().LoadRetained(ctx, &storev1pb.LoadRetainedRequest{})
	if err != nil {
		t.Fatal(err)
	}
	got, ended := 0, false
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("expected %d records in messages of at most %d records or 1 MiB, got: %v after %d", topics, loadRecords, err, got)
		}
		size := 0
		for _, r := range m.GetRecords() {
			size += len(r.GetPayload())
		}
		if n := len(m.GetRecords()); n > loadRecords || n > 1 && size > messageBytes {
			t.Fatalf("expected messages of at most %d records or 1 MiB, got one of %d records and %d bytes", loadRecords, n, size)
		}
		if ended {
			t.Fatalf("expected nothing after the message with last set, got %d records", len(m.GetRecords()))
		}
		got, ended = got+len(m.GetRecords()), m.GetLast()
	}
	if got != topics || !ended {
		t.Errorf("expected %d records and a message with last set, got %d, last: %t", topics, got, ended)
	}
}

func testOrigins(t *T, s *store) {
	first := []broker.Record{s.record("a", "1"), s.record("b", "2")}
	second := slices.Clone(first)
	other := protocol.NewRunID()
	for i := range second {
		second[i].Origin, second[i].Payload = other, []byte("of another broker run")
	}
	want := slices.Concat(committed(t, first, s.append(t, first...)), committed(t, second, s.append(t, second...)))
	got, _ := s.feed(t, broker.FollowFrom{})
	same(t, "feed", want, got)
}

func testOldRepeats(t *T, s *store) {
	var all []broker.Record
	for range 60 {
		var batch []broker.Record
		for j := range 100 {
			batch = append(batch, s.record(fmt.Sprintf("t%d", j), ""))
		}
		all = append(all, committed(t, batch, s.append(t, batch...))...)
	}
	repeats := slices.Clone(all[:20])
	for i := range repeats {
		repeats[i].Offset = 0
	}
	for i, r := range s.append(t, repeats...) {
		if !r.Duplicate || r.Err != nil || r.Offset != 0 && r.Offset != all[i].Offset {
			t.Fatalf("record %d again, %d records later: expected a duplicate of offset %d, got %+v", i, len(all), all[i].Offset, r)
		}
	}
}

// testStalledFollower has a feed that nobody reads, beyond all buffers between.
func testStalledFollower(t *T, s *store) {
	ctx, cancel := context.WithCancel(t.ctx)
	defer cancel()
	stalled, err := s.rpc().Follow(ctx, &storev1pb.FollowRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stalled.Recv(); err != nil {
		t.Fatal(err)
	}
	for range 40 {
		batch := []broker.Record{s.record("a", strings.Repeat("x", 500<<10))}
		answers := make(chan outcome, 1)
		s.Append(batch, func(r []broker.AppendResult, err error) { answers <- outcome{batch, r, err} })
		o := t.await(answers)
		committed(t, batch, o.results)
	}
	if err := s.process.serving(t.ctx); err != nil {
		t.Errorf("health with a feed that nobody reads: %v", err)
	}
}

func testUnannounced(t *T, s *store) {
	rpc := s.rpc()
	calls := map[broker.Power]func(context.Context) error{
		broker.PowerTerms: func(ctx context.Context) error {
			_, err := rpc.ListTerms(ctx, &storev1pb.ListTermsRequest{})
			return err
		},
		broker.PowerHistory: func(ctx context.Context) error {
			_, err := rpc.ReadHistory(ctx, &storev1pb.ReadHistoryRequest{Filters: []string{">"}})
			return err
		},
		broker.PowerStatistics: func(ctx context.Context) error {
			_, err := rpc.ReadStatistics(ctx, &storev1pb.ReadStatisticsRequest{})
			return err
		},
		broker.PowerKeyspace: func(ctx context.Context) error {
			_, err := rpc.GetKey(ctx, &storev1pb.GetKeyRequest{Key: "a"})
			return err
		},
		broker.PowerBackup: func(ctx context.Context) error {
			stream, err := rpc.Backup(ctx, &storev1pb.BackupRequest{})
			if err == nil {
				_, err = stream.Recv()
			}
			return err
		},
	}
	tried := 0
	for power, call := range calls {
		if t.about.Has(power) {
			continue
		}
		tried++
		ctx, cancel := context.WithTimeout(t.ctx, 5*time.Second)
		if err := call(ctx); status.Code(err) != codes.Unimplemented {
			t.Errorf("a call of the power %q, which is not announced: expected UNIMPLEMENTED, got %v", power, err)
		}
		cancel()
	}
	if tried == 0 {
		t.Skipf("the plugin announces every power")
	}
}
