package host

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	grpcbackoff "google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/carillon-mq/carillon/plugins/internal/wire"
)

// attachEvery is how long a host waits before it connects again to a plugin that it has not started; Options.BackoffMax if that is less.
// To connect costs next to nothing, and somebody sits in front of it.
const attachEvery = time.Second

// attached reports whether somebody else starts the plugin, under a debugger as a rule. A host connects to it and asks it, and neither ends
// it nor holds it to a deadline of its own: whoever stands at a breakpoint is no fault. The deadlines of callers hold.
func (s *Spec) attached() bool { return s.Attach != "" }

func (s *Spec) checkAttach() error {
	switch {
	case s.Path != "" || s.SHA256 != "" || s.Bundled:
		return fmt.Errorf("plugin %s is attached to: it has no path and no sha256, and is not bundled", s.Name)
	case s.Limits != Limits{}:
		return fmt.Errorf("plugin %s is attached to: its process is not the host's to limit", s.Name)
	}
	if _, err := wire.AttachPath(s.Attach); err != nil {
		return fmt.Errorf("plugin %s: %w", s.Name, err)
	}
	return nil
}

// attach connects to a plugin that is there already.
func (in *instance) attach(ctx context.Context) error {
	socket, pid, err := wire.DialAttached(ctx, in.spec.Attach)
	if err != nil {
		return fmt.Errorf("attach: %w", err)
	}
	in.socket = &attachedConn{Conn: quiet(socket), onEnd: func() { in.cancel(in.p.unavailable(errDetached)) }}
	handed := make(chan net.Conn, 1)
	handed <- in.socket
	dial := func(context.Context, string) (net.Conn, error) {
		select {
		case conn := <-handed:
			return conn, nil
		default: // with the one connection the instance ends
			return nil, errDetached
		}
	}
	conn, err := grpc.NewClient("passthrough:///attached", append(wire.DialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(dial), grpc.WithIdleTimeout(0), grpc.WithConnectParams(unhurriedConnect), grpc.WithChainUnaryInterceptor(in.p.calls.intercept))...)
	if err != nil {
		return fmt.Errorf("attach: %w", err)
	}
	in.use(conn)
	in.tell(func(s *Status) { s.PID = pid })
	return nil
}

// unhurriedConnect leaves the first bytes of gRPC as long as a debugger may hold the process that is to answer them.
var unhurriedConnect = grpc.ConnectParams{Backoff: grpcbackoff.DefaultConfig, MinConnectTimeout: 24 * time.Hour}

// errDetached is a plugin that somebody else has started, and that the host is no longer connected to.
var errDetached = errors.New("the connection to it has ended")

// attachedConn tells of its end, which is the only thing by which a host learns that the process has gone.
type attachedConn struct {
	net.Conn
	once  sync.Once
	onEnd func()
}

// Read implements net.Conn.
func (c *attachedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err != nil {
		c.once.Do(c.onEnd)
	}
	return n, err
}

// detach leaves the plugin to itself.
func (in *instance) detach() {
	if in.conn != nil {
		_ = in.conn.Close() // closed already is as good
	}
	if in.socket != nil {
		_ = in.socket.Close()
	}
}

// errSuperseded ends the wait for a plugin at a breakpoint: the one who waits wants another one.
var errSuperseded = errors.New("it did not answer before another reload was asked for; does it stand at a breakpoint?")

// unhurried runs f, a part of a start, for as long as the connection lasts and no reload waits behind it.
func (in *instance) unhurried(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(in.ctx, func() { cancel(errDetached) })()
	defer in.p.whenAsked(func() { cancel(errSuperseded) })()
	err := f(ctx)
	if err != nil && ctx.Err() != nil && !isPermanent(err) {
		return context.Cause(ctx)
	}
	return err
}

// watchAttached is watch for a plugin that is attached to. One question about its health is under way at a time and has no deadline.
func (in *instance) watchAttached(ctx context.Context, interrupted <-chan struct{}) error {
	opt := &in.p.host.opt
	ticker := time.NewTicker(opt.HealthEvery)
	defer ticker.Stop()
	asking, cancel := context.WithCancel(ctx)
	var group sync.WaitGroup
	defer group.Wait()
	defer cancel()
	answered := make(chan error, 1)
	var asked time.Time // zero: nothing is under way
	for {
		select {
		case <-in.ctx.Done():
			return errDetached
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-interrupted:
			return nil
		case err := <-answered:
			asked = time.Time{}
			in.judge(err)
		case <-ticker.C:
			switch {
			case asked.IsZero():
				asked = time.Now()
				group.Go(func() { answered <- in.health(asking) })
			case time.Since(asked) >= opt.HealthTimeout:
				in.weaken(errAtBreakpoint)
			}
		}
	}
}

// errAtBreakpoint is a plugin under a debugger that does not answer.
var errAtBreakpoint = errors.New("health: no answer yet: does it stand at a breakpoint? Nobody ends it; calls to it end with their own deadlines")

// judge takes an answer to Health that may have come late.
func (in *instance) judge(err error) {
	switch {
	case in.ctx.Err() != nil:
	case err != nil:
		in.weaken(err)
	default:
		in.improve()
	}
}

// found says that a plugin that is attached to is there. Only the run calls it.
func (p *supervised) found() {
	again := p.seen
	p.seen = true
	if p.Status().State != Backoff {
		return
	}
	p.enter(Starting, nil, func(s *Status) {
		if again {
			s.Restarts++
		}
	})
}

// up is the state of a plugin that answers.
func (in *instance) up() State {
	if in.spec.attached() {
		return Attached
	}
	return Ready
}

// warnAttached says what is not done for a plugin that is attached to.
func (p *supervised) warnAttached(in *instance) {
	p.host.opt.Logger.Warn("plugin is UNSUPERVISED: somebody else has started it, and the broker neither checks its file nor ends, limits or restarts it; for debugging only",
		"plugin", p.name(), "addr", in.spec.Attach)
}

// leftAttached is left for a plugin that is attached to: it is connected to again for as long as it takes, and each reason is told once.
func (p *supervised) leftAttached(err error) (delay time.Duration) {
	delay = min(attachEvery, p.host.opt.BackoffMax)
	before := p.Status()
	text := printable(err.Error(), maxText)
	note := func(s *Status) { s.LastError, s.LastErrorAt, s.RetryAt = text, time.Now(), time.Now().Add(delay) }
	if before.State != Backoff {
		p.enter(Backoff, err, note)
	} else {
		p.update(note)
	}
	if before.State != Backoff || before.LastError != text {
		p.host.opt.Logger.Warn("plugin is not there, and is connected to as soon as it is", "plugin", p.name(), "addr", p.spec.Attach, "err", text)
	}
	return delay
}
