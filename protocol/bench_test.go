package protocol

import (
	"testing"

	"github.com/carillon-mq/carillon/internal/require"
)

var (
	benchMessage = Message{Seq: 1 << 33, Offset: 1 << 20, Topic: "orders.eu.42", Payload: make([]byte, 200), Time: 1767225600000}
	benchRich    = Message{
		Seq: 1, Topic: "orders.eu.42", Payload: make([]byte, 200), Time: 1767225600000, ContentType: "application/json", Retain: true,
		Headers: map[string]string{"traceparent": "00-1-2-01", "reply-to": "$inbox.s.1"},
	}
	matched      bool // keeps results alive
	benchPublish = Publish{ID: 7, Topic: "orders.eu.42", Payload: make([]byte, 200), MessageID: "01J9ZQ"}
)

// hot are the paths that every message takes, with the allocations that each of them may make.
func hot() []struct {
	name   string
	allocs float64
	f      func()
} {
	buf := make([]byte, 0, 1024)
	tail := benchMessage.AppendTail(make([]byte, MessageHeadroom))
	publish := benchPublish.Append(nil)
	message := benchMessage.Append(nil)
	raw, _, _ := Next(publish)
	rawMessage, _, _ := Next(message)
	token := here.Append(nil)
	var p Publish
	var m Message
	return []struct {
		name   string
		allocs float64
		f      func()
	}{
		{"EncodeMessage", 0, func() { benchMessage.Append(buf) }},
		{"EncodeMessageWithHeaders", 0, func() { benchRich.Append(buf) }},
		{"EncodePublished", 0, func() { (&Published{ID: 7, Seq: 1 << 33, Receivers: -1}).Append(buf) }},
		{"EncodePing", 0, func() { (&Ping{Position: &here}).Append(buf) }},
		{"AppendTail", 0, func() { benchMessage.AppendTail(buf[:MessageHeadroom]) }},
		{"FinishMessage", 0, func() { FinishMessage(tail, 1<<33, 1<<20) }},
		{"Gate", 0, func() { _, _ = Gate(publish) }},
		{"Next", 0, func() { _, _, _ = Next(publish) }},
		{"DecodePublish", 2, func() { _ = p.Decode(raw) }}, // topic and message id
		{"DecodeMessage", 1, func() { _ = m.Decode(rawMessage) }},
		{"ValidateTopic", 0, func() { _ = ValidateTopic("orders.eu.42") }},
		{"Match", 0, func() { matched = Match("orders.*.42", "orders.eu.42") }},
		{"MatchRest", 0, func() { matched = Match("orders.>", "orders.eu.42") }},
		{"Covers", 0, func() { matched = Covers("orders.>", "orders.*.42") }},
		{"ParsePosition", 0, func() { _, _ = ParsePosition(token) }},
		{"EscapeLevelUnchanged", 0, func() { EscapeLevel("user-4711") }},
	}
}

func TestHotPathsDoNotAllocate(t *testing.T) {
	if require.RaceDetector {
		t.Skip("pools forget at random under the race detector")
	}
	for _, h := range hot() {
		if got := testing.AllocsPerRun(1000, h.f); got > h.allocs {
			t.Errorf("%s: %v allocations, wanted at most %v", h.name, got, h.allocs)
		}
	}
}

func BenchmarkHot(b *testing.B) {
	for _, h := range hot() {
		b.Run(h.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				h.f()
			}
		})
	}
}
