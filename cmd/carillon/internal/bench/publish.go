package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/carillon-mq/carillon/protocol"
)

// Class is what the topics of a publish bench are.
type Class string

// The classes. Live and Stored need a broker with TopicRules; the others are what a topic without a rule is.
const (
	Live     Class = "live"
	Memory   Class = "memory"
	Stored   Class = "stored"
	Retained Class = "retained" // every publish is retained
)

// TopicRules is the configuration of a broker's topics that the benches count on.
const TopicRules = `[{match: "bench.live.>", class: live}, {match: "bench.stored.>", class: stored}]`

// PublishOptions shape a bench of acknowledged publishes.
type PublishOptions struct {
	Class      Class // Memory
	Publishers int   // 64, each with a connection and a topic of its own
	Inflight   int   // 1 of each publisher
	Payload    int   // bytes: 128
	Warmup     time.Duration
	Duration   time.Duration // 10 s
	MessageIDs bool          // as the SDKs send them
	Token      string
}

func (o PublishOptions) withDefaults() PublishOptions {
	or(&o.Class, Memory)
	or(&o.Publishers, 64)
	or(&o.Inflight, 1)
	or(&o.Payload, 128)
	or(&o.Duration, 10*time.Second)
	return o
}

// PublishResult is what a bench of publishes has shown.
type PublishResult struct {
	Class         Class         `json:"class"`
	Publishers    int           `json:"publishers"`
	Inflight      int           `json:"inflight"`
	Payload       int           `json:"payload_bytes"`
	MessageIDs    bool          `json:"message_ids"`
	Acks          int           `json:"acks"`
	Seconds       float64       `json:"seconds"`
	PerSecond     float64       `json:"acks_per_second"`
	P50           time.Duration `json:"p50_ns"`
	P99           time.Duration `json:"p99_ns"`
	P999          time.Duration `json:"p999_ns"`
	ServerCPU     float64       `json:"server_cpu_seconds,omitempty"`
	CPUPerMillion float64       `json:"server_cpu_seconds_per_million,omitempty"`
	BrokerPeak    int64         `json:"broker_peak_rss_bytes,omitempty"` // plugins not included
}

// Publish publishes from many connections and waits for every acknowledgement.
func Publish(ctx context.Context, s Server, o PublishOptions) (PublishResult, error) {
	o = o.withDefaults()
	all := make([]*publishing, o.Publishers)
	defer func() {
		for _, p := range all {
			if p != nil {
				p.c.close()
			}
		}
	}()
	err := each(o.Publishers, func(i int) error {
		c, err := dial(ctx, s, Carillon{Token: o.Token}, 8<<10)
		if err != nil {
			return err
		}
		all[i] = &publishing{c: c, o: o, topic: "bench." + string(o.Class) + "." + strconv.Itoa(i)}
		all[i].prepare()
		return nil
	})
	if err != nil {
		return PublishResult{}, err
	}
	var measuring, ending atomic.Bool
	failed := make(chan error, o.Publishers)
	var running sync.WaitGroup
	for _, p := range all {
		running.Go(func() {
			if err := p.run(&measuring, &ending); err != nil {
				failed <- err
			}
		})
	}
	pauseErr := pause(ctx, failed, o.Warmup)
	before, began := s.usage(), time.Now()
	measuring.Store(true)
	if pauseErr == nil {
		pauseErr = pause(ctx, failed, o.Duration)
	}
	measuring.Store(false)
	after, elapsed := s.usage(), time.Since(began)
	ending.Store(true)
	late := time.AfterFunc(10*time.Second, func() {
		for _, p := range all {
			p.c.close()
		}
	})
	running.Wait()
	late.Stop()
	select {
	case err := <-failed:
		return PublishResult{}, err
	default:
	}
	if pauseErr != nil {
		return PublishResult{}, pauseErr
	}
	r := o.result(all, elapsed, before, after)
	r.BrokerPeak = s.peak()
	return r, nil
}

// pause lets d pass, unless something fails.
func pause(ctx context.Context, failed <-chan error, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case err := <-failed:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (o PublishOptions) result(all []*publishing, elapsed time.Duration, before, after usage) PublishResult {
	var took []uint32
	for _, p := range all {
		took = append(took, p.took...)
	}
	slices.Sort(took)
	r := PublishResult{
		Class: o.Class, Publishers: o.Publishers, Inflight: o.Inflight, Payload: o.Payload, MessageIDs: o.MessageIDs,
		Acks: len(took), Seconds: elapsed.Seconds(), PerSecond: float64(len(took)) / elapsed.Seconds(),
		P50: quantile(took, 0.5), P99: quantile(took, 0.99), P999: quantile(took, 0.999),
	}
	if before.ok && after.ok && len(took) > 0 {
		r.ServerCPU = (after.cpu - before.cpu).Seconds()
		r.CPUPerMillion = r.ServerCPU / float64(len(took)) * 1e6
	}
	return r
}

// quantile is of sorted microseconds.
func quantile(sorted []uint32, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return time.Duration(sorted[int(q*float64(len(sorted)-1))]) * time.Microsecond
}

// publishing is one publisher. Its publishes go to one topic, so they are acknowledged in order.
type publishing struct {
	c     *conn
	o     PublishOptions
	topic string

	message protocol.Publish
	prefix  string // of message ids
	next    uint64
	sent    []time.Time // when what is in flight was sent, oldest first
	took    []uint32    // microseconds
	out     []byte
}

func (p *publishing) prepare() {
	p.message = protocol.Publish{Topic: p.topic, Payload: []byte(strings.Repeat("x", p.o.Payload)), ContentType: "text/plain", Retain: p.o.Class == Retained}
	p.prefix = protocol.NewRunID().String() + "-"
}

// run keeps the window full until ending is set, and then waits for what is in flight. What is acknowledged while measuring is set counts.
func (p *publishing) run(measuring, ending *atomic.Bool) error {
	for {
		if !ending.Load() {
			if err := p.fill(); err != nil {
				return err
			}
		}
		if len(p.sent) == 0 {
			return nil
		}
		got, err := p.c.receive()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				err = fmt.Errorf("%d publishes to %s were not acknowledged in time", len(p.sent), p.topic)
			}
			return err
		}
		now, counts := time.Now(), measuring.Load()
		if got.Answers > len(p.sent) {
			return fmt.Errorf("found %d acknowledgements of %d publishes: the run is invalid", got.Answers, len(p.sent))
		}
		for _, at := range p.sent[:got.Answers] {
			if counts {
				p.took = append(p.took, uint32(now.Sub(at).Microseconds()))
			}
		}
		p.sent = p.sent[:copy(p.sent, p.sent[got.Answers:])]
	}
}

// fill sends as many publishes as the window has room for, together.
func (p *publishing) fill() error {
	p.out = p.out[:0]
	now := time.Now()
	for len(p.sent) < p.o.Inflight {
		p.next++
		p.message.ID = p.next
		if p.o.MessageIDs {
			p.message.MessageID = p.prefix + strconv.FormatUint(p.next, 36)
		}
		p.out = p.message.Append(p.out)
		p.sent = append(p.sent, now)
	}
	if len(p.out) == 0 {
		return nil
	}
	return p.c.send(p.out)
}
