package authguard

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/carillon-mq/carillon/broker"
)

// breaker bounds the calls at a time, and makes none while the plugin hangs: when a call has ended without an answer and no other has
// had one while it waited. Then one call at a time is made after each pause, until one is answered, be it with an error. A plugin that is
// away is no matter for it: its calls fail at once.
type breaker struct {
	pause time.Duration
	slots chan struct{}

	mu       sync.Mutex
	answered uint64        // calls that came back in time
	open     bool          // the plugin hangs
	probing  bool          // with open: a call is being made
	next     time.Time     // with open: when the next may be
	opened   chan struct{} // closed while open
}

func newBreaker(o *Options) *breaker {
	return &breaker{pause: o.Pause, slots: make(chan struct{}, o.Concurrency), opened: make(chan struct{})}
}

func (b *breaker) isOpen() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.open
}

// authenticate is a call of p's Authenticate.
func (b *breaker) authenticate(ctx context.Context, p broker.Authenticator, c broker.Credentials) (id *broker.Identity, err error) {
	err = b.call(ctx, func(ctx context.Context) error {
		id, err = p.Authenticate(ctx, c)
		return err
	})
	if err != nil {
		return nil, err
	}
	return id, nil
}

// call calls f, or returns ErrHangs, or the cause of ctx when it ended before it was the call's turn.
func (b *breaker) call(ctx context.Context, f func(context.Context) error) error {
	probe, opened, err := b.enter()
	if err != nil {
		return err
	}
	if !probe {
		select {
		case b.slots <- struct{}{}:
			defer func() { <-b.slots }()
		case <-opened:
			return ErrHangs
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	b.mu.Lock()
	before := b.answered
	b.mu.Unlock()
	err = f(ctx)
	b.leave(probe, before, err != nil && (ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded)))
	return err
}

// enter says whether a call may be made now: as one of many, or as the one that finds out whether the plugin answers again.
func (b *breaker) enter() (probe bool, opened chan struct{}, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case !b.open:
		return false, b.opened, nil
	case b.probing || time.Now().Before(b.next):
		return false, nil, ErrHangs
	}
	b.probing = true
	return true, nil, nil
}

// leave notes how a call ended, before which so many had been answered. A call of a client that did not wait is one without an answer,
// too: contexts here end by their deadline.
func (b *breaker) leave(probe bool, before uint64, unanswered bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if probe {
		b.probing = false
	}
	switch {
	case !unanswered:
		b.answered++
		if b.open {
			b.open, b.opened = false, make(chan struct{})
		}
	case b.open:
		b.next = time.Now().Add(b.pause)
	case b.answered == before:
		b.open, b.next = true, time.Now().Add(b.pause)
		close(b.opened)
	}
}
