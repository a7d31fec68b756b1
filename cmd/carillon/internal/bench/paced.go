package bench

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/carillon-mq/carillon/protocol"
)

// PacedOptions shape a load that comes at its own pace, whatever the server does.
type PacedOptions struct {
	Topics      int           `json:"topics"`      // 1
	Subscribers int           `json:"subscribers"` // of each topic: 1,000
	Rate        float64       `json:"rate"`        // messages a second, all topics together: 50
	Payload     int           `json:"payload_bytes"`
	Duration    time.Duration `json:"duration_ns"`  // 10 s
	Warmup      time.Duration `json:"warmup_ns"`    // before that
	Stalled     int           `json:"stalled"`      // more subscribers, which read nothing
	MostLate    time.Duration `json:"most_late_ns"` // 100 ms
}

func (o PacedOptions) withDefaults() PacedOptions {
	or(&o.Topics, 1)
	or(&o.Subscribers, 1000)
	or(&o.Rate, 50)
	or(&o.Payload, 128)
	or(&o.Duration, 10*time.Second)
	or(&o.MostLate, 100*time.Millisecond)
	o.Payload = max(o.Payload, minNumbered)
	return o
}

// Name implements Scenario.
func (o PacedOptions) Name() string {
	if o.Topics > 1 {
		return "topics"
	}
	return "latency"
}

func (o PacedOptions) String() string {
	o = o.withDefaults()
	text := fmt.Sprintf("%s, %s each, %g messages/s of %d bytes in all, %s", plural(o.Topics, "topic"), plural(o.Subscribers, "subscriber"), o.Rate, o.Payload, o.Duration)
	if o.Stalled > 0 {
		text += fmt.Sprintf(", and %d that read nothing", o.Stalled)
	}
	return text
}

func (o PacedOptions) topic(i int) string { return "bench.paced." + strconv.Itoa(i) }

// warm and measured are how many messages come before what is measured, and in it: as many of each topic.
func (o PacedOptions) warm() int     { return o.rounds(o.Warmup) * o.Topics }
func (o PacedOptions) measured() int { return max(o.rounds(o.Duration), 1) * o.Topics }

func (o PacedOptions) rounds(d time.Duration) int {
	return int(o.Rate * d.Seconds() / float64(o.Topics))
}

// Run implements Scenario. Latencies count from when a message was due to be sent, not from when it was: a publisher that was held up does
// not hide what its messages suffered.
func (o PacedOptions) Run(ctx context.Context, s Server, d Dialect) (Figures, error) {
	o = o.withDefaults()
	stalled, err := connectAll(ctx, s, d, o.Stalled, func(i int) string { return o.topic(i % o.Topics) }, 512)
	defer closeAll(stalled)
	if err != nil {
		return nil, err
	}
	conns, err := connectAll(ctx, s, d, o.Topics*o.Subscribers, func(i int) string { return o.topic(i % o.Topics) }, 512)
	defer closeAll(conns)
	if err != nil {
		return nil, err
	}
	publisher, err := dial(ctx, s, d, 4<<10)
	if err != nil {
		return nil, err
	}
	defer closeAll([]*conn{publisher})
	each := (o.warm() + o.measured()) / o.Topics
	p := &pump{conns: conns, got: until(each), timed: true, last: each}
	if o.Topics > 1 {
		p.last = 0 // a message is not known by its number alone
	}
	run := &paced{PacedOptions: o, server: s, publisher: publisher}
	var after usage
	err = together(ctx, func(ctx context.Context) error {
		err := p.run(ctx)
		after = s.usage()
		return err
	}, run.publish)
	if err != nil {
		return nil, err
	}
	seen := p.latencies()
	if late := time.Duration(seen.batches.ValueAtQuantile(99)) * time.Microsecond; late > o.MostLate {
		return nil, fmt.Errorf("the client took %s or longer, one time in a hundred, to read what was there: %w", late.Round(time.Millisecond), ErrLate)
	}
	f := Figures{}
	n := o.measured() * o.Subscribers
	f["deliveries"], f["seconds"] = float64(n), o.Duration.Seconds()
	f[PerSecond] = float64(n) / run.took.Seconds()
	f.percentiles(seen.each)
	if p.last > 0 {
		f.last(seen.last[o.warm():])
	}
	f["publisher_late_p99_ms"] = float64(run.late.ValueAtQuantile(99)) / 1000
	f["reader_batch_p99_ms"] = float64(seen.batches.ValueAtQuantile(99)) / 1000
	f.cost(n, run.before, after)
	return f, nil
}

// last puts in how long messages took to their last subscriber.
func (f Figures) last(ns []int64) {
	h := newHistogram()
	for _, n := range ns {
		record(h, n)
	}
	f[LastP50] = float64(h.ValueAtQuantile(50)) / 1000
	f["last_p99_ms"] = float64(h.ValueAtQuantile(99)) / 1000
}

// ErrLate ends a run whose load was not made. The next one may be better.
var ErrLate = errors.New("the run is invalid")

// paced publishes.
type paced struct {
	PacedOptions
	server    Server
	publisher *conn

	before usage // when what is measured began
	took   time.Duration
	late   *hdrhistogram.Histogram
}

// publish sends every message when it is due. Where one in a hundred is later than MostLate, the load was not made: the client is too slow, or
// the server takes what is published too slowly.
func (p *paced) publish(ctx context.Context) error {
	p.late = newHistogram()
	warm, all := p.warm(), p.warm()+p.measured()
	every := float64(time.Second) / p.Rate
	begin := clock() + int64(10*time.Millisecond)
	var packet []byte
	for i := range all {
		if ctx.Err() != nil {
			return nil // what ended it is told by who did
		}
		due := begin + int64(float64(i)*every)
		sleepUntil(due)
		stamp := due
		if i < warm {
			stamp = 0
		} else {
			record(p.late, clock()-due)
		}
		if i == warm {
			p.before = p.server.usage()
		}
		m := protocol.Publish{Topic: p.topic(i % p.Topics), Payload: numbered(uint64(i/p.Topics), stamp, p.Payload)}
		packet = p.publisher.d.Publish(packet[:0], &m)
		if err := p.publisher.send(packet); err != nil {
			return err
		}
	}
	p.took = time.Duration(clock() - begin - int64(float64(warm)*every))
	if late := time.Duration(p.late.ValueAtQuantile(99)) * time.Microsecond; late > p.MostLate {
		return fmt.Errorf("one message in a hundred was published %s late or later: %w", late.Round(time.Millisecond), ErrLate)
	}
	return nil
}

// together runs all of fs, ends the context of the others when one fails, and returns the first error.
func together(ctx context.Context, fs ...func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ended := make(chan struct{}, len(fs))
	for _, f := range fs {
		go func() {
			if err := f(ctx); err != nil {
				cancel(err)
			}
			ended <- struct{}{}
		}()
	}
	for range fs {
		<-ended
	}
	return context.Cause(ctx)
}
