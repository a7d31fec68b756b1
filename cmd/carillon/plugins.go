package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/admin"
	"github.com/carillon-mq/carillon/cmd/carillon/internal/config"
	"github.com/carillon-mq/carillon/plugins/authguard"
	"github.com/carillon-mq/carillon/plugins/host"
)

// plugins are the processes beside the broker. auth and store are nil when there are none.
type plugins struct {
	host      *host.Host
	auth      *host.Auth
	guard     *authguard.Guard // what the core asks in auth's place
	store     *host.Store
	storeAway string // what a publish that needs the store gets while that gives no answers
}

// maxSocketDir is the longest folder the host takes for its sockets.
const maxSocketDir = 64

// startPlugins starts what the configuration names. It returns before the plugins are ready.
func startPlugins(c *config.Config, log *slog.Logger) (*plugins, error) {
	if err := makeDataDir(c.DataDir); err != nil {
		return nil, err
	}
	sockets, err := absolute(c.DataDir, "run")
	if err != nil {
		return nil, err
	}
	if len(sockets) > maxSocketDir {
		sockets = "" // one in the system's folder for temporary files
	}
	h, err := host.New(host.Options{Dir: sockets, Logger: log})
	if err != nil {
		return nil, fmt.Errorf("data_dir %s: %w", c.DataDir, err)
	}
	p := &plugins{host: h, storeAway: fmt.Sprintf("%s(%v)", c.Store.OnFailure, c.Limits.StoreTimeout)}
	if c.HasAuth() {
		if p.auth, err = h.Auth(authSpec(c)); err == nil {
			p.guard = guard(c, p.auth, log)
		}
	}
	if err == nil && c.HasShadow() {
		shadow := shadowSpec(c)
		err = p.auth.SetShadow(context.Background(), &shadow)
	}
	if err == nil && c.HasStore() {
		var store host.Spec
		if store, err = storeSpec(c); err == nil {
			p.store, err = h.Store(store)
		}
	}
	if err != nil {
		ctx, cancel := context.WithTimeout(context.Background(), pluginCloseTime)
		defer cancel()
		_ = h.Close(ctx) // the start has failed: that is what is told
		return nil, err
	}
	return p, nil
}

// guard says what happens while the plugin gives no answers.
func guard(c *config.Config, auth *host.Auth, log *slog.Logger) *authguard.Guard {
	o := authguard.Options{Logger: log}
	if c.Auth.OnFailure == config.LastKnownGood {
		o.LastKnownGood = time.Duration(c.Auth.LastKnownGood)
	}
	return authguard.New(auth, o)
}

func authSpec(c *config.Config) host.Spec {
	if c.Auth.Attach != "" {
		return host.Spec{Name: host.KindAuth, Attach: c.Auth.Attach, Config: orEmpty(c.Auth.Config)}
	}
	s := spec("auth", c.Auth.Plugin, c.Auth.Path, c.Auth.SHA256, orEmpty(c.Auth.Config))
	s.StartTimeout, s.Limits = time.Duration(c.Auth.StartTimeout), rlimits(c.Auth.Rlimit)
	s.CrashBudget, s.CrashWindow = int(c.Auth.CrashBudget), time.Duration(c.Auth.CrashWindow)
	return s
}

// shadowSpec is the candidate, under the limits of the plugin whose place it is to take.
func shadowSpec(c *config.Config) host.Spec {
	candidate := *c
	candidate.Auth.Attach = ""
	candidate.Auth.Plugin, candidate.Auth.Path, candidate.Auth.SHA256 = c.Auth.Shadow.Plugin, c.Auth.Shadow.Path, c.Auth.Shadow.SHA256
	candidate.Auth.Config = c.Auth.Shadow.Config
	s := authSpec(&candidate)
	s.Name += shadowSuffix
	return s
}

// shadowSuffix follows the name of a candidate, and its kind where that stands alone.
const shadowSuffix = "-shadow"

func storeSpec(c *config.Config) (host.Spec, error) {
	settings := orEmpty(c.Store.Config)
	if c.Store.Attach != "" {
		return host.Spec{Name: host.KindStore, Attach: c.Store.Attach, Config: settings}, nil
	}
	if c.Store.Path == "" {
		var err error
		if settings, err = storeConfig(c); err != nil {
			return host.Spec{}, err
		}
	}
	s := spec("store", c.Store.Plugin, c.Store.Path, c.Store.SHA256, settings)
	s.StartTimeout, s.Limits = time.Duration(c.Store.StartTimeout), rlimits(c.Store.Rlimit)
	s.CrashBudget, s.CrashWindow = int(c.Store.CrashBudget), time.Duration(c.Store.CrashWindow)
	return s, nil
}

// rlimits are the host's, in which 0 is none.
func rlimits(r config.Rlimit) host.Limits {
	bound := func(n int64) int64 { return max(n, 0) } // config.Unlimited is below it
	return host.Limits{
		Memory: bound(int64(r.Memory)), AddressSpace: bound(int64(r.AddressSpace)), OpenFiles: bound(int64(r.OpenFiles)),
		CPU: time.Duration(bound(int64(r.CPUSeconds))) * time.Second, Processes: bound(int64(r.Processes)),
	}
}

