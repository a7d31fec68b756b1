package bench

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
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

// errNoFloor is for what the floor is too bare for.
var errNoFloor = errors.New("there is no floor to compare this with")

// PublishOptions shape a bench of acknowledged publishes.
type PublishOptions struct {
	Class      Class         `json:"class"`      // Memory
	Publishers int           `json:"publishers"` // 64, each with a connection and a topic of its own
	Inflight   int           `json:"inflight"`   // 1 of each publisher
	Payload    int           `json:"payload_bytes"`
	Warmup     time.Duration `json:"warmup_ns"`
	Duration   time.Duration `json:"duration_ns"` // 10 s
	MessageIDs bool          `json:"message_ids"` // as the SDKs send them
	Separate   bool          `json:"separate"`    // each publish is sent by itself, and not all that there is room for together

	topic func(publisher int, n uint64) string // nil: one of each publisher's own
}

func (o PublishOptions) withDefaults() PublishOptions {
	or(&o.Class, Memory)
	or(&o.Publishers, 64)
	or(&o.Inflight, 1)
	or(&o.Payload, 128)
	or(&o.Duration, 10*time.Second)
	return o
}

// Name implements Scenario.
func (PublishOptions) Name() string { return "publish" }

func (o PublishOptions) String() string {
	o = o.withDefaults()
	text := fmt.Sprintf("%s, %d in flight each, %s, %d bytes, %s", plural(o.Publishers, "publisher"), o.Inflight, o.Class, o.Payload, o.Duration)
	if o.Separate && o.Inflight > 1 {
		text += ", each sent by itself"
	}
	return text
}

// Run implements Scenario. It publishes from many connections and waits for every acknowledgement.
func (o PublishOptions) Run(ctx context.Context, s Server, d Dialect) (Figures, error) {
	o = o.withDefaults()
	if _, ok := d.(Floor); ok && (o.Class == Stored || o.Class == Retained) {
		return nil, errNoFloor
	}
	r := &publishing{PublishOptions: o, all: make([]*publisher, o.Publishers)}
	conns := make([]*conn, o.Publishers)
	defer func() { closeAll(conns) }()
	err := each(o.Publishers, func(i int) error {
		c, err := dial(ctx, s, d, 8<<10)
		if err != nil {
			return err
		}
		c.id, conns[i] = i, c
		r.all[i] = newPublisher(c, "bench."+string(o.Class)+"."+strconv.Itoa(i), o)
		return nil
	})
	if err != nil {
		return nil, err
	}
	p := &pump{conns: conns, got: r.got, timed: true}
	var before, after usage
	var began, took int64
	err = together(ctx, func(ctx context.Context) error {
		for _, a := range r.all {
			if err := a.fill(clock()); err != nil {
				return err
			}
		}
		return p.run(ctx)
	}, func(ctx context.Context) error {
		defer r.ending.Store(true)
		if err := pause(ctx, o.Warmup); err != nil {
			return err
		}
		before, began = s.usage(), clock()
		r.measuring.Store(true)
		err := pause(ctx, o.Duration)
		r.measuring.Store(false)
		after, took = s.usage(), clock()-began
		return err
	})
	if err != nil {
		return nil, err
	}
	seen := p.latencies().each
	n, seconds := int(seen.TotalCount()), time.Duration(took).Seconds()
	f := Figures{"acks": float64(n), "seconds": seconds, AcksPerSecond: float64(n) / seconds}
	f.percentiles(seen)
	f.cost(n, before, after)
	f.peak(s)
	return f, nil
}

// publishing is a run.
type publishing struct {
	PublishOptions
	all               []*publisher // by the id of their connection
	measuring, ending atomic.Bool
}

// got takes acknowledgements and keeps the window full until the end, and then waits for what is in flight. What is acknowledged while
// measuring is set counts.
func (r *publishing) got(c *conn, counts Counts, now int64) (done bool, err error) {
	p := r.all[c.id]
	if counts.Answers > len(p.sent) {
		return false, fmt.Errorf("found %d acknowledgements of %d publishes: the run is invalid", counts.Answers, len(p.sent))
	}
	if r.measuring.Load() {
		for _, at := range p.sent[:counts.Answers] {
			record(c.times.each, now-at)
		}
	}
	c.next += uint64(counts.Answers)
	p.sent = p.sent[:copy(p.sent, p.sent[counts.Answers:])]
	if r.ending.Load() {
		return len(p.sent) == 0, nil
	}
	return false, p.fill(now)
}

// publisher publishes by one connection, to topics of which no acknowledgement overtakes another.
type publisher struct {
	*conn
	o       PublishOptions
	message protocol.Publish
	prefix  string  // of message ids
	sent    []int64 // when what is in flight was sent, oldest first
	packets []byte
}

func newPublisher(c *conn, topic string, o PublishOptions) *publisher {
	return &publisher{
		conn: c, o: o, prefix: protocol.NewRunID().String() + "-",
		message: protocol.Publish{Topic: topic, Payload: []byte(strings.Repeat("x", o.Payload)), ContentType: "text/plain", Retain: o.Class == Retained},
	}
}

// fill sends as many publishes as the window has room for.
func (p *publisher) fill(now int64) error {
	p.packets = p.packets[:0]
	for len(p.sent) < p.o.Inflight {
		p.message.ID++
		if p.o.topic != nil {
			p.message.Topic = p.o.topic(p.id, p.message.ID)
		}
		if p.o.MessageIDs {
			p.message.MessageID = p.prefix + strconv.FormatUint(p.message.ID, 36)
		}
		p.packets = p.d.Publish(p.packets, &p.message)
		p.sent = append(p.sent, now)
		if p.o.Separate {
			if err := p.send(p.packets); err != nil {
				return err
			}
			p.packets = p.packets[:0]
		}
	}
	if len(p.packets) == 0 {
		return nil
	}
	return p.send(p.packets)
}
