package wire

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/plugins/internal/wire/authv1pb"
	"github.com/carillon-mq/carillon/protocol"
)

var _ broker.Revoker = (*AuthClient)(nil)

const (
	maxCursorBytes  = 255
	maxSessionBytes = 64
)

// Revocations implements broker.Revoker. Errors that are not on's are gRPC statuses, broker.ErrNoPower or ErrMalformed; a stream that
// the plugin ends is UNAVAILABLE.
func (c *AuthClient) Revocations(ctx context.Context, cursor []byte, on func([]broker.Revocation, []byte) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.rpc.Revocations(ctx, &authv1pb.RevocationsRequest{Cursor: cursor})
	if err != nil {
		return powerError(err)
	}
	for {
		m, err := stream.Recv()
		if err != nil {
			return streamError(err)
		}
		batch, err := revocationsFromWire(m, time.Now())
		if err != nil {
			return err
		}
		if cursor = m.GetCursor(); len(cursor) == 0 {
			cursor = nil
		}
		if err := on(batch, cursor); err != nil {
			return err
		}
	}
}

func streamError(err error) error {
	if _, is := status.FromError(err); !is {
		return status.Error(codes.Unavailable, "the plugin has ended the stream of revocations")
	}
	return powerError(err)
}

// revocationsFromWire checks m by every rule of the contract. One broken rule spoils the whole: the error is ErrMalformed.
func revocationsFromWire(m *authv1pb.RevocationsResponse, now time.Time) ([]broker.Revocation, error) {
	if n := len(m.GetRevocations()); n > broker.MaxRevocations {
		return nil, malformed("%d revocations at once, at most %d are allowed", n, broker.MaxRevocations)
	}
	if n := len(m.GetCursor()); n > maxCursorBytes {
		return nil, malformed("a cursor of %d bytes, at most %d are allowed", n, maxCursorBytes)
	}
	batch := make([]broker.Revocation, len(m.GetRevocations()))
	for i, r := range m.GetRevocations() {
		var err error
		if batch[i], err = revocationFromWire(r, now); err != nil {
			return nil, malformed("revocation %d: %v", i, err)
		}
	}
	return batch, nil
}

func revocationFromWire(p *authv1pb.Revocation, now time.Time) (broker.Revocation, error) {
	r := broker.Revocation{User: p.GetUser(), TokenID: p.GetTokenId(), Session: p.GetSession()}
	most := maxUserBytes
	if _, ofSession := p.GetSubject().(*authv1pb.Revocation_Session); ofSession {
		most = maxSessionBytes
	}
	if id := r.User + r.TokenID + r.Session; id == "" || len(id) > most || hasNUL(id) { // one of them at most is there
		return r, errors.New("it names nothing, or that is too long or has NUL")
	}
	if err := timesFromWire(p, now, &r); err != nil {
		return r, err
	}
	if p.GetRefusal() == nil {
		return r, nil
	}
	why, err := refusalFromWire(p.GetRefusal(), revokes)
	if err != nil {
		return r, err
	}
	r.Why = why
	return r, nil
}

func timesFromWire(p *authv1pb.Revocation, now time.Time, r *broker.Revocation) error {
	before, until := p.GetIssuedBeforeMs(), p.GetUntilMs()
	switch {
	case r.Session != "":
		if before != 0 || until != 0 {
			return errors.New("a session's has times")
		}
		return nil
	case before < 0 || before > now.Add(maxLife).UnixMilli():
		return errors.New("issued_before_ms is negative, or more than 10 years away")
	case until <= 0 || until > now.Add(maxLife).UnixMilli():
		return errors.New("until_ms is missing, negative, or more than 10 years away")
	}
	r.Until = time.UnixMilli(until)
	if before > 0 {
		r.IssuedBefore = time.UnixMilli(before)
	}
	return nil
}

// revokes reports whether a revocation may end sessions with c.
func revokes(c protocol.Code) bool {
	return c == protocol.CodeRevoked || c == protocol.CodeKicked || c == protocol.CodeTokenExpired
}

// Revocations implements the service.
func (s *AuthServer) Revocations(r *authv1pb.RevocationsRequest, stream grpc.ServerStreamingServer[authv1pb.RevocationsResponse]) error {
	impl, err := authPower[broker.Revoker](s)
	if err != nil {
		return err
	}
	defer s.inside.Done()
	cursor := r.GetCursor()
	if len(cursor) == 0 {
		cursor = nil
	}
	err = impl.Revocations(stream.Context(), cursor, func(batch []broker.Revocation, cursor []byte) error {
		for ; len(batch) > broker.MaxRevocations; batch = batch[broker.MaxRevocations:] { // the cursor stands behind the last
			if err := stream.Send(revocationsToWire(batch[:broker.MaxRevocations], nil)); err != nil {
				return err
			}
		}
		return stream.Send(revocationsToWire(batch, cursor))
	})
	if err == nil {
		err = errors.New("the plugin has ended its stream of revocations")
	}
	return toStatus(err)
}

func revocationsToWire(batch []broker.Revocation, cursor []byte) *authv1pb.RevocationsResponse {
	m := &authv1pb.RevocationsResponse{Cursor: cursor}
	for _, r := range batch {
		m.Revocations = append(m.Revocations, revocationToWire(&r))
	}
	return m
}

func revocationToWire(r *broker.Revocation) *authv1pb.Revocation {
	p := &authv1pb.Revocation{}
	switch {
	case r.User != "":
		p.Subject = &authv1pb.Revocation_User{User: r.User}
	case r.TokenID != "":
		p.Subject = &authv1pb.Revocation_TokenId{TokenId: r.TokenID}
	default:
		p.Subject = &authv1pb.Revocation_Session{Session: r.Session}
	}
	if !r.IssuedBefore.IsZero() {
		p.IssuedBeforeMs = r.IssuedBefore.UnixMilli()
	}
	if !r.Until.IsZero() {
		p.UntilMs = r.Until.UnixMilli()
	}
	if r.Why != nil {
		p.Refusal = refusalToWire(r.Why)
	}
	return p
}
