package carillon

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/protocol"
)

// TestSessionVectors goes through what the spec says a client goes through, step by step.
func TestSessionVectors(t *testing.T) {
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
			w := newWalk(t)
			for i, s := range v.Steps {
				w.at = fmt.Sprintf("step %d", i+1)
				w.step(s)
			}
		})
	}
}

type step struct {
	Send, Receive map[string]fields
	Session       *string
	Subscriptions map[string]*string
	Delivered     *[]uint64
}

type fields map[string]any

// walk is a client without a socket.
type walk struct {
	t    *testing.T
	at   string
	c    *Client
	cn   *connection
	subs map[uint64]*Subscription
}

func newWalk(t *testing.T) *walk {
	c, cn := unconnected()
	return &walk{t: t, c: c, cn: cn, subs: make(map[uint64]*Subscription)}
}

// unconnected is a client, and a connection for it that has no socket.
func unconnected() (*Client, *connection) {
	c := &Client{opt: defaultOptions(), waiting: make(map[string]*Publishing), first: make(chan error, 1), flushed: make(chan struct{}), slots: make(chan struct{}, 1)}
	cn := &connection{
		wake: make(chan struct{}, 1), maxMessage: defaultMessage, maxInflight: 1000,
		inflight: make(map[uint64]request), byID: make(map[uint64]*Subscription), retry: time.NewTimer(time.Hour),
	}
	return c, cn
}

func (w *walk) step(s step) {
	w.t.Helper()
	for name, f := range s.Send {
		w.send(name, f)
	}
	var delivered []uint64
	for name, f := range s.Receive {
		p := w.packet(name, f)
		if hello, ok := p.(*protocol.Connected); ok {
			w.c.attach(w.cn, hello)
			break
		}
		if err := w.c.handle(w.t.Context(), w.cn, p.Append(nil)); err != nil {
			w.t.Fatalf("%s: %v", w.at, err)
		}
		delivered = w.delivered()
	}
	if s.Delivered != nil && !slices.Equal(delivered, *s.Delivered) {
		w.t.Errorf("%s: delivered to %v, want %v", w.at, delivered, *s.Delivered)
	}
	if s.Session != nil {
		w.samePosition("session", w.c.pos, s.Session)
	}
	for id, want := range s.Subscriptions {
		n, _ := strconv.ParseUint(id, 10, 64)
		sub := w.subs[n]
		p := sub.position(w.c.pos)
		if sub.awaiting {
			at, snapshot := strings.CutSuffix(*want, " snapshot")
			if want = &at; !snapshot || sub.resumeAt(p) != (protocol.Position{}) {
				w.t.Errorf("%s: subscription %s waits for its snapshot, or has a position to keep nevertheless", w.at, id)
			}
		}
		w.samePosition("subscription "+id, p, want)
	}
}

// send lets the client send the packet, which has to be the next one it would send.
func (w *walk) send(name string, f fields) {
	w.t.Helper()
	switch name {
	case "Subscribe":
		var opts []SubscribeOption
		if f["retained"] == false {
			opts = append(opts, NoRetained())
		}
		if n := f.uint("last"); n > 0 {
			opts = append(opts, Last(int(n)))
		}
		if f["latest"] == true {
			opts = append(opts, Latest())
		}
		if n := f.uint("max_rate"); n > 0 {
			opts = append(opts, MaxRate(int(n)))
		}
		if token, ok := f["position"]; ok {
			p, err := protocol.ParsePosition(unhex(token))
			if err != nil {
				w.t.Fatal(err)
			}
			opts = append(opts, From(Cursor(p.Cursor())))
		}
		sub := w.c.Subscribe(f["filter"].(string), opts...)
		sub.awaiting = f["snapshot"] == true // as one that was cut
		w.subs[f.uint("id")] = sub
	case "Unsubscribe":
		w.subs[f.uint("subscription")].Close()
	case "History":
		h := &historyRequest{out: protocol.History{Filter: f["filter"].(string), Limit: f.uint("limit")}, page: new(HistoryPage), verdict: pending()}
		if err := w.c.put(h); err != nil {
			w.t.Fatal(err)
		}
	default:
		w.t.Fatalf("%s: the test cannot send %s", w.at, name)
	}
	raw, _, err := protocol.Next(w.c.fill(w.cn, nil))
	if id, _ := raw.ID(); err != nil || raw.Type.String() != name || id != f.uint("id") {
		w.t.Fatalf("%s: the client sends %s %d (%v), want %s %d", w.at, raw.Type, id, err, name, f.uint("id"))
	}
}

