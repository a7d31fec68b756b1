package ws_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/ws"
	"github.com/carillon-mq/carillon/internal/rawws"
	"github.com/carillon-mq/carillon/protocol"
)

// raw is a client that writes frames as it likes.
type raw struct {
	t  *testing.T
	nc net.Conn
	br *bufio.Reader
}

var upgrade = rawws.Request("x", protocol.Subprotocol) + "\r\n"

// dialRaw upgrades and sends early right behind the request, in the same segment.
func dialRaw(t *testing.T, url string, early ...byte) *raw {
	t.Helper()
	nc, err := net.Dial("tcp", strings.TrimPrefix(url, "ws://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := nc.Write(append([]byte(upgrade), early...)); err != nil {
		t.Fatal(err)
	}
	r := &raw{t: t, nc: nc, br: bufio.NewReader(nc)}
	if err := rawws.ReadUpgraded(r.br); err != nil {
		t.Fatal(err)
	}
	return r
}

func connectFrame() []byte {
	return rawws.Frame(0x82, (&protocol.Connect{Version: 1}).Append(nil))
}

func (r *raw) write(b []byte) {
	_, _ = r.nc.Write(b) // the other side may have closed already: what is read tells
}

// read returns the next frame's first byte and payload, or the error that ended the connection.
func (r *raw) read() (byte, []byte, error) { return rawws.Read(r.br, nil) }

// end reads until the connection is closed and returns the close code and the codes of Disconnect packets before it.
func (r *raw) end() (closeCode int, disconnects []protocol.Code) {
	r.t.Helper()
	for {
		first, payload, err := r.read()
		if err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				r.t.Fatal("the connection was not closed in time")
			}
			return closeCode, disconnects
		}
		switch first {
		case 0x88:
			closeCode = int(binary.BigEndian.Uint16(payload))
		case 0x82:
			disconnects = append(disconnects, disconnectsIn(r.t, payload)...)
		}
	}
}

func disconnectsIn(t *testing.T, msg []byte) (codes []protocol.Code) {
	t.Helper()
	for len(msg) > 0 {
		p, rest, err := protocol.Next(msg)
		if err != nil {
			t.Fatal(err)
		}
		msg = rest
		if p.Type != protocol.TypeDisconnect {
			continue
		}
		var d protocol.Disconnect
		if err := d.Decode(p); err != nil {
			t.Fatal(err)
		}
		codes = append(codes, d.Code)
	}
	return codes
}

func TestBytesBehindTheUpgradeAreNotLost(t *testing.T) {
	_, url := serve(t, broker.Options{}, ws.Options{})
	r := dialRaw(t, url, connectFrame()...)
	first, payload, err := r.read()
	if err != nil || first != 0x82 {
		t.Fatalf("found %x, %v", first, err)
	}
	if p, _, err := protocol.Next(payload); err != nil || p.Type != protocol.TypeConnected {
		t.Errorf("found %v, %v", p.Type, err)
	}
}

func TestHostileFramesEndTheConnectionInTime(t *testing.T) {
	hexed := func(s string) []byte {
		b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	bad := rawws.Frame(0x82, []byte{0xc1})
	hugeHeader := hexed("82 ff 7fffffffffffffff 00000000")
	tests := []struct {
		name  string
		bytes []byte
		code  protocol.Code // of the Disconnect; 0: none needed
	}{
		{"F1 unmasked frame", hexed("82 01 00"), 0},
		{"F5 reserved data opcode", hexed("83 80 00000000"), 0},
		{"F6 reserved control opcode", hexed("8b 80 00000000"), 0},
		{"F7 continuation first", hexed("80 80 00000000"), 0},
		{"F9 fragmented ping", hexed("09 80 00000000"), 0},
		{"F11 close of one byte", hexed("88 81 00000000 03"), 0},
		{"F14 length with the top bit", hexed("82 ff 8000000000000001 00000000"), 0},
		{"F18 text", rawws.Frame(0x81, []byte{0xc3, 0x28}), protocol.CodeBadFrame},
		{"F20 too large in fragments", tooLarge(), protocol.CodeMessageTooLarge},
		{"F22 bad packet, then a huge header", append(bad, hugeHeader...), protocol.CodeBadPacket},
		{"F25 empty fragments", append(rawws.Frame(0x02, nil), bytes.Repeat(rawws.Frame(0x00, nil), 400_000)...), protocol.CodeBadFrame},
		{"F27 ping flood", bytes.Repeat(rawws.Frame(0x89, []byte("p")), 1000), protocol.CodeFlooding},
		{"F29 pong flood", bytes.Repeat(rawws.Frame(0x8a, []byte("abcd")), 1000), protocol.CodeFlooding},
		{"F30 empty message", rawws.Frame(0x82, nil), protocol.CodeBadPacket},
		{"M5 array of four billion", rawws.Frame(0x82, hexed("dd ffffffff")), protocol.CodeBadPacket},
		{"M11 deep nesting", rawws.Frame(0x82, bytes.Repeat([]byte{0x91}, 60_000)), protocol.CodeBadPacket},
		{"P2 second Connect", connectFrame(), protocol.CodeBadOrder},
		{"P7 a packet that only brokers send", rawws.Frame(0x82, (&protocol.Pong{}).Append((&protocol.Message{Topic: "a"}).Append(nil))), protocol.CodeBadPacket},
	}
	_, url := serve(t, broker.Options{}, ws.Options{CloseTime: 200 * time.Millisecond})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := dialRaw(t, url)
			r.write(connectFrame())
			if _, _, err := r.read(); err != nil { // Connected: before that less is taken
				t.Fatal(err)
			}
			go r.write(tt.bytes)
			_, codes := r.end()
			if tt.code == 0 {
				return
			}
			if len(codes) != 1 || codes[0] != tt.code {
				t.Errorf("found Disconnect codes %v, wanted %v", codes, tt.code)
			}
		})
	}
}

