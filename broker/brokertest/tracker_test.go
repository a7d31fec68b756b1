package brokertest_test

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/carillon-mq/carillon/broker/brokertest"
	"github.com/carillon-mq/carillon/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestATrackerMovesPositionsAsTheSpecSays goes through what the spec says a client goes through, step by step.
func TestATrackerMovesPositionsAsTheSpecSays(t *testing.T) {
	b, err := os.ReadFile("../../spec/vectors/session.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct {
		Name  string
		Steps []step
	}
	if err := json.Unmarshal(b, &vectors); err != nil {
		t.Fatal(err)
	}
	for _, v := range vectors {
		t.Run(v.Name, func(t *testing.T) {
			w := &walk{t: t}
			w.tracker.On = func(s *brokertest.Tracked, e brokertest.Event) {
				if e.Message != nil {
					w.delivered = append(w.delivered, s.ID)
				}
			}
			for i, s := range v.Steps {
				w.at = i + 1
				w.step(s)
			}
		})
	}
}

type step struct {
	Send, Receive map[string]fields
	Session       *string
	Subscriptions map[string]string
	Delivered     *[]uint64
}

type walk struct {
	t         *testing.T
	at        int
	tracker   brokertest.Tracker
	delivered []uint64
}

func (w *walk) step(s step) {
	w.t.Helper()
	for name, f := range s.Send {
		w.send(name, f)
	}
	w.delivered = nil
	for name, f := range s.Receive {
		if err := w.tracker.Handle(f.packet(w.t, name)); err != nil {
			w.t.Errorf("step %d: %v", w.at, err)
		}
	}
	if s.Session != nil && position(w.tracker.Session.Append(nil)) != *s.Session {
		w.t.Errorf("step %d: found the session at %s, wanted %s", w.at, position(w.tracker.Session.Append(nil)), *s.Session)
	}
	for id, want := range s.Subscriptions {
		n, _ := strconv.ParseUint(id, 10, 64)
		got := position(w.tracker.Token(w.tracker.Subs[n]))
		if w.tracker.Subs[n].Waits() {
			got += " snapshot"
		}
		if got != want {
			w.t.Errorf("step %d: found subscription %s at %s, wanted %v", w.at, id, got, want)
		}
	}
	if s.Delivered != nil {
		slices.Sort(w.delivered)
		if !slices.Equal(w.delivered, *s.Delivered) {
			w.t.Errorf("step %d: found %v handed the message, wanted %v", w.at, w.delivered, *s.Delivered)
		}
	}
}

func (w *walk) send(name string, f fields) {
	switch name {
	case "Subscribe":
		p := &protocol.Subscribe{
			ID: f.uint("id"), Filter: f["filter"].(string), NoRetained: f["retained"] == false, Snapshot: f["snapshot"] == true,
			Last: f.uint("last"), Latest: f["latest"] == true, MaxRate: f.uint("max_rate"),
		}
		if token, ok := f["position"].(string); ok {
			p.Position, _ = hex.DecodeString(token)
		}
		w.tracker.Subscribe(p)
	case "Unsubscribe":
		delete(w.tracker.Subs, f.uint("subscription"))
	}
}

// fields are those of a packet in a vector.
type fields map[string]any

func (f fields) uint(name string) uint64 {
	n, _ := f[name].(float64)
	return uint64(n)
}

// position is the text of a token: epoch, seq, term, offset.
func position(token []byte) string {
	p, err := protocol.ParsePosition(token)
	if err != nil {
		return "nowhere"
	}
	return fmt.Sprintf("%s %d %s %d", p.Epoch, p.Seq, p.Term, p.Offset)
}

func (f fields) position(name string) (p protocol.Position) {
	parts := strings.Fields(f[name].(string))
	epoch, _ := hex.DecodeString(parts[0])
	term, _ := hex.DecodeString(parts[2])
	copy(p.Epoch[:], epoch)
	copy(p.Term[:], term)
	p.Seq, _ = strconv.ParseUint(parts[1], 10, 64)
	p.Offset, _ = strconv.ParseUint(parts[3], 10, 64)
	return p
}

func (f fields) optional(name string) *protocol.Position {
	if f[name] == nil {
		return nil
	}
	p := f.position(name)
	return &p
}