// delivered empties the inboxes and says whose had a message.
func (w *walk) delivered() []uint64 {
	ids := []uint64{}
	for id, s := range w.subs {
		for e, _, ok, _ := s.in.tryTake(); ok; e, _, ok, _ = s.in.tryTake() {
			if _, ok := e.(*Message); ok {
				ids = append(ids, id)
			}
		}
	}
	slices.Sort(ids)
	return ids
}

func (w *walk) samePosition(what string, got protocol.Position, want *string) {
	w.t.Helper()
	text := "null"
	if want != nil {
		text = *want
	}
	is := "null"
	if !got.IsZero() {
		is = fmt.Sprintf("%s %d %s %d", got.Epoch, got.Seq, got.Term, got.Offset)
	}
	if is != text {
		w.t.Errorf("%s: %s is at %s, want %s", w.at, what, is, text)
	}
}

func (w *walk) packet(name string, f fields) protocol.Packet {
	switch name {
	case "Connected":
		return &protocol.Connected{Session: "s", Position: *f.position("position"), Ping: 25 * time.Second}
	case "Subscribed":
		return &protocol.Subscribed{ID: f.uint("id"), Position: *f.position("position")}
	case "Unsubscribed":
		return &protocol.Unsubscribed{ID: f.uint("id")}
	case "Published":
		return &protocol.Published{ID: f.uint("id"), Seq: f.uint("seq"), Offset: f.uint("offset")}
	case "Message":
		retain, _ := f["retain"].(bool)
		return &protocol.Message{
			Seq: f.uint("seq"), Offset: f.uint("offset"), Topic: f["topic"].(string), Payload: unhex(f["payload"]), Time: 1, Retain: retain,
		}
	case "Replay":
		return &protocol.Replay{Subscription: f.uint("subscription"), Count: f.uint("count"), Kind: protocol.ReplayKind(f.uint("kind"))}
	case "RetainedEnd":
		reset, _ := f["reset"].(bool)
		return &protocol.RetainedEnd{Subscription: f.uint("subscription"), Reset: reset}
	case "Resumed":
		return &protocol.Resumed{Subscription: f.uint("subscription"), Position: *f.position("position")}
	case "Gap":
		return &protocol.Gap{
			Subscription: f.uint("subscription"), Reason: GapReason(f["reason"].(string)), From: f.position("from"), To: *f.position("to"),
			Count: -1,
		}
	case "Error":
		return &protocol.ErrorPacket{
			ID: f.uint("id"), Code: protocol.Code(f.uint("code")), Name: f["name"].(string),
			RetryAfter: time.Duration(f.uint("retry_after")) * time.Millisecond,
		}
	case "Histories":
		return &protocol.Histories{ID: f.uint("id"), Position: *f.position("position"), More: f["more"] == true}
	case "Ping":
		return &protocol.Ping{Position: f.position("position")}
	}
	w.t.Fatalf("%s: the test cannot receive %s", w.at, name)
	return nil
}

func (f fields) uint(name string) uint64 {
	v, _ := f[name].(float64)
	return uint64(v)
}

// position reads "epoch seq term offset".
func (f fields) position(name string) *protocol.Position {
	text, ok := f[name].(string)
	if !ok {
		return nil
	}
	var p protocol.Position
	part := strings.Fields(text)
	copy(p.Epoch[:], unhex(part[0]))
	copy(p.Term[:], unhex(part[2]))
	p.Seq, _ = strconv.ParseUint(part[1], 10, 64)
	p.Offset, _ = strconv.ParseUint(part[3], 10, 64)
	return &p
}

func unhex(v any) []byte {
	b, err := hex.DecodeString(v.(string))
	if err != nil {
		panic(err)
	}
	return b
}
