// Package kit is what the main function of a Carillon plugin calls:
//
//	func main() {
//		kit.Serve(kit.Plugin{Name: "auth-guests", Version: "1.0.0", Kind: kit.KindAuth, Auth: newGuests})
//	}
//
// Serve answers the broker's calls until the broker asks the plugin to end, or is gone. The contract is spec/plugin.md and the
// protos beside it; an author who uses this package needs neither.
package kit

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/plugins/internal/wire"
)

// The kinds of plugins.
const (
	KindAuth  = wire.KindAuth
	KindStore = wire.KindStore
)

// Plugin describes a plugin and makes it. Of Auth and Store exactly the one of its Kind is set.
type Plugin struct {
	Name         string // 1 to 64 bytes of a-z, 0-9 and "-"
	Version      string
	Kind         string   // KindAuth or KindStore
	ConfigSchema string   // JSON Schema of the configuration; the broker checks it before the plugin is asked. Empty: any object
	Capabilities []string // words of the kind's contract: the powers, such as broker.PowerAuthorize

	// Auth makes the plugin from its configuration, a JSON object. It is called once. An error made by BadConfig is final;
	// any other is taken as passing, and the broker starts the plugin again later. What it makes must be a broker.Authorizer and a
	// broker.Revoker if the Capabilities say so.
	Auth func(config json.RawMessage) (broker.Authenticator, error)
	// Store is the same for a store. Its Close is called when the broker asks the plugin to end.
	Store func(config json.RawMessage) (Store, error)
}

// Store is a broker.Store that can be closed. After Close no other method is called. The payloads, keys and digests of one batch share
// a piece of memory: a Store that keeps one of them for long copies it.
type Store interface {
	broker.Store
	io.Closer
}

// HealthChecker is an optional interface of what Auth and Store return. CheckHealth is called once a second and must answer at
// once; an error means that the plugin cannot work now, and after three of them the broker starts it anew.
type HealthChecker interface {
	CheckHealth() error
}

// ConfigError is a configuration that the plugin refuses.
type ConfigError struct{ Reason string }

// Error is the reason.
func (e *ConfigError) Error() string { return e.Reason }

// BadConfig refuses a configuration for good. The text names the key and never holds a secret.
func BadConfig(format string, a ...any) error {
	return &ConfigError{Reason: fmt.Sprintf(format, a...)}
}

// Serve runs p until the broker asks it to end; then it returns. It must be called by main before anything is written to
// standard output, which carries the handshake; standard error carries the log (package slog is set up for it). Standard
// input is the broker's lifeline: when it ends, the broker is gone and Serve ends the process at once. SIGTERM is left to
// the broker, which stops its plugins in order.
//
// A program that was not started by a broker is told so, and exits with status 2. With the argument --debug, or --debug=unix:/path, it waits
// for a broker (`auth.attach`, `store.attach`) or `carillon plugin test --attach` instead, at an address that it prints: the way to look into
// a plugin with a debugger.
func Serve(p Plugin) {
	if err := p.check(); err != nil {
		exit(2, err.Error())
	}
	if at, ok := debugging(); ok {
		if err := serveDebug(p, at); err != nil {
			exit(1, err.Error())
		}
		return
	}
	if os.Getenv(wire.CookieKey) != wire.CookieValue {
		exit(2, fmt.Sprintf("%s is a Carillon plugin of kind %q and does nothing by itself: a broker starts it.\n"+
			"Name it in carillon.yaml (%s: {path: …, sha256: …}) and run `carillon serve`; start it with --debug to attach a broker or a test to it.", p.Name, p.Kind, p.Kind))
	}
	signal.Ignore(syscall.SIGTERM)
	go watchLifeline(os.Stdin) // as long as the process
	logTo(os.Stderr)
	s := &server{plugin: p}
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig:  plugin.HandshakeConfig{MagicCookieKey: wire.CookieKey, MagicCookieValue: wire.CookieValue},
		VersionedPlugins: map[int]plugin.PluginSet{wire.ContractVersion: {wire.SetName: &pluginSet{server: s}}},
		GRPCServer: func(opts []grpc.ServerOption) *grpc.Server {
			return grpc.NewServer(append(opts, wire.ServerOptions()...)...)
		},
		Logger: hclog.New(&hclog.LoggerOptions{Name: p.Name, Level: hclog.Warn, Output: os.Stderr, JSONFormat: true}),
	})
	if err := s.close(); err != nil {
		slog.Error("plugin did not close cleanly", "err", err)
		os.Exit(1)
	}
}

func (p *Plugin) check() error {
	switch {
	case p.Name == "":
		return errors.New("kit.Plugin needs a Name")
	case p.Kind == KindAuth && p.Auth != nil && p.Store == nil:
		return nil
	case p.Kind == KindStore && p.Store != nil && p.Auth == nil:
		return nil
	}
	return fmt.Errorf("plugin %s: Kind must be %q with Auth set, or %q with Store set", p.Name, KindAuth, KindStore)
}

func exit(status int, why string) {
	fmt.Fprintln(os.Stderr, why)
	os.Exit(status)
}

// watchLifeline ends the process when the other end of the pipe is closed, by whatever end of the broker.
func watchLifeline(r io.Reader) {
	_, _ = io.Copy(io.Discard, r)
	os.Exit(3)
}

// logTo makes slog write JSON lines to w, which the broker takes over into its own log.
func logTo(w io.Writer) {
	level := slog.LevelInfo
	if os.Getenv(wire.LogKey) == "debug" {
		level = slog.LevelDebug
	}
	slog.SetDefault(slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level})))
}
