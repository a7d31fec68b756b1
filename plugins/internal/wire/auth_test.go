package wire

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/plugins/internal/wire/authv1pb"
	"github.com/carillon-mq/carillon/plugins/internal/wire/commonv1pb"
	"github.com/carillon-mq/carillon/protocol"
)

// authFunc is an Authenticator.
type authFunc func(context.Context, broker.Credentials) (*broker.Identity, error)

func (f authFunc) Authenticate(ctx context.Context, c broker.Credentials) (*broker.Identity, error) {
	return f(ctx, c)
}

func connectAuth(t *testing.T, f authFunc) *AuthClient {
	return NewAuthClient(connect(t, func(s grpc.ServiceRegistrar) { RegisterAuth(s, func() broker.Authenticator { return f }) }))
}

// answers is a plugin that gives one fixed answer, right or wrong.
type answers struct {
	authv1pb.UnimplementedAuthServiceServer
	answer *authv1pb.AuthenticateResponse
}

func (a *answers) Authenticate(context.Context, *authv1pb.AuthenticateRequest) (*authv1pb.AuthenticateResponse, error) {
	return a.answer, nil
}

func TestCredentialsAndIdentityCrossUnchanged(t *testing.T) {
	credentials := broker.Credentials{
		Token: "a.b.c", Transport: "ws", Remote: "192.0.2.7",
		Header:   http.Header{"Cookie": {"s=1", "t=2"}, "Origin": {"https://a.example"}},
		Previous: &broker.Principal{User: "ünï", TokenID: "old", Attributes: map[string]string{"plan": "silver"}, Session: "s1"},
	}
	identity := &broker.Identity{
		User: "ünï", TokenID: "jti", Expires: time.Now().Add(time.Hour).Truncate(time.Millisecond),
		Grants: []broker.Grant{
			{Filter: "orders.>", Actions: broker.ActionPublish | broker.ActionSubscribe},
			{Filter: "a.*", Actions: broker.ActionHistory | broker.ActionPresence},
			{Filter: "b.*", Actions: broker.ActionExclude},
		},
		Ask: broker.ActionPublish | broker.ActionHistory, Issued: time.Now().Truncate(time.Millisecond),
		Limits:     broker.SessionLimits{PublishRate: broker.Unlimited, PublishBytes: 1, Subscriptions: 2, SubscribeRate: 3, SessionsOfUser: 4},
		Attributes: map[string]string{"plan": "gold"},
	}
	inLeeway := &broker.Identity{User: "u", Expires: time.Now().Add(-10 * time.Second).Truncate(time.Millisecond)}
	for name, want := range map[string]*broker.Identity{"full": identity, "anonymous for ever": {}, "expired within the leeway": inLeeway} {
		t.Run(name, func(t *testing.T) {
			var seen broker.Credentials
			client := connectAuth(t, func(_ context.Context, c broker.Credentials) (*broker.Identity, error) {
				seen = c
				return want, nil
			})
			got, err := client.Authenticate(t.Context(), credentials)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("identity (-sent +got):\n%s", diff)
			}
			if diff := cmp.Diff(credentials, seen); diff != "" {
				t.Errorf("credentials (-sent +got):\n%s", diff)
			}
		})
	}
}

