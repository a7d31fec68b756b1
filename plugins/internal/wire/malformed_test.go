package wire

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/plugins/internal/wire/authv1pb"
	"github.com/carillon-mq/carillon/plugins/internal/wire/commonv1pb"
	"github.com/carillon-mq/carillon/plugins/internal/wire/storev1pb"
)

// rawStore gives fixed messages, right or wrong.
type rawStore struct {
	storev1pb.UnimplementedStoreServiceServer
	pages   []*storev1pb.LoadRetainedResponse
	feeds   []*storev1pb.FollowResponse
	answers []*storev1pb.AppendResponse
}

func (s *rawStore) LoadRetained(_ *storev1pb.LoadRetainedRequest, stream grpc.ServerStreamingServer[storev1pb.LoadRetainedResponse]) error {
	for _, m := range s.pages {
		if err := stream.Send(m); err != nil {
			return err
		}
	}
	return nil
}

func (s *rawStore) Follow(_ *storev1pb.FollowRequest, stream grpc.ServerStreamingServer[storev1pb.FollowResponse]) error {
	for _, m := range s.feeds {
		if err := stream.Send(m); err != nil {
			return err
		}
	}
	return nil
}

func (s *rawStore) Append(stream grpc.BidiStreamingServer[storev1pb.AppendRequest, storev1pb.AppendResponse]) error {
	for _, m := range s.answers {
		if _, err := stream.Recv(); err != nil {
			return err
		}
		if err := stream.Send(m); err != nil {
			return err
		}
	}
	return nil
}

func connectRaw(t *testing.T, s *rawStore) *StoreClient {
	client, _ := run(t, NewStoreClient(connect(t, func(r grpc.ServiceRegistrar) { storev1pb.RegisterStoreServiceServer(r, s) })))
	return client
}

