package bench

import (
	"bytes"
	"fmt"

	"github.com/carillon-mq/carillon/cmd/carillon/internal/bench/floor"
	"github.com/carillon-mq/carillon/protocol"
)

// Dialect is what the client speaks over WebSocket: how to say what a bench has to say, and how to count what comes back.
type Dialect interface {
	Subprotocol() string
	Hello() []byte // sent first and answered once; nil for none
	Subscribe(topic string) []byte
	Publish(dst []byte, p *protocol.Publish) []byte
	// Count counts the packets of one WebSocket message, and has o take each that carries a number.
	Count(msg []byte, o *order) (Counts, error)
}

// Counts are what was received.
type Counts struct {
	Messages int
	Answers  int // to a hello, a subscribe or a publish
}

// Carillon is the broker's own dialect.
type Carillon struct {
	Token  string
	Tokens func() string // not nil: a token for each connection, instead of Token
}

var (
	_ Dialect = Carillon{}
	_ Dialect = Floor{}
)

// Subprotocol implements Dialect.
func (Carillon) Subprotocol() string { return "carillon.v1" }

// Hello implements Dialect.
func (d Carillon) Hello() []byte {
	token := d.Token
	if d.Tokens != nil {
		token = d.Tokens()
	}
	return (&protocol.Connect{Version: 1, Token: token, Client: "carillon-bench"}).Append(nil)
}

// Subscribe implements Dialect.
func (Carillon) Subscribe(topic string) []byte {
	return (&protocol.Subscribe{ID: 1, Filter: topic, NoRetained: true}).Append(nil)
}

// Publish implements Dialect.
func (Carillon) Publish(dst []byte, p *protocol.Publish) []byte { return p.Append(dst) }

// Count implements Dialect. It reads the types, the numbers and the times, and skips the rest. A message that looks like the one before
// is not read through again.
func (d Carillon) Count(msg []byte, o *order) (c Counts, err error) {
	for len(msg) > 0 {
		if s := &o.shape; s.size > 0 && len(msg) >= s.size && msg[0] == s.head[0] && msg[1] == s.head[1] {
			if n, due, ok := numberAt(msg[s.at:s.size]); ok {
				if err := o.take(n, due); err != nil {
					return c, err
				}
				c.Messages++
				msg = msg[s.size:]
				continue
			}
		}
		n, err := d.count(msg, o, &c)
		if err != nil {
			return c, err
		}
		msg = msg[n:]
	}
	return c, nil
}

// count counts the first packet and returns its length.
func (Carillon) count(msg []byte, o *order, c *Counts) (int, error) {
	n, err := protocol.Gate(msg)
	if err != nil {
		return 0, err
	}
	if n < 2 {
		return 0, fmt.Errorf("packet of %d bytes", n)
	}
	switch protocol.Type(msg[1]) {
	case protocol.TypeMessage:
		c.Messages++
		at := bytes.Index(msg[:n], numberHead)
		if at < 0 {
			break
		}
		o.shape = shape{size: n, at: at, head: [2]byte(msg)}
		if number, due, ok := numberAt(msg[at:n]); ok {
			return n, o.take(number, due)
		}
	case protocol.TypeConnected, protocol.TypeSubscribed, protocol.TypePublished:
		c.Answers++
	case protocol.TypePing, protocol.TypePong:
	case protocol.TypeGap:
		return 0, fmt.Errorf("the broker told of a gap: the run is invalid")
	case protocol.TypeError, protocol.TypeDisconnect:
		return 0, refusalIn(msg[:n])
	default:
		return 0, fmt.Errorf("found packet type %s", protocol.Type(msg[1]))
	}
	return n, nil
}

// refusalIn is what an Error or a Disconnect says.
func refusalIn(packet []byte) error {
	raw, _, err := protocol.Next(packet)
	if err != nil {
		return err
	}
	p, err := protocol.DecodePacket(raw)
	switch p := p.(type) {
	case *protocol.ErrorPacket:
		return p.Err()
	case *protocol.Disconnect:
		return p.Err()
	}
	return err
}

// Floor is the dialect of package floor.
type Floor struct{}

// Subprotocol implements Dialect.
func (Floor) Subprotocol() string { return "" }

// Hello implements Dialect.
func (Floor) Hello() []byte { return nil }

// Subscribe implements Dialect.
func (Floor) Subscribe(topic string) []byte {
	return floor.AppendCommand(nil, floor.Subscribe, topic, nil)
}

// Publish implements Dialect.
func (Floor) Publish(dst []byte, p *protocol.Publish) []byte {
	kind := floor.Publish
	if p.ID != 0 {
		kind = floor.Ask
	}
	return floor.AppendCommand(dst, kind, p.Topic, p.Payload)
}

// Count implements Dialect.
func (Floor) Count(msg []byte, o *order) (c Counts, err error) {
	for len(msg) > 0 {
		kind, rest, behind, ok := floor.Next(msg)
		if !ok {
			return c, fmt.Errorf("found %d bytes that are no packet of the floor", len(msg))
		}
		msg = behind
		switch kind {
		case floor.Answer:
			c.Answers++
		case floor.Message:
			c.Messages++
			if n, due, ok := numberAt(rest); ok {
				err = o.take(n, due)
			}
		default:
			err = fmt.Errorf("found packet type %q", kind)
		}
		if err != nil {
			return c, err
		}
	}
	return c, nil
}
