package workload

import (
	"context"
	"errors"
	"time"

	"github.com/carillon-mq/carillon/protocol"
	carillon "github.com/carillon-mq/carillon/sdk/go"
)

// Intruder is a client that asks, again and again, for what it has no right to.
type Intruder struct {
	Token  string
	Filter string // "" is everything of the load; it publishes there, too
}

// intruder notes what becomes of each attempt.
type intruder struct {
	name string
	load *Load
	spec Intruder
}

// refusalWait is how long an intruder waits for an answer.
const refusalWait = 5 * time.Second

func (i *intruder) run(ctx context.Context, stop <-chan struct{}) {
	for ctx.Err() == nil {
		select {
		case <-stop:
			return
		default:
		}
		i.attempt(ctx)
		pause(ctx, i.load.opt.Pause)
	}
}

// attempt connects, publishes and subscribes, and notes whether it was let do any of it.
func (i *intruder) attempt(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, refusalWait)
	defer cancel()
	c, err := carillon.Dial(ctx, i.load.opt.URL, carillon.WithToken(i.spec.Token), carillon.WithClientName("intruder"))
	if err != nil {
		i.refused(err)
		return
	}
	defer func() {
		cancel()
		_ = c.Close(ctx) // nothing of it is to last
	}()
	if ack, err := c.Publish(ctx, Topic(i.load.opt.Name, Memory, 0), payload(Message{Publisher: i.name, N: 1}, 0)); err == nil {
		i.note(Admitted, "published at "+string(ack.Cursor()))
	}
	if err = c.Subscribe(i.spec.Filter).Ready(ctx); err == nil {
		i.note(Admitted, "subscribed")
		return
	}
	i.refused(err)
}

// refused notes an answer. That there was none, for whatever reason, is no decision.
func (i *intruder) refused(err error) {
	if answer, ok := errors.AsType[*protocol.Error](err); ok {
		i.note(Denied, answer.Code.String())
	}
}

func (i *intruder) note(k Kind, why string) {
	i.load.Log.Note(Event{Kind: k, Who: i.name, Filter: i.spec.Filter, Why: why})
}

// allowed: nobody is let do what it has no right to, whatever is broken.
func allowed(r *run, broken func(string, ...any)) {
	for _, e := range r.events {
		if e.Kind == Admitted {
			broken("%s, who has no right to %s, %s", e.Who, e.Filter, e.Why)
		}
	}
}
