package carillon

import (
	"time"

	"github.com/carillon-mq/carillon/protocol"
)

// Cursor is a position in the log as text. It is opaque: keep it, and give it to From to go on after it.
type Cursor string

func cursorOf(p protocol.Position) Cursor {
	if p.IsZero() {
		return ""
	}
	return Cursor(p.Cursor())
}

// Event is one step of a subscription's stream: *Message, *GapError, *SnapshotEnd or *Resumed.
type Event interface{ event() }

// Message is one message of a subscription. It belongs to the application.
type Message struct {
	Topic       string
	Payload     []byte
	ContentType string // "" is msgpack
	Headers     map[string]string
	Time        time.Time // when the broker accepted it
	Retain      bool      // it became the topic's retained value; with an empty payload it cleared it
	Retained    bool      // it came from the snapshot of retained values, not from the stream

	position protocol.Position
}

// Cursor is the subscription's position after the message. It is "" for messages of the first snapshot, from the middle of which
// nothing can be resumed.
func (m *Message) Cursor() Cursor { return cursorOf(m.position) }

// Decode decodes the payload into v, which is a pointer: JSON or msgpack by the content type; *string and *[]byte take any other.
func (m *Message) Decode(v any) error { return decode(m.ContentType, m.Payload, v) }

// SnapshotEnd comes after the last retained value of a snapshot.
type SnapshotEnd struct {
	// Reset says that this snapshot replaces what the application knows: a retained topic that was not in it has been cleared.
	Reset  bool
	Cursor Cursor
}

// Resumed says that what comes next is live: everything missed has been sent, or told by a GapError.
type Resumed struct {
	Cursor Cursor
}

func (*Message) event()     {}
func (*GapError) event()    {}
func (*SnapshotEnd) event() {}
func (*Resumed) event()     {}

// size is what an event counts against WithBuffer.
func size(e Event) int {
	const fixed = 200
	m, ok := e.(*Message)
	if !ok {
		return fixed
	}
	n := fixed + len(m.Topic) + len(m.Payload) + len(m.ContentType)
	for k, v := range m.Headers {
		n += len(k) + len(v) + 32
	}
	return n
}
