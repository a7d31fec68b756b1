package ws_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/brokertest"
	"github.com/carillon-mq/carillon/broker/ws"
	"github.com/carillon-mq/carillon/internal/rawws"
	"github.com/carillon-mq/carillon/protocol"
)

// subscribed is a raw client with a subscription.
func subscribed(t *testing.T, url, filter string) *raw {
	t.Helper()
	r := dialRaw(t, url)
	r.write(connectFrame())
	r.write(rawws.Frame(0x82, (&protocol.Subscribe{ID: 1, Filter: filter, NoRetained: true}).Append(nil)))
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
		c.write(rawws.Frame(0x89, []byte("there?")))
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
	publish := rawws.Frame(0x82, (&protocol.Publish{ID: 1, Topic: "a", Payload: []byte("x")}).Append(nil))
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

// A connection that keeps its goroutine is stopped in the middle of what it has received, and goes on later than it thinks quick.
func TestABusyConnectionThatIsHeldUpGoesOn(t *testing.T) {
	store := brokertest.NewStore()
	b, url := serve(t, broker.Options{Store: store, Limits: broker.Limits{Inflight: 1}}, ws.Options{})
	if err := b.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	r := subscribed(t, url, "nothing")
	publish := func(id uint64, retain bool) []byte {
		return rawws.Frame(0x82, (&protocol.Publish{ID: id, Topic: "a", Payload: []byte("x"), Retain: retain}).Append(nil))
	}
	answered := func(ids ...uint64) {
		t.Helper()
		for len(ids) > 0 {
			_, payload, err := r.read()
			if err != nil {
				t.Fatalf("before the answer to %d: %v", ids[0], err)
			}
			for len(payload) > 0 {
				raw, rest, err := protocol.Next(payload)
				if err != nil {
					t.Fatal(err)
				}
				payload = rest
				if id, ok := raw.ID(); ok && id == ids[0] {
					ids = ids[1:]
				}
			}
		}
	}
	for id := range uint64(20) {
		r.write(publish(id+10, false))
		answered(id + 10)
	}
	pause := func() { <-time.After(70 * time.Millisecond) } // more than passes for quick
	store.Hold()
	one := publish(1, true)
	r.write(one[:7])
	pause()
	r.write(append(one[7:], publish(2, true)...)) // waits for the answer to 1
	pause()
	r.write(publish(3, false))
	pause()
	store.Release()
	answered(1, 2, 3)
	r.write(publish(4, false))
	answered(4)
}

func TestAMessageInPiecesWakesAParkedConnection(t *testing.T) {
	_, url := serve(t, broker.Options{}, ws.Options{})
	r := subscribed(t, url, "a")
	message := (&protocol.Publish{ID: 7, Topic: "b", Payload: bytes.Repeat([]byte("p"), 40<<10)}).Append(nil)
	stream := append(rawws.Frame(0x02, message[:100]), rawws.Frame(0x80, message[100:])...)
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
	last := rawws.Frame(0x82, (&protocol.Publish{Topic: "a", Payload: []byte("x")}).Append(nil))
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
	publish := rawws.Frame(0x82, (&protocol.Publish{ID: 1, Topic: "a", Payload: []byte("x")}).Append(nil))
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

// Clients send in pieces and at paces of all kinds: whatever a connection does when something comes, nothing is left lying.
func TestEveryPublishIsAcknowledgedAtEveryPace(t *testing.T) {
	_, url := serve(t, broker.Options{}, ws.Options{})
	var all sync.WaitGroup
	defer all.Wait()
	for seed := range uint64(24) {
		r := subscribed(t, url, "nothing")
		all.Go(func() {
			if err := r.publishAtRandom(rand.New(rand.NewPCG(seed, 1)), 150); err != nil {
				t.Errorf("seed %d: %v", seed, err)
			}
		})
	}
}

// publishAtRandom publishes n messages, several at a time, in pieces, with and without pauses, and waits for all acknowledgements.
func (r *raw) publishAtRandom(chance *rand.Rand, n int) error {
	for sent, acknowledged := 0, 0; acknowledged < n; {
		var stream []byte
		for range min(1+chance.IntN(4), n-sent) {
			sent++
			stream = append(stream, rawws.Frame(0x82, (&protocol.Publish{ID: uint64(sent), Topic: "a", Payload: []byte("x")}).Append(nil))...)
		}
		for len(stream) > 0 {
			piece := min(1+chance.IntN(60), len(stream))
			r.write(stream[:piece])
			stream = stream[piece:]
			if chance.IntN(60) == 0 {
				<-time.After(time.Duration(chance.IntN(80)) * time.Millisecond)
			}
		}
		for acknowledged < sent {
			_, payload, err := r.read()
			if err != nil {
				return fmt.Errorf("after %d of %d acknowledgements: %w", acknowledged, sent, err)
			}
			for len(payload) > 0 {
				_, rest, err := protocol.Next(payload)
				if err != nil {
					return err
				}
				payload = rest
				acknowledged++
			}
		}
	}
	return nil
}
