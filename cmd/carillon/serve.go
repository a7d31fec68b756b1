package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"

	"github.com/KimMachineGun/automemlimit/memlimit"

	"github.com/carillon-mq/carillon/cmd/carillon/internal/config"
)

// serveCmd is `carillon serve`.
type serveCmd struct {
	settings
}

// Run runs the broker until a signal, then drains it.
func (c *serveCmd) Run(ctx context.Context, s streams) error {
	cfg, err := c.mustLoad(s, nil)
	if err != nil {
		return err
	}
	if c.exposed != "" {
		newLogger(s, cfg.Log).Warn("a secret can be read by other users", "reason", c.exposed)
	}
	return runBroker(ctx, cfg, s, mode{load: func() (*config.Config, error) { return c.again(nil) }}, nil)
}

// runBroker starts a broker, says that it is ready, calls ready if that is given, waits for a signal and drains. ready's context
// ends with the signal, and the drain waits for its return.
func runBroker(ctx context.Context, cfg *config.Config, s streams, m mode, ready func(context.Context, *server)) error {
	log := newLogger(s, cfg.Log)
	limitMemory(log)
	for _, rule := range cfg.IdleRules() {
		log.Warn("a rule of topics has no effect", "reason", rule)
	}
	var running atomic.Pointer[server]
	defer onHangup(log, &running)()
	srv, err := startServer(ctx, cfg, log, m)
	if err != nil {
		if ctx.Err() != nil {
			return &exitError{exitDone, nil} // a signal came before the broker was ready
		}
		return err
	}
	running.Store(srv)
	public, admin := srv.addresses()
	fmt.Fprintf(s.err, "carillon: ready listen=%s admin=%s\n", public, admin)
	if ready != nil {
		ready(ctx, srv)
	}
	<-ctx.Done()
	signal.Reset(os.Interrupt, syscall.SIGTERM)
	fmt.Fprintln(s.err, "carillon: draining; a second signal ends at once")
	return srv.drain()
}

func newLogger(s streams, c config.Log) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Level)); err != nil {
		level = slog.LevelInfo // config has checked it
	}
	options := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(s.err, options))
	}
	return slog.New(slog.NewTextHandler(s.err, options))
}

// limitMemory tells the runtime the memory limit of the container, if there is one, unless GOMEMLIMIT says otherwise.
func limitMemory(log *slog.Logger) {
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	if _, err := memlimit.Set(memlimit.WithRatio(0.9)); err != nil {
		log.Debug("no memory limit of a container was found", "err", err)
	}
}
