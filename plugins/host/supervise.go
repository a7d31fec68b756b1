package host

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// supervised is a plugin through all its starts. Its run (run.go) owns the processes and is the only one to change the state.
type supervised struct {
	host   *Host
	kind   string
	faults *rate.Limiter // of log lines about answers that break the contract
	calls  calls

	candidate atomic.Pointer[shadow] // whose process it is; nil if it decides
	cancel    context.CancelCauseFunc
	ended     chan struct{} // run is about to return

	spec     Spec    // in force; the run's alone
	output   *output // of the present process; the run's alone
	wait     backoff
	crashes  budget
	seen     bool           // a plugin that is attached to was there; the run's alone
	retiring sync.WaitGroup // instances that were replaced and finish their calls

	knock chan struct{} // something was added to asked

	mu      sync.Mutex
	status  Status
	shown   *instance // whose facts are in status
	present *instance // nil unless the State is Up
	asked   []*reload
	onAsk   func() // called when something is added to asked, with mu held; may be nil
	over    bool   // nothing is taken from asked anymore
}

func newSupervised(h *Host, s Spec) *supervised {
	p := &supervised{
		host: h, kind: s.Kind, spec: s, output: newOutput(h.opt.Logger, s.Name), faults: rate.NewLimiter(rate.Every(time.Second), 5),
		ended: make(chan struct{}), knock: make(chan struct{}, 1),
		wait:   backoff{min: h.opt.BackoffMin, max: h.opt.BackoffMax},
		status: Status{Name: s.Name, Kind: s.Kind, Bundled: s.Bundled, Shadow: s.shadow, Attach: s.Attach, State: Starting, Since: time.Now()},
	}
	return p
}

// name is the plugin's in logs and lists. Another one may take its place under another name.
func (p *supervised) name() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.status.Name
}

// Status is where the plugin is now.
func (p *supervised) Status() Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.status
	s.Capabilities, s.ContractVersions = slices.Clone(s.Capabilities), slices.Clone(s.ContractVersions)
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
		s.State, s.Since, s.RetryAt, s.Trouble = to, time.Now(), time.Time{}, ""
		if err != nil {
			s.LastError, s.LastErrorAt = printable(err.Error(), maxText), s.Since
		}
		if !to.Up() {
			p.present = nil
		}
		if more != nil {
			more(s)
		}
	})
}

// show makes in the instance whose facts the status has.
func (p *supervised) show(in *instance) {
	p.update(func(s *Status) {
		p.shown = in
		in.shownLocked(s)
	})
}

func (in *instance) shownLocked(s *Status) {
	f := &in.facts
	s.PID, s.Detail, s.Name, s.Bundled = f.PID, f.Detail, in.spec.Name, in.spec.Bundled
	s.Attach = in.spec.Attach
	if f.Plugin != "" {
		s.Plugin, s.Version, s.Capabilities = f.Plugin, f.Version, f.Capabilities
		s.ContractVersions, s.ConfigSchema = f.ContractVersions, f.ConfigSchema
	}
}

// tell notes a fact about the process.
func (in *instance) tell(change func(*Status)) {
	p := in.p
	p.mu.Lock()
	change(&in.facts)
	shown := p.shown == in
	if shown {
		in.shownLocked(&p.status)
	}
	p.mu.Unlock()
	if shown {
		p.host.announce()
	}
}

// detail is what the plugin last said about its health.
func (in *instance) detail() string {
	in.p.mu.Lock()
	defer in.p.mu.Unlock()
	return in.facts.Detail
}

// adopt makes in, which is healthy, the one that is called. What its predecessor is asked until then it answers.
func (p *supervised) adopt(in *instance) {
	p.spec, p.output = in.spec, in.output
	p.enter(in.up(), nil, func(s *Status) {
		p.present, p.shown = in, in
		in.shownLocked(s)
	})
	p.host.opt.Logger.Info("plugin ready", "plugin", p.name())
	if in.spec.attached() {
		p.warnAttached(in)
	}
}

// ready returns the present instance, or why there is none.
func (p *supervised) ready() (*instance, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.readyLocked()
}

func (p *supervised) readyLocked() (*instance, error) {
	if p.present == nil {
		return nil, fmt.Errorf("plugin %s is in state %v: %w", p.status.Name, p.status.State, ErrUnavailable)
	}
	return p.present, nil
}

// borrow is ready for one call that is to be finished by the instance that it was given to, also when another one takes its place
// meanwhile. release is called behind it.
func (p *supervised) borrow() (in *instance, release func(), err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if in, err = p.readyLocked(); err != nil {
		return nil, nil, err
	}
	in.inside.Add(1)
	return in, in.inside.Done, nil
}

// waitReady returns when the plugin is ready, or with the reason when it will not be, or when ctx ends.
func (p *supervised) waitReady(ctx context.Context) error {
	for {
		changed := p.host.Changed()
		s := p.Status()
		var err error
		switch {
		case s.State.Up():
			return nil
		case s.State == Failed, s.State == Stopping, s.State == Stopped:
			err = fmt.Errorf("plugin %s is in state %v", s.Name, s.State)
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

// permanentError is why a plugin is not started again.
type permanentError struct{ error }

func (e permanentError) Unwrap() error { return e.error }

func permanent(err error) error { return permanentError{err} }

func isPermanent(err error) bool {
	_, permanent := errors.AsType[permanentError](err)
	return permanent
}

// backoff gives the waits between starts: from min to max, doubling, each with jitter down to its half.
type backoff struct{ min, max, last time.Duration }

func (b *backoff) next() time.Duration {
	b.last = min(max(2*b.last, b.min), b.max)
	return b.last/2 + rand.N(b.last/2+1)
}

func (b *backoff) reset() { b.last = 0 }

// budget is how often a plugin may end within a window before it is left alone for as long.
type budget struct{ ends []time.Time }

// spend notes an end and reports whether there were more than most, itself included, within the window before it.
func (b *budget) spend(now time.Time, most int, window time.Duration) bool {
	if most < 0 {
		return false
	}
	b.ends = slices.DeleteFunc(append(b.ends, now), func(at time.Time) bool { return now.Sub(at) >= window })
	return len(b.ends) > most
}

func (b *budget) reset() { b.ends = nil }