func (f fields) packet(t *testing.T, name string) protocol.Packet {
	t.Helper()
	switch name {
	case "Connected":
		return &protocol.Connected{Position: f.position("position")}
	case "Subscribed":
		return &protocol.Subscribed{ID: f.uint("id"), Position: f.position("position")}
	case "Unsubscribed":
		return &protocol.Unsubscribed{ID: f.uint("id")}
	case "Published":
		return &protocol.Published{ID: f.uint("id"), Seq: f.uint("seq"), Offset: f.uint("offset")}
	case "Message":
		return &protocol.Message{Seq: f.uint("seq"), Offset: f.uint("offset"), Topic: f["topic"].(string), Retain: f["retain"] == true}
	case "Ping":
		return &protocol.Ping{Position: f.optional("position")}
	case "Replay":
		return &protocol.Replay{Subscription: f.uint("subscription"), Count: f.uint("count"), Kind: protocol.ReplayKind(f.uint("kind"))}
	case "RetainedEnd":
		return &protocol.RetainedEnd{Subscription: f.uint("subscription"), Reset: f["reset"] == true}
	case "Resumed":
		return &protocol.Resumed{Subscription: f.uint("subscription"), Position: f.position("position")}
	case "Histories":
		return &protocol.Histories{ID: f.uint("id"), Position: f.position("position")}
	case "Error":
		return &protocol.ErrorPacket{ID: f.uint("id"), Code: protocol.Code(f.uint("code"))}
	case "Gap":
		return &protocol.Gap{
			Subscription: f.uint("subscription"), Reason: protocol.GapReason(f["reason"].(string)), From: f.optional("from"), To: f.position("to"),
		}
	}
	t.Fatalf("found a %s, which is not known here", name)
	return nil
}

// What a broker may not send is found.
func TestATrackerFindsWhatBreaksTheProtocol(t *testing.T) {
	at := func(seq uint64) protocol.Position { return protocol.Position{Epoch: protocol.RunID{1}, Seq: seq} }
	token := at(3)
	for name, packets := range map[string][]protocol.Packet{
		"a message twice":               {&protocol.Message{Seq: 6, Topic: "a"}, &protocol.Message{Seq: 6, Topic: "a"}},
		"a message before its time":     {&protocol.Message{Seq: 7, Topic: "a"}, &protocol.Message{Seq: 6, Topic: "a"}},
		"a message behind a ping":       {&protocol.Ping{Position: &protocol.Position{Epoch: protocol.RunID{1}, Seq: 8}}, &protocol.Message{Seq: 8, Topic: "a"}},
		"a replay inside another":       {&protocol.Replay{Subscription: 1, Count: 1}, &protocol.Replay{Subscription: 1, Count: 1}},
		"a replay of something else":    {&protocol.Replay{Subscription: 1, Count: 1}, &protocol.Message{Seq: 4, Topic: "b"}},
		"a replay from before":          {&protocol.Replay{Subscription: 1, Count: 1}, &protocol.Message{Seq: 3, Topic: "a"}},
		"a replay for who is live":      {&protocol.Resumed{Subscription: 1, Position: at(5)}, &protocol.Replay{Subscription: 1, Count: 1}, &protocol.Message{Seq: 6, Topic: "a"}},
		"a replay backwards":            {&protocol.Replay{Subscription: 1, Count: 2}, &protocol.Message{Seq: 5, Topic: "a"}, &protocol.Message{Seq: 4, Topic: "a"}},
		"a replay behind the gap's end": {&protocol.Gap{Subscription: 1, To: at(9)}, &protocol.Replay{Subscription: 1, Count: 1}, &protocol.Message{Seq: 9, Topic: "a"}},
	} {
		var tracker brokertest.Tracker
		tracker.Subscribe(&protocol.Subscribe{ID: 1, Filter: "a", Position: token.Append(nil)})
		var err error
		for _, p := range append([]protocol.Packet{&protocol.Connected{Position: at(5)}, &protocol.Subscribed{ID: 1, Position: at(3)}}, packets...) {
			if err == nil {
				err = tracker.Handle(p)
			}
		}
		if err == nil {
			t.Errorf("%s: found nothing wrong", name)
		}
	}
}
