package ws_test

import (
	"bytes"
	"encoding/binary"
	"sync"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/ws"
	"github.com/carillon-mq/carillon/internal/rawws"
	"github.com/carillon-mq/carillon/protocol"
)

// Data frames are written beside coder/websocket, which writes control frames to the same socket: neither may ever split the
// other, whatever the client sends and however slowly it reads.
func TestControlFramesAreWholeWrites(t *testing.T) {
	b, url := serve(t, broker.Options{}, ws.Options{ControlRate: 1 << 20})
	r := dialRaw(t, url)
	r.write(connectFrame())
	r.write(rawws.Frame(0x82, (&protocol.Subscribe{ID: 1, Filter: "f", NoRetained: true}).Append(nil)))
	for range 2 { // Connected, Subscribed
		if _, _, err := r.read(); err != nil {
			t.Fatal(err)
		}
	}
	const messages = 3000
	var load sync.WaitGroup
	load.Go(func() {
		for i := range messages {
			payload := append(binary.BigEndian.AppendUint32(nil, uint32(i)), bytes.Repeat([]byte("p"), i%600)...)
			if _, err := b.Publish(t.Context(), broker.Everybody(), broker.PublishRequest{Topic: "f", Payload: payload}); err != nil {
				t.Error(err)
				return
			}
		}
	})
	load.Go(func() {
		for i := range 2000 {
			r.write(rawws.Frame(0x89, bytes.Repeat([]byte("x"), i%126)))
		}
	})
	defer load.Wait()
	next, pongs := uint32(0), 0
	for next < messages {
		first, payload, err := r.read()
		if err != nil {
			t.Fatal(err)
		}
		if first == 0x8a {
			pongs++
			continue
		}
		if first != 0x82 {
			t.Fatalf("found a frame that begins with %x: a frame was split", first)
		}
		for len(payload) > 0 {
			p, rest, err := protocol.Next(payload)
			if err != nil {
				t.Fatal(err)
			}
			payload = rest
			var m protocol.Message
			if err := m.Decode(p); err != nil {
				t.Fatal(err)
			}
			if got := binary.BigEndian.Uint32(m.Payload); got != next {
				t.Fatalf("found message %d, wanted %d", got, next)
			}
			next++
		}
	}
	if pongs == 0 {
		t.Error("found no pong among the messages")
	}
}

// A client that stops reading becomes a lagging reader of the log, is not cut, and gets everything when it reads again; the
// others do not notice.
func TestASlowReaderLagsAndCatchesUp(t *testing.T) {
	b, url := serve(t, broker.Options{RingBytes: 64 << 20}, ws.Options{SendBuffer: 8 << 10})
	slow := dialRaw(t, url)
	slow.write(connectFrame())
	slow.write(rawws.Frame(0x82, (&protocol.Subscribe{ID: 1, Filter: "s.>", NoRetained: true}).Append(nil)))
	other := dial(t, url)
	other.send(&protocol.Subscribe{ID: 1, Filter: "s.>", NoRetained: true})
	expect[*protocol.Subscribed](other)
	for range 2 {
		if _, _, err := slow.read(); err != nil {
			t.Fatal(err)
		}
	}
	const messages = 12_000
	go func() {
		for range messages {
			if _, err := b.Publish(t.Context(), broker.Everybody(), broker.PublishRequest{Topic: "s.x", Payload: make([]byte, 1024)}); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	for want := uint64(1); want <= messages; want++ {
		if m := expect[*protocol.Message](other); m.Seq != want {
			t.Fatalf("the other found %d, wanted %d", m.Seq, want)
		}
	}
	if lagging := b.Stats().Lagging; lagging != 1 {
		t.Errorf("found %d lagging sessions, wanted 1", lagging)
	}
	slow.nc.SetDeadline(time.Now().Add(20 * time.Second))
	for want := uint64(1); want <= messages; {
		_, payload, err := slow.read()
		if err != nil {
			t.Fatalf("after %d: %v", want-1, err)
		}
		for len(payload) > 0 {
			p, rest, err := protocol.Next(payload)
			if err != nil {
				t.Fatal(err)
			}
			payload = rest
			if p.Type != protocol.TypeMessage {
				continue // a ping
			}
			var m protocol.Message
			if err := m.Decode(p); err != nil || m.Seq != want {
				t.Fatalf("found %d (%v), wanted %d", m.Seq, err, want)
			}
			want++
		}
	}
}
