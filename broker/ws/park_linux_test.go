package ws_test

import (
	"bytes"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/ws"
	"github.com/carillon-mq/carillon/protocol"
)

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

// subscribed is a raw client with a subscription.
func subscribed(t *testing.T, url, filter string) *raw {
	t.Helper()
	r := dialRaw(t, url)
	r.write(connectFrame())
	r.write(frame(0x82, (&protocol.Subscribe{ID: 1, Filter: filter, NoRetained: true}).Append(nil)))
	for range 2 { // Connected, Subscribed
		if _, _, err := r.read(); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

func TestAnIdleConnectionHasNoGoroutine(t *testing.T) {
	b, url := serve(t, broker.Options{}, ws.Options{})
	before := runtime.NumGoroutine()
	var clients []*raw
	for range 100 {
		clients = append(clients, subscribed(t, url, "a"))
	}
	// Those that are kept for the next connection, and the poller.
	eventually(t, "idle connections keep their goroutines", func() bool { return runtime.NumGoroutine()-before < 70 })
	if _, err := b.Publish(t.Context(), broker.Everybody(), broker.PublishRequest{Topic: "a", Payload: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	for _, c := range clients {
		if _, _, err := c.read(); err != nil {
			t.Fatal(err)
		}
		c.write(frame(0x89, []byte("there?")))
		if first, payload, err := c.read(); err != nil || first != 0x8a || string(payload) != "there?" {
			t.Fatalf("found %x %q, %v", first, payload, err)
		}
	}
}

// A client that publishes all the time keeps its goroutine, and loses it when it rests.
func TestAConnectionThatRestsIsParkedAgain(t *testing.T) {
	_, url := serve(t, broker.Options{}, ws.Options{})
	before := runtime.NumGoroutine()
	clients := make([]*raw, 100)
	for i := range clients {
		clients[i] = subscribed(t, url, "nothing")
	}
	publish := frame(0x82, (&protocol.Publish{ID: 1, Topic: "a", Payload: []byte("x")}).Append(nil))
	for range 30 {
		for _, c := range clients {
			c.write(publish)
		}
		for _, c := range clients {
			if _, _, err := c.read(); err != nil {
				t.Fatal(err)
			}
		}
	}
	eventually(t, "connections at rest keep their goroutines", func() bool { return runtime.NumGoroutine()-before < 70 })
	for _, c := range clients {
		c.write(publish)
		if _, _, err := c.read(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAMessageInPiecesWakesAParkedConnection(t *testing.T) {
	_, url := serve(t, broker.Options{}, ws.Options{})
	r := subscribed(t, url, "a")
	message := (&protocol.Publish{ID: 7, Topic: "b", Payload: bytes.Repeat([]byte("p"), 40<<10)}).Append(nil)
	stream := append(frame(0x02, message[:100]), frame(0x80, message[100:])...)
	for range 3 {
		for rest := stream; len(rest) > 0; {
			n := min(len(rest), 1000)
			r.write(rest[:n])
			rest = rest[n:]
		}
		_, payload, err := r.read()
		if err != nil {
			t.Fatal(err)
		}
		if p, _, err := protocol.Next(payload); err != nil || p.Type != protocol.TypePublished {
			t.Fatalf("found %v, %v", p.Type, err)
		}
	}
}

func TestAParkedConnectionEndsWithItsClient(t *testing.T) {
	b, url := serve(t, broker.Options{}, ws.Options{})
	last := frame(0x82, (&protocol.Publish{Topic: "a", Payload: []byte("x")}).Append(nil))
	for i := range 60 {
		r := subscribed(t, url, "nothing")
		switch i % 4 {
		case 0:
			r.nc.Close()
		case 1:
			r.write(last)
			r.nc.Close()
		case 2:
			r.write(last[:9])
			_ = r.nc.(*net.TCPConn).CloseWrite()
		case 3:
			_ = r.nc.(*net.TCPConn).SetLinger(0)
			r.nc.Close()
		}
	}
	eventually(t, "sessions outlive their clients", func() bool { return b.Stats().Sessions == 0 })
	if n := b.Stats().Published[broker.ClassLive] + b.Stats().Published[broker.ClassMemory]; n != 15 {
		t.Errorf("found %d publishes of clients that left right behind them, wanted 15", n)
	}
}

func TestADrainEndsParkedConnections(t *testing.T) {
	b, url := serve(t, broker.Options{DrainSpread: time.Nanosecond}, ws.Options{CloseTime: 200 * time.Millisecond})
	var clients []*raw
	for range 20 {
		clients = append(clients, subscribed(t, url, "a"))
	}
	if err := b.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, c := range clients {
		if code, _ := c.end(); code != int(protocol.CodeGoingAway) {
			t.Errorf("found close code %d", code)
		}
	}
}

func TestABrokerThatClosesEndsBusyConnections(t *testing.T) {
	b, url := serve(t, broker.Options{}, ws.Options{CloseTime: 200 * time.Millisecond})
	publish := frame(0x82, (&protocol.Publish{ID: 1, Topic: "a", Payload: []byte("x")}).Append(nil))
	var ends sync.WaitGroup
	for i := range 20 {
		r := subscribed(t, url, "nothing")
		ends.Go(func() {
			for range 5 * i { // some are warm by then
				r.write(publish)
				if _, _, err := r.read(); err != nil {
					return
				}
			}
			for err := error(nil); err == nil; {
				_, _, err = r.read()
			}
		})
	}
	b.Close()
	ends.Wait()
}
