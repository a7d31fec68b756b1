package wire

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/plugins/internal/wire/storev1pb"
)

// StoreServer serves a broker.Store to the broker. Close returns when nothing calls the Store anymore.
type StoreServer struct {
	storev1pb.UnimplementedStoreServiceServer
	gate
	impl func() broker.Store
}

// RegisterStore serves the Store that impl returns at the time of a call; nil means: not configured yet.
func RegisterStore(s grpc.ServiceRegistrar, impl func() broker.Store) *StoreServer {
	server := &StoreServer{impl: impl}
	storev1pb.RegisterStoreServiceServer(s, server)
	return server
}

// open returns the Store for one call, which ends with inside.Done.
func (s *StoreServer) open() (broker.Store, error) {
	impl := s.impl()
	if impl == nil {
		return nil, errNotConfigured
	}
	if !s.enter() {
		return nil, errEnding
	}
	return impl, nil
}

// LoadRetained implements the service.
func (s *StoreServer) LoadRetained(_ *storev1pb.LoadRetainedRequest, stream grpc.ServerStreamingServer[storev1pb.LoadRetainedResponse]) error {
	impl, err := s.open()
	if err != nil {
		return err
	}
	defer s.inside.Done()
	head, err := impl.LoadRetained(stream.Context(), func(records []broker.Record) error {
		for len(records) > 0 {
			n := pageEnd(records, 256)
			if err := stream.Send(&storev1pb.LoadRetainedResponse{Records: recordsToWire(records[:n])}); err != nil {
				return err
			}
			records = records[n:]
		}
		return nil
	})
	if err != nil {
		return toStatus(err)
	}
	return stream.Send(&storev1pb.LoadRetainedResponse{Head: head, Last: true})
}

// Follow implements the service.
func (s *StoreServer) Follow(r *storev1pb.FollowRequest, stream grpc.ServerStreamingServer[storev1pb.FollowResponse]) error {
	impl, err := s.open()
	if err != nil {
		return err
	}
	defer s.inside.Done()
	origin, err := runIDFromWire(r.GetOrigin())
	if err != nil {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	err = impl.Follow(stream.Context(), broker.FollowFrom{After: r.GetAfter(), Origin: origin}, func(feed broker.Feed) error {
		records := feed.Records
		for len(records) > 0 {
			n := pageEnd(records, pageRecords)
			if err := stream.SendMsg(&followResponse{records: records[:n]}); err != nil {
				return err
			}
			records = records[n:]
		}
		if !feed.CaughtUp {
			return nil
		}
		return stream.SendMsg(&followResponse{caughtUp: &storev1pb.CaughtUp{Term: runIDToWire(feed.Term), Head: feed.Head}})
	})
	if err == nil {
		err = errors.New("the store ended the feed")
	}
	return toStatus(err)
}

// Append implements the service: one goroutine reads batches and hands them to the Store in order, this one answers in the
// same order.
func (s *StoreServer) Append(stream grpc.BidiStreamingServer[storev1pb.AppendRequest, storev1pb.AppendResponse]) error {
	impl, err := s.open()
	if err != nil {
		return err
	}
	defer s.inside.Done()
	ctx, cancel := context.WithCancelCause(stream.Context())
	defer cancel(nil)
	answers := newOutcomes()
	s.inside.Go(func() { // ends with the stream, which returning from here ends
		defer answers.end()
		if err := readBatches(ctx, cancel, stream, impl, answers); err != nil {
			cancel(err)
		}
	})
	var m appendResponse
	for {
		o, err := answers.next(ctx)
		switch {
		case err != nil:
			return toStatus(err)
		case o == nil:
			return toStatus(context.Cause(ctx)) // nil when the broker has closed its side: everything has been answered
		case len(o.results) != o.records:
			return status.Errorf(codes.Internal, "%d results for %d records", len(o.results), o.records)
		}
		m.answer(o.batch, o.results)
		if err := stream.SendMsg(&m); err != nil {
			return err
		}
	}
}

// answer makes m the answer to a batch.
func (m *appendResponse) answer(batch uint64, results []broker.AppendResult) {
	m.batch, m.results = batch, m.results[:0]
	for i := range results {
		m.results = append(m.results, resultToWire(&results[i]))
	}
}

// readBatches hands batches to impl until the stream ends. A batch whose outcome is unknown ends it by fail.
func readBatches(ctx context.Context, fail context.CancelCauseFunc, stream grpc.ServerStream, impl broker.Store, answers *outcomes) error {
	for {
		var m appendRequest // its records are the Store's
		err := stream.RecvMsg(&m)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if m.bad != nil {
			return status.Error(codes.InvalidArgument, m.bad.Error())
		}
		o := &outcome{batch: m.batch, records: len(m.records)}
		if err := answers.expect(ctx, o); err != nil {
			return err
		}
		impl.Append(m.records, func(results []broker.AppendResult, err error) {
			if err != nil {
				fail(err)
				return
			}
			answers.settle(o, results)
		})
	}
}
