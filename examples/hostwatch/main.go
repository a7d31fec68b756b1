// Command hostwatch publishes figures of the machine it runs on: load, memory, CPU, disk and network, retained, as JSON, to
// host.<name>.<figure>.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"log/slog"
	"maps"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	carillon "github.com/carillon-mq/carillon/sdk/go"
)

func main() {
	hostname, _ := os.Hostname()
	var o options
	flag.StringVar(&o.server, "server", cmp.Or(os.Getenv("CARILLON_SERVER"), "ws://127.0.0.1:8080/ws"), "`URL` of the broker")
	flag.StringVar(&o.token, "token", "", "`token` to show to the broker; without it CARILLON_TOKEN")
	flag.StringVar(&o.name, "name", cmp.Or(hostname, "unknown"), "`name` of this machine in the topics")
	flag.DurationVar(&o.every, "every", time.Second, "`time` between two publishes")
	flag.Parse()
	o.token = cmp.Or(o.token, os.Getenv("CARILLON_TOKEN")) // no default of the flag: the help would print it

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := watch(ctx, o, slog.New(slog.NewTextHandler(os.Stderr, nil))); err != nil {
		slog.Error("hostwatch ends", "err", err)
		os.Exit(1)
	}
}

type options struct {
	server, token, name string
	every               time.Duration
}

// watch publishes until ctx ends, or the broker refuses the client for good.
func watch(ctx context.Context, o options, log *slog.Logger) error {
	dial := []carillon.Option{carillon.WithLogger(log), carillon.WithDialRetry(), carillon.WithClientName("hostwatch")}
	if o.token != "" {
		dial = append(dial, carillon.WithToken(o.token))
	}
	c, err := carillon.Dial(ctx, o.server, dial...)
	if err != nil {
		if errors.Is(err, context.Canceled) {
			return nil
		}
		return err
	}
	defer closeSoon(c)

	prefix := "host." + carillon.EscapeLevel(o.name) + "."
	tick := time.NewTicker(o.every)
	defer tick.Stop()
	var m meter
	for {
		publish(ctx, c, prefix, m.read(log), o.every, log)
		select {
		case <-tick.C:
		case <-c.Done():
			return c.Status().Err
		case <-ctx.Done():
			return nil
		}
	}
}

// publish publishes every figure. One that does not get through in time is dropped: the next one is newer.
func publish(ctx context.Context, c *carillon.Client, prefix string, figures map[string]any, within time.Duration, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for _, name := range slices.Sorted(maps.Keys(figures)) {
		_, err := c.Publish(ctx, prefix+name, carillon.JSON(figures[name]), carillon.Retain())
		if err != nil && !errors.Is(err, context.Canceled) {
			log.Warn("a figure was not published", "err", err)
		}
	}
}

func closeSoon(c *carillon.Client) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = c.Close(ctx)
}
