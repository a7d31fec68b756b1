package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/carillon-mq/carillon/protocol"
	carillon "github.com/carillon-mq/carillon/sdk/go"
)

// historyCmd is `carillon history`.
type historyCmd struct {
	clientFlags
	Filter string `arg:"" name:"topic" help:"Topic, or filter of topics, whose messages to print."`

	After string `help:"Begin behind a position, as --json prints it." placeholder:"CURSOR"`
	Limit int    `help:"End after so many messages and say how to go on." placeholder:"N"`
	Last  int    `help:"Print the newest so many messages, at most ${maxLast}." placeholder:"N"`
	JSON  bool   `name:"json" xor:"form" help:"Print a JSON object a line; gaps too."`
	Raw   bool   `xor:"form" help:"Print the payloads alone, as they are, a line end after each."`
}

// Validate is called by kong.
func (c *historyCmd) Validate() error {
	if err := protocol.ValidateFilter(c.Filter); err != nil {
		return fmt.Errorf("topic %q: %w", c.Filter, err)
	}
	switch {
	case c.Limit < 0:
		return errors.New("--limit cannot be negative")
	case c.Last != 0 && c.After != "":
		return errors.New("either --last or --after")
	case c.Last != 0 && c.Limit != 0:
		return errors.New("either --last or --limit")
	}
	return checkLast(c.Last)
}

// checkLast checks the number of --last; 0 is none.
func checkLast(n int) error {
	if n < 0 || n > protocol.MaxLast {
		return fmt.Errorf("--last is %d, want a number from 1 to %d", n, protocol.MaxLast)
	}
	return nil
}

// Run prints what the broker's store keeps, oldest first.
func (c *historyCmd) Run(ctx context.Context, s streams) error {
	client, err := c.dial(ctx, s.err)
	if err != nil {
		return err
	}
	err = c.print(ctx, client, s)
	_ = hangUp(client) // nothing was published that could be lost
	if ctx.Err() != nil {
		return nil // a signal is a way to end it
	}
	return err
}

// print asks for one page after the other.
func (c *historyCmd) print(ctx context.Context, client *carillon.Client, s streams) error {
	p := printer{out: bufio.NewWriter(s.out), err: s.err, form: formOf(c.JSON, c.Raw)}
	after := carillon.Cursor(c.After)
	for printed := 0; ; {
		page, err := readPage(ctx, client, c.Filter, c.options(after, printed))
		if err != nil {
			return err
		}
		if page.Gap != "" {
			p.gap(&carillon.GapError{Filter: c.Filter, Reason: page.Gap, From: after, Count: -1})
		}
		for _, m := range page.Messages {
			p.message(m)
		}
		if err := p.flush(); err != nil {
			return err
		}
		printed += len(page.Messages)
		switch after = page.Cursor; {
		case !page.More || c.Last > 0:
			return nil
		case c.Limit > 0 && printed >= c.Limit:
			fmt.Fprintf(s.err, "carillon: there is more; go on with --after %s\n", after)
			return nil
		}
	}
}

// readPage asks for a page, again when that was too soon after others.
func readPage(ctx context.Context, client *carillon.Client, filter string, options []carillon.HistoryOption) (*carillon.HistoryPage, error) {
	for {
		page, err := client.History(ctx, filter, options...)
		refusal, refused := errors.AsType[*carillon.Error](err)
		if !refused || refusal.Code != protocol.CodeRateLimited || !sleep(ctx, max(refusal.RetryAfter, minPause)) {
			return page, err
		}
	}
}

// minPause is how long a refusal that names no time is heeded.
const minPause = 50 * time.Millisecond

// options are those of the next page.
func (c *historyCmd) options(after carillon.Cursor, printed int) []carillon.HistoryOption {
	switch {
	case c.Last > 0:
		return []carillon.HistoryOption{carillon.Newest(c.Last)}
	case c.Limit > 0:
		return []carillon.HistoryOption{carillon.After(after), carillon.Limit(min(c.Limit-printed, protocol.MaxLast))}
	}
	return []carillon.HistoryOption{carillon.After(after), carillon.Limit(protocol.MaxLast)}
}