func TestAFeedThatBreaksItsContractEndsBeforeTheBadRecord(t *testing.T) {
	rec := func(offset uint64) *storev1pb.Record { return &storev1pb.Record{Offset: offset, Topic: "a"} }
	records := func(r ...*storev1pb.Record) *storev1pb.FollowResponse { return &storev1pb.FollowResponse{Records: r} }
	caughtUp := func(term []byte, head uint64) *storev1pb.FollowResponse {
		return &storev1pb.FollowResponse{CaughtUp: &storev1pb.CaughtUp{Term: term, Head: head}}
	}
	for name, bad := range map[string]*storev1pb.FollowResponse{
		"an offset twice":                records(rec(11)),
		"an offset below":                records(rec(3)),
		"out of order within a message":  records(rec(13), rec(12)),
		"no offset":                      records(rec(0)),
		"no topic":                       records(&storev1pb.Record{Offset: 12}),
		"a topic that is none":           records(&storev1pb.Record{Offset: 12, Topic: "a..b"}),
		"an origin of 3 bytes":           records(&storev1pb.Record{Offset: 12, Topic: "a", Origin: []byte{1, 2, 3}}),
		"another broker's record elided": records(&storev1pb.Record{Offset: 12, Origin: run2[:], Elided: true}),
		"nobody's record elided":         records(&storev1pb.Record{Offset: 12, Elided: true}),
		"caught up without a term":       caughtUp(nil, 11),
		"caught up with half a term":     caughtUp([]byte{1}, 11),
		"an end without an error":        nil,
	} {
		t.Run(name, func(t *testing.T) {
			plugin := &rawStore{feeds: []*storev1pb.FollowResponse{records(rec(11))}}
			if bad != nil {
				plugin.feeds = append(plugin.feeds, bad)
			}
			var seen []uint64
			err := connectRaw(t, plugin).Follow(t.Context(), broker.FollowFrom{After: 10, Origin: run1}, func(f broker.Feed) error {
				for _, r := range f.Records {
					seen = append(seen, r.Offset)
				}
				return nil
			})
			if !errors.Is(err, ErrMalformed) {
				t.Errorf("got %v, wanted ErrMalformed", err)
			}
			if diff := cmp.Diff([]uint64{11}, seen); diff != "" {
				t.Errorf("seen (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRetainedPagesThatBreakTheContractFailTheLoad(t *testing.T) {
	good := &storev1pb.Record{Offset: 1, Topic: "a", Retain: true, Payload: []byte("x")}
	page := func(r ...*storev1pb.Record) *storev1pb.LoadRetainedResponse {
		return &storev1pb.LoadRetainedResponse{Records: r}
	}
	for name, pages := range map[string][]*storev1pb.LoadRetainedResponse{
		"no end":         {page(good)},
		"no offset":      {page(&storev1pb.Record{Topic: "a", Retain: true}), {Last: true}},
		"not retained":   {page(&storev1pb.Record{Offset: 1, Topic: "a"}), {Last: true}},
		"elided":         {page(&storev1pb.Record{Offset: 1, Elided: true, Origin: run1[:]}), {Last: true}},
		"a topic missed": {page(&storev1pb.Record{Offset: 1, Retain: true}), {Last: true}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := connectRaw(t, &rawStore{pages: pages}).LoadRetained(t.Context(), func([]broker.Record) error { return nil })
			if !errors.Is(err, ErrMalformed) {
				t.Errorf("got %v, wanted ErrMalformed", err)
			}
		})
	}
}

func TestAnswersToAppendThatBreakTheContractAreUnknownOutcomes(t *testing.T) {
	offset := func(n uint64) *storev1pb.AppendResult { return &storev1pb.AppendResult{Offset: n} }
	refusal := &commonv1pb.Refusal{Code: "quota"}
	for name, bad := range map[string]*storev1pb.AppendResponse{
		"another batch":         {Batch: 7, Results: []*storev1pb.AppendResult{offset(9)}},
		"no result":             {Batch: 2},
		"two results":           {Batch: 2, Results: []*storev1pb.AppendResult{offset(9), offset(10)}},
		"the offset before":     {Batch: 2, Results: []*storev1pb.AppendResult{offset(5)}},
		"no offset":             {Batch: 2, Results: []*storev1pb.AppendResult{{}}},
		"refused and committed": {Batch: 2, Results: []*storev1pb.AppendResult{{Offset: 9, Refusal: refusal}}},
		"an unknown refusal":    {Batch: 2, Results: []*storev1pb.AppendResult{{Refusal: &commonv1pb.Refusal{Code: "moon"}}}},
		"an end without error":  nil,
	} {
		t.Run(name, func(t *testing.T) {
			plugin := &rawStore{answers: []*storev1pb.AppendResponse{{Batch: 1, Results: []*storev1pb.AppendResult{offset(5)}}}}
			if bad != nil {
				plugin.answers = append(plugin.answers, bad)
			}
			client := connectRaw(t, plugin)
			answers := make(chan answer, 2)
			for i := range uint64(2) {
				client.Append([]broker.Record{record(i + 1)}, func(r []broker.AppendResult, err error) { answers <- answer{r, err} })
			}
			if a := <-answers; a.err != nil || a.results[0].Offset != 5 {
				t.Errorf("the good answer: %+v", a)
			}
			if a := <-answers; !errors.Is(a.err, ErrMalformed) {
				t.Errorf("got %+v, wanted ErrMalformed", a)
			}
		})
	}
}

// An answer that breaks the contract says so once, however deep in it the mistake is, and says what is missing.
func TestWhatIsMalformedIsSaidOnce(t *testing.T) {
	for want, id := range map[string]*authv1pb.Identity{
		"the plugin's answer breaks the contract: grant 0: no action":                                  {User: "u", Grants: []*authv1pb.Grant{{Filter: "a"}}},
		"the plugin's answer breaks the contract: ask: unknown action 9":                               {User: "u", Ask: []authv1pb.Grant_Action{9}},
		"the plugin's answer breaks the contract: neither expires_at_ms nor never_expires is set":      {User: "u"},
		"the plugin's answer breaks the contract: an identity needs a user, or to be marked anonymous": {NeverExpires: true},
	} {
		_, err := identityFromWire(id, time.Now())
		if err == nil || err.Error() != want || !errors.Is(err, ErrMalformed) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
