package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"

	"github.com/carillon-mq/carillon/protocol"
	carillon "github.com/carillon-mq/carillon/sdk/go"
)

// subCmd is `carillon sub`.
type subCmd struct {
	clientFlags
	Filters []string `arg:"" name:"filter" help:"What to subscribe to: orders.42, orders.*, orders.>."`

	Since        *string `help:"Resume after a position, as --json prints it." placeholder:"CURSOR"`
	Last         *int    `help:"Begin with the newest so many messages that are still there, at most ${maxLast}, instead of the retained values." placeholder:"N"`
	Latest       bool    `help:"When behind, get only the newest message of each topic."`
	MaxRate      *int    `help:"Get at most so many messages a second, up to ${maxRate}; of each topic the newest is kept." placeholder:"N"`
	Join         bool    `help:"Be a member of the topics: others see the token's user there (carillon presence)."`
	Origin       *string `help:"Be of this origin, in place of one of its own: carillon pub --exclude leaves it out." placeholder:"ORIGIN"`
	Count        *int    `help:"End after so many messages." placeholder:"N"`
	RetainedOnly bool    `help:"Print the retained values and end."`
	JSON         bool    `name:"json" xor:"form" help:"Print a JSON object a line; gaps too."`
	Raw          bool    `xor:"form" help:"Print the payloads alone, as they are, a line end after each."`
}

// Validate is called by kong.
func (c *subCmd) Validate() error {
	for _, f := range c.Filters {
		if err := protocol.ValidateFilter(f); err != nil {
			return fmt.Errorf("filter %q: %w", f, err)
		}
		if c.Join && !protocol.IsLiteral(f) {
			return fmt.Errorf("--join goes with topics, and %q is a filter of many", f)
		}
	}
	switch {
	case len(given(c.Origin)) > protocol.MaxOrigin:
		return fmt.Errorf("--origin has %d bytes, want at most %d", len(*c.Origin), protocol.MaxOrigin)
	case c.Since != nil && c.RetainedOnly:
		return errors.New("either --since or --retained-only")
	case c.Since != nil && c.Last != nil:
		return errors.New("either --since or --last")
	case c.Last != nil && c.RetainedOnly:
		return errors.New("either --last, which sends no retained values, or --retained-only")
	case c.Last != nil && len(c.Filters) > 1:
		return errors.New("--last goes with one filter: each filter would have newest messages of its own")
	}
	return errors.Join(notEmpty("--since", "a position", c.Since), notEmpty("--origin", "an origin", c.Origin), within("--last", c.Last, protocol.MaxLast),
		within("--max-rate", c.MaxRate, protocol.MaxRate), within("--count", c.Count, math.MaxInt))
}

// step is one step of one subscription's stream.
type step struct {
	event carillon.Event
	err   error
	from  int // number of the subscription
}

// Run subscribes and prints until a signal, --count, or a refusal.
func (c *subCmd) Run(ctx context.Context, s streams) error {
	c.warn(s)
	var opts []carillon.Option
	if c.Origin != nil {
		opts = append(opts, carillon.WithOrigin(*c.Origin))
	}
	client, err := c.dial(ctx, s.err, opts...)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	var streaming sync.WaitGroup
	steps := make(chan step)
	for i, sub := range c.subscribe(client) {
		streaming.Go(func() {
			for event, err := range sub.Events(ctx) {
				select {
				case steps <- step{event, err, i}:
				case <-ctx.Done():
					return
				}
			}
		})
		if err := sub.Ready(ctx); err == nil {
			fmt.Fprintf(s.err, "carillon: subscribed to %s\n", printable(sub.Filter()))
		}
	}
	err = c.print(ctx, s, steps)
	cancel()
	streaming.Wait()
	_ = hangUp(client) // nothing was published that could be lost
	return err
}

// warn tells of filters that look like MQTT's, which are good ones here and match something else than was meant.
func (c *subCmd) warn(s streams) {
	for _, f := range c.Filters {
		levels := strings.FieldsFunc(f, func(r rune) bool { return r == '.' || r == '/' })
		if slices.Contains(levels, "#") || slices.Contains(levels, "+") {
			fmt.Fprintf(s.err, "carillon: warning: + and # are ordinary characters in %s; levels end with a dot, * stands for one level "+
				"and > for all that follow: orders.*, orders.>\n", printable(f))
		}
	}
}

// subscribe starts one subscription for each filter.
func (c *subCmd) subscribe(client *carillon.Client) []*carillon.Subscription {
	c.Filters = slices.Compact(slices.Sorted(slices.Values(c.Filters)))
	options := []carillon.SubscribeOption{carillon.From(carillon.Cursor(given(c.Since)))}
	if c.Last != nil {
		options = append(options, carillon.Last(*c.Last))
	}
	if c.Latest {
		options = append(options, carillon.Latest())
	}
	if c.MaxRate != nil {
		options = append(options, carillon.MaxRate(*c.MaxRate))
	}
	if c.Join {
		options = append(options, carillon.Join())
	}
	var subs []*carillon.Subscription
	for _, f := range c.Filters {
		subs = append(subs, client.Subscribe(f, options...))
	}
	return subs
}

// print writes every step until ctx ends, the count is reached, every snapshot has ended if only those are wanted, or a
// subscription ends with an error.
func (c *subCmd) print(ctx context.Context, s streams, steps <-chan step) error {
	p := printer{out: bufio.NewWriter(s.out), err: s.err, form: formOf(c.JSON, c.Raw)}
	messages, snapshots := 0, 0
	for {
		var st step
		select {
		case st = <-steps:
		case <-ctx.Done():
			return nil
		}
		if st.err != nil {
			return st.err
		}
		switch e := st.event.(type) {
		case *carillon.Message:
			if c.matchesEarlier(e.Topic, st.from) {
				continue // printed for the other subscription
			}
			messages++
			p.message(e)
		case *carillon.GapError:
			p.gap(e)
		case *carillon.SnapshotEnd:
			snapshots++
		}
		if err := p.flush(); err != nil {
			return err
		}
		if c.Count != nil && messages == *c.Count || c.RetainedOnly && snapshots == len(c.Filters) {
			return nil
		}
	}
}

// matchesEarlier reports whether a subscription before number from gets the topic as well.
func (c *subCmd) matchesEarlier(topic string, from int) bool {
	return slices.ContainsFunc(c.Filters[:from], func(f string) bool { return carillon.Match(f, topic) })
}

// oneLine puts text on one line.
func oneLine(text string) string {
	return strings.ReplaceAll(printable(text), "\n", `\n`)
}
