package ws_test

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/ws"
	"github.com/carillon-mq/carillon/internal/rawws"
	"github.com/carillon-mq/carillon/protocol"
)

// BenchmarkAcknowledged publishes over a socket and reads the acknowledgement, which is all of a WebSocket transport: reading, the
// broker, writing, parking.
func BenchmarkAcknowledged(b *testing.B) {
	core, err := broker.New(broker.Options{})
	if err != nil {
		b.Fatal(err)
	}
	core.Start()
	h := ws.New(core, ws.Options{})
	srv := httptest.NewServer(h)
	defer func() {
		core.Close()
		srv.Close()
		h.Wait()
	}()
	nc, err := net.Dial("tcp", strings.TrimPrefix(srv.URL, "http://"))
	if err != nil {
		b.Fatal(err)
	}
	defer nc.Close()
	if _, err := io.WriteString(nc, upgrade); err != nil {
		b.Fatal(err)
	}
	in := make([]byte, 64<<10)
	if n, err := nc.Read(in); err != nil || !bytes.Contains(in[:n], []byte(http.StatusText(http.StatusSwitchingProtocols))) {
		b.Fatal(err)
	}
	exchange := func(out []byte) {
		if _, err := nc.Write(out); err != nil {
			b.Fatal(err)
		}
		if _, err := nc.Read(in); err != nil {
			b.Fatal(err)
		}
	}
	exchange(connectFrame())
	one := rawws.Frame(0x82, (&protocol.Publish{ID: 1, Topic: "bench.topic", Payload: make([]byte, 128)}).Append(nil))
	for name, out := range map[string][]byte{"one": one, "sixteen at once": bytes.Repeat(one, 16)} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				exchange(out)
			}
		})
	}
}