func TestARefusalCrossesWithItsCodeAndWords(t *testing.T) {
	want := protocol.Errorf(protocol.CodeTokenWrongAudience, `aud is "other", wanted "broker"`).WithHint("ask for a token for this broker")
	client := connectAuth(t, func(context.Context, broker.Credentials) (*broker.Identity, error) { return nil, want })
	_, err := client.Authenticate(t.Context(), broker.Credentials{Token: "x"})
	got, ok := errors.AsType[*protocol.Error](err)
	if !ok {
		t.Fatalf("got %v, wanted the refusal", err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("refusal (-sent +got):\n%s", diff)
	}
}

func TestWhatIsNoDecisionIsNeverARefusal(t *testing.T) {
	for name, err := range map[string]error{
		"an ordinary error":            errors.New("no database"),
		"a code that refuses nobody":   protocol.Errorf(protocol.CodeUnavailable, "no database"),
		"a request's code":             protocol.Errorf(protocol.CodeRateLimited, "slow down"),
		"the deadline":                 context.DeadlineExceeded,
		"no error and no identity":     nil,
		"a status of the plugin's own": status.Error(codes.DataLoss, "odd"),
	} {
		t.Run(name, func(t *testing.T) {
			client := connectAuth(t, func(context.Context, broker.Credentials) (*broker.Identity, error) { return nil, err })
			id, err := client.Authenticate(t.Context(), broker.Credentials{Token: "x"})
			if _, refused := errors.AsType[*protocol.Error](err); refused || err == nil || id != nil {
				t.Errorf("got %v and %v, wanted an error that is no refusal", id, err)
			}
		})
	}
}

func TestAMalformedAnswerIsNoDecision(t *testing.T) {
	later := time.Now().Add(time.Hour).UnixMilli()
	grant := func(filter string, a ...authv1pb.Grant_Action) *authv1pb.Grant {
		return &authv1pb.Grant{Filter: filter, Actions: a}
	}
	const subscribe = authv1pb.Grant_ACTION_SUBSCRIBE
	many := map[string]string{}
	for i := range maxAttributes + 1 {
		many[strings.Repeat("k", i+1)] = ""
	}
	identities := map[string]*authv1pb.Identity{
		"empty":                   {},
		"no user":                 {NeverExpires: true},
		"anonymous with a user":   {User: "u", Anonymous: true, NeverExpires: true},
		"user with NUL":           {User: "u\x00#", NeverExpires: true},
		"user of 256 bytes":       {User: strings.Repeat("u", 256), NeverExpires: true},
		"token id with NUL":       {User: "u", TokenId: "\x00", NeverExpires: true},
		"no word about expiry":    {User: "u"},
		"expired":                 {User: "u", ExpiresAtMs: time.Now().Add(-2 * time.Minute).UnixMilli()},
		"year 9999":               {User: "u", ExpiresAtMs: 253402300800000},
		"negative expiry":         {User: "u", ExpiresAtMs: -1},
		"expiry and never":        {User: "u", ExpiresAtMs: later, NeverExpires: true},
		"unknown action":          {User: "u", ExpiresAtMs: later, Grants: []*authv1pb.Grant{grant("a", subscribe, 9)}},
		"unspecified action":      {User: "u", ExpiresAtMs: later, Grants: []*authv1pb.Grant{grant("a", 0)}},
		"no action":               {User: "u", ExpiresAtMs: later, Grants: []*authv1pb.Grant{grant("a")}},
		"empty filter":            {User: "u", ExpiresAtMs: later, Grants: []*authv1pb.Grant{grant("", subscribe)}},
		"filter with NUL":         {User: "u", ExpiresAtMs: later, Grants: []*authv1pb.Grant{grant("a\x00", subscribe)}},
		"filter with a bad star":  {User: "u", ExpiresAtMs: later, Grants: []*authv1pb.Grant{grant("a.>.b", subscribe)}},
		"1,001 grants":            {User: "u", ExpiresAtMs: later, Grants: make([]*authv1pb.Grant, 1001)},
		"limit below -1":          {User: "u", ExpiresAtMs: later, Limits: &authv1pb.Limits{PublishRate: -2}},
		"limit beyond all bounds": {User: "u", ExpiresAtMs: later, Limits: &authv1pb.Limits{Subscriptions: 1 << 40}},
		"asks an unknown action":  {User: "u", ExpiresAtMs: later, Ask: []authv1pb.Grant_Action{subscribe, 9}},
		"asks for nothing known":  {User: "u", ExpiresAtMs: later, Ask: []authv1pb.Grant_Action{0}},
		"asks without end":        {User: "u", ExpiresAtMs: later, Ask: make([]authv1pb.Grant_Action, 100)},
		"issued before all time":  {User: "u", ExpiresAtMs: later, IssuedAtMs: -1},
		"issued in the future":    {User: "u", ExpiresAtMs: later, IssuedAtMs: later},
		"attribute with NUL":      {User: "u", ExpiresAtMs: later, Attributes: map[string]string{"a": "\x00"}},
		"65 attributes":           {User: "u", ExpiresAtMs: later, Attributes: many},
	}
	cases := map[string]*authv1pb.AuthenticateResponse{
		"nothing":      {},
		"nil identity": {Decision: &authv1pb.AuthenticateResponse_Identity{}},
		"nil refusal":  {Decision: &authv1pb.AuthenticateResponse_Refusal{}},
	}
	for name, id := range identities {
		for i := range id.GetGrants() {
			if id.Grants[i] == nil {
				id.Grants[i] = grant("a", subscribe)
			}
		}
		cases["identity: "+name] = &authv1pb.AuthenticateResponse{Decision: &authv1pb.AuthenticateResponse_Identity{Identity: id}}
	}
	for name, r := range map[string]*commonv1pb.Refusal{
		"no code": {}, "unknown code": {Code: "not_today"}, "code of a request": {Code: "too_large"}, "NUL": {Code: "token_expired", Detail: "\x00"},
	} {
		cases["refusal: "+name] = &authv1pb.AuthenticateResponse{Decision: &authv1pb.AuthenticateResponse_Refusal{Refusal: r}}
	}
	plugin := &answers{}
	client := NewAuthClient(connect(t, func(s grpc.ServiceRegistrar) { authv1pb.RegisterAuthServiceServer(s, plugin) }))
	for name, answer := range cases {
		t.Run(name, func(t *testing.T) {
			plugin.answer = answer
			id, err := client.Authenticate(t.Context(), broker.Credentials{Token: "x"})
			if id != nil || !errors.Is(err, ErrMalformed) {
				t.Errorf("got %+v and %v, wanted ErrMalformed", id, err)
			}
			if _, refused := errors.AsType[*protocol.Error](err); refused {
				t.Errorf("%v counts as a refusal", err)
			}
		})
	}
	plugin.answer = &authv1pb.AuthenticateResponse{Decision: &authv1pb.AuthenticateResponse_Identity{
		Identity: &authv1pb.Identity{User: "u", ExpiresAtMs: later, Grants: []*authv1pb.Grant{grant("a.>", subscribe)}},
	}}
	if _, err := client.Authenticate(t.Context(), broker.Credentials{Token: "x"}); err != nil {
		t.Errorf("a good answer after all of them: %v", err)
	}
}

func TestAnAnswerBeyondTheMessageLimitIsNoDecision(t *testing.T) {
	client := connectAuth(t, func(context.Context, broker.Credentials) (*broker.Identity, error) {
		return &broker.Identity{User: "u", Attributes: map[string]string{"a": strings.Repeat("x", MaxMessageBytes)}}, nil
	})
	if _, err := client.Authenticate(t.Context(), broker.Credentials{}); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("got %v, wanted RESOURCE_EXHAUSTED", err)
	}
}

