package ws_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/brokertest"
	"github.com/carillon-mq/carillon/broker/ws"
	"github.com/carillon-mq/carillon/protocol"
)

// textClient is a client of carillon.v1.json.
type textClient struct {
	t     *testing.T
	c     *websocket.Conn
	lines []string
}

// dialText connects. options are those of Connect, "" for none.
func dialText(t *testing.T, url string) *textClient {
	t.Helper()
	c := dialSubprotocol(t, url, protocol.SubprotocolJSON)
	c.send(`[1,1,null,{"client":"a person"}]`)
	if line := c.next(); !strings.HasPrefix(line, `[2,"`) || !json.Valid([]byte(line)) {
		t.Fatalf("found %s, wanted Connected", line)
	}
	return c
}

func dialSubprotocol(t *testing.T, url string, offered ...string) *textClient {
	t.Helper()
	c, _, err := websocket.Dial(t.Context(), url, &websocket.DialOptions{Subprotocols: offered})
	if err != nil {
		t.Fatal(err)
	}
	c.SetReadLimit(16 << 20)
	t.Cleanup(func() { c.CloseNow() })
	return &textClient{t: t, c: c}
}

func (c *textClient) send(text string) {
	c.t.Helper()
	if err := c.c.Write(c.t.Context(), websocket.MessageText, []byte(text)); err != nil {
		c.t.Fatal(err)
	}
}

// read takes one message: its lines, or the end.
func (c *textClient) read() ([]string, error) {
	ctx, cancel := context.WithTimeout(c.t.Context(), 20*time.Second)
	defer cancel()
	kind, b, err := c.c.Read(ctx)
	if err != nil {
		return nil, err
	}
	if kind != websocket.MessageText || !bytes.HasSuffix(b, []byte("]\n")) {
		c.t.Fatalf("found %s %q, wanted text with a line feed behind each packet", kind, b)
	}
	return strings.SplitAfter(strings.TrimSuffix(string(b), "\n"), "\n"), nil
}

func (c *textClient) next() string {
	c.t.Helper()
	if len(c.lines) == 0 {
		var err error
		if c.lines, err = c.read(); err != nil {
			c.t.Fatal(err)
		}
	}
	line := c.lines[0]
	c.lines = c.lines[1:]
	return strings.TrimSuffix(line, "\n")
}

// want takes the next packets and holds them against what is wanted, in which * stands for any number, string or time.
func (c *textClient) want(wanted ...string) {
	c.t.Helper()
	for _, w := range wanted {
		if line := c.next(); !like(line, w) {
			c.t.Fatalf("found  %s\nwanted %s", line, w)
		}
	}
}

// like reports whether line is what wanted says, * being anything up to what follows it.
func like(line, wanted string) bool {
	first, rest, _ := strings.Cut(wanted, "*")
	if !strings.HasPrefix(line, first) {
		return false
	}
	line = line[len(first):]
	for rest != "" {
		var part string
		part, rest, _ = strings.Cut(rest, "*")
		i := strings.Index(line, part)
		if i < 0 {
			return false
		}
		line = line[i+len(part):]
	}
	return line == ""
}

// wantEnd reads on to the end: the Disconnect, and the code of the close frame.
func (c *textClient) wantEnd(code protocol.Code) {
	c.t.Helper()
	last := ""
	for {
		lines, err := c.read()
		if closed, ok := errors.AsType[websocket.CloseError](err); ok {
			if want := fmt.Sprintf("[24,%d,%q,", code, code); int(closed.Code) != int(code) || !strings.HasPrefix(last, want) {
				c.t.Errorf("found %s and the close code %d, wanted %s", last, closed.Code, code)
			}
			return
		}
		if err != nil {
			c.t.Fatal(err)
		}
		last = lines[len(lines)-1]
	}
}

// [TRA-1], [JSN-1]: both subprotocols are spoken, and msgpack is chosen if both are offered.
func TestSubprotocols(t *testing.T) {
	_, url := serve(t, broker.Options{}, ws.Options{})
	for _, tt := range []struct {
		offered []string
		chosen  string
	}{
		{[]string{"carillon.v1"}, "carillon.v1"},
		{[]string{"carillon.v1.json"}, "carillon.v1.json"},
		{[]string{"mqtt", "carillon.v1.json"}, "carillon.v1.json"},
		{[]string{"carillon.v1.json", "carillon.v1"}, "carillon.v1"},
	} {
		if c := dialSubprotocol(t, url, tt.offered...); c.c.Subprotocol() != tt.chosen {
			t.Errorf("offered %q, found %q, wanted %q", tt.offered, c.c.Subprotocol(), tt.chosen)
		}
	}
	for _, offered := range [][]string{nil, {"mqtt"}, {"carillon.v1.jso"}, {"carillon"}} {
		c, resp, err := websocket.Dial(t.Context(), url, &websocket.DialOptions{Subprotocols: offered})
		if err == nil {
			c.CloseNow()
			t.Errorf("offered %q, and it was taken", offered)
			continue
		}
		body := make([]byte, 1024)
		n, _ := resp.Body.Read(body)
		for _, word := range []string{"bad_subprotocol", `carillon.v1\"`, `carillon.v1.json`} {
			if !strings.Contains(string(body[:n]), word) {
				t.Errorf("offered %q, the refusal does not say %s: %s", offered, word, body[:n])
			}
		}
	}
}

