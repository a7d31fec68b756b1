package wire

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/plugins/internal/wire/storev1pb"
	"github.com/carillon-mq/carillon/protocol"
)

// keyStatus is err as a plugin answers it.
func keyStatus(err error) error {
	if errors.Is(err, broker.ErrKeyBounds) || errors.Is(err, ErrMalformed) {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	return toStatus(err)
}

// GetKey implements the service.
func (s *StoreServer) GetKey(ctx context.Context, m *storev1pb.GetKeyRequest) (*storev1pb.GetKeyResponse, error) {
	impl, err := power[broker.KeyspaceStore](s)
	if err != nil {
		return nil, err
	}
	defer s.inside.Done()
	if err := broker.CheckKey(m.GetKey()); err != nil {
		return nil, keyStatus(err)
	}
	e, err := impl.GetKey(ctx, m.GetKey())
	if err != nil {
		return nil, keyStatus(err)
	}
	return &storev1pb.GetKeyResponse{Entry: entryToWire(&e)}, nil
}

// ListKeys implements the service.
func (s *StoreServer) ListKeys(ctx context.Context, m *storev1pb.ListKeysRequest) (*storev1pb.ListKeysResponse, error) {
	impl, err := power[broker.KeyspaceStore](s)
	if err != nil {
		return nil, err
	}
	defer s.inside.Done()
	q := broker.KeyQuery{Prefix: m.GetPrefix(), After: m.GetAfter(), Limit: int(m.GetLimit())}
	if err := q.Check(); err != nil {
		return nil, keyStatus(err)
	}
	p, err := impl.ListKeys(ctx, q)
	if err != nil {
		return nil, keyStatus(err)
	}
	n := entriesEnd(p.Entries)
	return &storev1pb.ListKeysResponse{Entries: entriesToWire(p.Entries[:n]), Done: p.Done && n == len(p.Entries)}, nil
}

// PutKey implements the service.
func (s *StoreServer) PutKey(ctx context.Context, m *storev1pb.PutKeyRequest) (*storev1pb.PutKeyResponse, error) {
	impl, err := power[broker.KeyspaceStore](s)
	if err != nil {
		return nil, err
	}
	defer s.inside.Done()
	p := broker.KeyPut{Key: m.GetKey(), Value: m.GetValue(), Expect: expectFromWire(m.Expect)}
	if p.Lease, err = idFromWire[broker.LeaseID](m.GetLease()); err == nil {
		p.Write, err = idFromWire[broker.WriteID](m.GetWrite())
	}
	if err := errors.Join(err, p.Check()); err != nil {
		return nil, keyStatus(err)
	}
	e, err := impl.PutKey(ctx, p)
	var refusal *protocol.Error
	switch {
	case err == nil:
		return &storev1pb.PutKeyResponse{Applied: true, Entry: entryToWire(&e)}, nil
	case errors.Is(err, broker.ErrKeyChanged):
		return &storev1pb.PutKeyResponse{Entry: entryToWire(&e)}, nil
	case errors.Is(err, broker.ErrNoLease):
		return &storev1pb.PutKeyResponse{NoLease: true}, nil
	case errors.As(err, &refusal) && refusesKey(refusal.Code):
		return &storev1pb.PutKeyResponse{Refusal: refusalToWire(refusal)}, nil
	}
	return nil, keyStatus(err)
}

// DeleteKey implements the service.
func (s *StoreServer) DeleteKey(ctx context.Context, m *storev1pb.DeleteKeyRequest) (*storev1pb.DeleteKeyResponse, error) {
	impl, err := power[broker.KeyspaceStore](s)
	if err != nil {
		return nil, err
	}
	defer s.inside.Done()
	expect := expectFromWire(m.Expect)
	if err := broker.CheckKey(m.GetKey()); err != nil || expect == 0 {
		return nil, keyStatus(errors.Join(broker.ErrKeyBounds, err))
	}
	e, err := impl.DeleteKey(ctx, m.GetKey(), expect)
	switch {
	case err == nil:
		return &storev1pb.DeleteKeyResponse{Applied: true}, nil
	case errors.Is(err, broker.ErrKeyChanged):
		return &storev1pb.DeleteKeyResponse{Entry: entryToWire(&e)}, nil
	}
	return nil, keyStatus(err)
}

// WatchKeys implements the service.
func (s *StoreServer) WatchKeys(m *storev1pb.WatchKeysRequest, stream grpc.ServerStreamingServer[storev1pb.WatchKeysResponse]) error {
	impl, err := power[broker.KeyspaceStore](s)
	if err != nil {
		return err
	}
	defer s.inside.Done()
	if err := broker.CheckKeyPrefix(m.GetPrefix()); err != nil {
		return keyStatus(err)
	}
	err = impl.WatchKeys(stream.Context(), m.GetPrefix(), func(feed broker.KeyFeed) error {
		entries := feed.Entries
		for len(entries) > 0 {
			n := entriesEnd(entries)
			if err := stream.Send(&storev1pb.WatchKeysResponse{Entries: entriesToWire(entries[:n])}); err != nil {
				return err
			}
			entries = entries[n:]
		}
		if !feed.CaughtUp {
			return nil
		}
		return stream.Send(&storev1pb.WatchKeysResponse{CaughtUp: true})
	})
	if err == nil {
		err = errors.New("the store ended the feed of keys")
	}
	return keyStatus(err)
}

// GrantLease implements the service.
func (s *StoreServer) GrantLease(ctx context.Context, m *storev1pb.GrantLeaseRequest) (*storev1pb.GrantLeaseResponse, error) {
	impl, err := power[broker.KeyspaceStore](s)
	if err != nil {
		return nil, err
	}
	defer s.inside.Done()
	id, err := idFromWire[broker.LeaseID](m.GetId())
	ttl := time.Duration(min(m.GetTtlMs(), broker.MaxLease.Milliseconds()+1)) * time.Millisecond
	if err := errors.Join(err, broker.CheckLease(id, ttl)); err != nil {
		return nil, keyStatus(err)
	}
	err = impl.GrantLease(ctx, id, ttl)
	if refusal, ok := errors.AsType[*protocol.Error](err); ok && refusesKey(refusal.Code) {
		return &storev1pb.GrantLeaseResponse{Refusal: refusalToWire(refusal)}, nil
	}
	if err != nil {
		return nil, keyStatus(err)
	}
	return &storev1pb.GrantLeaseResponse{}, nil
}

// RenewLease implements the service.
func (s *StoreServer) RenewLease(ctx context.Context, m *storev1pb.RenewLeaseRequest) (*storev1pb.RenewLeaseResponse, error) {
	err := s.withLease(m.GetId(), func(impl broker.KeyspaceStore, id broker.LeaseID) error { return impl.RenewLease(ctx, id) })
	if errors.Is(err, broker.ErrNoLease) {
		return &storev1pb.RenewLeaseResponse{NoLease: true}, nil
	}
	if err != nil {
		return nil, keyStatus(err)
	}
	return &storev1pb.RenewLeaseResponse{}, nil
}

// RevokeLease implements the service.
func (s *StoreServer) RevokeLease(ctx context.Context, m *storev1pb.RevokeLeaseRequest) (*storev1pb.RevokeLeaseResponse, error) {
	err := s.withLease(m.GetId(), func(impl broker.KeyspaceStore, id broker.LeaseID) error { return impl.RevokeLease(ctx, id) })
	if err != nil {
		return nil, keyStatus(err)
	}
	return &storev1pb.RevokeLeaseResponse{}, nil
}

// withLease has the store do something with the lease of that id.
func (s *StoreServer) withLease(wire []byte, do func(broker.KeyspaceStore, broker.LeaseID) error) error {
	impl, err := power[broker.KeyspaceStore](s)
	if err != nil {
		return err
	}
	defer s.inside.Done()
	id, err := idFromWire[broker.LeaseID](wire)
	if err != nil {
		return err
	}
	return do(impl, id)
}
