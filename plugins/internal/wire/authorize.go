package wire

import (
	"context"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/plugins/internal/wire/authv1pb"
	"github.com/carillon-mq/carillon/protocol"
)

var _ broker.Authorizer = (*AuthClient)(nil)

// Authorize implements broker.Authorizer. Errors are gRPC statuses, broker.ErrNoPower or ErrMalformed.
func (c *AuthClient) Authorize(ctx context.Context, who broker.Principal, questions []broker.Question) ([]broker.Decision, error) {
	request := &authv1pb.AuthorizeRequest{Principal: principalToWire(who)}
	for _, q := range questions {
		action, known := actionToWire(q.Action)
		if !known {
			return nil, fmt.Errorf("ask about the actions %b: a question is about one", q.Action)
		}
		request.Questions = append(request.Questions, &authv1pb.Question{Action: action, Filter: q.Filter})
	}
	answer, err := c.rpc.Authorize(ctx, request)
	if err != nil {
		return nil, powerError(err)
	}
	if len(answer.GetDecisions()) != len(questions) {
		return nil, malformed("%d decisions on %d questions", len(answer.GetDecisions()), len(questions))
	}
	decisions := make([]broker.Decision, len(questions))
	for i, d := range answer.GetDecisions() {
		if decisions[i], err = decisionFromWire(d); err != nil {
			return nil, malformed("decision %d: %v", i, err)
		}
	}
	return decisions, nil
}

func decisionFromWire(d *authv1pb.Decision) (broker.Decision, error) {
	decision := broker.Decision{TTL: time.Duration(d.GetTtlMs()) * time.Millisecond, Reason: cut(d.GetReason())}
	switch d.GetVerdict() {
	case authv1pb.Decision_VERDICT_ALLOWED:
		decision.Allowed = true
	case authv1pb.Decision_VERDICT_DENIED:
	default:
		return broker.Decision{}, malformed("verdict %d", d.GetVerdict())
	}
	if decision.TTL < broker.MinDecision || decision.TTL > broker.MaxDecision {
		return broker.Decision{}, malformed("a time to live of %v, wanted %v to %v", decision.TTL, broker.MinDecision, broker.MaxDecision)
	}
	if hasNUL(decision.Reason) {
		return broker.Decision{}, malformed("a reason with NUL")
	}
	return decision, nil
}

func principalToWire(who broker.Principal) *authv1pb.Principal {
	return &authv1pb.Principal{User: who.User, TokenId: who.TokenID, Attributes: who.Attributes, Session: who.Session}
}

func principalFromWire(p *authv1pb.Principal) broker.Principal {
	return broker.Principal{User: p.GetUser(), TokenID: p.GetTokenId(), Attributes: p.GetAttributes(), Session: p.GetSession()}
}

// actionToWire is the one action that a is; false if it is none or several.
func actionToWire(a broker.Action) (authv1pb.Grant_Action, bool) {
	for _, pair := range actions {
		if pair.core == a {
			return pair.wire, true
		}
	}
	return 0, false
}

// Authorize implements the service.
func (s *AuthServer) Authorize(ctx context.Context, r *authv1pb.AuthorizeRequest) (*authv1pb.AuthorizeResponse, error) {
	impl, err := authPower[broker.Authorizer](s)
	if err != nil {
		return nil, err
	}
	defer s.inside.Done()
	questions, err := questionsFromWire(r.GetQuestions())
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	decisions, err := impl.Authorize(ctx, principalFromWire(r.GetPrincipal()), questions)
	if err != nil {
		return nil, toStatus(err)
	}
	if len(decisions) != len(questions) {
		return nil, status.Errorf(codes.Internal, "the plugin made %d decisions on %d questions", len(decisions), len(questions))
	}
	answer := &authv1pb.AuthorizeResponse{}
	for _, d := range decisions {
		answer.Decisions = append(answer.Decisions, decisionToWire(d))
	}
	return answer, nil
}

func questionsFromWire(questions []*authv1pb.Question) ([]broker.Question, error) {
	if n := len(questions); n == 0 || n > broker.MaxQuestions {
		return nil, fmt.Errorf("%d questions, wanted 1 to %d", n, broker.MaxQuestions)
	}
	out := make([]broker.Question, len(questions))
	for i, q := range questions {
		if err := protocol.ValidateFilter(q.GetFilter()); err != nil {
			return nil, fmt.Errorf("question %d: %w", i, err)
		}
		action, err := actionsFromWire([]authv1pb.Grant_Action{q.GetAction()})
		if err != nil {
			return nil, fmt.Errorf("question %d: %w", i, err)
		}
		out[i] = broker.Question{Action: action, Filter: q.GetFilter()}
	}
	return out, nil
}

func decisionToWire(d broker.Decision) *authv1pb.Decision {
	w := &authv1pb.Decision{
		Verdict: authv1pb.Decision_VERDICT_DENIED,
		TtlMs:   uint32(min(max(d.TTL, broker.MinDecision), broker.MaxDecision).Milliseconds()),
		Reason:  cut(strings.ToValidUTF8(d.Reason, "\uFFFD")),
	}
	if d.Allowed {
		w.Verdict = authv1pb.Decision_VERDICT_ALLOWED
	}
	return w
}

// authPower returns the Authenticator for one call of the optional power P, which ends with inside.Done.
func authPower[P any](s *AuthServer) (p P, err error) {
	impl := s.impl()
	if impl == nil {
		return p, errNotConfigured
	}
	p, has := impl.(P)
	if !has {
		return p, errNoPower
	}
	if !s.enter() {
		return p, errEnding
	}
	return p, nil
}
