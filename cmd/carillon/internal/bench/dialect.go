package bench

import (
	"fmt"

	"github.com/carillon-mq/carillon/protocol"
)

// Dialect is what the client speaks over WebSocket: how to say what a bench has to say, and how to count what comes back.
type Dialect interface {
	Subprotocol() string
	Hello() []byte // sent first and answered once; nil for none
	Subscribe(topic string) []byte
	Publish(dst []byte, topic string, payload []byte) []byte
	// Count counts the packets of one WebSocket message, and calls numbered with each that carries a number of a fan-out.
	Count(msg []byte, numbered func(uint64) error) (Counts, error)
}

// Counts are what was received.
type Counts struct {
	Messages int
	Answers  int // to a hello, a subscribe or a publish
}

// Carillon is the broker's own dialect.
type Carillon struct{ Token string }

// Subprotocol implements Dialect.
func (Carillon) Subprotocol() string { return "carillon.v1" }

// Hello implements Dialect.
func (d Carillon) Hello() []byte {
	return (&protocol.Connect{Version: 1, Token: d.Token, Client: "carillon-bench"}).Append(nil)
}

// Subscribe implements Dialect.
func (Carillon) Subscribe(topic string) []byte {
	return (&protocol.Subscribe{ID: 1, Filter: topic, NoRetained: true}).Append(nil)
}

// Publish implements Dialect.
func (Carillon) Publish(dst []byte, topic string, payload []byte) []byte {
	return (&protocol.Publish{ID: 2, Topic: topic, Payload: payload}).Append(dst)
}

// Count implements Dialect. It reads the types and the numbers, and skips the rest.
func (Carillon) Count(msg []byte, numbered func(uint64) error) (c Counts, err error) {
	for len(msg) > 0 {
		n, err := protocol.Gate(msg)
		if err != nil {
			return c, err
		}
		if n < 2 {
			return c, fmt.Errorf("packet of %d bytes", n)
		}
		switch protocol.Type(msg[1]) {
		case protocol.TypeMessage:
			c.Messages++
			if number, ok := numberIn(msg[:n]); ok {
				if err := numbered(number); err != nil {
					return c, err
				}
			}
		case protocol.TypeConnected, protocol.TypeSubscribed, protocol.TypePublished:
			c.Answers++
		case protocol.TypePing, protocol.TypePong:
		case protocol.TypeGap:
			return c, fmt.Errorf("the broker told of a gap: the run is invalid")
		case protocol.TypeError, protocol.TypeDisconnect:
			return c, refusalIn(msg[:n])
		default:
			return c, fmt.Errorf("found packet type %s", protocol.Type(msg[1]))
		}
		msg = msg[n:]
	}
	return c, nil
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
