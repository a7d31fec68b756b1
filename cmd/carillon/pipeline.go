package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	carillon "github.com/carillon-mq/carillon/sdk/go"
)

// pipelineDepth is how many publishes may wait for their acknowledgement.
const pipelineDepth = 256

// pipeline publishes one value after the other. It keeps publishes under way, and reads no further while enough of them wait,
// so that a pipe's writer is held back instead of lines being lost. It keeps below the rate that the broker has announced. What the
// broker refuses for now all the same is sent again; after the first such refusal it goes on one at a time, because a later line
// must not overtake one that has to be repeated.
type pipeline struct {
	c       *carillon.Client
	topic   string
	options []carillon.PublishOption
	every   time.Duration
	pace    pacer
	ack     *json.Encoder // nil: acknowledgements are not printed
	s       streams
	id      string // of a single message; "": each has one of its own
	lines   bool   // each message is another: what is refused of one says nothing of the next

	depth   int
	waiting []underway
	skipped int // values that could not be sent
}

type underway struct {
	sending
	p *carillon.Publishing
}

// sending is a value with the message id that it is sent with, also when it is sent again.
type sending struct {
	value any
	id    string
}

func newPipeline(c *carillon.Client, p *pubCmd, s streams) *pipeline {
	l := &pipeline{c: c, topic: p.Topic, every: p.Every, s: s, depth: pipelineDepth, id: given(p.ID), lines: p.fromLines()}
	l.pace = newPacer(c.Limits()["publish_rate"])
	if p.Retain {
		l.options = append(l.options, carillon.Retain())
	}
	if p.TTL != nil {
		l.options = append(l.options, carillon.TTL(*p.TTL))
	}
	if p.Exclude != nil {
		l.options = append(l.options, carillon.Exclude(*p.Exclude))
	}
	l.options = append(l.options, p.dataFlags.options()...)
	if p.Ack {
		l.ack = json.NewEncoder(s.out)
	}
	return l
}

// run publishes what next gives, in order, and waits for the last acknowledgement. It stops at the first refusal that concerns
// every message; one that concerns a single message is told, and the others go on.
func (l *pipeline) run(ctx context.Context, next func() (any, bool, error)) error {
	// A signal ends the reading; what has been read is still published, and given some time to be acknowledged.
	late, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(closeTime, cancel) })()
	for n := 0; ; n++ {
		if n > 0 && !l.pause(ctx) {
			break
		}
		value, ok, err := next()
		if !ok {
			break
		}
		if err != nil {
			l.skip(err)
			continue
		}
		if err := l.send(late, sending{value, l.newID()}); err != nil {
			return err
		}
	}
	for len(l.waiting) > 0 {
		if err := l.settle(late); err != nil {
			return err
		}
	}
	if l.skipped > 0 {
		return &exitError{exitFailed, fmt.Errorf("messages that were not published: %d", l.skipped)}
	}
	return nil
}

// pause waits before the second and every further publish, and reports false when ctx has ended.
func (l *pipeline) pause(ctx context.Context) bool {
	if d := max(l.every, l.pace.wait(time.Now())); d > 0 {
		return sleep(ctx, d)
	}
	return ctx.Err() == nil
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (l *pipeline) skip(err error) {
	l.skipped++
	fmt.Fprintln(l.s.err, "carillon:", printable(err.Error()))
}

func (l *pipeline) newID() string {
	if l.id != "" {
		return l.id
	}
	return rand.Text()
}

// send puts a value under way, after taking what has been acknowledged, and waits while depth publishes are.
func (l *pipeline) send(ctx context.Context, one sending) error {
	for len(l.waiting) > 0 && (len(l.waiting) >= l.depth || l.acknowledged(l.waiting[0])) {
		if err := l.settle(ctx); err != nil {
			return err
		}
	}
	p, err := l.c.PublishAsync(ctx, l.topic, one.value, append(slices.Clip(l.options), carillon.ID(one.id))...)
	if err != nil {
		return err
	}
	l.waiting = append(l.waiting, underway{one, p})
	return nil
}

func (l *pipeline) acknowledged(u underway) bool {
	select {
	case <-u.p.Done():
		return true
	default:
		return false
	}
}

// settle waits for the outcome of the oldest publish.
func (l *pipeline) settle(ctx context.Context) error {
	u := l.waiting[0]
	l.waiting = l.waiting[1:]
	ack, err := u.p.Wait(ctx)
	if err == nil {
		return l.tell(ack)
	}
	var refusal *carillon.Error
	switch {
	case errors.Is(err, carillon.ErrTooLarge) && l.lines:
		l.skip(err)
		return nil
	case errors.As(err, &refusal) && refusal.Code.Retry():
		return l.again(ctx, u, max(refusal.RetryAfter, minPause))
	case errors.Is(err, carillon.ErrUnknownOutcome) && ctx.Err() == nil:
		fmt.Fprintln(l.s.err, "carillon: the connection was lost before an acknowledgement; the message is sent again, with the same id; later ones may come before it")
		return l.again(ctx, u, 0)
	}
	return err
}

// again repeats u, and everything under way behind it that was refused as well, in order and one at a time.
func (l *pipeline) again(ctx context.Context, u underway, after time.Duration) error {
	l.depth = 1
	refused := []sending{u.sending}
	behind := l.waiting
	l.waiting = nil
	for _, b := range behind {
		ack, err := b.p.Wait(ctx)
		if err == nil {
			if err := l.tell(ack); err != nil {
				return err
			}
			continue
		}
		refused = append(refused, b.sending)
	}
	sleep(ctx, after)
	for _, one := range refused {
		if err := l.send(ctx, one); err != nil {
			return err
		}
	}
	return nil
}

// tell prints an acknowledgement, if that was asked for.
func (l *pipeline) tell(ack carillon.Ack) error {
	if l.ack == nil {
		return nil
	}
	return l.ack.Encode(struct {
		Topic      string          `json:"topic"`
		Seq        uint64          `json:"seq"`
		Offset     uint64          `json:"offset"`
		Durability string          `json:"durability"`
		Duplicate  bool            `json:"duplicate,omitempty"`
		Cursor     carillon.Cursor `json:"cursor,omitempty"`
	}{l.topic, ack.Seq, ack.Offset, ack.Durability.String(), ack.Duplicate, ack.Cursor()})
}
