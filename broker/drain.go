package broker

import (
	"context"
	"time"

	"github.com/carillon-mq/carillon/protocol"
)

// drainPolls is how often Drain looks whether everything is done.
const drainPolls = 5 * time.Millisecond

// Drain ends the broker's work kindly: it is no longer ready, accepts nothing new, finishes the publishes that were accepted,
// and tells every session when to come back, spread over Options.DrainSpread so that they do not come all at once. It returns
// when no session and no publish is left, or with the cause of ctx.
func (b *Broker) Drain(ctx context.Context) error {
	b.draining.Store(true)
	if err := b.settle(ctx); err != nil {
		return err
	}
	b.locateAll(ctx)
	b.registry.each(func(s *Session) {
		s.Disconnect(protocol.Errorf(protocol.CodeGoingAway, "the broker is going away").WithRetryAfter(b.spread()))
	})
	return poll(ctx, func() bool { return b.registry.sessions() == 0 })
}

// locateAll tells every session its position, as far as its socket takes it: whoever comes back with that is not told of what has no
// place in the log, but was sent, as missing.
func (b *Broker) locateAll(ctx context.Context) {
	b.registry.each((*Session).Locate)
	for _, sh := range b.shards {
		told := make(chan struct{})
		sh.post(func() { close(told) })
		select {
		case <-told:
		case <-b.stop:
		case <-ctx.Done():
		}
	}
}

// settle waits until every publish that was accepted is answered, and the answers have left.
func (b *Broker) settle(ctx context.Context) error {
	return poll(ctx, func() bool {
		if b.committer != nil && b.committer.Pending() > 0 {
			return false
		}
		quiet := true
		b.registry.each(func(s *Session) { quiet = quiet && s.quiet() })
		return quiet
	})
}

func poll(ctx context.Context, done func() bool) error {
	tick := time.NewTicker(drainPolls)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}
