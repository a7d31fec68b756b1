package workload

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/carillon-mq/carillon/protocol"
	carillon "github.com/carillon-mq/carillon/sdk/go"
)

// Options shape a load. The zero value of a field is its default.
type Options struct {
	URL           string
	PublishURL    string  // another way to the broker for the publishers
	Name          string  // first level of every topic: "w"
	Classes       []Class // of the topics: all three
	Topics        int     // of each class: 4
	Publishers    int     // 4, each with a connection of its own
	Inflight      int     // publishes of one of them that are under way together: 8
	Pause         time.Duration
	Bytes         int // of a payload: 64
	Subscriptions []Subscription
	Readers       int // of retained topics as registers: 0
	Intruders     []Intruder
	Client        []carillon.Option
}

func (o Options) withDefaults() Options {
	setDefault(&o.PublishURL, o.URL)
	setDefault(&o.Name, "w")
	setDefault(&o.Topics, 4)
	setDefault(&o.Publishers, 4)
	setDefault(&o.Inflight, 8)
	setDefault(&o.Bytes, 64)
	if o.Classes == nil {
		o.Classes = []Class{Memory, Stored, Retained}
	}
	o.Client = append([]carillon.Option{
		carillon.WithBackoff(5*time.Millisecond, 50*time.Millisecond), carillon.WithDialRetry(), carillon.WithClientName("workload"),
	}, o.Client...)
	return o
}

func setDefault[T comparable](v *T, byDefault T) {
	var zero T
	if *v == zero {
		*v = byDefault
	}
}

// The publishers of the first stored message and of the last message of every topic, behind which a subscription has everything.
const (
	opener = "opener"
	closer = "closer"
)

// Load is a load that runs. Its methods are for one goroutine.
type Load struct {
	Log *Log

	opt     Options
	run     string // makes message ids unlike those of any other run
	topics  []string
	began   carillon.Cursor // before everything but one stored message
	clients []*carillon.Client
	subs    []*subscriber

	halt       chan struct{} // closed to end the publishers
	publishers sync.WaitGroup
	leave      context.CancelFunc // ends the subscribers
	readers    sync.WaitGroup
}

// Start connects everybody, subscribes, and begins to publish. The load lasts until Finish, or ctx ends; Close has to be called in
// any case.
func Start(ctx context.Context, opt Options) (*Load, error) {
	opt = opt.withDefaults()
	l := &Load{Log: NewLog(), opt: opt, run: protocol.NewRunID().String(), halt: make(chan struct{})}
	for i := range opt.Topics { // one class after the other, so that each publisher's batch has all
		for _, c := range opt.Classes {
			l.topics = append(l.topics, Topic(opt.Name, c, i))
		}
	}
	var reading context.Context
	reading, l.leave = context.WithCancel(ctx)
	if err := l.open(ctx); err != nil {
		l.Close()
		return nil, err
	}
	for i, spec := range opt.Subscriptions {
		setDefault(&spec.Filter, opt.Name+".>")
		setDefault(&spec.URL, opt.URL)
		var opts []carillon.Option
		if spec.Buffer > 0 {
			opts = append(opts, carillon.WithBuffer(spec.Buffer, 1<<20))
		}
		c, err := l.dial(ctx, spec.URL, opts...)
		if err != nil {
			l.Close()
			return nil, err
		}
		s := &subscriber{name: "s" + itoa(i), load: l, client: c, spec: spec, last: map[string]bool{}}
		l.subs = append(l.subs, s)
		l.readers.Go(func() { s.run(reading) })
	}
	for i := range opt.Publishers {
		c, err := l.dial(ctx, opt.PublishURL)
		if err != nil {
			l.Close()
			return nil, err
		}
		p := &publisher{name: "p" + itoa(i), load: l, client: c, next: map[string]int64{}, turn: i}
		l.publishers.Go(func() { p.run(ctx, l.halt) })
	}
	for i := range opt.Readers {
		c, err := l.dial(ctx, opt.URL)
		if err != nil {
			l.Close()
			return nil, err
		}
		r := &register{name: "r" + itoa(i), load: l, client: c}
		l.publishers.Go(func() { r.run(ctx, l.halt) })
	}
	for i, spec := range opt.Intruders {
		setDefault(&spec.Filter, opt.Name+".>")
		x := &intruder{name: "x" + itoa(i), load: l, spec: spec}
		l.publishers.Go(func() { x.run(ctx, l.halt) })
	}
	return l, nil
}

