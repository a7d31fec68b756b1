package workload

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/carillon-mq/carillon/protocol"
)

// world writes the log of a load on a broker that keeps every promise: with publishes without an outcome, repeated ones, cuts,
// resumes from the ring and from the store, broker runs that end, and audits.
type world struct {
	rand   *rand.Rand
	log    []Event
	topics []string

	at      protocol.Position // the head
	entries []entry           // of this run of the broker
	past    []entry           // all of the store
	values  map[string]Message
	next    map[Message]int64 // by topic and publisher
	subs    []*onlooker
	audits  int
}

type entry struct {
	Message
	at protocol.Position
}

// onlooker is a subscription to everything.
type onlooker struct {
	name string
	away bool
	own  protocol.Position
	held int // places of the ring that it has passed
}

func newWorld(seed uint64) *world {
	w := &world{rand: rand.New(rand.NewPCG(seed, 1)), values: map[string]Message{}, next: map[Message]int64{}}
	for _, c := range []Class{Memory, Stored, Retained} {
		for i := range 3 {
			w.topics = append(w.topics, Topic("w", c, i))
		}
	}
	w.at = protocol.Position{Epoch: w.runID(), Term: w.runID()}
	for i := range 3 {
		s := &onlooker{name: "s" + itoa(i), own: w.at}
		w.subs = append(w.subs, s)
		w.note(Event{Kind: Subscribed, Who: s.name, Filter: "w.>", Stays: true})
	}
	return w
}

// simulate is the log of so many publishes.
func simulate(seed uint64, publishes int) []Event {
	w := newWorld(seed)
	for i := range publishes {
		w.publish(Message{Topic: w.topics[w.rand.IntN(len(w.topics))], Publisher: "p" + itoa(w.rand.IntN(3))})
		switch {
		case i%1501 == 1500:
			w.kill()
		case i%97 == 0:
			w.cut()
		case i%61 == 0:
			w.comeBack()
		case i%20 == 0:
			w.readRegister()
		case i%53 == 0:
			w.note(Event{Kind: Denied, Who: "x0", Filter: "w.>", Why: "the authenticator is away"})
		}
	}
	for range 20 {
		w.comeBack()
	}
	for _, topic := range w.topics {
		w.publish(Message{Topic: topic, Publisher: closer})
	}
	w.audit()
	return w.log
}

func (w *world) note(e Event) {
	e.When = time.Duration(len(w.log)) * 5 * time.Millisecond
	w.log = append(w.log, e)
}

func (w *world) runID() (id protocol.RunID) {
	for i := range id {
		id[i] = byte(1 + w.rand.IntN(255))
	}
	return id
}

func (w *world) publish(m Message) {
	w.next[m]++
	m.N = w.next[Message{Topic: m.Topic, Publisher: m.Publisher}]
	class := ClassOf(m.Topic)
	sent := Event{Kind: Sent, Who: m.Publisher, Message: m, Class: class}
	w.note(sent)
	ack := Event{Kind: Acked, Who: m.Publisher, Message: m, Class: class}
	if m.Publisher != closer && w.rand.IntN(50) == 0 {
		applied := w.rand.IntN(2) == 0
		if applied {
			ack.Position = w.apply(m)
		}
		w.note(Event{Kind: Lost, Who: m.Publisher, Message: m, Class: class})
		if class == Memory {
			return
		}
		w.note(sent)
		ack.Duplicate = applied
	}
	if !ack.Duplicate {
		ack.Position = w.apply(m)
	}
	if class != Memory {
		ack.Durability = protocol.Committed
	} else {
		ack.Position.Offset = 0
	}
	w.note(ack)
}

// apply appends m and delivers it.
func (w *world) apply(m Message) protocol.Position {
	w.at.Seq++
	if ClassOf(m.Topic) != Memory {
		w.at.Offset++
		w.past = append(w.past, entry{m, w.at})
	}
	if ClassOf(m.Topic) == Retained {
		w.values[m.Topic] = m
	}
	w.entries = append(w.entries, entry{m, w.at})
	for _, s := range w.subs {
		if !s.away {
			w.show(s, entry{m, w.at}, false)
			s.own, s.held = w.at, len(w.entries)
		}
	}
	return w.at
}

func (w *world) show(s *onlooker, e entry, snapshot bool) {
	w.note(Event{Kind: Shown, Who: s.name, Message: e.Message, Class: ClassOf(e.Topic), Snapshot: snapshot, Position: e.at})
}

func (w *world) cut() {
	w.note(Event{Kind: Fault, Why: "cut"})
	w.subs[w.rand.IntN(len(w.subs))].away = true
}

func (w *world) kill() {
	w.note(Event{Kind: Fault, Why: "kill"})
	w.at.Epoch, w.at.Seq, w.entries = w.runID(), 0, nil
	for _, s := range w.subs {
		s.away, s.held = true, 0
	}
	w.audit()
}

// comeBack resumes a subscription: from the ring, or from the store when its place is of another run or, now and then, too old.
func (w *world) comeBack() {
	s := w.subs[w.rand.IntN(len(w.subs))]
	if !s.away {
		return
	}
	s.away = false
	missed := w.entries[s.held:]
	if same := s.own.Epoch == w.at.Epoch; same && w.rand.IntN(3) > 0 {
		for _, e := range missed {
			w.show(s, e, false)
		}
	} else {
		w.fromStore(s, same, missed)
	}
	s.own, s.held = w.at, len(w.entries)
	w.note(Event{Kind: Live, Who: s.name, Position: w.at})
}

func (w *world) fromStore(s *onlooker, same bool, missed []entry) {
	count := int64(-1)
	if same {
		count = 0
		for _, e := range missed {
			if ClassOf(e.Topic) != Stored {
				count++
			}
		}
	}
	for _, e := range w.past {
		if e.at.Offset > s.own.Offset && ClassOf(e.Topic) == Stored {
			w.show(s, e, false)
		}
	}
	w.note(Event{Kind: Told, Who: s.name, Reason: protocol.GapNotStored, From: s.own, Position: w.at, Count: count})
	for _, m := range w.values {
		w.show(s, entry{Message: m}, true)
	}
	w.note(Event{Kind: Snapshot, Who: s.name, Reset: true})
}

func (w *world) audit() {
	w.audits++
	who := "audit" + itoa(w.audits)
	for _, c := range []Class{Stored, Retained} {
		filter := "w." + string(c) + ".>"
		w.note(Event{Kind: Reading, Who: who, Filter: filter})
		for _, e := range w.past {
			if ClassOf(e.Topic) == c && (c == Stored || w.values[e.Topic] == e.Message) {
				w.note(Event{Kind: Kept, Who: who, Message: e.Message, Class: c})
			}
		}
		w.note(Event{Kind: Read, Who: who, Filter: filter})
	}
}

func (w *world) readRegister() {
	topic := w.topics[len(w.topics)-1-w.rand.IntN(3)]
	w.note(Event{Kind: Asked, Who: "r0", Message: Message{Topic: topic}})
	held, ok := w.values[topic]
	if !ok {
		held = Message{Topic: topic}
	}
	w.note(Event{Kind: Answered, Who: "r0", Message: held})
}

// edit returns a copy of events in which change has replaced those that it wants replaced.
func edit(events []Event, change func(i int, e Event) []Event) []Event {
	var out []Event
	for i, e := range events {
		out = append(out, change(i, e)...)
	}
	return slices.Clip(out)
}
