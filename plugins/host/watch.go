package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/carillon-mq/carillon/plugins/internal/wire"
	"github.com/carillon-mq/carillon/plugins/internal/wire/commonv1pb"
)

// killTimeout is how long a killed process may take to be gone. Only one that is stuck in the kernel takes longer.
const killTimeout = 5 * time.Second

// watch returns why the plugin is not to be called anymore: its process has ended, or has missed too many health checks or been
// stopped by a signal for as long as one may take (and is killed), or ctx has ended. It returns nil when interrupted yields first.
func (in *instance) watch(ctx context.Context, interrupted <-chan struct{}) error {
	if in.spec.attached() {
		return in.watchAttached(ctx, interrupted)
	}
	opt := &in.p.host.opt
	ticker := time.NewTicker(opt.HealthEvery)
	defer ticker.Stop()
	over := in.process.over
	for {
		tick, patience := ticker.C, (<-chan time.Time)(nil)
		stopped, changed := in.process.pace.now()
		if !stopped.IsZero() {
			in.weaken(errStopped)
			patience = time.After(opt.HealthTimeout - time.Since(stopped))
		}
		if over == nil || !stopped.IsZero() {
			tick = nil // who has ended or stands still does not answer
		}
		select {
		case <-in.process.ended:
			return in.process.exit()
		case <-over: // why it ended is known a moment later; where many processes want the processor, a long one
			in.degrade(errEnded)
			over = nil
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-interrupted:
			return nil
		case <-changed:
		case <-patience:
			in.process.kill()
			return fmt.Errorf("%w, and it did not go on within %v", errStopped, opt.HealthTimeout)
		case <-tick:
			if err := in.check(ctx, changed); err != nil {
				in.process.kill()
				return err
			}
		}
	}
}

var (
	errStopped = errors.New("a signal stopped the process") // it does nothing until SIGCONT
	errEnded   = errors.New("the process has ended")
)

// check asks the plugin for its health, unless changed says before that its process stands still. It returns an error when that
// was the last check that it may miss.
func (in *instance) check(ctx context.Context, changed <-chan struct{}) error {
	opt := &in.p.host.opt
	began := time.Now()
	err := in.healthWithin(ctx, opt.HealthTimeout, changed)
	if in.ctx.Err() != nil || ctx.Err() != nil || err != nil && isClosed(changed) {
		return nil // it says nothing, also when the process goes on by now
	}
	if err == nil {
		in.misses = 0
		if took := time.Since(began); took > opt.HealthTimeout/2 {
			in.weaken(fmt.Errorf("health: answered after %v", took.Round(time.Millisecond)))
		} else {
			in.improve()
		}
		return nil
	}
	if in.misses++; in.misses >= opt.HealthMisses {
		return fmt.Errorf("missed %d health checks: %w", in.misses, err)
	}
	in.weaken(err)
	return nil
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// weaken notes that the plugin answers, and not as it should.
func (in *instance) weaken(why error) {
	if in.degrade(why) {
		in.p.host.opt.Logger.Warn("plugin is not well", "plugin", in.p.name(), "err", printable(why.Error(), maxText))
	}
}

// degrade reports whether the plugin was Ready or Attached, which it is not anymore. Of one that was Degraded before, why is the latest.
func (in *instance) degrade(why error) bool {
	switch in.p.Status().State {
	case in.up():
	case Degraded:
		in.p.update(func(s *Status) { s.Trouble = printable(why.Error(), maxText) })
		return false
	default:
		return false
	}
	in.p.enter(Degraded, nil, func(s *Status) { s.Trouble = printable(why.Error(), maxText) })
	return true
}

// improve notes that it does again.
func (in *instance) improve() {
	if in.p.Status().State == Degraded {
		in.p.enter(in.up(), nil, nil)
		in.p.host.opt.Logger.Info("plugin is well again", "plugin", in.p.name())
	}
}

// healthWithin returns before d has passed when the instance ends or changed is closed.
func (in *instance) healthWithin(ctx context.Context, d time.Duration, changed <-chan struct{}) error {
	var group sync.WaitGroup
	defer group.Wait()
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	defer context.AfterFunc(in.ctx, cancel)()
	group.Go(func() {
		select {
		case <-changed:
			cancel()
		case <-ctx.Done():
		}
	})
	return in.health(ctx)
}

// health asks the plugin whether it can work.
func (in *instance) health(ctx context.Context) error {
	answer, err := in.common.Health(ctx, &commonv1pb.HealthRequest{})
	if err != nil {
		return &callError{"health", err}
	}
	detail := printable(answer.GetDetail(), maxText)
	if in.detail() != detail {
		in.tell(func(s *Status) { s.Detail = detail })
	}
	if answer.GetStatus() != commonv1pb.HealthResponse_STATUS_SERVING {
		return fmt.Errorf("health: %v %s", answer.GetStatus(), detail)
	}
	return nil
}

// stop ends the instance and reports whether its process is gone; calls that are under way fail with why. A graceful stop
// first asks the plugin to end, and waits until it has or ctx ends; then the whole process group is killed.
func (in *instance) stop(ctx context.Context, graceful bool, why error) bool {
	in.cancel(in.p.unavailable(why))
	in.replace(nil) // its cause is set by now
	in.calls.Wait()
	if in.spec.attached() {
		in.detach()
		return true
	}
	if graceful && in.conn != nil {
		in.ask(ctx)
	}
	in.process.kill()
	gone := in.process.wait(killTimeout)
	if gone && in.client != nil {
		in.client.Kill() // only tidies up: with the process gone it has nothing to wait for
	}
	if in.process.dir != "" {
		os.RemoveAll(in.process.dir)
	}
	return gone
}

// ask tells the plugin to end: by go-plugin's call, or, where the plugin does not have it, by the end of its standard input.
func (in *instance) ask(ctx context.Context) {
	err := in.conn.Invoke(ctx, wire.ShutdownMethod, &emptypb.Empty{}, &emptypb.Empty{})
	if status.Code(err) == codes.Unimplemented {
		in.process.cutLifeline()
	}
	select {
	case <-in.process.ended:
	case <-ctx.Done():
	}
}