// [JSN-1], [JSN-5], [TRA-5]: a topic is one for clients of both kinds, and each gets what the others publish as it can read it.
func TestJSONAndMsgpackShareATopic(t *testing.T) {
	_, url := serve(t, broker.Options{}, ws.Options{})
	text, other, packed := dialText(t, url), dialText(t, url), dial(t, url)
	text.send(`[3,1,"orders.>",{"retained":false}]`)
	text.want(`[4,1,"*"]`)
	packed.send(&protocol.Subscribe{ID: 1, Filter: "orders.>", NoRetained: true})
	expect[*protocol.Subscribed](packed)

	other.send("[7,1,\"orders.1\",{\"price\": 9.5},{\"retain\":true,\"headers\":{\"a\":\"b\"}}]\n[7,null,\"orders.2\",\"\u00e9\",{\"type\":\"text/plain\"}] [15]")
	text.want(`[9,1,0,"orders.1",{"price":9.5},*,{"type":"application/json","headers":{"a":"b"},"retain":true}]`, `[9,2,0,"orders.2","é",*,{"type":"text/plain"}]`)
	other.want(`[8,1,1,0,0]`, `[16]`)
	first := expect[*protocol.Message](packed)
	first.Time = 0
	if diff := cmp.Diff(&protocol.Message{
		Seq: 1, Topic: "orders.1", Payload: []byte(`{"price": 9.5}`), ContentType: "application/json", Headers: map[string]string{"a": "b"}, Retain: true,
	}, first); diff != "" {
		t.Errorf("(-wanted +found):\n%s", diff)
	}
	if second := expect[*protocol.Message](packed); string(second.Payload) != "é" {
		t.Errorf("found %+v", second)
	}

	packed.send(&protocol.Publish{ID: 2, Topic: "orders.3", Payload: []byte("\x81\xa1a\x93\x01\xc3\xc0")},
		&protocol.Publish{ID: 3, Topic: "orders.4", Payload: []byte{0xff, 0}, ContentType: "image/png"})
	text.want(`[9,3,0,"orders.3",{"a":[1,true,null]},*]`, `[9,4,0,"orders.4","/wA=",*,{"type":"image/png","base64":true}]`)
	for range 4 { // in whatever order they leave
		switch p := packed.next().(type) {
		case *protocol.Message, *protocol.Published:
		default:
			t.Errorf("found %T", p)
		}
	}
}

// [TRA-3], [TRA-5], [JSN-4]: many packets in one message are answered in their order, with one message, whatever fails of them.
func TestManyPacketsInOneText(t *testing.T) {
	_, url := serve(t, broker.Options{}, ws.Options{})
	c := dialText(t, url)
	c.send(`[7,1,"a",1][7,2,"a",9,{"type":"image/png"}] [126,3] [7,4,"a",{"base64":1.5}] [3,5,"a.",{}][3,6,"a",{"position":"?"}][7,7,"a","é!",{"base64":true}]`)
	c.want(`[8,1,1,0,0]`, `[23,2,4405,"bad_args","*"*]`, `[23,3,4404,"unknown_type","*"*]`, `[8,4,2,0,0]`, `[23,5,4401,"bad_filter",*]`,
		`[23,6,4407,"bad_position",*]`, `[23,7,4405,"bad_args",*]`)
	if len(c.lines) > 0 {
		t.Errorf("found more: %q", c.lines)
	}
}

