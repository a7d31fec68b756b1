package host

import (
	"context"
	"fmt"
	"os"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/carillon-mq/carillon/plugins/internal/wire"
	"github.com/carillon-mq/carillon/plugins/internal/wire/commonv1pb"
)

// killTimeout is how long a killed process may take to be gone. Only one that is stuck in the kernel takes longer.
const killTimeout = 5 * time.Second

// watch returns why the plugin is not to be called anymore: its process has ended, it has missed too many health checks (and
// is killed), or ctx has ended.
func (in *instance) watch(ctx context.Context) error {
	opt := &in.p.host.opt
	ticker := time.NewTicker(opt.HealthEvery)
	defer ticker.Stop()
	misses := 0
	for {
		select {
		case <-in.process.ended:
			return in.process.exit()
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticker.C:
		}
		err := in.healthWithin(ctx, opt.HealthTimeout)
		if err == nil {
			misses = 0
			continue
		}
		if misses++; misses >= opt.HealthMisses && in.ctx.Err() == nil && ctx.Err() == nil {
			in.process.kill()
			return fmt.Errorf("missed %d health checks: %w", misses, err)
		}
	}
}

func (in *instance) healthWithin(ctx context.Context, d time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	defer context.AfterFunc(in.ctx, cancel)()
	return in.health(ctx)
}

// health asks the plugin whether it can work.
func (in *instance) health(ctx context.Context) error {
	answer, err := in.common.Health(ctx, &commonv1pb.HealthRequest{})
	if err != nil {
		return &callError{"health", err}
	}
	detail := printable(answer.GetDetail(), maxText)
	if in.p.Status().Detail != detail {
		in.p.update(func(s *Status) { s.Detail = detail })
	}
	if answer.GetStatus() != commonv1pb.HealthResponse_STATUS_SERVING {
		return fmt.Errorf("health: %v %s", answer.GetStatus(), detail)
	}
	return nil
}

// stop ends the instance and reports whether its process is gone. A graceful stop first asks the plugin to end, and waits until
// it has or ctx ends; then the whole process group is killed.
func (in *instance) stop(ctx context.Context, graceful bool) bool {
	in.cancel(in.p.unavailable(errClosed))
	in.calls.Wait()
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
