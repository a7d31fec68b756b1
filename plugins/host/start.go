package host

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/carillon-mq/carillon/plugins/internal/wire"
	"github.com/carillon-mq/carillon/plugins/internal/wire/commonv1pb"
)

// instance is a plugin from one start to its end. Everything in it is made anew for each start: go-plugin's configuration, the
// command and the checksum can be used once.
type instance struct {
	p       *supervised
	spec    Spec
	output  *output
	process *process // nil if it is attached to, as is client
	client  *plugin.Client
	socket  *attachedConn    // nil unless it is attached to
	conn    *grpc.ClientConn // nil until the handshake is done
	common  commonv1pb.PluginServiceClient
	auth    *wire.AuthClient
	store   *wire.StoreClient

	ctx    context.Context // ends with the process; the cause says why
	cancel context.CancelCauseFunc
	calls  sync.WaitGroup // store.Run

	current context.Context // ends with ctx, or earlier when another instance has taken this one's place: streams move over
	replace context.CancelCauseFunc
	inside  sync.WaitGroup // calls that have borrowed it; supervised.mu is held to add to it

	facts   Status // PID, Detail, and what it says of itself; guarded by supervised.mu
	misses  int    // health checks missed in a row; the run's alone
	stopped bool   // the run's alone
}

// newInstance makes what is to be started as spec says. What it prints goes to o.
func (p *supervised) newInstance(spec Spec, o *output) *instance {
	in := &instance{p: p, spec: spec, output: o}
	in.ctx, in.cancel = context.WithCancelCause(context.Background())
	in.current, in.replace = context.WithCancelCause(in.ctx)
	if spec.attached() {
		return in
	}
	in.process = newProcess(p.host, o)
	in.process.limits = spec.Limits
	in.process.onStart = func(pid int) { in.tell(func(s *Status) { s.PID = pid }) }
	in.process.onEnd = func(err error) { in.cancel(p.unavailable(err)) }
	return in
}

// start brings a new process to the point where it may be called. The instance must be stopped, also after an error. What
// another start cannot mend is a permanentError.
func (in *instance) start(ctx context.Context) error {
	return in.within(ctx, func(ctx context.Context) error {
		if err := in.launch(ctx); err != nil {
			return err
		}
		if in.spec.attached() {
			in.p.found()
		}
		if err := in.describe(ctx); err != nil {
			return err
		}
		return in.open(ctx)
	})
}

// within runs f, a part of a start, with the time for a whole one.
func (in *instance) within(ctx context.Context, f func(context.Context) error) error {
	if in.spec.attached() {
		return in.unhurried(ctx, f)
	}
	limit := in.startTimeout()
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("not ready after %v", limit))
	defer cancel()
	defer context.AfterFunc(ctx, in.process.kill)() // go-plugin waits without a context; the end of the process ends its wait
	if err := f(ctx); err != nil {
		return in.explain(ctx, err)
	}
	return nil
}

// prepare is the part of a start that touches nothing outside the plugin.
func (in *instance) prepare(ctx context.Context) error {
	if err := in.launch(ctx); err != nil {
		return err
	}
	return in.describe(ctx)
}

// open is the rest: the plugin opens what it needs.
func (in *instance) open(ctx context.Context) error {
	if err := in.configure(ctx); err != nil {
		return err
	}
	if err := in.health(ctx); err != nil {
		return err
	}
	if in.store != nil {
		in.calls.Go(func() { in.store.Run(in.ctx) })
	}
	return nil
}

// startTimeout is from the start of the process to the first good Health.
func (in *instance) startTimeout() time.Duration {
	if in.spec.StartTimeout > 0 {
		return in.spec.StartTimeout
	}
	return in.p.host.opt.StartTimeout
}

// launch starts the process and connects to it; one that somebody else has started is only connected to.
func (in *instance) launch(ctx context.Context) error {
	if in.spec.attached() {
		return in.attach(ctx)
	}
	p := in.p
	image, err := openImage(ctx, &in.spec)
	if err != nil {
		return err
	}
	defer image.close()
	in.client = plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig:  plugin.HandshakeConfig{MagicCookieKey: wire.CookieKey, MagicCookieValue: wire.CookieValue},
		VersionedPlugins: map[int]plugin.PluginSet{wire.ContractVersion: {wire.SetName: connection{}}},
		RunnerFunc: func(_ hclog.Logger, spec *exec.Cmd, dir string) (runner.Runner, error) {
			in.process.prepare(image, append(p.host.environment(), spec.Env...), dir, in.spec.autoMTLS())
			return in.process, nil
		},
		StartTimeout:     2 * in.startTimeout(), // ctx comes first and says why
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		AutoMTLS:         in.spec.autoMTLS(),
		SkipHostEnv:      true,
		UnixSocketConfig: &plugin.UnixSocketConfig{TempDir: p.host.folder.path},
		Logger:           hclog.NewNullLogger(),
		SyncStdout:       in.output.stream(),
		SyncStderr:       in.output.stream(),
		GRPCDialOptions:  append(wire.DialOptions(), grpc.WithContextDialer(in.process.dial), grpc.WithChainUnaryInterceptor(p.calls.intercept)),
	})
	client, err := in.client.Client()
	if err != nil {
		return err
	}
	raw, err := client.Dispense(wire.SetName)
	if err != nil {
		return err
	}
	in.use(raw.(*grpc.ClientConn))
	return nil
}

