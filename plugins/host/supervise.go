package host

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// supervised is a plugin through all its starts. Its run owns the process and is the only one to change the state.
type supervised struct {
	host   *Host
	spec   Spec
	output *output
	faults *rate.Limiter // of log lines about answers that break the contract

	mu      sync.Mutex
	status  Status
	present *instance // nil unless Ready
}

func newSupervised(h *Host, s Spec) *supervised {
	return &supervised{
		host: h, spec: s, output: newOutput(h.opt.Logger, s.Name), faults: rate.NewLimiter(rate.Every(time.Second), 5),
		status: Status{Name: s.Name, Kind: s.Kind, Bundled: s.Bundled, State: Starting, Since: time.Now()},
	}
}

// Status is where the plugin is now.
func (p *supervised) Status() Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.status
	s.Capabilities = slices.Clone(s.Capabilities)
	return s
}

// update changes the status by change, which runs with mu held, and announces it.
func (p *supervised) update(change func(*Status)) {
	p.mu.Lock()
	change(&p.status)
	p.mu.Unlock()
	p.host.announce()
}

// enter moves to a state and notes why.
func (p *supervised) enter(to State, err error, more func(*Status)) {
	p.update(func(s *Status) {
		s.State, s.Since, s.RetryAt = to, time.Now(), time.Time{}
		if err != nil {
			s.LastError = printable(err.Error(), maxText)
		}
		if to != Ready {
			p.present = nil
		}
		if more != nil {
			more(s)
		}
	})
}

// permanentError is why a plugin is not started again.
type permanentError struct{ error }

func (e permanentError) Unwrap() error { return e.error }

func permanent(err error) error { return permanentError{err} }

// run starts the plugin again and again until ctx ends. A plugin that is refused for good is left alone.
func (p *supervised) run(ctx context.Context) {
	wait := backoff{min: p.host.opt.BackoffMin, max: p.host.opt.BackoffMax}
	defer p.enter(Stopped, nil, nil)
	for {
		in, err := p.start(ctx)
		began := time.Now()
		if err == nil {
			p.enter(Ready, nil, func(*Status) { p.present = in })
			p.host.opt.Logger.Info("plugin ready", "plugin", p.spec.Name)
			err = in.watch(ctx)
			if time.Since(began) >= p.host.opt.HealthyAfter {
				wait.reset()
			}
		}
		delay := wait.next()
		p.ended(ctx, err, delay)
		p.stop(ctx, in)
		if _, refused := errors.AsType[permanentError](err); refused {
			<-ctx.Done()
		}
		if !sleep(ctx, delay) {
			return
		}
		p.enter(Starting, nil, func(s *Status) { s.Restarts++ })
	}
}

// ended says, at once, that the plugin is not to be called anymore, and why.
func (p *supervised) ended(ctx context.Context, err error, delay time.Duration) {
	_, refused := errors.AsType[permanentError](err)
	switch {
	case ctx.Err() != nil:
		p.enter(Stopping, nil, nil)
	case refused:
		p.host.opt.Logger.Error("plugin failed and is not started again", "plugin", p.spec.Name, "err", printable(err.Error(), maxText))
		p.enter(Failed, err, nil)
	default:
		p.host.opt.Logger.Warn("plugin ended and will be started again", "plugin", p.spec.Name, "err", printable(err.Error(), maxText))
		p.enter(Backoff, err, func(s *Status) { s.RetryAt = time.Now().Add(delay) })
	}
}

// stop ends the process, gracefully if the host is closing, and waits for it.
func (p *supervised) stop(ctx context.Context, in *instance) {
	grace, cancel := p.host.stopping()
	defer cancel()
	if !in.stop(grace, ctx.Err() != nil) {
		p.host.opt.Logger.Error("plugin process does not end although it was killed", "plugin", p.spec.Name)
		return
	}
	p.update(func(s *Status) { s.PID = 0 })
}

// ready returns the present instance, or why there is none.
func (p *supervised) ready() (*instance, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.present == nil {
		return nil, fmt.Errorf("plugin %s is %v: %w", p.spec.Name, p.status.State, ErrUnavailable)
	}
	return p.present, nil
}

// wait returns when the plugin is ready, or with the reason when it will not be, or when ctx ends.
func (p *supervised) wait(ctx context.Context) error {
	for {
		changed := p.host.Changed()
		s := p.Status()
		var err error
		switch s.State {
		case Ready:
			return nil
		case Failed, Stopping, Stopped:
			err = fmt.Errorf("plugin %s is %v", s.Name, s.State)
		default:
			select {
			case <-changed:
				continue
			case <-ctx.Done():
				err = fmt.Errorf("plugin %s is not ready but %v: %w", s.Name, s.State, context.Cause(ctx))
			}
		}
		if s.LastError != "" {
			err = fmt.Errorf("%w: %s", err, s.LastError)
		}
		return err
	}
}

// backoff gives the waits between starts: from min to max, doubling, each with jitter down to its half.
type backoff struct{ min, max, last time.Duration }

func (b *backoff) next() time.Duration {
	b.last = min(max(2*b.last, b.min), b.max)
	return b.last/2 + rand.N(b.last/2+1)
}

func (b *backoff) reset() { b.last = 0 }

// sleep waits for d and reports whether ctx lasted.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
