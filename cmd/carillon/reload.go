package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/carillon-mq/carillon/broker/admin"
	"github.com/carillon-mq/carillon/cmd/carillon/internal/config"
	"github.com/carillon-mq/carillon/plugins/host"
)

var errEnding = errors.New("the broker is ending")

// reloads changes what can be changed without a restart: the plugins, each as a whole or not at all. They come one after the other,
// whoever asks.
type reloads struct {
	log     *slog.Logger
	plugins *plugins
	load    func() (*config.Config, error)

	turn    chan struct{}  // holds the one token: who has it may go on
	inForce *config.Config // of whoever has the token
}

func newReloads(c *config.Config, p *plugins, load func() (*config.Config, error), log *slog.Logger) *reloads {
	r := &reloads{log: log, plugins: p, load: load, turn: make(chan struct{}, 1), inForce: c}
	r.turn <- struct{}{}
	return r
}

// begin waits for the turn; end passes it on.
func (r *reloads) begin(ctx context.Context) error {
	select {
	case <-r.turn:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (r *reloads) end() { r.turn <- struct{}{} }

// section is a part of the configuration that takes effect without a restart.
type section struct {
	name  string // of its plugin, when it has no other
	keys  []string
	is    func(*config.Config) bool     // there is such a plugin, or one could be without a restart
	names func(*config.Config) bool     // there is such a plugin
	take  func(to, from *config.Config) // the keys
	apply func(context.Context, *plugins, *config.Config) error
}

var settingsOfPlugins = []section{
	{
		name:  host.KindAuth,
		keys:  []string{"plugin", "path", "attach", "sha256", "config", "start_timeout", "crash_budget", "crash_window", "rlimit."},
		is:    (*config.Config).HasAuth,
		names: (*config.Config).HasAuth,
		take: func(to, from *config.Config) {
			t, f := &to.Auth, &from.Auth
			t.Plugin, t.Path, t.Attach, t.SHA256, t.Config = f.Plugin, f.Path, f.Attach, f.SHA256, f.Config
			t.StartTimeout, t.CrashBudget, t.CrashWindow, t.Rlimit = f.StartTimeout, f.CrashBudget, f.CrashWindow, f.Rlimit
		},
		apply: func(ctx context.Context, p *plugins, c *config.Config) error {
			err := p.replace(ctx, p.auth.Status().Name, authSpec(c))
			if err == nil {
				p.guard.Forget()
			}
			return err
		},
	},
	{
		name:  host.KindAuth + shadowSuffix,
		keys:  []string{"shadow."},
		is:    (*config.Config).HasAuth,
		names: (*config.Config).HasShadow,
		take:  func(to, from *config.Config) { to.Auth.Shadow = from.Auth.Shadow },
		apply: setShadow,
	},
	{
		name:  host.KindStore,
		keys:  []string{"plugin", "path", "attach", "sha256", "config", "start_timeout", "crash_budget", "crash_window", "rlimit."},
		is:    (*config.Config).HasStore,
		names: (*config.Config).HasStore,
		take: func(to, from *config.Config) {
			t, f := &to.Store, &from.Store
			t.Plugin, t.Path, t.Attach, t.SHA256, t.Config = f.Plugin, f.Path, f.Attach, f.SHA256, f.Config
			t.StartTimeout, t.CrashBudget, t.CrashWindow, t.Rlimit = f.StartTimeout, f.CrashBudget, f.CrashWindow, f.Rlimit
		},
		apply: func(ctx context.Context, p *plugins, c *config.Config) error {
			spec, err := storeSpec(c)
			if err != nil {
				return err
			}
			return p.replace(ctx, p.store.Status().Name, spec)
		},
	},
}

// has reports whether the key of that path takes effect with the section.
func (s *section) has(path string) bool {
	of, _, _ := strings.Cut(s.name, "-")
	rest, ok := strings.CutPrefix(path, of+".")
	return ok && slices.ContainsFunc(s.keys, func(key string) bool {
		return rest == key || strings.HasSuffix(key, ".") && strings.HasPrefix(rest, key)
	})
}

// replace reloads one plugin. Waiting for it does not end with who asked: the broker's end ends it.
func (p *plugins) replace(ctx context.Context, name string, spec host.Spec) error {
	return p.host.Reload(ctx, name, spec)
}

func setShadow(ctx context.Context, p *plugins, c *config.Config) error {
	if !c.HasShadow() {
		return p.auth.SetShadow(ctx, nil)
	}
	spec := shadowSpec(c)
	return p.auth.SetShadow(ctx, &spec)
}

// all reads the configuration again, has what is new of the plugins take effect, and starts those that have failed. A configuration that
// cannot be read or has a mistake changes nothing. What needs a restart is told.
func (r *reloads) all(ctx context.Context) {
	if r.begin(ctx) != nil {
		return
	}
	defer r.end()
	next, err := r.load()
	if err != nil {
		r.tellMistakes(err)
		return
	}
	changed := config.Changed(r.inForce, next)
	var waiting []string
	applied := r.failed(next)
	if len(changed) == 0 && len(applied) == 0 {
		r.log.Info("SIGHUP: the configuration is as it was")
	}
	for _, path := range changed {
		if s := sectionOf(path); s != nil && s.is(r.inForce) && s.is(next) {
			applied[s] = true
		} else {
			waiting = append(waiting, path)
		}
	}
	for i := range settingsOfPlugins {
		if s := &settingsOfPlugins[i]; applied[s] {
			_ = r.take(ctx, s, next) // it is told there
		}
	}
	if len(waiting) > 0 {
		r.log.Warn("SIGHUP: what has changed here takes effect with a restart of the broker", "reason", strings.Join(waiting, ", "))
	}
}

// failed are the sections of plugins that nobody starts again. What was wrong may have been mended without a word of the configuration
// changed: a key file is back, or may be read.
func (r *reloads) failed(next *config.Config) map[*section]bool {
	sections := map[*section]bool{}
	for _, p := range r.plugins.host.List() {
		if p.State != host.Failed {
			continue
		}
		if s := r.sectionNamed(p.Name); s != nil && s.is(r.inForce) && s.is(next) {
			sections[s] = true
		}
	}
	return sections
}

func sectionOf(path string) *section {
	for i := range settingsOfPlugins {
		if s := &settingsOfPlugins[i]; s.has(path) {
			return s
		}
	}
	return nil
}

// take has the section of next take effect. Without success everything stays as it is.
func (r *reloads) take(ctx context.Context, s *section, next *config.Config) error {
	c := *r.inForce
	s.take(&c, next)
	if err := s.apply(ctx, r.plugins, &c); err != nil {
		r.log.Error("plugin keeps the settings it had", "plugin", s.name, "err", err)
		return err
	}
	r.inForce = &c
	r.log.Info("plugin has the settings of the configuration as it is now", "plugin", s.name)
	return nil
}

// named reloads one plugin, changed or not, with its section of the configuration as it is now. A plugin is named by its name or its
// kind.
func (r *reloads) named(ctx context.Context, name string) error {
	if err := r.begin(ctx); err != nil {
		return err
	}
	defer r.end()
	s := r.sectionNamed(name)
	if s == nil || !s.is(r.inForce) {
		return admin.ErrNoPlugin
	}
	next, err := r.load()
	if err != nil {
		r.tellMistakes(err)
		return fmt.Errorf("the configuration has a mistake: %w", err)
	}
	if s.is(next) && !s.names(r.inForce) && !s.names(next) {
		return admin.ErrNoPlugin
	}
	if !s.is(next) {
		return fmt.Errorf("the configuration has no such plugin anymore: %s; that takes effect with a restart of the broker", s.name)
	}
	return r.take(context.WithoutCancel(ctx), s, next) // who asked may go away; the reload goes on
}

// sectionNamed is the section of a plugin by its kind, its present name, or the name that it gives itself.
func (r *reloads) sectionNamed(name string) *section {
	plugins := r.plugins.host.List()
	at := slices.IndexFunc(plugins, func(p host.Status) bool { return p.Name == name })
	if at < 0 && !slices.ContainsFunc(settingsOfPlugins, func(s section) bool { return s.name == name }) {
		at = slices.IndexFunc(plugins, func(p host.Status) bool { return p.Plugin == name && !p.Shadow })
	}
	if at >= 0 {
		name = plugins[at].Kind
		if plugins[at].Shadow {
			name += shadowSuffix
		}
	}
	for i := range settingsOfPlugins {
		if s := &settingsOfPlugins[i]; s.name == name {
			return s
		}
	}
	return nil
}

func (r *reloads) tellMistakes(err error) {
	var problems config.KeyErrors
	if !errors.As(err, &problems) {
		problems = nil
		r.log.Error("the configuration cannot be read; the one in force stays", "err", err)
	}
	for _, p := range problems {
		r.log.Error("the configuration has a mistake; the one in force stays", "err", p)
	}
}
