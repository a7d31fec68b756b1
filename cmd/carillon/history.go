package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/carillon-mq/carillon/protocol"
	carillon "github.com/carillon-mq/carillon/sdk/go"
)

// historyCmd is `carillon history`.
type historyCmd struct {
	clientFlags
	Filter string `arg:"" name:"topic" help:"Topic, or filter of topics, whose messages to print."`

	After *string `help:"Begin behind a position, as --json prints it." placeholder:"CURSOR"`
	Limit *int    `help:"End after so many messages and say how to go on." placeholder:"N"`
	Last  *int    `help:"Print the newest so many messages, at most ${maxLast}." placeholder:"N"`
	JSON  bool    `name:"json" xor:"form" help:"Print a JSON object a line; gaps too."`
	Raw   bool    `xor:"form" help:"Print the payloads alone, as they are, a line end after each."`
}

// Validate is called by kong.
func (c *historyCmd) Validate() error {
	if err := protocol.ValidateFilter(c.Filter); err != nil {
		return fmt.Errorf("topic %q: %w", c.Filter, err)
	}
	switch {
	case c.Last != nil && c.After != nil:
		return errors.New("either --last or --after")
	case c.Last != nil && c.Limit != nil:
		return errors.New("either --last or --limit")
	}
	return errors.Join(notEmpty("--after", "a position", c.After), within("--limit", c.Limit, math.MaxInt), within("--last", c.Last, protocol.MaxLast))
}

// Run prints what the broker's store keeps, oldest first.
func (c *historyCmd) Run(ctx context.Context, s streams) error {
	return c.read(ctx, s, c.print)
}

// print asks for one page after the other.
func (c *historyCmd) print(ctx context.Context, client *carillon.Client, s streams) error {
	p := printer{out: bufio.NewWriter(s.out), err: s.err, form: formOf(c.JSON, c.Raw)}
	after := carillon.Cursor(given(c.After))
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
		case !page.More || c.Last != nil && printed >= *c.Last:
			return nil
		case c.Limit != nil && printed >= *c.Limit:
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
	case c.Last != nil && printed == 0:
		return []carillon.HistoryOption{carillon.Newest(*c.Last)}
	case c.Last != nil: // they did not fit one page
		return []carillon.HistoryOption{carillon.After(after), carillon.Limit(*c.Last - printed)}
	case c.Limit != nil:
		return []carillon.HistoryOption{carillon.After(after), carillon.Limit(min(*c.Limit-printed, protocol.MaxLast))}
	}
	return []carillon.HistoryOption{carillon.After(after), carillon.Limit(protocol.MaxLast)}
}
