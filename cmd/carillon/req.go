package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/carillon-mq/carillon/protocol"
	carillon "github.com/carillon-mq/carillon/sdk/go"
)

// reqCmd is `carillon req`.
type reqCmd struct {
	clientFlags
	Topic string  `arg:"" help:"Topic to send the request to."`
	Data  *string `arg:"" optional:"" help:"The request; - reads all of standard input, and without it the request is empty."`

	dataFlags
	Timeout time.Duration `help:"Wait so long for the reply, ${default} unless told." default:"5s" placeholder:"D"`
	Reply   string        `enum:"text,json,raw" default:"text" help:"Print the reply as text on one line, as a JSON object with its headers, or its bytes as they are: ${enum}." placeholder:"FORM"`
}

// Validate is called by kong.
func (c *reqCmd) Validate() error {
	if err := protocol.ValidateTopic(c.Topic); err != nil {
		return fmt.Errorf("topic %q: %w", c.Topic, err)
	}
	if c.Timeout <= 0 {
		return fmt.Errorf("--timeout is %v, want some time, such as 5s", c.Timeout)
	}
	return nil
}

// Run asks and prints the reply. Nobody there, no reply in time and a connection that is lost are failures.
func (c *reqCmd) Run(ctx context.Context, s streams) error {
	data := []byte(given(c.Data))
	if string(data) == "-" {
		var err error
		if data, err = io.ReadAll(io.LimitReader(s.in, maxLineBytes+1)); err != nil {
			return fmt.Errorf("read: %w", err)
		}
		if len(data) > maxLineBytes {
			return fmt.Errorf("the request is longer than %d bytes", maxLineBytes)
		}
	}
	value, err := c.value(data)
	if err != nil {
		return err
	}
	client, err := c.dial(ctx, s.err)
	if err != nil {
		return err
	}
	asking, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	m, err := client.Request(asking, c.Topic, value, c.dataFlags.options()...)
	_ = hangUp(client) // what the request has come to is known
	if err != nil {
		return c.failure(ctx, err)
	}
	p := printer{out: bufio.NewWriter(s.out), err: s.err, form: formOf(c.Reply == "json", c.Reply == "raw")}
	p.reply(m)
	return p.flush()
}

// failure says what became of the request, for people.
func (c *reqCmd) failure(ctx context.Context, err error) error {
	const open = "it may have been carried out, or not"
	switch {
	case ctx.Err() != nil:
		return &exitError{exitFailed, nil} // a signal
	case errors.Is(err, carillon.ErrNoResponder):
		return fmt.Errorf("nobody is subscribed to %q", c.Topic)
	case errors.Is(err, context.DeadlineExceeded) && errors.Is(err, carillon.ErrUnknownOutcome):
		return fmt.Errorf("no reply from %q within %v; %s", c.Topic, c.Timeout, open)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("the request to %q could not be sent within %v", c.Topic, c.Timeout)
	case errors.Is(err, carillon.ErrUnknownOutcome):
		return fmt.Errorf("no reply from %q before the connection was lost; %s", c.Topic, open)
	}
	return err
}
