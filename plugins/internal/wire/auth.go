package wire

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/plugins/internal/wire/authv1pb"
	"github.com/carillon-mq/carillon/protocol"
)

// AuthClient asks a plugin over one connection.
type AuthClient struct {
	rpc authv1pb.AuthServiceClient
}

var _ broker.Authenticator = (*AuthClient)(nil)

// NewAuthClient returns a client that calls over conn.
func NewAuthClient(conn grpc.ClientConnInterface) *AuthClient {
	return &AuthClient{rpc: authv1pb.NewAuthServiceClient(conn)}
}

// Authenticate implements broker.Authenticator. Errors that are not a *protocol.Error are gRPC statuses or ErrMalformed.
func (c *AuthClient) Authenticate(ctx context.Context, cred broker.Credentials) (*broker.Identity, error) {
	if !utf8.ValidString(cred.Token) {
		return nil, protocol.Errorf(protocol.CodeTokenMalformed, "the token is not UTF-8")
	}
	answer, err := c.rpc.Authenticate(ctx, credentialsToWire(cred))
	if err != nil {
		return nil, err
	}
	switch d := answer.GetDecision().(type) {
	case *authv1pb.AuthenticateResponse_Identity:
		if d.Identity == nil {
			return nil, malformed("an identity without content")
		}
		return identityFromWire(d.Identity, time.Now())
	case *authv1pb.AuthenticateResponse_Refusal:
		refusal, err := refusalFromWire(d.Refusal, refusesClient)
		if err != nil {
			return nil, err
		}
		return nil, refusal
	}
	return nil, malformed("neither an identity nor a refusal")
}

func credentialsToWire(cred broker.Credentials) *authv1pb.AuthenticateRequest {
	valid := func(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
	request := &authv1pb.AuthenticateRequest{Token: cred.Token, Transport: cred.Transport, Remote: valid(cred.Remote)}
	for _, name := range slices.Sorted(maps.Keys(cred.Header)) {
		header := &authv1pb.Header{Name: valid(name)}
		for _, value := range cred.Header[name] {
			header.Values = append(header.Values, valid(value))
		}
		request.Headers = append(request.Headers, header)
	}
	if cred.Previous != nil {
		request.Previous = principalToWire(*cred.Previous)
	}
	return request
}

// AuthServer serves a broker.Authenticator to the broker. Close returns when nothing calls the Authenticator anymore.
type AuthServer struct {
	authv1pb.UnimplementedAuthServiceServer
	gate
	impl func() broker.Authenticator
}

// RegisterAuth serves the Authenticator that impl returns at the time of a call; nil means: not configured yet.
func RegisterAuth(s grpc.ServiceRegistrar, impl func() broker.Authenticator) *AuthServer {
	server := &AuthServer{impl: impl}
	authv1pb.RegisterAuthServiceServer(s, server)
	return server
}

// Authenticate implements the service.
func (s *AuthServer) Authenticate(ctx context.Context, r *authv1pb.AuthenticateRequest) (*authv1pb.AuthenticateResponse, error) {
	impl := s.impl()
	if impl == nil {
		return nil, errNotConfigured
	}
	if !s.enter() {
		return nil, errEnding
	}
	defer s.inside.Done()
	cred := broker.Credentials{Token: r.GetToken(), Transport: r.GetTransport(), Remote: r.GetRemote(), Header: http.Header{}}
	for _, h := range r.GetHeaders() {
		cred.Header[h.GetName()] = h.GetValues()
	}
	if r.GetPrevious() != nil {
		previous := principalFromWire(r.GetPrevious())
		cred.Previous = &previous
	}
	id, err := impl.Authenticate(ctx, cred)
	if refusal, ok := errors.AsType[*protocol.Error](err); ok && refusesClient(refusal.Code) {
		return &authv1pb.AuthenticateResponse{Decision: &authv1pb.AuthenticateResponse_Refusal{Refusal: refusalToWire(refusal)}}, nil
	}
	if err != nil {
		return nil, toStatus(err)
	}
	if id == nil {
		return nil, status.Error(codes.Internal, "the plugin decided nothing")
	}
	return &authv1pb.AuthenticateResponse{Decision: &authv1pb.AuthenticateResponse_Identity{Identity: identityToWire(id)}}, nil
}