// [JSN-1], [TRA-4], [CON-1]: what ends a session of JSON. What came before it in the same message has been done.
func TestWhatEndsASessionOfJSON(t *testing.T) {
	for _, tt := range []struct {
		name string
		send func(c *textClient)
		code protocol.Code
		acks string
	}{
		{"a binary message", func(c *textClient) {
			_ = c.c.Write(c.t.Context(), websocket.MessageBinary, []byte{0x91, 0x0f})
		}, protocol.CodeBadFrame, ""},
		{"no JSON behind a publish", func(c *textClient) { c.send(`[7,1,"a",1] {`) }, protocol.CodeBadPacket, `[8,1,1,0,0]`},
		{"a packet of the server's behind a publish", func(c *textClient) { c.send(`[7,1,"a",1][16][9,1,0,"a","eA==",1,{"base64":true}][7,2,"a",1]`) }, protocol.CodeBadPacket, `[8,1,1,0,0]`},
		{"an empty message", func(c *textClient) { c.send("\n") }, protocol.CodeBadPacket, ""},
		{"a message too long", func(c *textClient) { c.send(`[7,1,"a","` + strings.Repeat("x", 80<<10) + `"]`) }, protocol.CodeMessageTooLarge, ""},
		{"a second Connect", func(c *textClient) { c.send(`[1,1,null]`) }, protocol.CodeBadOrder, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, url := serve(t, broker.Options{}, ws.Options{})
			c := dialText(t, url)
			tt.send(c)
			if tt.acks != "" {
				c.want(tt.acks)
				if len(c.lines) > 0 {
					t.Fatalf("found more: %q", c.lines)
				}
			}
			c.wantEnd(tt.code)
			if n := b.Stats().Rejected[tt.code]; n != 1 {
				t.Errorf("found %d refusals, wanted 1", n)
			}
		})
	}
	t.Run("before Connect", func(t *testing.T) {
		_, url := serve(t, broker.Options{}, ws.Options{})
		for _, first := range []string{`[7,1,"a",1]`, `[7,1,"a",1,{"type":"image/png"}]`} {
			c := dialSubprotocol(t, url, protocol.SubprotocolJSON)
			c.send(first)
			c.wantEnd(protocol.CodeBadOrder)
		}
	})
	t.Run("F18 text that is not UTF-8", func(t *testing.T) {
		b, url := serve(t, broker.Options{}, ws.Options{})
		c := dialText(t, url)
		if err := c.c.Write(t.Context(), websocket.MessageText, []byte("[6,\"\xc3\x28\"]")); err != nil {
			t.Fatal(err)
		}
		_, err := c.read()
		if websocket.CloseStatus(err) != 1007 {
			t.Errorf("found %v", err)
		}
		eventually(t, "it is counted", func() bool { return b.Stats().Rejected[protocol.CodeBadFrame] == 1 })
	})
}

// [PNG-1], [POS-7]: pings carry the position as a cursor, and a session that answers them lives.
func TestHeartbeatsInJSON(t *testing.T) {
	_, url := serve(t, broker.Options{PingEvery: 20 * time.Millisecond}, ws.Options{})
	c := dialText(t, url)
	for range 3 {
		line := c.next()
		var ping []any
		if err := json.Unmarshal([]byte(line), &ping); err != nil || len(ping) != 2 || ping[0] != 15.0 {
			t.Fatalf("found %s, wanted a ping", line)
		}
		if _, err := protocol.ParseCursor(ping[1].(string)); err != nil {
			t.Fatal(err)
		}
		c.send(`[16]`)
	}
}

// Replays, what is retained, histories and what a slow client missed: every Message goes the same way.
func TestEveryWayOfAMessageInJSON(t *testing.T) {
	b, url := serve(t, broker.Options{Store: brokertest.NewStore(), Topics: []broker.TopicRule{{Match: "s.>", Class: broker.ClassStored}}}, ws.Options{})
	everybody := broker.Everybody()
	publish := func(topic, payload string, retain bool) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		for {
			_, err := b.Publish(ctx, everybody, broker.PublishRequest{Topic: topic, Payload: []byte(payload), ContentType: "application/json", Retain: retain})
			if err == nil {
				return
			}
			if ctx.Err() != nil {
				t.Fatal(err)
			}
		}
	}
	publish("s.kept", `{"n": 1}`, true)
	publish("s.b", `[ 2 ]`, false)
	c := dialText(t, url)
	c.send(`[3,1,"s.>"]`)
	c.want(`[4,1,"*"]`, `[10,1,1,*]`, `[9,*,"s.kept",{"n":1},*]`, `[11,1]`, `[12,1,"*"]`)
	c.send(`[19,2,"s.>"]`)
	c.want(`[10,2,2,*]`, `[9,0,1,"s.kept",{"n":1},*]`, `[9,0,2,"s.b",[2],*]`, `[20,2,"*"]`)
	c.send(`[3,3,"s.b",{"last":1,"retained":false}]`)
	c.want(`[4,3,"*"]`, `[10,3,1,*]`, `[9,*,"s.b",[2],*]`, `[12,3,"*"]`)

	const messages = 3000
	slow := dialText(t, url)
	slow.send(`[3,1,"m",{"retained":false}]`)
	slow.want(`[4,1,"*"]`)
	var load sync.WaitGroup
	load.Go(func() {
		for i := range messages {
			r := broker.PublishRequest{Topic: "m", Payload: fmt.Appendf(nil, `{"n": %d, "text": "%0512d"}`, i, i), ContentType: "application/json"}
			if _, err := b.Publish(t.Context(), everybody, r); err != nil {
				t.Error(err)
				return
			}
		}
	})
	load.Wait() // what the sockets have not taken by now, the log has
	for i := range messages {
		slow.want(fmt.Sprintf(`[9,*,0,"m",{"n":%d,"text":"*"},*,{"type":"application/json"}]`, i))
	}
}

// eventually waits until is holds.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(20 * time.Second); !is(); {
		select {
		case <-tick.C:
		case <-late:
			t.Fatal(what)
		}
	}
}
