package host

import (
	"context"
	"slices"

	"github.com/carillon-mq/carillon/broker"
)

var (
	_ broker.Authorizer = (*Auth)(nil)
	_ broker.Revoker    = (*Auth)(nil)
)

// Has reports whether the process that is ready now has announced p.
func (a *Auth) Has(p broker.AuthPower) bool {
	a.p.mu.Lock()
	defer a.p.mu.Unlock()
	return a.p.present != nil && slices.Contains(a.p.status.Capabilities, string(p))
}

// Authorize implements broker.Authorizer. The deadline is ctx's.
func (a *Auth) Authorize(ctx context.Context, who broker.Principal, questions []broker.Question) ([]broker.Decision, error) {
	in, release, err := a.p.borrow()
	if err != nil {
		return nil, err
	}
	defer release()
	if !a.Has(broker.PowerAuthorize) {
		return nil, broker.ErrNoPower
	}
	decisions, err := in.auth.Authorize(ctx, who, questions)
	if err != nil {
		return nil, a.p.callError(ctx, err)
	}
	return decisions, nil
}

// Revocations implements broker.Revoker. It ends with the process, which does not wait for it when another takes its place.
func (a *Auth) Revocations(ctx context.Context, cursor []byte, on func([]broker.Revocation, []byte) error) error {
	in, err := a.p.ready()
	if err != nil {
		return err
	}
	if !a.Has(broker.PowerRevocations) {
		return broker.ErrNoPower
	}
	ctx, cancel := in.while(ctx)
	defer cancel(nil)
	return a.p.callError(ctx, in.auth.Revocations(ctx, cursor, on))
}