func tooLarge() []byte {
	b := rawws.Frame(0x02, make([]byte, 1000))
	for range 100 {
		b = append(b, rawws.Frame(0x00, make([]byte, 1000))...)
	}
	return b
}

// [CON-7]: a message that is refused before Connected is not waited for.
func TestALongMessageBeforeConnectedIsRefusedByItsHead(t *testing.T) {
	_, url := serve(t, broker.Options{}, ws.Options{CloseTime: 200 * time.Millisecond})
	r := dialRaw(t, url)
	r.write(rawws.Frame(0x82, make([]byte, 17<<10))[:8])
	if code, codes := r.end(); code != int(protocol.CodeMessageTooLarge) || len(codes) != 1 || codes[0] != protocol.CodeMessageTooLarge {
		t.Errorf("found close code %d and %v", code, codes)
	}
}

// [PRE-2], [DIS-3]: who closes with 1000 has left, and who is gone otherwise may come back.
func TestOnlyACloseWith1000Leaves(t *testing.T) {
	here := &broker.Identity{User: "ada", Grants: []broker.Grant{{Actions: broker.ActionPresence | broker.ActionSubscribe, Filter: "room"}}}
	for name, test := range map[string]struct {
		last   []byte
		leaves bool
	}{
		"1000":         {rawws.Frame(rawws.Close, []byte{0x03, 0xe8}), true},
		"1000, reason": {rawws.Frame(rawws.Close, append([]byte{0x03, 0xe8}, "done"...)), true},
		"1001":         {rawws.Frame(rawws.Close, []byte{0x03, 0xe9}), false},
		"no code":      {rawws.Frame(rawws.Close, nil), false},
		"no close":     {nil, false},
		"a fault":      {rawws.Frame(0x83, nil), false},
	} {
		t.Run(name, func(t *testing.T) {
			b, url := serve(t, broker.Options{Shards: 1, Anonymous: here}, ws.Options{})
			r := dialRaw(t, url)
			r.write(rawws.Frame(0x82, (&protocol.Subscribe{ID: 1, Filter: "room", Join: true}).Append((&protocol.Connect{Version: 1}).Append(nil))))
			if _, _, err := r.read(); err != nil { // it has joined, or is about to
				t.Fatal(err)
			}
			r.write(test.last)
			for err := error(nil); test.last != nil && err == nil; {
				_, _, err = r.read()
			}
			r.nc.Close()
			eventually(t, "the session gone", func() bool { return b.Stats().Sessions == 0 })
			again := dial(t, url)
			again.send(&protocol.Subscribe{ID: 1, Filter: "room", NoRetained: true}) // behind the end of the other, at the one shard
			expect[*protocol.Subscribed](again)
			is, err := b.Presence(here, "room")
			if err != nil || (is.Count == 0) != test.leaves {
				t.Errorf("found %+v %v, wanted it to have left: %t", is, err, test.leaves)
			}
		})
	}
}

func TestAPacketBeforeConnectClosesTheConnection(t *testing.T) {
	_, url := serve(t, broker.Options{}, ws.Options{CloseTime: 200 * time.Millisecond})
	r := dialRaw(t, url)
	r.write(rawws.Frame(0x82, (&protocol.Publish{ID: 1, Topic: "a", Payload: []byte("x")}).Append(nil)))
	if code, codes := r.end(); len(codes) != 1 || codes[0] != protocol.CodeBadOrder || code != int(protocol.CodeBadOrder) {
		t.Errorf("found close code %d and %v", code, codes)
	}
}

