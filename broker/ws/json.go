package ws

import (
	"errors"
	"unicode/utf8"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/internal/outlet"
	"github.com/carillon-mq/carillon/broker/internal/packetjson"
	"github.com/carillon-mq/carillon/protocol"
)

// A connection of carillon.v1.json ([JSN-1]) is like any other but for what is in its frames: the session has msgpack on its side.

// receive takes a whole message.
func (c *conn) receive(payload []byte, more bool) error {
	if c.in.text {
		return c.receiveText(payload, more)
	}
	return c.session.Receive(payload, more)
}

// receiveText has the session take the packets of a text. A request that cannot be read fails alone; behind another fault nothing is done
// ([TRA-4]).
func (c *conn) receiveText(text []byte, more bool) error {
	if !utf8.Valid(text) {
		return &frameError{closeNotUTF8, "a text message is not UTF-8"}
	}
	bp := outlet.Buffer()
	packets := (*bp)[:0]
	defer func() { outlet.GiveBack(bp, packets) }()
	for {
		var fault error
		packets, text, fault = packetjson.Read(packets[:0], text)
		request, failed := errors.AsType[*packetjson.RequestError](fault)
		if len(packets) > 0 {
			if err := c.session.Receive(packets, failed || more && fault == nil); err != nil {
				return err
			}
		}
		if !failed {
			return fault
		}
		if err := c.session.Refuse(request.Type, request.ID, request.Err, more || len(text) > 0); err != nil || len(text) == 0 {
			return err
		}
	}
}

// headerRoom is what the header of a frame of ours takes at most.
const headerRoom = 10

// writeText is Write in JSON.
func (c *conn) writeText(batch []*broker.Packet) (done bool, err error) {
	bp := outlet.Buffer()
	b := append((*bp)[:0], make([]byte, headerRoom)...)
	for _, p := range batch {
		if b, err = c.appendText(b, p); err != nil {
			outlet.GiveBack(bp, b)
			return true, err
		}
	}
	var head [headerRoom]byte
	header := appendHeader(head[:0], opText, len(b)-headerRoom)
	frame := b[headerRoom-len(header):]
	copy(frame, header)
	done, err = c.out.Send(frame)
	outlet.GiveBack(bp, b)
	return done, err
}

// appendText appends what p is in JSON. A message is made that once for all.
func (c *conn) appendText(b []byte, p *broker.Packet) ([]byte, error) {
	if p.Type() == protocol.TypeMessage {
		return append(b, c.h.b.Form(p, broker.FormJSON, messageText)...), nil
	}
	return packetjson.Append(b, p.Bytes())
}

// messageText is a form of messages: see broker.Broker.Form.
func messageText(m *protocol.Message, _ protocol.Position) []byte {
	return packetjson.AppendMessage(make([]byte, 0, len(m.Topic)+len(m.Payload)*4/3+96), m)
}
