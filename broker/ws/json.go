package ws

import (
	"errors"
	"unicode/utf8"

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

// messageText is a form of messages: see broker.Broker.Form.
func messageText(m *protocol.Message, _ protocol.Position) []byte {
	return packetjson.AppendMessage(make([]byte, 0, len(m.Topic)+len(m.Payload)*4/3+96), m)
}