func TestAMessageThatNeverEndsIsCutOff(t *testing.T) {
	_, url := serve(t, broker.Options{}, ws.Options{MessageTime: 100 * time.Millisecond})
	r := dialRaw(t, url)
	r.write(connectFrame())
	r.write([]byte{0x82, 0x80 | 100, 0, 0, 0, 0, 1, 2, 3})
	if code, codes := r.end(); code != int(protocol.CodeBadFrame) || len(codes) != 1 || codes[0] != protocol.CodeBadFrame {
		t.Errorf("found close code %d and %v", code, codes)
	}
}

// Faults of the framing are closed with a code of WebSocket's own and counted as bad_frame, once.
func TestFaultsOfFramingAreCounted(t *testing.T) {
	b, url := serve(t, broker.Options{}, ws.Options{CloseTime: 200 * time.Millisecond})
	r := dialRaw(t, url)
	r.write(connectFrame())
	r.write([]byte{0x82, 0x01, 0x00}) // not masked
	if code, codes := r.end(); code != 1002 || len(codes) != 0 {
		t.Errorf("found close code %d and %v", code, codes)
	}
	if n := b.Stats().Rejected[protocol.CodeBadFrame]; n != 1 {
		t.Errorf("found %d refusals, wanted 1", n)
	}
}

// Who answers the close frame is let go at once, whatever came before that.
func TestAClientThatAnswersTheCloseIsLetGo(t *testing.T) {
	text := rawws.Frame(0x81, []byte("hello"))
	tests := []struct {
		name   string
		refuse []byte // ends the session
	}{
		{"after a bad packet", rawws.Frame(0x82, []byte{0xc1})},
		{"after a bad packet with others behind it", append(rawws.Frame(0x82, []byte{0xc1}), connectFrame()...)},
		{"after a text", text},
		{"after a message that is too long", rawws.Frame(0x82, make([]byte, 100<<10))},
		{"in the middle of a frame", append(rawws.Frame(0x82, []byte{0xc1}), rawws.Frame(0x82, make([]byte, 300))[:9]...)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, url := serve(t, broker.Options{}, ws.Options{CloseTime: time.Minute})
			r := dialRaw(t, url)
			r.write(connectFrame())
			go r.write(tt.refuse)
			for first := byte(0); first != 0x88; {
				var err error
				if first, _, err = r.read(); err != nil {
					t.Fatal(err)
				}
			}
			if tt.name == "in the middle of a frame" {
				r.write(make([]byte, 300+8-9))
			}
			r.write(rawws.Frame(0x88, []byte{0x03, 0xe8}))
			if _, _, err := r.read(); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("found %v, wanted the end", err)
			}
		})
	}
}

func TestAClientThatNeverAnswersTheCloseIsLeft(t *testing.T) {
	b, url := serve(t, broker.Options{DrainSpread: time.Nanosecond}, ws.Options{CloseTime: 100 * time.Millisecond})
	r := dialRaw(t, url)
	r.write(connectFrame())
	if _, _, err := r.read(); err != nil { // Connected
		t.Fatal(err)
	}
	if err := b.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if code, codes := r.end(); code != int(protocol.CodeGoingAway) || len(codes) != 1 {
		t.Errorf("found close code %d and %v", code, codes)
	}
}

func TestRefusedUpgradesExplainThemselves(t *testing.T) {
	_, url := serve(t, broker.Options{}, ws.Options{})
	http1 := "http://" + strings.TrimPrefix(url, "ws://")
	tests := []struct {
		name   string
		header map[string]string
		query  string
		status int
		code   string
	}{
		{"plain HTTP", nil, "", http.StatusUpgradeRequired, "upgrade_required"},
		{"no subprotocol", map[string]string{"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}, "", http.StatusBadRequest, "bad_subprotocol"},
		{"H19 token in the URL", nil, "?token=eyJhbGciOiJIUzI1NiJ9.e30.x", http.StatusBadRequest, "token_in_url"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, http1+"/ws"+tt.query, nil)
			if err != nil {
				t.Fatal(err)
			}
			for k, v := range tt.header {
				req.Header.Set(k, v)
			}
			resp, err := http.DefaultTransport.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != tt.status || !strings.Contains(string(body), fmt.Sprintf("%q", tt.code)) || !strings.Contains(string(body), "hint") {
				t.Errorf("found %s %s", resp.Status, body)
			}
		})
	}
}

func TestAnotherWebSocketVersionIsToldTheOneSpoken(t *testing.T) {
	_, url := serve(t, broker.Options{}, ws.Options{})
	nc, err := net.Dial("tcp", strings.TrimPrefix(url, "ws://"))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(nc, strings.Replace(upgrade, "Version: 13", "Version: 8", 1)); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(nc), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusUpgradeRequired || resp.Header.Get("Sec-WebSocket-Version") != "13" ||
		resp.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("found %s with %v", resp.Status, resp.Header)
	}
}
