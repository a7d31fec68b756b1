package bench

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/carillon-mq/carillon/protocol"
)

// ResumeOptions shape a storm of clients that come back.
type ResumeOptions struct {
	Clients int    `json:"clients"` // 5,000, each with one subscription
	Missed  int    `json:"missed"`  // messages that each has missed
	Topics  int    `json:"topics"`  // client i subscribes to topic i mod Topics; 0: each has one of its own
	Class   Class  `json:"class"`   // Memory
	Payload int    `json:"payload_bytes"`
	Token   string `json:"-"`
}

func (o ResumeOptions) withDefaults() ResumeOptions {
	or(&o.Clients, 5000)
	or(&o.Topics, o.Clients)
	or(&o.Class, Memory)
	or(&o.Payload, 128)
	return o
}

// Name implements Scenario.
func (ResumeOptions) Name() string { return "resume" }

func (o ResumeOptions) String() string {
	o = o.withDefaults()
	return fmt.Sprintf("%s, %s (%s) missed by each", plural(o.Clients, "client"), plural(o.Missed, "message"), o.Class)
}

// Run implements Scenario. It connects clients and times it until all are live, cuts all of them off, publishes what they miss, and times
// their return until all have got that and are live again.
func (o ResumeOptions) Run(ctx context.Context, s Server, d Dialect) (Figures, error) {
	o = o.withDefaults()
	if _, ok := d.(Carillon); !ok {
		return nil, errNoFloor
	}
	places := make([][]byte, o.Clients)
	fresh, freshCPU, err := o.storm(ctx, s, func(c *conn, i int) (err error) {
		places[i], err = c.join(o.topic(i), nil, 0)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	if err := o.publish(ctx, s); err != nil {
		return nil, fmt.Errorf("publish what is missed: %w", err)
	}
	resumed, resumedCPU, err := o.storm(ctx, s, func(c *conn, i int) error {
		_, err := c.join(o.topic(i), places[i], o.Missed)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("resume: %w", err)
	}
	f := Figures{"connections": float64(o.Clients), "fresh_seconds": fresh, "resumed_seconds": resumed, "resumed_to_fresh": resumed / fresh}
	if freshCPU > 0 {
		f["fresh_server_cpu_microseconds_each"], f[ResumedEach] = freshCPU, resumedCPU
	}
	f.peak(s)
	return f, nil
}

// storm connects all clients, has each join, and ends them. cpu is what each has cost the server, in microseconds; 0 when that is not known.
func (o ResumeOptions) storm(ctx context.Context, s Server, join func(c *conn, i int) error) (took, cpu float64, err error) {
	conns := make([]*conn, o.Clients)
	defer closeAll(conns)
	before, began := s.usage(), time.Now()
	err = each(o.Clients, func(i int) error {
		c, err := dial(ctx, s, Carillon{Token: o.Token}, 512)
		if err != nil {
			return err
		}
		conns[i] = c
		return join(c, i)
	})
	took = time.Since(began).Seconds()
	if after := s.usage(); before.ok && after.ok {
		cpu = (after.cpu - before.cpu).Seconds() / float64(o.Clients) * 1e6
	}
	return took, cpu, err
}

func (o ResumeOptions) topic(i int) string {
	return "bench." + string(o.Class) + ".resume." + strconv.Itoa(i%o.Topics)
}

// publish sends every topic its messages, and waits for all acknowledgements.
func (o ResumeOptions) publish(ctx context.Context, s Server) error {
	const window = 32
	c, err := dial(ctx, s, Carillon{Token: o.Token}, 32<<10)
	if err != nil {
		return err
	}
	defer closeAll([]*conn{c})
	payload := make([]byte, o.Payload)
	open, id := 0, uint64(0)
	for range o.Missed {
		for i := range o.Topics {
			for open >= window {
				got, err := c.receive()
				if err != nil {
					return err
				}
				open -= got.Answers
			}
			id++
			open++
			p := protocol.Publish{ID: id, Topic: o.topic(i), Payload: payload, ContentType: "application/octet-stream"}
			if err := c.send(p.Append(nil)); err != nil {
				return err
			}
		}
	}
	for open > 0 {
		got, err := c.receive()
		if err != nil {
			return err
		}
		open -= got.Answers
	}
	return nil
}

// join subscribes, after a place if there is one, and waits until the subscription is live and has got so many messages. It returns
// the place where it is live.
func (c *conn) join(topic string, after []byte, missed int) (place []byte, err error) {
	j := &joining{resumes: after != nil}
	c.d = j
	if err := c.send((&protocol.Subscribe{ID: 1, Filter: topic, NoRetained: true, Position: after}).Append(nil)); err != nil {
		return nil, err
	}
	for !j.live {
		if _, err := c.receive(); err != nil {
			return nil, err
		}
	}
	if j.messages != missed {
		return nil, fmt.Errorf("found %d messages of %s, wanted %d: the run is invalid", j.messages, topic, missed)
	}
	return j.place.Append(nil), nil
}

// joining reads what comes on one connection until its subscription is live.
type joining struct {
	Carillon
	resumes  bool
	live     bool
	messages int
	place    protocol.Position
}

// Count implements Dialect.
func (j *joining) Count(msg []byte, _ *order) (c Counts, err error) {
	for len(msg) > 0 {
		raw, rest, err := protocol.Next(msg)
		if err != nil {
			return c, err
		}
		msg = rest
		if raw.Type == protocol.TypeMessage {
			j.messages++
			continue
		}
		p, err := protocol.DecodePacket(raw)
		if err != nil {
			return c, err
		}
		switch p := p.(type) {
		case *protocol.Subscribed:
			j.live, j.place = !j.resumes, p.Position
		case *protocol.Resumed:
			j.live, j.place = true, p.Position
		case *protocol.Replay, *protocol.Ping:
		case *protocol.Gap:
			return c, fmt.Errorf("the broker told of a gap (%s): the run is invalid", p.Reason)
		case *protocol.ErrorPacket:
			return c, p.Err()
		case *protocol.Disconnect:
			return c, p.Err()
		default:
			return c, fmt.Errorf("found packet type %s", raw.Type)
		}
	}
	return c, nil
}
