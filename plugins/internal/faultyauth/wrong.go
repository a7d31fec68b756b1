package main

import (
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/carillon-mq/carillon/plugins/internal/wire/authv1pb"
	"github.com/carillon-mq/carillon/plugins/internal/wire/commonv1pb"
)

// wrongs are the faults of answers, each of both calls. What is not here has no answer.
var wrongs = map[string]struct {
	identity  func(*authv1pb.Identity) *authv1pb.AuthenticateResponse
	decisions func([]*authv1pb.Decision) *authv1pb.AuthorizeResponse
}{
	"is too late":      {identity, decisions},
	"decides nothing":  {func(*authv1pb.Identity) *authv1pb.AuthenticateResponse { return &authv1pb.AuthenticateResponse{} }, nothing},
	"leaves something": {nameless, oneLess},
	"says too much":    {strangeRefusal, oneMore},
	"unknown words":    {unknownAction, unknownVerdict},
	"bad filter": {func(id *authv1pb.Identity) *authv1pb.AuthenticateResponse {
		id.Grants = append(id.Grants, &authv1pb.Grant{Filter: "a.>.b", Actions: everyAction})
		return identity(id)
	}, lasting(0)},
	"no time": {func(id *authv1pb.Identity) *authv1pb.AuthenticateResponse {
		id.NeverExpires = false
		return identity(id)
	}, lasting(999)},
	"too much time": {func(id *authv1pb.Identity) *authv1pb.AuthenticateResponse {
		id.NeverExpires, id.ExpiresAtMs = false, 253402300799000 // in the year 9999
		return identity(id)
	}, lasting(1<<32 - 1)},
	"expired": {func(id *authv1pb.Identity) *authv1pb.AuthenticateResponse {
		id.NeverExpires, id.ExpiresAtMs = false, time.Now().Add(-time.Hour).UnixMilli()
		return identity(id)
	}, lasting(1)},
	"too large": {func(id *authv1pb.Identity) *authv1pb.AuthenticateResponse {
		id.Attributes = map[string]string{"a": strings.Repeat("x", 5<<20)}
		return identity(id)
	}, func(all []*authv1pb.Decision) *authv1pb.AuthorizeResponse {
		all[0].Reason = strings.Repeat("x", 5<<20)
		return decisions(all)
	}},
	"garbage": {func(id *authv1pb.Identity) *authv1pb.AuthenticateResponse {
		return spoiled(identity(id))
	}, func(all []*authv1pb.Decision) *authv1pb.AuthorizeResponse { return spoiled(decisions(all)) }},
}

var everyAction = []authv1pb.Grant_Action{
	authv1pb.Grant_ACTION_PUBLISH, authv1pb.Grant_ACTION_SUBSCRIBE, authv1pb.Grant_ACTION_HISTORY, authv1pb.Grant_ACTION_PRESENCE, authv1pb.Grant_ACTION_EXCLUDE,
}

// wrongIdentity lets everybody do everything, and has the fault.
func wrongIdentity(fault string) (*authv1pb.AuthenticateResponse, error) {
	wrong, known := wrongs[fault]
	if !known {
		return nil, fmt.Errorf("there is no fault %q", fault)
	}
	return wrong.identity(&authv1pb.Identity{User: "u", NeverExpires: true, Grants: []*authv1pb.Grant{{Filter: ">", Actions: everyAction}}}), nil
}

// wrongDecisions allow everything, and have the fault.
func wrongDecisions(fault string, questions int) (*authv1pb.AuthorizeResponse, error) {
	wrong, known := wrongs[fault]
	if !known {
		return nil, fmt.Errorf("there is no fault %q", fault)
	}
	return wrong.decisions(lasting(60_000)(make([]*authv1pb.Decision, questions)).GetDecisions()), nil
}

func identity(id *authv1pb.Identity) *authv1pb.AuthenticateResponse {
	return &authv1pb.AuthenticateResponse{Decision: &authv1pb.AuthenticateResponse_Identity{Identity: id}}
}

func refusal(code string) *authv1pb.AuthenticateResponse {
	return &authv1pb.AuthenticateResponse{Decision: &authv1pb.AuthenticateResponse_Refusal{Refusal: &commonv1pb.Refusal{Code: code}}}
}

func decisions(all []*authv1pb.Decision) *authv1pb.AuthorizeResponse {
	return &authv1pb.AuthorizeResponse{Decisions: all}
}

func nothing([]*authv1pb.Decision) *authv1pb.AuthorizeResponse { return &authv1pb.AuthorizeResponse{} }

func nameless(id *authv1pb.Identity) *authv1pb.AuthenticateResponse {
	id.User = ""
	return identity(id)
}

func oneLess(all []*authv1pb.Decision) *authv1pb.AuthorizeResponse { return decisions(all[1:]) }

func oneMore(all []*authv1pb.Decision) *authv1pb.AuthorizeResponse {
	return decisions(append(all, all[0]))
}

// strangeRefusal has a code that refuses no client: one that nobody knows, and one of another kind of plugin.
func strangeRefusal(*authv1pb.Identity) *authv1pb.AuthenticateResponse {
	return refusal([]string{"no_such_code", "store_unavailable"}[calls.Add(1)%2])
}

func unknownAction(id *authv1pb.Identity) *authv1pb.AuthenticateResponse {
	id.Grants = append(id.Grants, &authv1pb.Grant{Filter: ">", Actions: []authv1pb.Grant_Action{9}})
	return identity(id)
}

func unknownVerdict(all []*authv1pb.Decision) *authv1pb.AuthorizeResponse {
	all[0].Verdict = 9
	return decisions(all)
}

// lasting allows everything for so many milliseconds.
func lasting(ms uint32) func([]*authv1pb.Decision) *authv1pb.AuthorizeResponse {
	return func(all []*authv1pb.Decision) *authv1pb.AuthorizeResponse {
		for i := range all {
			all[i] = &authv1pb.Decision{Verdict: authv1pb.Decision_VERDICT_ALLOWED, TtlMs: ms}
		}
		return decisions(all)
	}
}

// spoiled is m with bytes behind it that are no field.
func spoiled[M protoreflect.ProtoMessage](m M) M {
	m.ProtoReflect().SetUnknown(protoreflect.RawFields{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	return m
}

var calls atomic.Uint32

// nextStatus is one error status after the other. UNIMPLEMENTED is none of them: of Authorize it says that there is no such power.
func nextStatus() error {
	all := []codes.Code{
		codes.Canceled, codes.Unknown, codes.InvalidArgument, codes.DeadlineExceeded, codes.NotFound, codes.AlreadyExists, codes.PermissionDenied,
		codes.ResourceExhausted, codes.FailedPrecondition, codes.Aborted, codes.OutOfRange, codes.Internal, codes.Unavailable, codes.DataLoss,
		codes.Unauthenticated, 99,
	}
	return status.Error(all[int(calls.Add(1))%len(all)], "because")
}
