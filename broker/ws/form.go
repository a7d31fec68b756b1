package ws

import (
	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/internal/outlet"
	"github.com/carillon-mq/carillon/broker/internal/packetjson"
	"github.com/carillon-mq/carillon/protocol"
)

// headerRoom is what the header of a frame of ours takes at most.
const headerRoom = 10

// writeForms is Write of packets that are not sent as the session has them: as JSON, or compressed.
func (c *conn) writeForms(batch []*broker.Packet) (done bool, err error) {
	bp := outlet.Buffer()
	b := append((*bp)[:0], make([]byte, headerRoom)...)
	for _, p := range batch {
		if b, err = c.appendForm(b, p); err != nil {
			outlet.GiveBack(bp, b)
			return true, err
		}
	}
	var head [headerRoom]byte
	header := appendHeader(head[:0], c.in.op(), len(b)-headerRoom)
	frame := b[headerRoom-len(header):]
	copy(frame, header)
	done, err = c.out.Send(frame)
	outlet.GiveBack(bp, b)
	return done, err
}

// appendForm appends what p is to this client. A message is made that once for all.
func (c *conn) appendForm(b []byte, p *broker.Packet) ([]byte, error) {
	switch message := p.Type() == protocol.TypeMessage; {
	case message && c.in.text:
		return append(b, c.h.b.Form(p, broker.FormJSON, messageText)...), nil
	case message:
		return append(b, c.h.b.Compressed(p)...), nil
	case c.in.text:
		return packetjson.Append(b, p.Bytes())
	}
	return append(b, p.Bytes()...), nil
}
