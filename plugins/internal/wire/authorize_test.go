package wire

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/plugins/internal/wire/authv1pb"
)

// authorizer is an Authenticator with the power to authorize.
type authorizer struct {
	authFunc
	authorize func(context.Context, broker.Principal, []broker.Question) ([]broker.Decision, error)
}

func (a authorizer) Authorize(ctx context.Context, who broker.Principal, q []broker.Question) ([]broker.Decision, error) {
	return a.authorize(ctx, who, q)
}

func connectAuthorizer(t *testing.T, f func(context.Context, broker.Principal, []broker.Question) ([]broker.Decision, error)) *AuthClient {
	impl := authorizer{authorize: f}
	return NewAuthClient(connect(t, func(s grpc.ServiceRegistrar) { RegisterAuth(s, func() broker.Authenticator { return impl }) }))
}

var twoQuestions = []broker.Question{{Action: broker.ActionPublish, Filter: "a.b"}, {Action: broker.ActionSubscribe, Filter: "a.>"}}

func TestQuestionsAndDecisionsCrossUnchanged(t *testing.T) {
	who := broker.Principal{User: "ünï", TokenID: "jti", Attributes: map[string]string{"plan": "gold"}, Session: "s1"}
	questions := append([]broker.Question{
		{Action: broker.ActionHistory, Filter: "h.*"}, {Action: broker.ActionPresence, Filter: "p"}, {Action: broker.ActionExclude, Filter: "e"},
	}, twoQuestions...)
	want := []broker.Decision{
		{Allowed: true, TTL: time.Second},
		{TTL: broker.MaxDecision, Reason: "not on Sundays"},
		{Allowed: true, TTL: 1500 * time.Millisecond},
		{TTL: time.Minute},
		{Allowed: true, TTL: time.Hour},
	}
	client := connectAuthorizer(t, func(_ context.Context, p broker.Principal, q []broker.Question) ([]broker.Decision, error) {
		if diff := cmp.Diff(who, p); diff != "" {
			t.Errorf("principal (-sent +got):\n%s", diff)
		}
		if diff := cmp.Diff(questions, q); diff != "" {
			t.Errorf("questions (-sent +got):\n%s", diff)
		}
		return want, nil
	})
	got, err := client.Authorize(t.Context(), who, questions)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("decisions (-sent +got):\n%s", diff)
	}
}

// A plugin in Go that is careless with the time to live still keeps the contract.
func TestAGoPluginsTimeToLiveIsHeldToItsBounds(t *testing.T) {
	client := connectAuthorizer(t, func(context.Context, broker.Principal, []broker.Question) ([]broker.Decision, error) {
		return []broker.Decision{{Allowed: true}, {TTL: 1000 * time.Hour}}, nil
	})
	got, err := client.Authorize(t.Context(), broker.Principal{}, twoQuestions)
	if err != nil || got[0].TTL != broker.MinDecision || got[1].TTL != broker.MaxDecision {
		t.Errorf("got %+v and %v", got, err)
	}
}

func TestAFailureToAuthorizeDecidesNothing(t *testing.T) {
	for name, answer := range map[string]struct {
		decisions []broker.Decision
		err       error
		code      codes.Code
	}{
		"an error":         {nil, errors.New("no database"), codes.Unavailable},
		"the deadline":     {nil, context.DeadlineExceeded, codes.DeadlineExceeded},
		"too few":          {make([]broker.Decision, 1), nil, codes.Internal},
		"too many":         {make([]broker.Decision, 3), nil, codes.Internal},
		"answers and fail": {make([]broker.Decision, 2), errors.New("half"), codes.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			client := connectAuthorizer(t, func(context.Context, broker.Principal, []broker.Question) ([]broker.Decision, error) {
				return answer.decisions, answer.err
			})
			got, err := client.Authorize(t.Context(), broker.Principal{}, twoQuestions)
			if got != nil || status.Code(err) != answer.code {
				t.Errorf("got %+v and %v, wanted %v", got, err, answer.code)
			}
		})
	}
}

