package workload

import (
	"context"

	carillon "github.com/carillon-mq/carillon/sdk/go"
)

// register reads retained topics, one at a time, each as a new subscriber of it.
type register struct {
	name   string
	load   *Load
	client *carillon.Client
}

func (r *register) run(ctx context.Context, stop <-chan struct{}) {
	for i := 0; ctx.Err() == nil; i++ {
		select {
		case <-stop:
			return
		default:
		}
		r.read(ctx, Topic(r.load.opt.Name, Retained, i%r.load.opt.Topics))
	}
}

// read notes what topic holds at some time between the call and the return.
func (r *register) read(ctx context.Context, topic string) {
	r.load.Log.Note(Event{Kind: Asked, Who: r.name, Message: Message{Topic: topic}})
	held := Message{Topic: topic}
	for e, err := range r.client.Subscribe(topic).Events(ctx) {
		if err != nil {
			return
		}
		switch e := e.(type) {
		case *carillon.Message:
			if e.Retained {
				held = messageIn(topic, e.Payload)
			}
		case *carillon.SnapshotEnd:
			r.load.Log.Note(Event{Kind: Answered, Who: r.name, Message: held})
			return
		}
	}
}
