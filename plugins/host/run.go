package host

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// run starts the plugin again and again until ctx ends. A plugin that is refused for good is left alone until somebody asks for
// a reload.
func (p *supervised) run(ctx context.Context) {
	defer p.finish()
	var asked *reload
	for {
		in, err := p.begin(ctx, asked)
		began := time.Now()
		if err == nil {
			if in, err = p.tend(ctx, in); time.Since(began) >= p.host.opt.HealthyAfter {
				p.wait.reset()
			}
		}
		delay, forever := p.left(ctx, err)
		p.stop(ctx, in, ctx.Err() != nil, errClosed)
		if asked = p.rest(ctx, delay, forever); ctx.Err() != nil {
			if asked != nil {
				asked.answer(errClosed)
			}
			return
		}
		if !p.spec.attached() || asked != nil { // one that is attached to is away until it is found
			p.enter(Starting, nil, func(s *Status) {
				if asked == nil {
					s.Restarts++
				}
			})
		}
	}
}

// begin starts what asked wants, or else what is in force. The instance is never nil.
func (p *supervised) begin(ctx context.Context, asked *reload) (*instance, error) {
	if asked != nil {
		in := p.newInstance(asked.spec, newOutput(p.host.opt.Logger, asked.spec.Name))
		p.show(in)
		err := in.start(ctx)
		if err == nil {
			p.adopt(in)
			p.reloaded(asked, nil)
			return in, nil
		}
		p.reloaded(asked, err)
		if asked.spec.equal(&p.spec) {
			return in, err
		}
		p.stop(ctx, in, false, errReplaced)
	}
	in := p.newInstance(p.spec, p.output)
	p.show(in)
	err := in.start(ctx)
	if err == nil {
		p.adopt(in)
	}
	return in, err
}

// tend watches the present instance until it ends, and lets others take its place when that is asked for. It returns the last one
// and why that ended.
func (p *supervised) tend(ctx context.Context, in *instance) (*instance, error) {
	for {
		if err := in.watch(ctx, p.knock); err != nil {
			return in, err
		}
		r := p.nextReload()
		if r == nil {
			continue
		}
		var err error
		if in, err = p.replace(ctx, in, r); err != nil {
			return in, err
		}
	}
}

// left says, at once, that the plugin is not to be called anymore, and why. It returns how long to wait before the next start.
func (p *supervised) left(ctx context.Context, err error) (delay time.Duration, forever bool) {
	log := p.host.opt.Logger
	most, window := p.spec.budget(&p.host.opt)
	switch {
	case ctx.Err() != nil:
		p.enter(Stopping, nil, nil)
	case isPermanent(err):
		p.enter(Failed, err, nil)
		log.Error("plugin failed and is not started again; mend what is wrong, then send SIGHUP or run carillon plugin reload", "plugin", p.name(), "err", printable(err.Error(), maxText))
		return 0, true
	case p.spec.attached():
		return p.leftAttached(err), false
	case p.crashes.spend(time.Now(), most, window):
		p.crashes.reset()
		err = fmt.Errorf("ended %d times within %v, and is left alone for as long; the last time: %w", most+1, window, err)
		p.enter(Failed, err, func(s *Status) { s.RetryAt = s.Since.Add(window) })
		log.Error("plugin failed", "plugin", p.name(), "err", printable(err.Error(), maxText))
		return window, false
	default:
		delay = p.wait.next()
		p.enter(Backoff, err, func(s *Status) { s.RetryAt = s.Since.Add(delay) })
		log.Warn("plugin ended and will be started again", "plugin", p.name(), "err", printable(err.Error(), maxText))
	}
	return delay, false
}

// stop ends a process, gracefully or not, and waits for it. Calls under way fail with why.
func (p *supervised) stop(ctx context.Context, in *instance, graceful bool, why error) {
	if in.stopped {
		return
	}
	in.stopped = true
	grace, cancel := p.host.stopping()
	defer cancel()
	if ctx.Err() == nil {
		defer context.AfterFunc(ctx, cancel)() // a host that closes meanwhile does not wait for what is being replaced
	}
	if !in.stop(grace, graceful, why) {
		p.host.opt.Logger.Error("plugin process does not end although it was killed", "plugin", p.name())
		return
	}
	in.tell(func(s *Status) { s.PID = 0 })
}

// rest waits until the next start is due, ctx ends, or somebody asks for a reload, which forgives what was.
func (p *supervised) rest(ctx context.Context, delay time.Duration, forever bool) *reload {
	var due <-chan time.Time
	if !forever {
		timer := time.NewTimer(delay)
		defer timer.Stop()
		due = timer.C
	}
	for {
		select {
		case <-due:
			return nil
		case <-ctx.Done():
			return nil
		case <-p.knock:
			if r := p.nextReload(); r != nil {
				p.wait.reset()
				p.crashes.reset()
				return r
			}
		}
	}
}

// finish answers everybody who waits and says that the plugin is gone.
func (p *supervised) finish() {
	p.mu.Lock()
	p.over = true
	asked := p.asked
	p.asked = nil
	p.mu.Unlock()
	for _, r := range asked {
		r.answer(errClosed)
	}
	p.retiring.Wait()
	p.enter(Stopped, nil, nil)
	close(p.ended)
}

var errReplaced = errors.New("another process takes its place")
