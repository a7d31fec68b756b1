package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// signalContext ends with the first SIGINT or SIGTERM. A second one ends the process at once, as it would by default.
func signalContext() (context.Context, context.CancelFunc) {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, cancel) // lets go of the signals, so that the next one has its usual effect
	return ctx, cancel
}

// ignoreHangup keeps SIGHUP, which asks daemons to read their configuration again, from ending the broker. The returned function
// ends that.
func ignoreHangup(log *slog.Logger) func() {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	var told sync.WaitGroup
	told.Go(func() {
		for range hangups {
			log.Warn("SIGHUP: this version does not read its configuration again; restart the broker to apply changes")
		}
	})
	return func() {
		signal.Stop(hangups)
		close(hangups)
		told.Wait()
	}
}
