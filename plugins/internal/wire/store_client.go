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

// StoreClient reaches a store plugin over one connection. Errors are gRPC statuses, ErrMalformed or broker.ErrTrimmed.
type StoreClient struct {
	rpc      storev1pb.StoreServiceClient
	appender *appender
}

var _ broker.Store = (*StoreClient)(nil)

// NewStoreClient returns a client that calls over conn. Append works only while Run does.
func NewStoreClient(conn grpc.ClientConnInterface) *StoreClient {
	rpc := storev1pb.NewStoreServiceClient(conn)
	return &StoreClient{rpc: rpc, appender: newAppender(rpc)}
}

// Run carries what Append is given until ctx ends. Everything without an answer then fails with ctx's cause.
func (c *StoreClient) Run(ctx context.Context) { c.appender.run(ctx) }

// Append implements broker.Store: batches go out in the order of the calls, on one stream. done is called before Append
// returns if Run has ended, and by Run's goroutines otherwise.
func (c *StoreClient) Append(batch []broker.Record, done func([]broker.AppendResult, error)) {
	c.appender.append(batch, done)
}

// LoadRetained implements broker.Store.
func (c *StoreClient) LoadRetained(ctx context.Context, page func([]broker.Record) error) (head uint64, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.rpc.LoadRetained(ctx, &storev1pb.LoadRetainedRequest{})
	if err != nil {
		return 0, err
	}
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return 0, malformed("the retained records ended before the last message")
		}
		if err != nil {
			return 0, err
		}
		records, err := recordsFromWire(m.GetRecords())
		if err != nil {
			return 0, err
		}
		for i := range records {
			if r := &records[i]; r.Elided || !r.Retain || r.Offset == 0 {
				return 0, malformed("record %d is not a retained one", r.Offset)
			}
		}
		if len(records) > 0 {
			if err := page(records); err != nil {
				return 0, err
			}
		}
		if m.GetLast() {
			return m.GetHead(), nil
		}
	}
}

// Follow implements broker.Store. Every record is checked to come in order before on sees it.
func (c *StoreClient) Follow(ctx context.Context, from broker.FollowFrom, on func(broker.Feed) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.rpc.Follow(ctx, &storev1pb.FollowRequest{After: from.After, Origin: runIDToWire(from.Origin)}, grpc.ForceCodecV2(newCodec()))
	if err != nil {
		return err
	}
	check := feedCheck{from: from, last: from.After}
	for {
		var m followResponse // what is in it may be kept
		err := stream.RecvMsg(&m)
		switch {
		case errors.Is(err, io.EOF):
			return malformed("the feed ended without an error")
		case status.Code(err) == codes.OutOfRange:
			return broker.ErrTrimmed
		case err != nil:
			return err
		}
		feed, err := check.next(&m)
		if err != nil {
			return err
		}
		if err := on(feed); err != nil {
			return err
		}
	}
}

// feedCheck holds a feed to its contract.
type feedCheck struct {
	from     broker.FollowFrom
	last     uint64
	caughtUp bool
}

func (c *feedCheck) next(m *followResponse) (broker.Feed, error) {
	if m.bad != nil {
		return broker.Feed{}, m.bad
	}
	for i := range m.records {
		r := &m.records[i]
		if r.Offset <= c.last {
			return broker.Feed{}, malformed("the feed brought offset %d after %d", r.Offset, c.last)
		}
		if r.Elided && (r.Origin.IsZero() || r.Origin != c.from.Origin) {
			return broker.Feed{}, malformed("the feed left out record %d, which is not this broker's", r.Offset)
		}
		c.last = r.Offset
	}
	feed, end := broker.Feed{Records: m.records}, m.caughtUp
	if end == nil {
		return feed, nil
	}
	var err error
	if feed.Term, err = runIDFromWire(end.GetTerm()); err != nil {
		return feed, err
	}
	if c.caughtUp || feed.Term.IsZero() || len(m.records) > 0 && end.GetHead() < c.last {
		return feed, malformed("the feed caught up twice, without a term, or below its last record")
	}
	c.caughtUp, feed.CaughtUp, feed.Head = true, true, end.GetHead()
	return feed, nil
}

func recordsFromWire(page []*storev1pb.Record) ([]broker.Record, error) {
	records := make([]broker.Record, len(page))
	for i, p := range page {
		var err error
		if records[i], err = recordFromWire(p); err != nil {
			return nil, err
		}
	}
	return records, nil
}