// use makes the calls of conn those of the instance.
func (in *instance) use(conn *grpc.ClientConn) {
	in.conn = conn
	in.common = commonv1pb.NewPluginServiceClient(conn)
	if in.spec.Kind == KindAuth {
		in.auth = wire.NewAuthClient(conn)
	} else {
		in.store = wire.NewStoreClient(conn)
	}
}

// connection is the one entry of go-plugin's plugin set: what it dispenses is the connection itself.
type connection struct{ plugin.NetRPCUnsupportedPlugin }

// GRPCServer implements plugin.GRPCPlugin; a host is no plugin.
func (connection) GRPCServer(*plugin.GRPCBroker, *grpc.Server) error {
	return errors.New("a host is not a plugin")
}

// GRPCClient implements plugin.GRPCPlugin.
func (connection) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return conn, nil
}

// Bounds of a description (spec/plugin/common/v1/common.proto).
const (
	maxText         = 1024
	maxVersion      = 64
	maxCapabilities = 64
)

// describe asks the plugin what it is, and refuses one that cannot be what the Spec wants.
func (in *instance) describe(ctx context.Context) error {
	d, err := in.says(ctx)
	if err != nil {
		return err
	}
	if want := in.spec.Kind; d.Kind != want {
		return permanent(fmt.Errorf("%s is a plugin of kind %q, wanted %q", d.Name, d.Kind, want))
	}
	if !slices.Contains(d.ContractVersions, wire.ContractVersion) {
		return permanent(fmt.Errorf("%s %s serves versions %v of the contract %q, this broker needs %d: install a matching version of the plugin",
			d.Name, d.Version, d.ContractVersions, d.Kind, wire.ContractVersion))
	}
	if err := checkConfig(d.ConfigSchema, in.spec.config()); err != nil {
		return permanent(err)
	}
	in.tell(func(s *Status) {
		s.Plugin, s.Version, s.Capabilities = d.Name, d.Version, d.Capabilities
		s.ContractVersions, s.ConfigSchema = d.ContractVersions, d.ConfigSchema
	})
	return nil
}

// says is what the plugin says of itself, whatever the Spec wants.
func (in *instance) says(ctx context.Context) (Description, error) {
	d, err := in.common.Describe(ctx, &commonv1pb.DescribeRequest{})
	if err != nil {
		return Description{}, &callError{"describe", err}
	}
	if !validName(d.GetName()) || len(d.GetVersion()) > maxVersion || len(d.GetCapabilities()) > maxCapabilities {
		return Description{}, fmt.Errorf("%w: its description has no name, or a version or capabilities beyond all bounds", wire.ErrMalformed)
	}
	of := Description{
		Name: d.GetName(), Version: printable(d.GetVersion(), maxVersion), Kind: printable(d.GetKind(), maxVersion),
		ContractVersions: d.GetContractVersions(), ConfigSchema: d.GetConfigSchema(),
	}
	for _, c := range d.GetCapabilities() {
		of.Capabilities = append(of.Capabilities, printable(c, maxVersion))
	}
	return of, nil
}

// configure hands the configuration over. INVALID_ARGUMENT is the plugin's word that it is wrong.
func (in *instance) configure(ctx context.Context) error {
	_, err := in.common.Configure(ctx, &commonv1pb.ConfigureRequest{Config: in.spec.config()})
	switch {
	case status.Code(err) == codes.InvalidArgument:
		return permanent(fmt.Errorf("configuration refused: %s", status.Convert(err).Message()))
	case in.spec.attached() && status.Code(err) == codes.FailedPrecondition:
		in.p.host.opt.Logger.Warn("plugin keeps the configuration that it was given first; start it anew to change that", "plugin", in.spec.Name)
		return nil
	case err != nil:
		return &callError{"configure", err}
	}
	return nil
}

// callError is a call to a plugin that failed, without gRPC's words around the plugin's.
type callError struct {
	call string
	err  error
}

func (e *callError) Error() string {
	text := printable(status.Convert(e.err).Message(), maxText)
	if status.Code(e.err) == codes.DeadlineExceeded {
		text = "no answer in time"
	}
	return e.call + ": " + text
}

func (e *callError) Unwrap() error { return e.err }

func (s *Spec) config() []byte {
	if len(s.Config) == 0 {
		return []byte("{}")
	}
	return s.Config
}

// explain is why a start failed, in the words that help most: what was refused, what was wrong with the handshake, that it took
// too long, how the process ended, and only then the error of the step that noticed.
func (in *instance) explain(ctx context.Context, err error) error {
	if _, refused := errors.AsType[permanentError](err); refused {
		return err
	}
	if fault := in.process.fault(); fault != nil {
		return fault
	}
	if end, _ := ctx.Deadline(); status.Code(err) == codes.DeadlineExceeded && time.Until(end) < 100*time.Millisecond {
		<-ctx.Done() // the plugin's own clock, which has the same deadline, was a little faster
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	settle := time.Duration(0)
	switch {
	case in.conn == nil:
		settle = time.Second // it has ended, or was killed by go-plugin
	case status.Code(err) == codes.Unavailable:
		settle = 100 * time.Millisecond // it may have ended
	}
	if end := in.process.ownEnd(settle); end != nil {
		return fmt.Errorf("ended before it was ready: %w", end)
	}
	if errors.Is(err, errSpawn) && in.p.Status().Plugin == "" {
		return permanent(err) // never once started: the path is wrong, not something that passes
	}
	return err
}
