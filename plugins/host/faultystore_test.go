//go:build unix

package host

import (
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/plugins/internal/wire"
	"github.com/carillon-mq/carillon/plugins/internal/wire/commonv1pb"
	"github.com/carillon-mq/carillon/plugins/internal/wire/storev1pb"
)

// faultyStore is a store that lies: in its answer to a batch as the topic of the first record says, in its feed as the offset says behind
// which it begins, in its history as the filter says.
type faultyStore struct {
	storev1pb.UnimplementedStoreServiceServer
}

// The offsets behind which the feed goes wrong, and the first that it brings.
var faultyFeeds = map[uint64][]uint64{
	1: {3, 2},    // it goes back
	2: {3, 3},    // it brings one twice
	3: {3},       // from behind its beginning
	4: {5, 6, 0}, // it has no offset
}

func (faultyStore) Append(stream grpc.BidiStreamingServer[storev1pb.AppendRequest, storev1pb.AppendResponse]) error {
	for {
		r, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		one := &storev1pb.AppendResult{Offset: 1}
		answer := &storev1pb.AppendResponse{Batch: r.GetBatch(), Results: []*storev1pb.AppendResult{one}}
		switch r.GetRecords()[0].GetTopic() {
		case "another batch":
			answer.Batch += 5
		case "no result":
			answer.Results = nil
		case "two results":
			answer.Results = append(answer.Results, &storev1pb.AppendResult{Offset: 2})
		case "no offset":
			one.Offset = 0
		case "refused and committed":
			one.Refusal = &commonv1pb.Refusal{Code: "quota"}
		case "unknown refusal":
			one.Offset, one.Refusal = 0, &commonv1pb.Refusal{Code: "moon"}
		case "end":
			return nil
		case "slow":
			<-time.After(300 * time.Millisecond) // as a tired disk
		}
		if err := stream.Send(answer); err != nil {
			return err
		}
	}
}

func (faultyStore) Follow(r *storev1pb.FollowRequest, stream grpc.ServerStreamingServer[storev1pb.FollowResponse]) error {
	for _, offset := range faultyFeeds[r.GetAfter()] {
		if err := stream.Send(&storev1pb.FollowResponse{Records: []*storev1pb.Record{{Offset: offset, Topic: "a", TimeMs: 1}}}); err != nil {
			return err
		}
	}
	<-stream.Context().Done()
	return stream.Context().Err()
}

func (faultyStore) ReadHistory(_ context.Context, r *storev1pb.ReadHistoryRequest) (*storev1pb.ReadHistoryResponse, error) {
	record := func(offset uint64, topic string) *storev1pb.Record {
		return &storev1pb.Record{Offset: offset, Topic: topic, TimeMs: 1}
	}
	page := &storev1pb.ReadHistoryResponse{After: 10, Through: 20, Done: true, Head: 20}
	switch r.GetFilters()[0] {
	case "another.topic":
		page.Records = []*storev1pb.Record{record(12, "b")}
	case "out.of.order":
		page.Records = []*storev1pb.Record{record(13, "out.of.order"), record(12, "out.of.order")}
	case "twice":
		page.Records = []*storev1pb.Record{record(12, "twice"), record(12, "twice")}
	case "nothing":
		page.Through, page.Done = 10, false
	}
	return page, nil
}

// G-16: what a store answers against its contract is neither a commit nor a record: the outcome is unknown, the feed ends, the page is no
// page. The process is asked again as if nothing had been.
func TestNoAnswerOfAStoreThatIsNotOneIsTaken(t *testing.T) {
	t.Parallel()
	h := newHost(t, patient())
	s := startStore(t, h, bundled("s", "faulty", "store"))
	pid := s.Status().PID
	for _, topic := range []string{"another batch", "no result", "two results", "no offset", "refused and committed", "unknown refusal", "end"} {
		if a := receive(t, appendOne(s, topic)); a.results != nil || !errors.Is(a.err, wire.ErrMalformed) {
			t.Errorf("%s: got %+v, wanted an unknown outcome", topic, a)
		}
	}
	for after := range faultyFeeds {
		var got []uint64
		err := s.Follow(t.Context(), broker.FollowFrom{After: after}, func(f broker.Feed) error {
			for _, r := range f.Records {
				got = append(got, r.Offset)
			}
			return nil
		})
		if !errors.Is(err, wire.ErrMalformed) || !slices.IsSorted(got) || len(got) >= len(faultyFeeds[after]) {
			t.Errorf("the feed behind %d: took %v, and ended with %v", after, got, err)
		}
	}
	for _, filter := range []string{"another.topic", "out.of.order", "twice", "nothing"} {
		page, err := s.ReadHistory(t.Context(), broker.HistoryQuery{Filters: []string{filter}, After: 10, Through: 40, Limit: 3})
		if len(page.Records) > 0 || !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("%s: got %+v, %v, wanted no page", filter, page, err)
		}
	}
	if a := receive(t, appendOne(s, "right")); a.err != nil || a.results[0].Offset != 1 {
		t.Errorf("after that: %+v", a)
	}
	if now := s.Status(); now.PID != pid || now.State != Ready {
		t.Errorf("the plugin was started again: %+v", now)
	}
}

// G-15: a slow store answers late and is kept; what is asked beside it is answered at once.
func TestASlowStoreIsKept(t *testing.T) {
	t.Parallel()
	h := newHost(t, patient())
	s := startStore(t, h, bundled("s", "faulty", "store"))
	began := time.Now()
	slow := appendOne(s, "slow")
	if _, err := s.ReadHistory(t.Context(), broker.HistoryQuery{Filters: []string{"a"}, After: 10, Through: 40, Limit: 3}); err != nil {
		t.Error(err)
	}
	select {
	case a := <-slow:
		t.Errorf("it was answered first: %+v", a)
	default:
	}
	if a := receive(t, slow); a.err != nil || time.Since(began) < 300*time.Millisecond {
		t.Errorf("after %v: %+v", time.Since(began), a)
	}
	if now := s.Status(); now.Restarts != 0 || now.State != Ready {
		t.Errorf("status %+v", now)
	}
}

// slowStore does not come to its end by itself.
type slowStore struct{}

func (slowStore) LoadRetained(context.Context, func([]broker.Record) error) (uint64, error) {
	return 0, errors.New("not here")
}

func (slowStore) Follow(context.Context, broker.FollowFrom, func(broker.Feed) error) error {
	return errors.New("not here")
}

func (slowStore) Append(_ []broker.Record, done func([]broker.AppendResult, error)) {
	done(nil, errors.New("not here"))
}

func (slowStore) Close() error {
	forever()
	return nil
}
