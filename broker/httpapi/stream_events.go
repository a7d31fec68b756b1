package httpapi

import (
	"strconv"
	"strings"

	"github.com/carillon-mq/carillon/broker/internal/msgjson"
	"github.com/carillon-mq/carillon/protocol"
)

// What a session that follows is sent, as events of a stream (docs/http.md, Receiving).

// appendPosition appends an event of an id alone, which moves Last-Event-ID and tells no listener; without a position, a comment.
func appendPosition(b []byte, at *protocol.Position) []byte {
	if at == nil {
		return append(b, ":\n\n"...)
	}
	return append(append(append(b, "id: "...), at.Cursor()...), eventEnd...)
}

// appendGap appends the object of a gap.
func appendGap(b []byte, g *protocol.Gap) []byte {
	b = msgjson.AppendString(append(b, `{"reason":`...), string(g.Reason))
	if g.Count >= 0 {
		b = strconv.AppendInt(append(b, `,"count":`...), g.Count, 10)
	}
	if g.From != nil {
		b = append(append(append(b, `,"from":"`...), g.From.Cursor()...), '"')
	}
	return append(append(append(b, `,"to":"`...), g.To.Cursor()...), `"}`...)
}

// appendRetainedEnd appends the event that ends the snapshot of filter.
func appendRetainedEnd(b []byte, filter string, reset bool) []byte {
	b = msgjson.AppendString(append(b, "event: retained\ndata: {\"filter\":"...), filter)
	b = strconv.AppendBool(append(b, `,"reset":`...), reset)
	return append(b, "}\n\n"...)
}

// appendRetry appends how long an EventSource waits before it comes back.
func appendRetry(b []byte, ms int64) []byte {
	return append(strconv.AppendInt(append(b, "retry: "...), ms, 10), '\n')
}

// appendEnd appends the event that ends a stream: why, and whether and when to come back.
func appendEnd(b []byte, d protocol.Disconnect) []byte {
	retry := d.After
	if retry <= 0 {
		retry = someRetry()
	}
	b = appendRetry(b, max(retry, minRetry).Milliseconds())
	b = msgjson.AppendString(append(b, "event: end\ndata: {\"code\":"...), d.Name)
	b = appendText(b, `,"detail":`, d.Detail)
	b = appendText(b, `,"hint":`, d.Hint)
	b = strconv.AppendBool(append(b, `,"reconnect":`...), d.Reconnect)
	if d.After > 0 {
		b = strconv.AppendInt(append(b, `,"retry_after_ms":`...), d.After.Milliseconds(), 10)
	}
	return append(b, "}\n\n"...)
}

func appendText(b []byte, key, s string) []byte {
	if s == "" {
		return b
	}
	return msgjson.AppendString(append(b, key...), strings.ToValidUTF8(s, "\uFFFD"))
}
