package workload

import (
	"context"
	"time"

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
		pause(ctx, r.load.opt.Pause)
	}
}

// emptyAfter is how long a reader that found no value waits for one to come: a snapshot leaves out a value that is replaced while it is
// made, and the stream behind it then brings the new one (log.md K2).
const emptyAfter = time.Second

// read notes what topic holds at some time between the call and the return.
func (r *register) read(ctx context.Context, topic string) {
	r.load.Log.Note(Event{Kind: Asked, Who: r.name, Message: Message{Topic: topic}})
	held := Message{Topic: topic}
	whole := false
	reading, cancel := context.WithCancel(ctx)
	defer cancel()
	for e, err := range r.client.Subscribe(topic).Events(reading) {
		if err != nil {
			return
		}
		switch e := e.(type) {
		case *carillon.Message:
			held = messageIn(topic, e.Payload)
		case *carillon.SnapshotEnd:
			whole = true
			late := time.AfterFunc(emptyAfter, cancel)
			defer late.Stop()
		}
		if whole && held.Publisher != "" {
			break
		}
	}
	if whole && ctx.Err() == nil {
		r.load.Log.Note(Event{Kind: Answered, Who: r.name, Message: held})
	}
}
