package broker

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/carillon-mq/carillon/broker/internal/revoked"
	"github.com/carillon-mq/carillon/protocol"
)

// revocations holds what a Revoker takes back against every identity.
//
// A session that connects, or takes a fresh token, has its identity first and is then held against the table; a revocation is in the table
// first, and then the sessions are held against it. So one of the two sees the other.
type revocations struct {
	b     *Broker
	table *revoked.Table
	sweep chan struct{} // the table has grown

	up                      atomic.Bool // the stream is open
	received, closed, fails atomic.Uint64
}

func newRevocations(b *Broker) *revocations {
	return &revocations{b: b, table: revoked.New(b.opt.Limits.Revocations), sweep: make(chan struct{}, 1)}
}

// How long a stream of revocations that has ended waits for the next, doubling.
const (
	revokeRetryLow  = 100 * time.Millisecond
	revokeRetryHigh = 5 * time.Second
)

// follow holds the stream open until ctx ends, and begins each time where the last one ended.
func (r *revocations) follow(ctx context.Context, from Revoker) {
	var cursor []byte
	wait, powerless := revokeRetryLow, false
	for ctx.Err() == nil {
		began := time.Now()
		err := from.Revocations(ctx, cursor, func(batch []Revocation, at []byte) error {
			r.up.Store(true)
			if at != nil {
				cursor = append([]byte(nil), at...)
			}
			r.take(batch, time.Now())
			return nil
		})
		wasUp := r.up.Swap(false) || time.Since(began) > revokeRetryHigh
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, ErrNoPower): // until another plugin takes its place
			wait, powerless = revokeRetryHigh, true
		case wasUp:
			wait, powerless = revokeRetryLow, false
			r.fails.Add(1)
			r.b.opt.Logger.Info("the stream of revocations has ended and is opened again", "err", err, "wait", wait)
		default:
			if r.fails.Add(1); wait == revokeRetryHigh && !powerless {
				r.b.opt.Logger.Warn("there is still no stream of revocations", "err", err, "wait", wait)
			}
			powerless = false // another plugin may have taken the place of one without the power
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
		wait = min(2*wait, revokeRetryHigh)
	}
}

// take makes a batch effective.
func (r *revocations) take(batch []Revocation, now time.Time) {
	if len(batch) == 0 {
		return
	}
	r.received.Add(uint64(len(batch)))
	sweep := false
	for i := range batch {
		v := &batch[i]
		e := revoked.Entry{IssuedBefore: v.IssuedBefore, Until: v.Until, Why: v.Why}
		if e.Why == nil {
			e.Why = protocol.Errorf(protocol.CodeRevoked, "what was granted has been taken back")
		}
		switch {
		case v.Session != "":
			if s := r.b.registry.session(v.Session); s != nil {
				r.close(s, e.Why)
			}
			continue
		case v.User != "":
			r.table.Put(revoked.User, v.User, e, now)
		default:
			r.table.Put(revoked.Token, v.TokenID, e, now)
		}
		sweep = true
	}
	if _, ok := r.b.stats.mayLog(); ok {
		first := &batch[0]
		r.b.opt.Logger.LogAttrs(context.Background(), slog.LevelInfo, "revocations received", slog.Int("count", len(batch)),
			slog.String("user", first.User), slog.String("session", first.Session))
	}
	if sweep {
		select {
		case r.sweep <- struct{}{}:
		default: // the one to come sees all that is in the table by then
		}
	}
}

// run closes the sessions of what is in the table each time it has grown. It ends when stop is closed.
func (r *revocations) run(stop <-chan struct{}) {
	for {
		select {
		case <-r.sweep:
		case <-stop:
			return
		}
		r.b.registry.each(func(s *Session) {
			s.mu.Lock()
			id, over := s.identity, s.closed
			s.mu.Unlock()
			if id == nil || over {
				return
			}
			if why := r.b.revoked(id); why != nil {
				r.close(s, why)
			}
		})
	}
}

func (r *revocations) close(s *Session, why *protocol.Error) {
	r.closed.Add(1)
	s.Disconnect(why)
}

// revoked says why what was granted to id has been taken back; nil if it has not.
func (b *Broker) revoked(id *Identity) *protocol.Error {
	return b.revocations.table.Find(id.User, id.TokenID, id.Issued, time.Now())
}

// Revoked says why what was granted to id has been taken back, a *protocol.Error; nil if it has not. A door that remembers an identity
// asks each time it uses it.
func (b *Broker) Revoked(id *Identity) error {
	if why := b.revoked(id); why != nil {
		return why
	}
	return nil
}
