package brokertest

import (
	"fmt"
	"strings"

	"github.com/carillon-mq/carillon/protocol"
)

// Describe writes each packet as one line, for tests that compare a whole conversation:
//
//	connected · subscribed 1 @7 · message 8 orders.42 "x" · replay 1 log 2 · replay 1 retained 1 · end 1 · end 1 reset
//	resumed 1 @9 · gap 1 trimmed 3..7 =4 · gap 0 epoch 3..7 · published 2 @9 · published 2 @9 committed 4 receivers 1
//	presences 3 =2 ada,bob · replay 5 history 2 · histories 5 @0/9 more trimmed · unsubscribed 3 · error 4 forbidden · ping @9 · pong · disconnect stalled
//
// A payload is cut at 24 bytes. A position is its seq, and, if it has an offset, `seq/offset`; so is the place of a message.
func Describe(packets ...protocol.Packet) []string {
	lines := make([]string, 0, len(packets))
	for _, p := range packets {
		lines = append(lines, describe(p))
	}
	return lines
}

// maxShown is how much of a payload is written.
const maxShown = 24

var replayKinds = map[protocol.ReplayKind]string{
	protocol.ReplayLog: "log", protocol.ReplayRetained: "retained", protocol.ReplayHistory: "history",
}

func describe(packet protocol.Packet) string {
	switch p := packet.(type) {
	case *protocol.Connected:
		return "connected"
	case *protocol.Subscribed:
		return fmt.Sprintf("subscribed %d @%s", p.ID, place(p.Position.Seq, p.Position.Offset))
	case *protocol.Unsubscribed:
		return fmt.Sprintf("unsubscribed %d", p.ID)
	case *protocol.Message:
		return fmt.Sprintf("message %s %s %q", place(p.Seq, p.Offset), p.Topic, p.Payload[:min(len(p.Payload), maxShown)])
	case *protocol.Replay:
		return fmt.Sprintf("replay %d %s %d", p.Subscription, replayKinds[p.Kind], p.Count)
	case *protocol.RetainedEnd:
		return fmt.Sprintf("end %d", p.Subscription) + when(p.Reset, " reset")
	case *protocol.Resumed:
		return fmt.Sprintf("resumed %d @%s", p.Subscription, place(p.Position.Seq, p.Position.Offset))
	case *protocol.Gap:
		return describeGap(p)
	case *protocol.Published:
		return fmt.Sprintf("published %d @%d", p.ID, p.Seq) + when(p.Durability > 0, fmt.Sprintf(" committed %d", p.Offset)) +
			when(p.Receivers >= 0, fmt.Sprintf(" receivers %d", p.Receivers)) + when(p.Duplicate, " duplicate")
	case *protocol.ErrorPacket:
		return fmt.Sprintf("error %d %s", p.ID, p.Name)
	case *protocol.Ping:
		if p.Position == nil {
			return "ping"
		}
		return "ping @" + place(p.Position.Seq, p.Position.Offset)
	case *protocol.Refreshed:
		return fmt.Sprintf("refreshed %d", p.ID)
	case *protocol.Histories:
		return fmt.Sprintf("histories %d @%s", p.ID, place(p.Position.Seq, p.Position.Offset)) + when(p.More, " more") + when(p.Gap != "", " "+string(p.Gap))
	case *protocol.Presences:
		return fmt.Sprintf("presences %d =%d %s", p.ID, p.Count, strings.Join(p.Users, ","))
	case *protocol.Pong:
		return "pong"
	case *protocol.Disconnect:
		return "disconnect " + p.Name
	}
	return fmt.Sprintf("%T", packet)
}

func describeGap(p *protocol.Gap) string {
	from := "?"
	if p.From != nil {
		from = place(p.From.Seq, p.From.Offset)
	}
	return fmt.Sprintf("gap %d %s %s..%s", p.Subscription, p.Reason, from, place(p.To.Seq, p.To.Offset)) + when(p.Count >= 0, fmt.Sprintf(" =%d", p.Count))
}

func place(seq, offset uint64) string {
	return fmt.Sprint(seq) + when(offset > 0, fmt.Sprintf("/%d", offset))
}

func when(yes bool, text string) string {
	if yes {
		return text
	}
	return ""
}
