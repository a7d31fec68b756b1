package workload

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	carillon "github.com/carillon-mq/carillon/sdk/go"
)

// repeatEvery is the pause before publishes that failed are sent again.
const repeatEvery = 10 * time.Millisecond

// publisher sends rounds of numbered messages, one after the other to each of its topics.
type publisher struct {
	name   string
	load   *Load
	client *carillon.Client
	next   map[string]int64
	turn   int
}

// draft is one message on its way.
type draft struct {
	Message
	class Class
	id    string
	on    *carillon.Publishing
	err   error
}

// run publishes until stop is closed, and then settles what it has begun.
func (p *publisher) run(ctx context.Context, stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case <-ctx.Done():
			return
		case <-p.client.Done(): // refused for good: the load falls short, which the floor tells
			return
		default:
		}
		batch := make([]*draft, p.load.opt.Inflight)
		for i := range batch {
			batch[i] = p.draft(p.load.topics[p.turn%len(p.load.topics)])
			p.turn++
		}
		p.settle(ctx, batch)
		pause(ctx, p.load.opt.Pause)
	}
}

func (p *publisher) draft(topic string) *draft {
	p.next[topic]++
	m := Message{Topic: topic, Publisher: p.name, N: p.next[topic]}
	return &draft{Message: m, class: ClassOf(topic), id: fmt.Sprintf("%s:%s:%s:%d", p.load.run, p.name, topic, m.N)}
}

// settle publishes what batch holds, in its order, and repeats, in that order, what may be repeated, until nothing is left.
func (p *publisher) settle(ctx context.Context, batch []*draft) {
	for len(batch) > 0 && ctx.Err() == nil {
		for _, d := range batch {
			p.send(ctx, d)
		}
		var again []*draft
		for _, d := range batch {
			if p.outcome(ctx, d) {
				again = append(again, d)
			}
		}
		batch = again
		if len(batch) > 0 {
			pause(ctx, repeatEvery)
		}
	}
}

func (p *publisher) send(ctx context.Context, d *draft) {
	p.load.Log.Note(Event{Kind: Sent, Who: p.name, Message: d.Message, Class: d.class})
	opts := []carillon.PublishOption{carillon.ID(d.id)}
	if d.class == Retained {
		opts = append(opts, carillon.Retain())
	}
	d.on, d.err = p.client.PublishAsync(ctx, d.Topic, payload(d.Message, p.load.opt.Bytes), opts...)
}

// outcome waits for the acknowledgement of d and reports whether d has to be sent again.
func (p *publisher) outcome(ctx context.Context, d *draft) (again bool) {
	var ack carillon.Ack
	err := d.err
	if err == nil {
		ack, err = d.on.Wait(ctx)
	}
	e := Event{Kind: Acked, Who: p.name, Message: d.Message, Class: d.class}
	switch {
	case err == nil:
		e.Durability, e.Duplicate, e.Position = ack.Durability, ack.Duplicate, positionOf(ack.Cursor())
		if ack.Seq == 0 {
			e.Position.Seq = 0
		}
		if ack.Offset == 0 {
			e.Position.Offset = 0
		}
	case errors.Is(err, carillon.ErrUnknownOutcome) || carillon.Retryable(err) || ctx.Err() != nil:
		e.Kind, e.Why = Lost, err.Error()
		again = d.class != Memory
	default:
		e.Kind, e.Why = Refused, err.Error()
	}
	p.load.Log.Note(e)
	return again
}

// payload is the text of m, at least size bytes long. What fills it up can be compressed in one message of four: in all of them, nobody
// would lag.
func payload(m Message, size int) []byte {
	b := fmt.Appendf(nil, "%s %d ", m.Publisher, m.N)
	n := size - len(b)
	switch {
	case n <= 0:
		return b
	case m.N%4 == 0:
		return append(b, strings.Repeat(".", n)...)
	}
	fill := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(m.N)}).Read(fill) // never fails
	return append(b, fill...)
}

// messageIn is the message that a payload in topic is of; N is -1 if it is none.
func messageIn(topic string, b []byte) Message {
	who, rest, _ := strings.Cut(string(b), " ")
	number, _, _ := strings.Cut(rest, " ")
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		n = -1
	}
	return Message{Topic: topic, Publisher: who, N: n}
}

func pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
