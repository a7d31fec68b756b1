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

// onHangup keeps SIGHUP, which asks daemons to read their configuration again, from ending the broker: it has the certificate
// files of running looked at, if that has started. The returned function ends that.
func onHangup(log *slog.Logger, running *atomic.Pointer[server]) func() {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	var told sync.WaitGroup
	told.Go(func() {
		for range hangups {
			if s := running.Load(); s != nil {
				s.lookAtCertificates()
			}
			log.Warn("SIGHUP: of the configuration only certificate files are read again by this version; restart the broker to apply other changes")
		}
	})
	return func() {
		signal.Stop(hangups)
		close(hangups)
		told.Wait()
	}
}