func TestBytesThatAreNotUTF8AreRefusedOrReplaced(t *testing.T) {
	var seen http.Header
	client := connectAuth(t, func(_ context.Context, c broker.Credentials) (*broker.Identity, error) {
		seen = c.Header
		return &broker.Identity{User: "u"}, nil
	})
	_, err := client.Authenticate(t.Context(), broker.Credentials{Token: "\xff"})
	if !errors.Is(err, &protocol.Error{Code: protocol.CodeTokenMalformed}) {
		t.Errorf("got %v, wanted token_malformed", err)
	}
	if _, err := client.Authenticate(t.Context(), broker.Credentials{Header: http.Header{"Cookie": {"a=\xff"}}}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(http.Header{"Cookie": {"a=\uFFFD"}}, seen); diff != "" {
		t.Error(diff)
	}
}

func TestCallsBeforeConfigureAndAfterCloseAreNoDecision(t *testing.T) {
	var server *AuthServer
	var impl broker.Authenticator
	client := NewAuthClient(connect(t, func(s grpc.ServiceRegistrar) {
		server = RegisterAuth(s, func() broker.Authenticator { return impl })
	}))
	if _, err := client.Authenticate(t.Context(), broker.Credentials{}); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("got %v, wanted FAILED_PRECONDITION", err)
	}
	impl = authFunc(func(context.Context, broker.Credentials) (*broker.Identity, error) {
		return &broker.Identity{User: "u"}, nil
	})
	server.Close()
	if _, err := client.Authenticate(t.Context(), broker.Credentials{}); status.Code(err) != codes.Unavailable {
		t.Errorf("got %v, wanted UNAVAILABLE", err)
	}
}
