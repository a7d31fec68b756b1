package host

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/plugins/internal/wire"
	"github.com/carillon-mq/carillon/protocol"
)

// Auth is an auth plugin. It stays valid across restarts of the process; while there is none, its calls fail with ErrUnavailable.
type Auth struct {
	p      *supervised
	shadow shadowed
}

var _ broker.Authenticator = (*Auth)(nil)

// Wait returns when the plugin is ready, or an error that says why it will not be, or is not yet when ctx ends.
func (a *Auth) Wait(ctx context.Context) error { return a.p.waitReady(ctx) }

// Status is the plugin's state.
func (a *Auth) Status() Status { return a.p.Status() }

// Authenticate implements broker.Authenticator. The deadline is ctx's.
func (a *Auth) Authenticate(ctx context.Context, c broker.Credentials) (*broker.Identity, error) {
	in, release, err := a.p.borrow()
	if err != nil {
		return nil, err
	}
	defer release()
	id, err := in.auth.Authenticate(ctx, c)
	if err == nil || isRefusal(err) {
		a.shadow.see(c, id, err)
	}
	if err != nil {
		return nil, a.p.callError(ctx, err)
	}
	return id, nil
}

// Store is a store plugin. It stays valid across restarts of the process; while there is none, its calls fail with
// ErrUnavailable, and what was under way when the process went fails too, with its outcome unknown.
type Store struct{ p *supervised }

var _ broker.Store = (*Store)(nil)

// Wait returns when the plugin is ready, or an error that says why it will not be, or is not yet when ctx ends.
func (s *Store) Wait(ctx context.Context) error { return s.p.waitReady(ctx) }

// Status is the plugin's state.
func (s *Store) Status() Status { return s.p.Status() }

// LoadRetained implements broker.Store.
func (s *Store) LoadRetained(ctx context.Context, page func([]broker.Record) error) (uint64, error) {
	in, err := s.p.ready()
	if err != nil {
		return 0, err
	}
	ctx, cancel := in.while(ctx)
	defer cancel(nil)
	head, err := in.store.LoadRetained(ctx, page)
	if err != nil {
		return 0, s.p.callError(ctx, err)
	}
	return head, nil
}

// Follow implements broker.Store.
func (s *Store) Follow(ctx context.Context, from broker.FollowFrom, on func(broker.Feed) error) error {
	in, err := s.p.ready()
	if err != nil {
		return err
	}
	ctx, cancel := in.while(ctx)
	defer cancel(nil)
	return s.p.callError(ctx, in.store.Follow(ctx, from, on))
}

// Append implements broker.Store. While the plugin is away done is called before Append returns.
func (s *Store) Append(batch []broker.Record, done func([]broker.AppendResult, error)) {
	in, err := s.p.ready()
	if err != nil {
		done(nil, err)
		return
	}
	began := time.Now()
	in.store.Append(batch, func(results []broker.AppendResult, err error) {
		if err != nil {
			err = s.p.callError(in.ctx, err)
		}
		s.p.calls.note("append", time.Since(began), err)
		done(results, err)
	})
}

// while bounds ctx by the time for which in is the present instance: for streams, which its successor is to take over.
func (in *instance) while(ctx context.Context) (context.Context, context.CancelCauseFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(in.current, func() { cancel(context.Cause(in.current)) })
	return ctx, func(err error) { stop(); cancel(err) }
}

// unavailable is ErrUnavailable with why the plugin is away.
func (p *supervised) unavailable(why error) error {
	return fmt.Errorf("plugin %s: %w: %s", p.name(), ErrUnavailable, printable(why.Error(), maxText))
}

// actedOn are the errors that the core tells apart, beside *protocol.Error.
var actedOn = []error{
	broker.ErrTrimmed, broker.ErrNoPower, broker.ErrKeyChanged, broker.ErrNoLease, broker.ErrKeyBounds, ErrUnavailable,
}

// callError is err as a caller gets it. What the core acts on (*protocol.Error, actedOn) stays what it is; a call that
// ctx ended says so; a lost connection is ErrUnavailable; an answer that breaks the contract is logged, at most once a second.
func (p *supervised) callError(ctx context.Context, err error) error {
	if refusal, ok := errors.AsType[*protocol.Error](err); ok {
		return refusal
	}
	if slices.ContainsFunc(actedOn, func(known error) bool { return errors.Is(err, known) }) {
		return err
	}
	if ctx.Err() != nil {
		cause := context.Cause(ctx)
		if errors.Is(cause, ErrUnavailable) {
			return cause
		}
		return fmt.Errorf("plugin %s: %w", p.name(), cause)
	}
	if errors.Is(err, wire.ErrMalformed) && p.faults.Allow() {
		p.host.opt.Logger.Error("plugin answer refused", "plugin", p.name(), "err", printable(err.Error(), maxText))
	}
	if s, ok := status.FromError(err); ok {
		switch s.Code() {
		case codes.Unavailable, codes.Canceled:
			return p.unavailable(errors.New(s.Message()))
		case codes.DeadlineExceeded:
			return fmt.Errorf("plugin %s: %w", p.name(), context.DeadlineExceeded)
		default:
			return fmt.Errorf("plugin %s: %v: %s", p.name(), s.Code(), printable(s.Message(), maxText))
		}
	}
	return fmt.Errorf("plugin %s: %w", p.name(), err)
}
