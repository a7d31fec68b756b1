package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// CapabilityShared is the word by which a store says that several processes may have it open. Such a one is replaced without being
// away: the new process starts beside the old one.
const CapabilityShared = "shared"

// ErrNoPlugin is the answer of Reload for a name that no plugin has.
var ErrNoPlugin = errors.New("no plugin has this name")

// reload asks for another process in the place of the present one.
type reload struct {
	spec Spec
	done chan error // capacity 1
}

func (r *reload) answer(err error) { r.done <- err }

// Reload puts a process that is started by spec in the place of the plugin of that name, and returns when it answers. Until then
// the old one does, and it finishes the calls it was given. A store that needs its file alone is away for a moment, from the end of
// the old process to the first good Health of the new one.
//
// When the new process does not become healthy in its StartTimeout the old settings stay in force: the old process goes on, or is
// started again if it had to end before. The error says why. A plugin that is away is started at once, whatever it has used up of
// its crash budget. Reloads of a plugin are carried out one after the other, also when ctx, which bounds the wait alone, has ended.
func (h *Host) Reload(ctx context.Context, name string, spec Spec) error {
	p := h.find(name)
	if p == nil {
		return fmt.Errorf("%q: %w", printable(name, 80), ErrNoPlugin)
	}
	if spec.Kind == "" {
		spec.Kind = p.kind
	}
	if spec.Kind != p.kind {
		return fmt.Errorf("plugin %s is of kind %q, and cannot take the place of one of kind %q", spec.Name, spec.Kind, p.kind)
	}
	if err := spec.check(); err != nil {
		return err
	}
	if other := h.find(spec.Name); other != nil && other != p {
		return fmt.Errorf("plugin %s is there twice", spec.Name)
	}
	spec.shadow = p.Status().Shadow
	r := &reload{spec: spec, done: make(chan error, 1)}
	if !p.ask(r) {
		return errClosed
	}
	select {
	case err := <-r.done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("plugin %s is still being replaced: %w", name, context.Cause(ctx))
	}
}

func (h *Host) find(name string) *supervised {
	h.mu.Lock()
	plugins := slices.Clone(h.plugins)
	h.mu.Unlock()
	for _, p := range plugins {
		if p.name() == name {
			return p
		}
	}
	return nil
}

// equal reports whether a process started by s would be the same as one started by o.
func (s *Spec) equal(o *Spec) bool {
	return s.Name == o.Name && s.Kind == o.Kind && s.Path == o.Path && s.Attach == o.Attach && slices.Equal(s.Args, o.Args) && s.SHA256 == o.SHA256 &&
		s.Bundled == o.Bundled && bytes.Equal(s.config(), o.config()) && s.StartTimeout == o.StartTimeout && s.Limits == o.Limits &&
		s.CrashBudget == o.CrashBudget && s.CrashWindow == o.CrashWindow
}

// ask puts r in line, and reports false when nobody takes it anymore.
func (p *supervised) ask(r *reload) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		return false
	}
	p.asked = append(p.asked, r)
	if p.onAsk != nil {
		p.onAsk()
	}
	p.ring()
	return true
}

// whenAsked has f called as soon as a reload waits, until stop is called.
func (p *supervised) whenAsked(f func()) (stop func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.onAsk = f; len(p.asked) > 0 {
		f()
	}
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.onAsk = nil
	}
}

func (p *supervised) ring() {
	select {
	case p.knock <- struct{}{}:
	default:
	}
}

// nextReload is the first in line; nil when there is none.
func (p *supervised) nextReload() *reload {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.asked) == 0 {
		return nil
	}
	r := p.asked[0]
	if p.asked = p.asked[1:]; len(p.asked) > 0 {
		p.ring()
	}
	return r
}

// reloaded notes how a reload went, and answers it. One that succeeds forgives what was. Called by run's goroutine.
func (p *supervised) reloaded(r *reload, err error) {
	text := ""
	if err == nil {
		p.wait.reset()
		p.crashes.reset()
	} else {
		text = printable(err.Error(), maxText)
		p.host.opt.Logger.Error("plugin is not replaced", "plugin", p.name(), "err", text)
	}
	p.update(func(s *Status) {
		s.ReloadError = text
		if err == nil {
			s.LastError, s.LastErrorAt = "", time.Time{}
			s.Reloads++
		}
	})
	r.answer(err)
}

// replace puts what r wants in the place of in, and returns who is called from then on: the new instance, or in when the new one is
// not fit. An error is why neither of them runs; the instance is then the last one that did.
func (p *supervised) replace(ctx context.Context, in *instance, r *reload) (*instance, error) {
	next := p.newInstance(r.spec, newOutput(p.host.opt.Logger, r.spec.Name))
	started := make(chan struct{})
	var err error
	var opened bool
	go func() { // waited for in every case below
		defer close(started)
		if err = next.within(ctx, next.prepare); err == nil && next.fitsBeside(in) {
			opened = true
			err = next.within(ctx, next.open)
		}
	}()
	died := in.watch(ctx, started)
	if died != nil {
		p.enter(Starting, died, nil)
		p.stop(ctx, in, ctx.Err() != nil, errReplaced)
	}
	<-started
	switch {
	case err != nil:
		p.stop(ctx, next, false, errReplaced)
		p.reloaded(r, err)
		return in, died
	case opened:
		p.adopt(next)
		p.reloaded(r, nil)
		p.retire(ctx, in)
		return next, nil
	case died != nil:
		return p.handOver(ctx, in, next, r)
	}
	p.enter(Starting, nil, nil)
	p.stop(ctx, in, true, errReplaced)
	return p.handOver(ctx, in, next, r)
}

// fitsBeside reports whether the instance may open what it needs while old still has it open.
func (in *instance) fitsBeside(old *instance) bool {
	in.p.mu.Lock()
	defer in.p.mu.Unlock()
	return in.p.kind != KindStore || slices.Contains(in.facts.Capabilities, CapabilityShared) && slices.Contains(old.facts.Capabilities, CapabilityShared)
}

// handOver opens next, now that old has ended. When that does not work, the settings of old get another process.
func (p *supervised) handOver(ctx context.Context, old, next *instance, r *reload) (*instance, error) {
	p.show(next)
	err := next.within(ctx, next.open)
	if err == nil {
		p.adopt(next)
		p.reloaded(r, nil)
		return next, nil
	}
	p.stop(ctx, next, false, errReplaced)
	back := p.newInstance(old.spec, old.output)
	p.show(back)
	again := back.start(ctx)
	if again == nil {
		p.adopt(back)
	}
	p.reloaded(r, err)
	return back, again
}

// retire lets in, which is not called anymore, finish what it was asked, and ends it.
func (p *supervised) retire(ctx context.Context, in *instance) {
	in.replace(p.unavailable(errReplaced))
	p.retiring.Go(func() {
		answered := make(chan struct{})
		go func() { in.inside.Wait(); close(answered) }() // ends at the latest when stop has ended the calls
		timer := time.NewTimer(p.host.opt.DrainTimeout)
		defer timer.Stop()
		select {
		case <-answered:
		case <-in.ctx.Done():
		case <-timer.C:
		case <-ctx.Done():
		}
		p.stop(ctx, in, true, errReplaced)
		<-answered
	})
}
