package workload

import (
	"context"
	"sync"
	"time"

	"github.com/carillon-mq/carillon/protocol"
	carillon "github.com/carillon-mq/carillon/sdk/go"
)

// Subscription is one reader of the load.
type Subscription struct {
	Filter     string // "" is everything of the load
	NoRetained bool
	URL        string        // another way to the broker than the load's, such as a proxy
	Slow       time.Duration // for each message
	Buffer     int           // messages that wait for it in the client, beyond which it leaves the stream; 0: the client's default
	Leave      time.Duration // end after so long and subscribe anew; 0: stay
}

// subscriber notes what one subscription is handed.
type subscriber struct {
	name   string
	load   *Load
	client *carillon.Client
	spec   Subscription

	mu   sync.Mutex
	last map[string]bool     // topics of which the closing message has come
	told []protocol.Position // where gaps end
}

// run subscribes until ctx ends, or again and again if the subscription is one of those that leave.
func (s *subscriber) run(ctx context.Context) {
	for stay := 0; ctx.Err() == nil; stay++ {
		if s.spec.Leave == 0 {
			s.read(ctx, s.name)
			return
		}
		part, cancel := context.WithTimeout(ctx, s.spec.Leave)
		s.read(part, s.name+"."+itoa(stay))
		cancel()
	}
}

// read notes everything that one subscription is handed until ctx ends.
func (s *subscriber) read(ctx context.Context, name string) {
	log := s.load.Log
	var opts []carillon.SubscribeOption
	if s.spec.NoRetained {
		opts = append(opts, carillon.NoRetained())
	}
	sub := s.client.Subscribe(s.spec.Filter, opts...)
	defer sub.Close()
	if err := sub.Ready(ctx); err != nil {
		return // never there
	}
	log.Note(Event{Kind: Subscribed, Who: name, Filter: s.spec.Filter, NoRetained: s.spec.NoRetained, Stays: s.spec.Leave == 0})
	why := ""
	for e, err := range sub.Events(ctx) {
		if err != nil {
			why = err.Error()
			break
		}
		s.take(name, e)
		pause(ctx, s.spec.Slow)
	}
	log.Note(Event{Kind: Left, Who: name, Why: why})
}

func (s *subscriber) take(name string, e carillon.Event) {
	log := s.load.Log
	switch e := e.(type) {
	case *carillon.Message:
		m := messageIn(e.Topic, e.Payload)
		log.Note(Event{Kind: Shown, Who: name, Message: m, Class: ClassOf(e.Topic), Snapshot: e.Retained, Position: positionOf(e.Cursor())})
		if m.Publisher == closer {
			s.mu.Lock()
			s.last[m.Topic] = true
			s.mu.Unlock()
		}
	case *carillon.GapError:
		to := positionOf(e.To)
		log.Note(Event{Kind: Told, Who: name, Reason: e.Reason, From: positionOf(e.From), Position: to, Count: e.Count})
		s.mu.Lock()
		s.told = append(s.told, to)
		s.mu.Unlock()
	case *carillon.SnapshotEnd:
		log.Note(Event{Kind: Snapshot, Who: name, Reset: e.Reset, Position: positionOf(e.Cursor)})
	case *carillon.Resumed:
		log.Note(Event{Kind: Live, Who: name, Position: positionOf(e.Cursor)})
	}
}

// through reports whether the closing message of topic, which is at place at, has come, or was told to be missing.
func (s *subscriber) through(topic string, at protocol.Position) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last[topic] {
		return true
	}
	for _, to := range s.told {
		if to.Epoch == at.Epoch && to.Seq >= at.Seq {
			return true
		}
	}
	return false
}

// positionOf is the place that a cursor names; the zero position if it names none.
func positionOf(c carillon.Cursor) protocol.Position {
	if c == "" {
		return protocol.Position{}
	}
	p, err := protocol.ParseCursor(string(c))
	if err != nil {
		return protocol.Position{}
	}
	return p
}
