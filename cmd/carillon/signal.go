package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
)

// signalContext ends with the first SIGINT or SIGTERM. A second one ends the process at once, as it would by default.
func signalContext() (context.Context, context.CancelFunc) {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, cancel) // lets go of the signals, so that the next one has its usual effect
	return ctx, cancel
}

// onHangup has SIGHUP, which asks daemons to read their configuration again, do that for running, if that has started. Signals that
// come while one is being answered are one more. The returned function ends that.
func onHangup(log *slog.Logger, running *atomic.Pointer[server]) func() {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	ctx, end := context.WithCancelCause(context.Background())
	var told sync.WaitGroup
	told.Go(func() {
		for range hangups {
			s := running.Load()
			if s == nil {
				log.Warn("SIGHUP: the broker is still starting; send it again when it is ready")
				continue
			}
			s.lookAtCertificates()
			s.reloads.all(ctx)
		}
	})
	return func() {
		signal.Stop(hangups)
		end(errEnding)
		close(hangups)
		told.Wait()
	}
}
