package apidocs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/carillon-mq/carillon/internal/apidoc"
	"github.com/carillon-mq/carillon/internal/rawws"
	"github.com/carillon-mq/carillon/protocol"
)

const textFrame = 0x81

// session is one of carillon.v1.json, whose packets are held against the document.
type session struct {
	*wire
	t       *testing.T
	p       *packets
	waiting []json.RawMessage // have come and not been looked at
	seen    map[protocol.Type]bool
}

func (s *stand) session(t *testing.T, p *packets) *session {
	t.Helper()
	c := &session{wire: s.dial(t, s.listen), t: t, p: p, seen: map[protocol.Type]bool{}}
	head := strings.ReplaceAll(request("GET", "/ws", "", upgrade()...), protocol.Subprotocol+"\r\n", protocol.SubprotocolJSON+"\r\n")
	c.ask(t, "GET", "/ws", head).wants(t, "an upgrade", 101, "")
	return c
}

// send sends packets, which the document has to take.
func (c *session) send(texts ...string) {
	c.t.Helper()
	for _, text := range texts {
		if err := c.p.validate([]byte(text)); err != nil {
			c.t.Errorf("%s: %v", text, err)
		}
	}
	c.raw(strings.Join(texts, "\n"))
}

func (c *session) raw(text string) {
	c.t.Helper()
	if _, err := c.nc.Write(rawws.Frame(textFrame, []byte(text))); err != nil {
		c.t.Fatal(err)
	}
}

// until reads up to a packet of the type, and returns that. Pings are answered.
func (c *session) until(want protocol.Type) string {
	c.t.Helper()
	for {
		for len(c.waiting) > 0 {
			text := c.waiting[0]
			c.waiting = c.waiting[1:]
			if err := c.p.validate(text); err != nil {
				c.t.Errorf("%s: %v", text, err)
			}
			var array []json.RawMessage
			var got protocol.Type
			if err := json.Unmarshal(text, &array); err == nil {
				err = json.Unmarshal(array[0], &got)
				if err != nil {
					c.t.Fatal(err)
				}
			}
			c.seen[got] = true
			if got == want {
				return string(text)
			}
			if got == protocol.TypePing {
				c.send("[16]")
			}
		}
		first, payload, err := rawws.Read(c.in, nil)
		if err != nil || first != textFrame {
			c.t.Fatalf("found a frame %#x %q and %v, wanted a packet of the type %s", first, payload, err, want)
		}
		for d := json.NewDecoder(bytes.NewReader(payload)); d.More(); {
			var text json.RawMessage
			if err := d.Decode(&text); err != nil {
				c.t.Fatalf("%v: %q", err, payload)
			}
			c.waiting = append(c.waiting, text)
		}
	}
}

// sentByServers are the packets that a session has to be sent.
var sentByServers = []protocol.Type{
	protocol.TypeConnected, protocol.TypeSubscribed, protocol.TypeUnsubscribed, protocol.TypePublished, protocol.TypeMessage, protocol.TypeReplay,
	protocol.TypeRetainedEnd, protocol.TypeResumed, protocol.TypeGap, protocol.TypePing, protocol.TypePong, protocol.TypeRefreshed, protocol.TypeHistories,
	protocol.TypePresences, protocol.TypeError, protocol.TypeDisconnect,
}

// TestSessionsSpeakAsTheDocumentSays has a session of carillon.v1.json be sent every packet that a server sends, and finds nothing in them that is not
// written down.
func TestSessionsSpeakAsTheDocumentSays(t *testing.T) {
	p := asyncAPI(t, closed)
	s := open(t, apidoc.Open(t), "CARILLON_LIMITS_PING_EVERY=1s")
	c := s.session(t, p)
	c.send(fmt.Sprintf(`[1,1,%q,{"client":"test/1","origin":"tab","compress":"deflate-raw"}]`, token(t, nil)))
	c.until(protocol.TypeConnected)
	for i, publish := range []string{
		`[7,1,"orders.1",{"n":1},{"retain":true,"receivers":true,"mid":"m1"}]`, `[7,2,"orders.1","text",{"type":"text/plain","headers":{"a":"b"}}]`,
		`[7,3,"orders.2","AAEC",{"type":"image/png","base64":true}]`, `[7,4,"kept.1",[1,null,true]]`, `[7,5,"kept.2","kwE=",{"base64":true}]`,
		`[7,6,"live.1","",{"base64":true,"exclude":"other"}]`, `[7,7,"orders.1",{"n":1},{"retain":true,"receivers":true,"mid":"m7"}]`,
	} {
		c.send(publish)
		if got := c.until(protocol.TypePublished); !strings.HasPrefix(got, fmt.Sprintf("[8,%d,", i+1)) {
			t.Errorf("%s was answered with %s", publish, got)
		}
	}
	c.send(`[3,10,"orders.*"]`)
	c.until(protocol.TypeResumed)
	c.send(`[3,11,"kept.>",{"last":2}]`)
	c.until(protocol.TypeResumed)
	past := protocol.Position{Epoch: protocol.RunID{1}, Seq: 7, Term: protocol.RunID{2}, Offset: 3}
	c.send(fmt.Sprintf(`[3,12,"orders.>",{"position":%q}]`, past.Cursor()))
	c.until(protocol.TypeGap)
	c.send(`[25,[[13,"a",{"latest":true}],[14,"b"],[15,"room.7",{"join":true}]],{"retained":false}]`, `[3,16,"$presence.room.7",{"retained":false}]`)
	c.until(protocol.TypeMessage)
	c.send(`[21,20,"room.7"]`)
	c.until(protocol.TypePresences)
	c.send(`[19,21,"kept.>",{"limit":1}]`)
	c.until(protocol.TypeHistories)
	c.send(`[19,22,"kept.>",{"last":5}]`)
	c.until(protocol.TypeHistories)
	c.send(fmt.Sprintf(`[17,23,%q]`, token(t, nil)))
	c.until(protocol.TypeRefreshed)
	c.send(`[5,24,14]`)
	c.until(protocol.TypeUnsubscribed)
	c.send(`[15]`)
	c.until(protocol.TypePong)
	c.send(`[15,null]`)
	c.until(protocol.TypePong)
	c.until(protocol.TypePing)
	for _, wrong := range []string{`[7,30,"a.*",1]`, `[7,null,"$sys.a",1]`, `[3,31,"a.>.b"]`, `[5,32,99]`, `[19,33,"orders.1"]`, `[21,34,"a.*"]`, `[17,35,"abc"]`} {
		c.send(wrong)
		c.until(protocol.TypeError)
	}
	c.raw(`[6,1]`)
	c.until(protocol.TypeDisconnect)
	for _, packet := range sentByServers {
		if !c.seen[packet] {
			t.Errorf("no packet of the type %s came", packet)
		}
	}
}
