package badinput

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/internal/rawws"
	"github.com/carillon-mq/carillon/protocol"
)

const patience = 45 * time.Second // for any answer, also on a machine with much else to do

// wire is a client that writes bytes as it likes.
type wire struct {
	t  *testing.T
	nc *net.TCPConn
	in *bufio.Reader

	leaves bool // answers neither pings nor the server's close, and waits until the connection is gone
}

func dial(t *testing.T, addr string) *wire {
	t.Helper()
	nc, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(patience))
	return &wire{t: t, nc: nc.(*net.TCPConn), in: bufio.NewReader(nc)}
}

var upgradeHead = rawws.Request("localhost", protocol.Subprotocol)

// upgraded is a WebSocket on which nothing has been said.
func upgraded(t *testing.T, s *stand) *wire {
	t.Helper()
	w := dial(t, s.listen)
	w.text(upgradeHead + "\r\n")
	if err := rawws.ReadUpgraded(w.in); err != nil {
		t.Fatal(err)
	}
	return w
}

// connected is a WebSocket with a session.
func connected(t *testing.T, s *stand, token string) *wire {
	t.Helper()
	w := upgraded(t, s)
	w.packets(&protocol.Connect{Version: protocol.Version, Token: token})
	if e := w.until(protocol.TypeConnected); e.code != "" {
		t.Fatalf("no session: %s", e.code)
	}
	return w
}

// text, raw and packets write. The other side may have closed already: what is read tells.
func (w *wire) text(s string) { _, _ = io.WriteString(w.nc, s) }
func (w *wire) raw(b []byte)  { _, _ = w.nc.Write(b) }

func (w *wire) packets(all ...protocol.Packet) {
	var b []byte
	for _, p := range all {
		b = p.Append(b)
	}
	w.raw(rawws.Frame(rawws.Binary, b))
}

// read returns the next frame's first byte and payload, or how the connection ended.
func (w *wire) read() (first byte, payload []byte, err error) { return rawws.Read(w.in, nil) }

// heard is what came until something that was waited for.
type heard struct {
	packets []protocol.Packet
	errors  []string // names of Error packets
	code    string   // of the Disconnect
	status  int      // of the close frame
	ended   bool     // the connection is over
	pongs   int      // frames
}

// until reads up to a packet of a type, or the end.
func (w *wire) until(stop protocol.Type) *heard {
	w.t.Helper()
	h := &heard{}
	for {
		first, payload, err := w.read()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			w.t.Fatalf("neither packet %s nor the end of the connection came within %s: %+v", stop, patience, h)
		}
		if err != nil {
			h.ended = true
			return h
		}
		switch first {
		case rawws.Close:
			h.status = int(binary.BigEndian.Uint16(payload))
			if !w.leaves {
				w.raw(rawws.Frame(rawws.Close, payload[:2]))
				w.nc.Close()
				h.ended = true
				return h
			}
		case rawws.Pong:
			h.pongs++
		case rawws.Binary:
			if w.take(h, payload, stop) {
				return h
			}
		default:
			w.t.Fatalf("found a frame %#x", first)
		}
	}
}

// take reads the packets of a message and reports whether one of the type that is waited for is among them.
func (w *wire) take(h *heard, b []byte, stop protocol.Type) (found bool) {
	w.t.Helper()
	for len(b) > 0 {
		raw, rest, err := protocol.Next(b)
		if err != nil {
			w.t.Fatal(err)
		}
		b = rest
		p, err := protocol.DecodePacket(raw)
		if err != nil {
			w.t.Fatal(err)
		}
		h.packets = append(h.packets, p)
		switch p := p.(type) {
		case *protocol.ErrorPacket:
			h.errors = append(h.errors, p.Name)
		case *protocol.Disconnect:
			h.code = p.Name
			if want := fmt.Sprint(int(p.Code)); p.Name == "" || len(want) != 4 {
				w.t.Errorf("the Disconnect has the code %d and the name %q", p.Code, p.Name)
			}
		case *protocol.Ping:
			if !w.leaves {
				w.packets(&protocol.Pong{})
			}
		}
		found = found || raw.Type == stop
	}
	return found
}

// end reads until the connection is over.
func (w *wire) end() *heard {
	w.t.Helper()
	return w.until(0)
}

// asks sends a ping and reads up to its answer: behind that all before it has been answered.
func (w *wire) asks() *heard {
	w.t.Helper()
	w.packets(&protocol.Ping{})
	return w.until(protocol.TypePong)
}

// messages are the topics and payloads of the messages among what was heard.
func (h *heard) messages() (all []string) {
	for _, p := range h.packets {
		if m, ok := p.(*protocol.Message); ok {
			all = append(all, m.Topic+"="+string(m.Payload))
		}
	}
	return all
}