// spec describes a bundled plugin by its name, another by its path and under the name of its kind.
func spec(kind, name, path, sha256 string, settings []byte) host.Spec {
	if path != "" {
		return host.Spec{Name: kind, Path: path, SHA256: sha256, Config: settings}
	}
	return host.Spec{Name: name, Bundled: true, Args: []string{pluginServe, name}, Config: settings}
}

// makeDataDir makes the folder, for this user alone, if it is missing, and tries to write into it.
func makeDataDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return dataDirError(dir, err)
	}
	probe, err := os.CreateTemp(dir, ".writable-*")
	if err != nil {
		return dataDirError(dir, err)
	}
	_ = probe.Close()
	if err := os.Remove(probe.Name()); err != nil {
		return dataDirError(dir, err)
	}
	return nil
}

// dataDirError says why the folder cannot be used, by whom, and what to do.
func dataDirError(dir string, err error) error {
	if whole, absErr := filepath.Abs(dir); absErr == nil {
		dir = whole
	}
	if pe, ok := errors.AsType[*os.PathError](err); ok {
		err = pe.Err
	}
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("data_dir: the user with id %d may not write to %s: %w; give that user the folder (chown %[1]d), "+
			"run as its owner, or name another folder with --data-dir", os.Getuid(), dir, err)
	}
	return fmt.Errorf("data_dir: %s cannot be used: %w; name another folder with --data-dir", dir, err)
}

func absolute(parts ...string) (string, error) { return filepath.Abs(filepath.Join(parts...)) }

// into gives the core its ports.
func (p *plugins) into(o *broker.Options) {
	if p.auth != nil {
		o.Authenticator = p.guard
	}
	if p.store != nil {
		o.Store = p.store
	}
}

// firstStarts is how often a plugin may fail to start before a broker that starts gives up. Once it was ready, a plugin is
// started again for ever.
const firstStarts = 3

// wait returns when every plugin is ready, or with why one does not start. A candidate is not waited for.
func (p *plugins) wait(ctx context.Context) error {
	for {
		changed := p.host.Changed()
		ready := true
		for _, s := range p.host.List() {
			switch {
			case s.Shadow, s.State.Up():
			case s.State == host.Failed, s.State == host.Backoff && s.Restarts+1 >= firstStarts && s.Attach == "":
				return fmt.Errorf("the %s plugin %s does not start: %s", s.Kind, s.Name, s.LastError)
			default:
				ready = false
			}
		}
		if ready {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("plugins: %w", context.Cause(ctx))
		}
	}
}

// list is the plugins as operators see them.
func (p *plugins) list() []admin.Plugin {
	var out []admin.Plugin
	for _, f := range p.host.Figures() {
		s := f.Status
		shown := admin.Plugin{
			Name: s.Name, Kind: s.Kind, Shadow: s.Shadow, Plugin: s.Plugin, Version: s.Version, State: s.State.String(), Up: s.State.Up(),
			Attach: s.Attach, PID: s.PID, Restarts: s.Restarts, Reloads: s.Reloads, Since: s.Since, RetryAt: s.RetryAt, LastError: s.LastError, LastErrorAt: s.LastErrorAt,
			ReloadError: s.ReloadError, Trouble: s.Trouble, Detail: s.Detail,
			Memory: f.Usage.Memory, CPUSeconds: f.Usage.CPU.Seconds(), Processes: f.Usage.Processes,
			Says: descriptionOf(s.ContractVersions, s.Capabilities, s.ConfigSchema),
		}
		for _, c := range f.Calls {
			shown.Calls = append(shown.Calls, admin.PluginCall{Call: c.Call, Seconds: c.Seconds, Errors: c.Errors})
		}
		if f.Shadow != nil {
			shown.Compared = &admin.Comparison{
				Answers: f.Shadow.Compared, Differences: f.Shadow.Differences, Failed: f.Shadow.Failed, Dropped: f.Shadow.Dropped,
			}
		}
		switch {
		case s.Kind == host.KindStore:
			shown.OnFailure = p.storeAway
		case !s.Shadow:
			describeGuard(&shown, p.guard.Status())
		}
		out = append(out, shown)
	}
	return out
}

// describeGuard shows what stands in for the auth plugin.
func describeGuard(p *admin.Plugin, g authguard.Status) {
	p.OnFailure = config.Deny
	if g.LastKnownGood > 0 {
		p.OnFailure = fmt.Sprintf("%s(%v)", config.LastKnownGood, config.Duration(g.LastKnownGood))
	}
	p.Guard = &admin.Guard{Hangs: g.Hangs, Remembered: g.Remembered, Recalled: g.Recalled, Undecided: g.Failed}
}

// close asks the plugins to end, the ones nobody waits for first, and waits until they are gone.
func (p *plugins) close(ctx context.Context) error { return p.host.Close(ctx) }