func TestQuestionsThatMakeNoSenseAreNotPut(t *testing.T) {
	client := connectAuthorizer(t, func(_ context.Context, _ broker.Principal, q []broker.Question) ([]broker.Decision, error) {
		t.Errorf("asked %v", q)
		return make([]broker.Decision, len(q)), nil
	})
	for name, questions := range map[string][]broker.Question{
		"none":        nil,
		"257":         make([]broker.Question, broker.MaxQuestions+1),
		"two actions": {{Action: broker.ActionPublish | broker.ActionSubscribe, Filter: "a"}},
		"no action":   {{Filter: "a"}},
		"no filter":   {{Action: broker.ActionPublish, Filter: "a.>.b"}},
	} {
		if got, err := client.Authorize(t.Context(), broker.Principal{}, questions); err == nil {
			t.Errorf("%s: got %v", name, got)
		}
	}
}

func TestAnAuthenticatorWithoutThePowerSaysSo(t *testing.T) {
	client := connectAuth(t, func(context.Context, broker.Credentials) (*broker.Identity, error) { return &broker.Identity{}, nil })
	if _, err := client.Authorize(t.Context(), broker.Principal{}, twoQuestions); !errors.Is(err, broker.ErrNoPower) {
		t.Errorf("Authorize: %v", err)
	}
	if err := client.Revocations(t.Context(), nil, nil); !errors.Is(err, broker.ErrNoPower) {
		t.Errorf("Revocations: %v", err)
	}
}

// powers is a plugin that gives fixed answers, right or wrong.
type powers struct {
	authv1pb.UnimplementedAuthServiceServer
	decisions   *authv1pb.AuthorizeResponse
	revocations *authv1pb.RevocationsResponse
}

func (p *powers) Authorize(context.Context, *authv1pb.AuthorizeRequest) (*authv1pb.AuthorizeResponse, error) {
	return p.decisions, nil
}

func (p *powers) Revocations(_ *authv1pb.RevocationsRequest, stream grpc.ServerStreamingServer[authv1pb.RevocationsResponse]) error {
	return stream.Send(p.revocations)
}

// G-5: one decision that breaks the contract spoils them all.
func TestMalformedDecisionsAreNone(t *testing.T) {
	const yes, no = authv1pb.Decision_VERDICT_ALLOWED, authv1pb.Decision_VERDICT_DENIED
	good := &authv1pb.Decision{Verdict: yes, TtlMs: 1000}
	plugin := &powers{}
	client := NewAuthClient(connect(t, func(s grpc.ServiceRegistrar) { authv1pb.RegisterAuthServiceServer(s, plugin) }))
	for name, decisions := range map[string][]*authv1pb.Decision{
		"none":              {},
		"one":               {good},
		"three":             {good, good, good},
		"an empty one":      {good, {}},
		"no verdict":        {good, {TtlMs: 1000}},
		"an unknown one":    {good, {Verdict: 9, TtlMs: 1000}},
		"no time to live":   {good, {Verdict: yes}},
		"999 ms":            {good, {Verdict: no, TtlMs: 999}},
		"more than a day":   {good, {Verdict: yes, TtlMs: 86_400_001}},
		"for ever":          {good, {Verdict: yes, TtlMs: 1<<32 - 1}},
		"a reason with NUL": {good, {Verdict: no, TtlMs: 1000, Reason: "a\x00b"}},
	} {
		t.Run(name, func(t *testing.T) {
			plugin.decisions = &authv1pb.AuthorizeResponse{Decisions: decisions}
			got, err := client.Authorize(t.Context(), broker.Principal{}, twoQuestions)
			if got != nil || !errors.Is(err, ErrMalformed) {
				t.Errorf("got %+v and %v, wanted ErrMalformed", got, err)
			}
		})
	}
	plugin.decisions.Decisions = []*authv1pb.Decision{good, {Verdict: no, TtlMs: 86_400_000, Reason: strings.Repeat("r", 2000)}}
	got, err := client.Authorize(t.Context(), broker.Principal{}, twoQuestions)
	if err != nil || !got[0].Allowed || got[1].Allowed || len(got[1].Reason) != textBytes {
		t.Errorf("a good answer after all of them: %+v, %v", got, err)
	}
}
