package ws_test

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/ws"
	"github.com/carillon-mq/carillon/protocol"
	"github.com/coder/websocket"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// client is a bare protocol client.
type client struct {
	t    *testing.T
	c    *websocket.Conn
	rest []byte
}

func serve(t *testing.T, opt broker.Options, door ws.Options) (*broker.Broker, string) {
	t.Helper()
	b, err := broker.New(opt)
	if err != nil {
		t.Fatal(err)
	}
	b.Start()
	h := ws.New(b, door)
	srv := httptest.NewServer(h)
	t.Cleanup(func() {
		b.Close()
		srv.Close()
		h.Wait()
	})
	return b, strings.Replace(srv.URL, "http", "ws", 1)
}

func dial(t *testing.T, url string) *client {
	t.Helper()
	c, _, err := websocket.Dial(t.Context(), url, &websocket.DialOptions{Subprotocols: []string{protocol.Subprotocol}})
	if err != nil {
		t.Fatal(err)
	}
	c.SetReadLimit(1 << 20)
	t.Cleanup(func() { c.CloseNow() })
	cl := &client{t: t, c: c}
	cl.send(&protocol.Connect{Version: 1})
	expect[*protocol.Connected](cl)
	return cl
}

func (c *client) send(packets ...protocol.Packet) {
	c.t.Helper()
	var b []byte
	for _, p := range packets {
		b = p.Append(b)
	}
	if err := c.c.Write(c.t.Context(), websocket.MessageBinary, b); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) next() protocol.Packet {
	c.t.Helper()
	if len(c.rest) == 0 {
		ctx, cancel := context.WithTimeout(c.t.Context(), 10*time.Second)
		defer cancel()
		_, b, err := c.c.Read(ctx)
		if err != nil {
			c.t.Fatal(err)
		}
		c.rest = b
	}
	raw, rest, err := protocol.Next(c.rest)
	if err != nil {
		c.t.Fatal(err)
	}
	c.rest = rest
	p, err := protocol.DecodePacket(raw)
	if err != nil {
		c.t.Fatal(err)
	}
	return p
}

func expect[P protocol.Packet](c *client) P {
	c.t.Helper()
	got := c.next()
	p, ok := got.(P)
	if !ok {
		c.t.Fatalf("found %T %+v, wanted %T", got, got, p)
	}
	return p
}

func TestPublishReachesSubscriber(t *testing.T) {
	_, url := serve(t, broker.Options{}, ws.Options{})
	sub, pub := dial(t, url), dial(t, url)
	sub.send(&protocol.Subscribe{ID: 1, Filter: "orders.>"})
	expect[*protocol.Subscribed](sub)
	expect[*protocol.RetainedEnd](sub)
	expect[*protocol.Resumed](sub)

	pub.send(&protocol.Publish{ID: 7, Topic: "orders.eu.42", Payload: []byte("hello"), Receivers: true})
	ack := expect[*protocol.Published](pub)
	if ack.ID != 7 || ack.Seq != 1 || ack.Durability != protocol.Appended || ack.Receivers != 1 {
		t.Errorf("found acknowledgement %+v", ack)
	}
	m := expect[*protocol.Message](sub)
	if m.Topic != "orders.eu.42" || string(m.Payload) != "hello" || m.Seq != 1 {
		t.Errorf("found message %+v", m)
	}
}
