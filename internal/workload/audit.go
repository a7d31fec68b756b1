package workload

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"

	carillon "github.com/carillon-mq/carillon/sdk/go"
)

// Audit notes what read finds to be kept of the topics that filter matches. It must find everything of the load but the opening
// message, or fail.
func (l *Load) Audit(who, filter string, read func(found func(Message)) error) error {
	l.Log.Note(Event{Kind: Reading, Who: who, Filter: filter})
	err := read(func(m Message) {
		if m.Publisher != opener {
			l.Log.Note(Event{Kind: Kept, Who: who, Message: m, Class: ClassOf(m.Topic)})
		}
	})
	if err != nil {
		return fmt.Errorf("audit %s of %s: %w", who, filter, err)
	}
	l.Log.Note(Event{Kind: Read, Who: who, Filter: filter})
	return nil
}

// AuditStored reads the stored topics as a client that resumes from the beginning of the load.
func (l *Load) AuditStored(ctx context.Context, who string) error {
	filter := l.opt.Name + "." + string(Stored) + ".>"
	return l.Audit(who, filter, func(found func(Message)) error {
		return l.follow(ctx, filter, []carillon.SubscribeOption{carillon.From(l.began), carillon.NoRetained()}, func(e carillon.Event) (done bool) {
			if m, ok := e.(*carillon.Message); ok {
				found(messageIn(m.Topic, m.Payload))
			}
			_, done = e.(*carillon.Resumed)
			return done
		})
	})
}

// AuditHistory reads the stored topics page by page.
func (l *Load) AuditHistory(ctx context.Context, who string) error {
	filter := l.opt.Name + "." + string(Stored) + ".>"
	return l.Audit(who, filter, func(found func(Message)) error {
		c, err := carillon.Dial(ctx, l.opt.URL, l.opt.Client...)
		if err != nil {
			return err
		}
		defer func() { _ = c.Close(ctx) }() // nothing is published over it
		for at, more := l.began, true; more; {
			page, err := c.History(ctx, filter, carillon.After(at), carillon.Limit(1+rand.IntN(1024)))
			if err != nil {
				return err
			}
			if page.Gap != "" {
				return fmt.Errorf("found a gap (%s) behind %s", page.Gap, at)
			}
			for _, m := range page.Messages {
				found(messageIn(m.Topic, m.Payload))
			}
			at, more = page.Cursor, page.More
		}
		return nil
	})
}

// AuditRetained reads the retained values as a new subscriber.
func (l *Load) AuditRetained(ctx context.Context, who string) error {
	filter := l.opt.Name + "." + string(Retained) + ".>"
	return l.Audit(who, filter, func(found func(Message)) error {
		return l.follow(ctx, filter, nil, func(e carillon.Event) (done bool) {
			if m, ok := e.(*carillon.Message); ok && m.Retained {
				found(messageIn(m.Topic, m.Payload))
			}
			_, done = e.(*carillon.SnapshotEnd)
			return done
		})
	})
}

// follow subscribes over a connection of its own and hands every event to take, until that is done. A gap is an error.
func (l *Load) follow(ctx context.Context, filter string, opts []carillon.SubscribeOption, take func(carillon.Event) bool) error {
	c, err := carillon.Dial(ctx, l.opt.URL, l.opt.Client...)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close(ctx) }() // nothing is published over it
	for e, err := range c.Subscribe(filter, opts...).Events(ctx) {
		if err != nil {
			return err
		}
		if gap, ok := e.(*carillon.GapError); ok {
			return gap
		}
		if take(e) {
			return nil
		}
	}
	return errors.Join(errors.New("it did not come to the end"), ctx.Err())
}
