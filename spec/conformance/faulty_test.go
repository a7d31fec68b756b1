package conformance

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/coder/websocket"

	"github.com/carillon-mq/carillon/protocol"
)

// serverFault is a mistake that a server could make: a proxy in front of the broker makes it.
type serverFault struct {
	name string
	rule string // that it breaks, and that a script which fails has to name
	run  string // the scripts that are played
	// server changes a packet on its way to the client; nothing is passing it on, no packets are swallowing it.
	server func(p packet) []packet
	// client changes one on its way to the server.
	client func(p packet) []packet
	apart  bool // every packet of the server's comes in a WebSocket message of its own
	late   bool // every Message comes behind the next one
	// granted lets in what the broker refuses at the upgrade.
	granted bool
	closes  websocket.StatusCode // instead of the broker's code
	blind   bool                 // the broker does not see the query of the URL
	sweeps  bool                 // nor cookies
	// rewrite is what becomes of a WebSocket message, instead of all that; nothing: it does not come.
	rewrite func(message []byte, fromServer bool) []byte
	opened  func(cut func()) // is told of every connection, and how to cut it
}

// faulty is a proxy with a fault in front of the server at address.
type faulty struct {
	*serverFault
	address string
}

// behind starts the proxy and returns the server as it is seen through it.
func (f *serverFault) behind(t *testing.T, own *Own) *Server {
	t.Helper()
	proxy := httptest.NewServer(&faulty{f, own.URL})
	t.Cleanup(proxy.Close)
	seen := own.Server
	seen.URL = strings.Replace(proxy.URL, "http", "ws", 1) + "/ws"
	return &seen
}

// ServeHTTP connects both sides, or passes a refusal on.
func (f *faulty) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := http.Header{}
	for _, name := range []string{"Authorization", "Origin", "Cookie"} {
		header[name] = r.Header[name]
	}
	if f.sweeps {
		header.Del("Cookie")
	}
	asked := r.Header.Get("Sec-WebSocket-Protocol")
	if f.granted {
		asked = Subprotocol
	}
	address := f.address
	if r.URL.RawQuery != "" && !f.blind {
		address += "?" + r.URL.RawQuery
	}
	options := &websocket.DialOptions{HTTPHeader: header}
	if asked != "" {
		options.Subprotocols = []string{asked}
	}
	server, resp, err := websocket.Dial(r.Context(), address, options)
	if err != nil {
		if resp == nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		w.Header().Set("Content-Type", resp.Header.Get("Content-Type"))
		w.WriteHeader(resp.StatusCode)
		_, _ = io.Copy(w, resp.Body)
		return
	}
	client, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{r.Header.Get("Sec-WebSocket-Protocol")}})
	if err != nil {
		server.CloseNow()
		return
	}
	if f.opened != nil {
		f.opened(func() {
			client.CloseNow()
			server.CloseNow()
		})
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.Context()))
	var both sync.WaitGroup
	both.Go(func() { f.pump(ctx, server, client, f.server, true) })
	both.Go(func() { f.pump(ctx, client, server, f.client, false) })
	both.Wait()
	cancel()
}

// pump passes on what comes from one side until it ends, and then its end.
func (f *faulty) pump(ctx context.Context, from, to *websocket.Conn, change func(packet) []packet, fromServer bool) {
	from.SetReadLimit(maxMessage)
	var held []byte // a Message that has to wait for the next one
	for {
		kind, b, err := from.Read(ctx)
		if err != nil {
			end := endError{err}
			code, reason := end.status()
			if f.closes != 0 && code >= 4000 {
				code = int(f.closes)
			}
			if code < 1000 || code == int(websocket.StatusNoStatusRcvd) {
				to.CloseNow()
				return
			}
			_ = to.Close(websocket.StatusCode(code), reason)
			return
		}
		var messages [][]byte
		if f.rewrite != nil {
			if b = f.rewrite(b, fromServer); len(b) > 0 {
				messages = [][]byte{b}
			}
		} else if fromServer && (f.late || f.apart) || change != nil {
			messages, held = f.change(b, held, change, fromServer)
		} else {
			messages = [][]byte{b}
		}
		for _, m := range messages {
			if to.Write(ctx, kind, m) != nil {
				from.CloseNow()
				return
			}
		}
	}
}

// change makes the fault in one WebSocket message. What is no packet stays as it is.
func (f *faulty) change(b, held []byte, change func(packet) []packet, fromServer bool) (messages [][]byte, stillHeld []byte) {
	var whole []byte
	add := func(encoded []byte) {
		if f.apart && fromServer {
			messages = append(messages, encoded)
			return
		}
		whole = append(whole, encoded...)
	}
	for len(b) > 0 {
		n, err := protocol.Gate(b)
		if err != nil {
			n = len(b)
		}
		raw := b[:n]
		p, _, err := decodePacket(raw)
		b = b[n:]
		switch {
		case err != nil:
			add(raw)
		case f.late && fromServer && p.name == "Message" && held == nil:
			held = raw
		case f.late && fromServer && p.name == "Message":
			add(raw)
			add(held)
			held = nil
		case change == nil:
			add(raw)
		default:
			for _, c := range change(p) {
				encoded, err := encodePacket(map[string]any{c.name: c.values})
				if err != nil {
					encoded = raw
				}
				add(encoded)
			}
		}
	}
	if len(whole) > 0 {
		messages = append(messages, whole)
	}
	return messages, held
}

// on makes a change of one kind of packet alone.
func on(name string, change func(p packet) []packet) func(packet) []packet {
	return func(p packet) []packet {
		if p.name == name {
			return change(p)
		}
		return []packet{p}
	}
}

// set is a change of one member.
func set(name, member string, value any) func(packet) []packet {
	return on(name, func(p packet) []packet {
		p.values[member] = value
		return []packet{p}
	})
}

// compressed is a change of the payloads that are compressed, in hex.
func compressed(change func(payload string) string) func(packet) []packet {
	return on("Message", func(p packet) []packet {
		if payload, _ := p.values["payload"].(string); p.values["encoding"] != nil {
			p.values["payload"] = change(payload)
		}
		return []packet{p}
	})
}

func none(packet) []packet    { return nil }
func twice(p packet) []packet { return []packet{p, p} }