// open publishes the first stored message, for the position that it is acknowledged with.
func (l *Load) open(ctx context.Context) error {
	if !slices.Contains(l.opt.Classes, Stored) {
		return nil
	}
	c, err := l.dial(ctx, l.opt.URL)
	if err != nil {
		return err
	}
	p := &publisher{name: opener, load: l, client: c, next: map[string]int64{}}
	d := p.draft(Topic(l.opt.Name, Stored, 0))
	p.settle(ctx, []*draft{d})
	at, ok := l.ackOf(d.Message, 0)
	if !ok {
		return fmt.Errorf("the opening message of %s was not acknowledged", d.Topic)
	}
	l.began = carillon.Cursor(at.Cursor())
	return nil
}

func (l *Load) dial(ctx context.Context, url string, opts ...carillon.Option) (*carillon.Client, error) {
	c, err := carillon.Dial(ctx, url, slices.Concat(l.opt.Client, opts)...)
	if err == nil {
		l.clients = append(l.clients, c)
	}
	return c, err
}

// Await waits until so many events of a kind have been added to the log since it was called.
func (l *Load) Await(ctx context.Context, k Kind, more int) error {
	at := l.Log.Count(k)
	return until(ctx, func() error {
		if n := l.Log.Count(k) - at; n < more {
			return fmt.Errorf("found %d more events of kind %d, wanted %d", n, k, more)
		}
		return nil
	})
}

// Halt ends the publishers, once each has settled what it has begun.
func (l *Load) Halt() {
	select {
	case <-l.halt:
	default:
		close(l.halt)
	}
	l.publishers.Wait()
}

// Finish ends the publishers and waits until every subscription that stays has been handed, or told of, everything: a last message of
// each topic shows it. Then the subscriptions leave. An error says which one does not come to the end.
func (l *Load) Finish(ctx context.Context) error {
	l.Halt()
	defer func() {
		l.leave()
		l.readers.Wait()
	}()
	p := &publisher{name: closer, load: l, next: map[string]int64{}}
	var err error
	if p.client, err = l.dial(ctx, l.opt.URL); err != nil {
		return fmt.Errorf("the closing messages: %w", err)
	}
	for _, topic := range l.topics {
		d := p.draft(topic)
		for begun := len(l.Log.Events()); ; { // of class memory too: nothing is broken any more
			p.settle(ctx, []*draft{d})
			if at, ok := l.ackOf(d.Message, begun); ok {
				if err := l.awaitThrough(ctx, topic, at); err != nil {
					return err
				}
				break
			}
			if ctx.Err() != nil {
				return fmt.Errorf("the closing message of %s was never acknowledged: %w", topic, ctx.Err())
			}
		}
	}
	return nil
}

func (l *Load) ackOf(m Message, from int) (protocol.Position, bool) {
	for _, e := range l.Log.Events()[from:] {
		if e.Kind == Acked && e.Message == m {
			return e.Position, true
		}
	}
	return protocol.Position{}, false
}

func (l *Load) awaitThrough(ctx context.Context, topic string, at protocol.Position) error {
	return until(ctx, func() error {
		for _, s := range l.subs {
			if s.spec.Leave == 0 && protocol.Match(s.spec.Filter, topic) && !s.through(topic, at) {
				return fmt.Errorf("subscription %s to %s has not come to the end of %s", s.name, s.spec.Filter, topic)
			}
		}
		return nil
	})
}

// until waits until so returns nil, and returns its error when ctx ends before that.
func until(ctx context.Context, so func() error) error {
	for {
		err := so()
		if err == nil {
			return nil
		}
		pause(ctx, 2*time.Millisecond)
		if ctx.Err() != nil {
			return fmt.Errorf("%w: %w", err, context.Cause(ctx))
		}
	}
}

// Close ends everything at once.
func (l *Load) Close() {
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	l.leave()
	for _, c := range l.clients {
		_ = c.Close(gone) // what is under way is abandoned
	}
	l.Halt()
	l.readers.Wait()
}

// Topic is the n-th topic of a class in the loads of a name.
func Topic(name string, c Class, n int) string { return name + "." + string(c) + "." + itoa(n) }

// ClassOf is the class of a load's topic.
func ClassOf(topic string) Class {
	_, rest, _ := strings.Cut(topic, ".")
	class, _, _ := strings.Cut(rest, ".")
	return Class(class)
}

func itoa(n int) string { return strconv.Itoa(n) }
