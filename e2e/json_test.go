package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/carillon-mq/carillon/protocol"
	carillon "github.com/carillon-mq/carillon/sdk/go"
)

// textSession is a client of carillon.v1.json, as a person would be one.
type textSession struct {
	t     *testing.T
	c     *websocket.Conn
	lines []string
}

func dialJSON(t *testing.T, url string) *textSession {
	t.Helper()
	c, _, err := websocket.Dial(t.Context(), url, &websocket.DialOptions{Subprotocols: []string{protocol.SubprotocolJSON}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.CloseNow() })
	s := &textSession{t: t, c: c}
	s.send(`[1,1,null]`)
	s.until(2)
	return s
}

func (s *textSession) send(text string) {
	s.t.Helper()
	if err := s.c.Write(s.t.Context(), websocket.MessageText, []byte(text)); err != nil {
		s.t.Fatal(err)
	}
}

// until takes packets up to one of the given type, which it returns as a list.
func (s *textSession) until(want protocol.Type) []any {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 20*time.Second)
	defer cancel()
	for {
		for len(s.lines) == 0 {
			kind, b, err := s.c.Read(ctx)
			if err != nil {
				s.t.Fatal(err)
			}
			if kind != websocket.MessageText {
				s.t.Fatalf("found a %s message", kind)
			}
			s.lines = strings.SplitAfter(strings.TrimSuffix(string(b), "\n"), "\n")
		}
		line := s.lines[0]
		s.lines = s.lines[1:]
		var packet []any
		if err := json.Unmarshal([]byte(line), &packet); err != nil {
			s.t.Fatalf("%s: %v", line, err)
		}
		if packet[0] == float64(want) {
			return packet
		}
	}
}

// [JSN-1] to [JSN-5]: a client of each kind reads one topic and publishes to it, over a kill of the broker: the one in JSON goes on from its
// cursor, as the SDK does.
func TestClientsInJSONAndInMsgpackShareATopic(t *testing.T) {
	b := newBroker(t)
	b.env = []string{`CARILLON_TOPICS=[{match: "stored.>", class: stored}]`}
	b.start()
	c, err := carillon.Dial(t.Context(), b.url())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(context.WithoutCancel(t.Context()))
	messages := make(chan string, 100)
	ctx, cancel := context.WithCancel(t.Context())
	read := make(chan struct{})
	sub := c.Subscribe("stored.shared")
	go func() {
		defer close(read)
		for m, err := range sub.Messages(ctx) {
			var v any
			if err == nil {
				err = m.Decode(&v)
			}
			if err != nil {
				messages <- err.Error()
				return
			}
			messages <- fmt.Sprint(v)
		}
	}()
	defer func() { cancel(); <-read }()
	next := func() string {
		t.Helper()
		select {
		case m := <-messages:
			return m
		case <-time.After(20 * time.Second):
			t.Fatal("no message came")
			return ""
		}
	}

	s := dialJSON(t, b.url())
	s.send(`[3,1,"stored.shared"]`)
	s.until(protocol.TypeResumed)
	s.send(`[7,1,"stored.shared",{"by":"text","n":[1,2.5]}]`)
	if ack := s.until(protocol.TypePublished); ack[4] != float64(protocol.Committed) {
		t.Errorf("found the acknowledgement %v", ack)
	}
	if got := next(); got != "map[by:text n:[1 2.5]]" {
		t.Errorf("the SDK found %s", got)
	}
	publish := func(v any) {
		t.Helper()
		if _, err := c.Publish(t.Context(), "stored.shared", v); err != nil {
			t.Fatal(err)
		}
	}
	publish(map[string]any{"by": "sdk"})
	next()
	for _, want := range []string{"map[by:text n:[1 2.5]]", "map[by:sdk]"} {
		if m := s.until(protocol.TypeMessage); fmt.Sprint(m[4]) != want {
			t.Errorf("found %v, wanted %s", m, want)
		}
	}
	s.send(`[15]`)
	s.until(protocol.TypePong)
	position := s.history()

	b.kill()
	b.start()
	publish(map[string]any{"by": "sdk", "after": "the kill"})
	next()
	s = dialJSON(t, b.url())
	s.send(fmt.Sprintf(`[3,1,"stored.shared",{"position":%q,"retained":false}]`, position))
	if m := s.until(protocol.TypeMessage); fmt.Sprint(m[4]) != "map[after:the kill by:sdk]" {
		t.Errorf("found %v", m)
	}
	s.until(protocol.TypeResumed)
}

// history reads back what the topic has, and returns the cursor behind it.
func (s *textSession) history() string {
	s.t.Helper()
	s.send(`[19,9,"stored.shared"]`)
	for range 2 {
		if m := s.until(protocol.TypeMessage); m[2] == 0.0 {
			s.t.Errorf("found %v, wanted an offset", m)
		}
	}
	at, _ := s.until(protocol.TypeHistories)[2].(string)
	if _, err := protocol.ParseCursor(at); err != nil {
		s.t.Fatal(err)
	}
	return at
}
