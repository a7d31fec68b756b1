package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"syscall"
	"time"

	carillon "github.com/carillon-mq/carillon/sdk/go"
)

// clientFlags are what every verb that connects as a client takes.
type clientFlags struct {
	Server string `help:"Address of the broker, ${default} unless told." default:"ws://127.0.0.1:8080/ws" env:"CARILLON_SERVER" placeholder:"URL"`
	Token  string `help:"Token to show." env:"CARILLON_TOKEN" placeholder:"TOKEN"`
	trustFlags
}

// dial connects, or fails with a refusal or exitUnreachable. Losses of the connection are told on w.
func (f *clientFlags) dial(ctx context.Context, w io.Writer, opts ...carillon.Option) (*carillon.Client, error) {
	u, err := url.Parse(f.Server)
	if err != nil || u.Host == "" {
		return nil, usage("--server %q is not a URL; write it like ws://127.0.0.1:8080/ws", f.Server)
	}
	if !slices.Contains([]string{"ws", "wss", "http", "https"}, u.Scheme) {
		return nil, usage("--server %q is of the scheme %q; write it with ws:// or wss://", f.Server, u.Scheme)
	}
	if u.User != nil || u.RawQuery != "" {
		return nil, usage("--server carries more than an address; a token goes into --token or CARILLON_TOKEN")
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = "/ws"
	}
	client, err := f.client()
	if err != nil {
		return nil, err
	}
	opts = append(opts, carillon.WithClientName("carillon-cli"), carillon.WithStatus(statusTeller(w)), carillon.WithHTTPClient(client))
	if f.Token != "" {
		opts = append(opts, carillon.WithToken(f.Token))
	}
	c, err := carillon.Dial(ctx, u.String(), opts...)
	var refusal *carillon.Error
	switch {
	case err == nil:
		return c, nil
	case errors.As(err, &refusal):
		return nil, fmt.Errorf("refused by %s: %w", u.Host, refusal)
	case ctx.Err() != nil:
		return nil, &exitError{exitFailed, nil}
	}
	return nil, &exitError{exitUnreachable, fmt.Errorf("cannot reach %s: %w", u.Redacted(), plainDialError(err))}
}

// plainDialError is err without what the layers between the socket and us have put in front of it.
func plainDialError(err error) error {
	if dns, ok := errors.AsType[*net.DNSError](err); ok && dns.IsNotFound {
		return fmt.Errorf("there is no host of the name %q", dns.Name)
	}
	if err := plainTLSError(err); err != nil {
		return err
	}
	var timeout net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return errors.New("connection refused; no broker listens there")
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return errors.New("there is no way to that address")
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return errors.New("no answer in time")
	}
	return err
}

// statusTeller tells what happens to a connection that has once been made. It is called by one goroutine.
func statusTeller(w io.Writer) func(carillon.Status) {
	lost := false
	return func(s carillon.Status) {
		switch {
		case s.State == carillon.StateReconnecting && !lost:
			lost = true
			fmt.Fprintln(w, "carillon: connection lost, reconnecting:", printable(fmt.Sprint(plainDialError(s.Err))))
		case s.State == carillon.StateConnected && lost:
			lost = false
			fmt.Fprintln(w, "carillon: connected again")
		}
	}
}

// read connects for show, which only reads, and ends without an error at a signal.
func (f *clientFlags) read(ctx context.Context, s streams, show func(context.Context, *carillon.Client, streams) error) error {
	client, err := f.dial(ctx, s.err)
	if err != nil {
		return err
	}
	err = show(ctx, client, s)
	_ = hangUp(client) // nothing was published that could be lost
	if ctx.Err() != nil {
		return nil // a signal is a way to end it
	}
	return err
}

// closeTime bounds how long a verb waits at its end for what it has accepted.
const closeTime = 10 * time.Second

// hangUp closes c when everything that was published is acknowledged.
func hangUp(c *carillon.Client) error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	return c.Close(ctx)
}
