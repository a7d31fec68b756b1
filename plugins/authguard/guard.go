// Package authguard stands between the core and an auth plugin, and says what happens while the plugin gives no answers.
//
//	Guard.Authenticate -> flights.do (one question at a time for the same credentials) -> breaker.call (not more than so many at once,
//	none at all while the plugin hangs) -> the plugin; with no decision -> memory.find (what it last said, if the operator wants that)
//
// It starts no process and knows none: plugins/host does, and cmd/carillon puts the two together. Nothing here makes a decision of its
// own. What is remembered was the plugin's answer to the very same credentials, is given again for a bounded time and never beyond their
// expiry; that it has not been revoked since is the core's to see, which holds every identity against its table of revocations.
//
// No lock is held while the plugin is asked.
package authguard

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/protocol"
)

// ErrHangs is the answer while the plugin has left questions without one, given at once.
var ErrHangs = errors.New("the auth plugin does not answer")

// Plugin is what is guarded.
type Plugin interface {
	broker.Authenticator
	broker.Authorizer
	broker.Revoker
}

// Options are a guard's settings. The zero value denies while the plugin is away.
type Options struct {
	LastKnownGood time.Duration // for how long the last answer may stand in for one that cannot be had; 0: never
	Remembered    int           // answers that are remembered for that, at most: 100,000
	Bytes         int64         // and what they may take of memory, about: 64 MiB
	Concurrency   int           // calls of each kind at a time: 64
	Pause         time.Duration // 0.5 s: between two tries of a plugin that hangs
	Logger        *slog.Logger
}

// Guard is an Authenticator with the powers of the plugin behind it. Its methods may be called concurrently.
type Guard struct {
	plugin  Plugin
	opt     Options
	flights flights
	memory  *memory  // nil: nothing is remembered
	logins  *breaker // of Authenticate
	rights  *breaker // of Authorize

	standsIn atomic.Bool // the last Authenticate without a decision was answered from memory, and none with one has been since
	recalled atomic.Uint64
	failed   atomic.Uint64
	era      atomic.Uint64 // how often Forget was called
}

var _ Plugin = (*Guard)(nil)

// New guards p.
func New(p Plugin, o Options) *Guard {
	setDefault(&o.Remembered, 100_000)
	setDefault(&o.Bytes, 64<<20)
	setDefault(&o.Concurrency, 64)
	setDefault(&o.Pause, 500*time.Millisecond)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	g := &Guard{plugin: p, opt: o, logins: newBreaker(&o), rights: newBreaker(&o)}
	if o.LastKnownGood > 0 {
		g.memory = newMemory(&o)
	}
	return g
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Status is a guard at one moment. Counters only grow.
type Status struct {
	LastKnownGood time.Duration // 0: deny
	Remembered    int           // answers that could stand in
	Hangs         bool          // the plugin is not asked just now, because it has not answered
	Recalled      uint64        // logins that were answered from memory
	Failed        uint64        // logins and questions about rights for which there was no decision
}

// Status is how the guard is now.
func (g *Guard) Status() Status {
	s := Status{
		LastKnownGood: g.opt.LastKnownGood, Hangs: g.logins.isOpen() || g.rights.isOpen(), Recalled: g.recalled.Load(), Failed: g.failed.Load(),
	}
	if g.memory != nil {
		s.Remembered = g.memory.size()
	}
	return s
}

// Authenticate implements broker.Authenticator. Questions with the same credentials at the same time share one call. ctx must have a
// deadline.
func (g *Guard) Authenticate(ctx context.Context, c broker.Credentials) (*broker.Identity, error) {
	if c.Previous != nil {
		return g.refresh(ctx, c)
	}
	key := g.flights.keyOf(&c)
	id, err := g.flights.do(ctx, key, func(ctx context.Context) (*broker.Identity, error) {
		era := g.era.Load()
		id, err := g.logins.authenticate(ctx, g.plugin, c)
		g.learn(&c, key, id, err)
		if g.era.Load() != era {
			g.forget() // it may be the answer of a plugin with other settings
		}
		return id, err
	})
	if err == nil || isRefusal(err) {
		return id, err
	}
	if g.memory != nil {
		if id := g.memory.find(key, time.Now()); id != nil {
			g.recall(err)
			return id, nil
		}
	}
	g.failed.Add(1)
	return nil, err
}

// refresh asks about a fresh token. The session has an identity to go on with: nothing need stand in. A token that is refused must not stand
// in for a login either.
func (g *Guard) refresh(ctx context.Context, c broker.Credentials) (*broker.Identity, error) {
	id, err := g.logins.authenticate(ctx, g.plugin, c)
	switch {
	case err == nil:
	case !isRefusal(err):
		g.failed.Add(1)
	case g.memory != nil:
		g.memory.forget(g.flights.keyOf(&c), g.flights.tokenOf(&c))
	}
	return id, err
}

// learn remembers a good answer, and forgets what the plugin refuses now.
func (g *Guard) learn(c *broker.Credentials, key key, id *broker.Identity, err error) {
	switch {
	case err != nil && !isRefusal(err):
		return
	case g.memory == nil:
	case err != nil:
		g.memory.forget(key, g.flights.tokenOf(c))
	case id != nil:
		g.memory.put(key, g.flights.tokenOf(c), id, time.Now())
	}
	if g.standsIn.CompareAndSwap(true, false) {
		g.opt.Logger.Info("the auth plugin decides again")
	}
}

// Forget drops every answer: the plugin has other settings from here on, and what it said before must not stand in for what it would say.
func (g *Guard) Forget() {
	g.era.Add(1)
	g.forget()
}

func (g *Guard) forget() {
	if g.memory != nil {
		g.memory.clear()
	}
}

func (g *Guard) recall(why error) {
	g.recalled.Add(1)
	if g.standsIn.CompareAndSwap(false, true) {
		g.opt.Logger.Warn("the auth plugin gives no decision: its last good answers stand in", "err", why, "age", g.opt.LastKnownGood)
	}
}

// Authorize implements broker.Authorizer. Nothing stands in for an answer: each has a time to live of its own. ctx must have a deadline.
func (g *Guard) Authorize(ctx context.Context, who broker.Principal, questions []broker.Question) (decisions []broker.Decision, err error) {
	err = g.rights.call(ctx, func(ctx context.Context) error {
		decisions, err = g.plugin.Authorize(ctx, who, questions)
		return err
	})
	if err != nil {
		if !errors.Is(err, broker.ErrNoPower) {
			g.failed.Add(1)
		}
		return nil, err
	}
	return decisions, nil
}

// Revocations implements broker.Revoker.
func (g *Guard) Revocations(ctx context.Context, cursor []byte, on func([]broker.Revocation, []byte) error) error {
	return g.plugin.Revocations(ctx, cursor, on)
}

// isRefusal reports whether err is the plugin's decision to let nobody in.
func isRefusal(err error) bool {
	_, is := errors.AsType[*protocol.Error](err)
	return is
}
