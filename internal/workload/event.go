package workload

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/carillon-mq/carillon/protocol"
)

// Class says what a topic of the load promises.
type Class string

// The classes of topics. The broker has to be configured so that topics of StoredFilter, and no others, are stored.
const (
	Memory   Class = "memory"
	Stored   Class = "stored"
	Retained Class = "retained" // every publish is retained; the topic is not stored
)

// StoredFilter matches the topics of class Stored in the loads of every name.
const StoredFilter = "*.stored.>"

// Kind is what an Event is.
type Kind uint8

// The kinds of events, with the fields that each has beside At and Who.
const (
	Sent       Kind = iota + 1 // Message, Class: before each attempt; Who is the publisher
	Acked                      // Message, At, Durability, Duplicate
	Lost                       // Message: an attempt whose outcome is unknown
	Refused                    // Message: the broker said no; it was not applied
	Subscribed                 // Filter, NoRetained, Stays: from here on nothing may be missing; Who is the subscription
	Shown                      // Message, Snapshot, Position if there is one
	Told                       // Reason, From, Position, Count: a gap
	Snapshot                   // Reset: the retained values are complete
	Live                       // Position: caught up
	Left                       // the subscription's iteration has ended; Why
	Reading                    // Filter: what is kept is read from here; Who is the audit
	Kept                       // Message
	Read                       // the audit has seen everything
	Asked                      // Message.Topic: a register is read from here; Who is the reader
	Answered                   // Message: what it held; N is 0 for nothing
	Denied                     // Filter: an intruder was refused; Why
	Admitted                   // Filter: an intruder was let do what it has no right to; Why says what
	Fault                      // Why: something was broken, or mended
)

// Message names one message: a number that one publisher has given it in one topic.
type Message struct {
	Topic     string
	Publisher string
	N         int64
}

// Event is one thing that happened, as its actor saw it.
type Event struct {
	Kind Kind
	When time.Duration // since the log began
	Who  string

	Message
	Class      Class
	Filter     string
	NoRetained bool
	Stays      bool // the subscription lasts until the load is finished
	Snapshot   bool
	Reset      bool
	Durability protocol.Durability
	Duplicate  bool
	Reason     protocol.GapReason
	From       protocol.Position // zero: not known
	Position   protocol.Position
	Count      int64 // -1: not known
	Why        string
}

// String is the event in one line.
func (e Event) String() string {
	name := [...]string{
		"sent", "acked", "lost", "refused", "subscribed", "shown", "told", "snapshot", "live", "left", "reading", "kept", "read", "asked",
		"answered", "denied", "admitted", "fault",
	}[e.Kind-Sent]
	line := fmt.Sprintf("%12s %-10s %-8s", e.When.Round(time.Microsecond), name, e.Who)
	add := func(format string, args ...any) { line += fmt.Sprintf(" "+format, args...) }
	if e.Topic != "" {
		add("%s %s %d", e.Topic, e.Publisher, e.N)
	}
	if e.Filter != "" {
		add("%s", e.Filter)
	}
	if e.Kind == Told {
		add("%s from %s count %d to", e.Reason, place(e.From), e.Count)
	}
	if !e.Position.IsZero() {
		add("%s", place(e.Position))
	}
	if e.Snapshot || e.Reset || e.Duplicate {
		add("snapshot %t reset %t duplicate %t", e.Snapshot, e.Reset, e.Duplicate)
	}
	return line + " " + e.Why
}

func place(p protocol.Position) string {
	return fmt.Sprintf("%s/%d %s/%d", p.Epoch.String()[:4], p.Seq, p.Term.String()[:4], p.Offset)
}

// Log holds the events of a run in the order in which they were noted: what is noted of an act that begins comes before it, what is
// noted of one that has ended comes behind it.
type Log struct {
	began time.Time

	mu     sync.Mutex
	events []Event
	counts [Fault + 1]int
}

// NewLog returns an empty log that begins now.
func NewLog() *Log { return &Log{began: time.Now()} }

// Note adds an event.
func (l *Log) Note(e Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e.When = time.Since(l.began)
	l.events = append(l.events, e)
	l.counts[e.Kind]++
}

// Count is how many events of a kind there are.
func (l *Log) Count(k Kind) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.counts[k]
}

// Size is how many events there are.
func (l *Log) Size() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.events)
}

// Events is everything noted so far. The slice is not to be changed.
func (l *Log) Events() []Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clip(l.events)
}
