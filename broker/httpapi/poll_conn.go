package httpapi

import (
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/internal/outlet"
	"github.com/carillon-mq/carillon/protocol"
)

var _ broker.Conn = (*poll)(nil)

// poll is the connection of a session that makes one answer. The session writes packets into it, until the answer is whole; servePoll's
// goroutine takes the JSON of the messages out of it.
//
// An answer ends behind a message, a position or a gap, and its cursor is there. It does not end while retained messages are owed, nor
// behind a message of the store that has no cursor: a position follows.
type poll struct {
	b       Broker
	sub     *subscription
	now     bool          // answers at once
	changed chan struct{} // of capacity 1: there is something to take

	mu       sync.Mutex
	room     *sync.Cond // Flush waits
	state    pollState
	buf      *[]byte // borrowed for out; nil while there is nothing
	out      []byte  // of the answer's messages, not taken yet
	messages int
	bytes    int
	cursor   []byte
	place    place
	unplaced bool          // messages of the store have come that the cursor is not behind yet
	gap      *protocol.Gap // nil: none
	reset    []string
	opened   bool   // everything from before the session has come
	late     bool   // the time to wait is over
	left     uint64 // messages of a snapshot that are still to come
	progress time.Time
	why      *protocol.Disconnect
}

type pollState uint8

const (
	pollOpen pollState = iota
	pollWhole
	pollEnded // by the broker, before it was whole
)

func newPoll(b Broker, sub *subscription) *poll {
	p := &poll{b: b, sub: sub, now: sub.After == nil || len(sub.Fresh) > 0, changed: make(chan struct{}, 1), progress: time.Now(), place: newPlace(b)}
	if sub.After != nil {
		p.cursor = []byte(sub.After.Cursor())
	}
	p.room = sync.NewCond(&p.mu)
	return p
}

var errAnswered = errors.New("the poll is answered")

// Write implements broker.Conn.
func (p *poll) Write(batch []*broker.Packet) (done bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, packet := range batch {
		if p.state != pollOpen {
			return true, errAnswered
		}
		p.takeLocked(packet)
	}
	if p.opened && !p.place.owed && !p.unplaced && (p.now || p.messages > 0) {
		p.endLocked(pollWhole)
	}
	p.wake()
	return len(p.out) < pollBuffer, nil
}

func (p *poll) takeLocked(packet *broker.Packet) {
	if packet.Type() == protocol.TypeMessage {
		p.messageLocked(packet)
		return
	}
	switch packet := decode(packet).(type) {
	case *protocol.Ping:
		if packet.Position != nil {
			p.locatedLocked(*packet.Position)
		}
	case *protocol.Replay:
		if packet.Kind == protocol.ReplayRetained {
			p.left = packet.Count
		}
	case *protocol.RetainedEnd:
		if packet.Reset {
			p.reset = append(p.reset, p.sub.Filters[packet.Subscription-1])
		}
	case *protocol.Gap:
		p.gapLocked(packet)
	case *protocol.Resumed:
		if int(packet.Subscription) == len(p.sub.Filters) {
			p.opened = true
			p.locatedLocked(packet.Position)
		}
	}
}

func (p *poll) messageLocked(packet *broker.Packet) {
	object, cursor := eventObject(p.b.Form(packet, broker.FormEvent, encodeEvent))
	if p.buf == nil {
		p.buf = outlet.Buffer()
		p.out = (*p.buf)[:0]
	}
	if p.messages++; p.messages > 1 {
		p.out = append(p.out, ',')
	}
	if p.left > 0 {
		p.left--
		p.out = appendRetained(p.out, object)
		return
	}
	p.out = append(p.out, object...)
	p.bytes += len(object)
	if cursor == nil {
		at, fromStore := p.place.behind(packet)
		p.unplaced = p.unplaced || fromStore
		if !at.IsZero() {
			cursor = []byte(at.Cursor())
		}
	}
	if cursor != nil {
		p.cursor, p.unplaced = cursor, false
		p.out = append(append(append(p.out[:len(p.out)-1], `,"id":"`...), cursor...), `"}`...)
	}
	if p.bytes >= pollBytes && !p.unplaced {
		p.endLocked(pollWhole)
	}
}

// gapLocked takes a gap, which is the last of an answer but for the retained messages that follow it. Another one may come before those:
// then the answer has one that stands for both.
func (p *poll) gapLocked(g *protocol.Gap) {
	if p.gap != nil {
		g = &protocol.Gap{Reason: p.gap.Reason, Count: -1, From: p.gap.From, To: g.To}
	}
	p.gap = g
	if p.place.gap(g, p.sub.NoRetained); p.place.owed {
		return
	}
	p.cursor, p.unplaced = []byte(g.To.Cursor()), false
	p.endLocked(pollWhole)
}

// locatedLocked takes a position that is told: nothing is owed up to it.
func (p *poll) locatedLocked(at protocol.Position) {
	p.cursor, p.unplaced = []byte(at.Cursor()), false
	owed := p.place.owed
	if p.place.told(at); owed || p.late || p.bytes >= pollBytes {
		p.endLocked(pollWhole)
	}
}

func (p *poll) endLocked(how pollState) {
	if p.state == pollOpen {
		p.state = how
		p.wake()
		p.room.Broadcast()
	}
}

func (p *poll) wake() {
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

// take is what has been made since the last take, and the buffer that it is in, to be given back; nil if there is nothing.
func (p *poll) take() (buf *[]byte, made []byte, state pollState) {
	p.mu.Lock()
	defer p.mu.Unlock()
	buf, made = p.buf, p.out
	p.buf, p.out = nil, nil
	p.room.Broadcast()
	return buf, made, p.state
}

// hurry has the answer end at the next position.
func (p *poll) hurry() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.late = true
}

// moved notes that the client has taken something.
func (p *poll) moved() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.progress = time.Now()
}

// tail is the answer behind the messages.
func (p *poll) tail() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	rest := struct {
		Gap    json.RawMessage `json:"gap,omitempty"`
		Reset  []string        `json:"reset,omitempty"`
		Fresh  []string        `json:"fresh,omitempty"`
		Cursor string          `json:"cursor"`
	}{Reset: p.reset, Cursor: string(p.cursor)}
	if p.gap != nil {
		rest.Gap = appendGap(nil, p.gap)
	}
	if !p.opened {
		rest.Fresh = p.sub.Fresh
	}
	b, err := json.Marshal(rest)
	if err != nil {
		return nil // what is in it can be written
	}
	return slices.Concat([]byte("],"), b[1:], []byte("\n"))
}

// Flush implements broker.Conn.
func (p *poll) Flush() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.out) > 0 && p.state == pollOpen {
		p.room.Wait()
	}
	if p.state != pollOpen {
		return errAnswered
	}
	return nil
}

// Progress implements broker.Conn.
func (p *poll) Progress() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.progress
}

// Received implements broker.Conn. The request's context says when the client goes: until then it is there.
func (p *poll) Received() time.Time { return time.Now() }

// Close implements broker.Conn.
func (p *poll) Close(d protocol.Disconnect) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state == pollOpen {
		p.why = &d
		p.endLocked(pollEnded)
	}
}

// Abort implements broker.Conn.
func (p *poll) Abort() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.endLocked(pollEnded)
}

// ended is why the broker has ended the session; nil if it has not, or at once.
func (p *poll) ended() *protocol.Disconnect {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.why
}
