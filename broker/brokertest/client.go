package brokertest

import (
	"sync"
	"testing"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/protocol"
)

// Client speaks the protocol with a broker over a Conn. Its methods are for one goroutine at a time, those of its Conn for any.
type Client struct {
	*Conn
	Session   *broker.Session
	Connected protocol.Connected // of Dial

	t       testing.TB
	reading sync.Mutex // a transport has one reader: it calls Receive, and in the end Closed
	closed  bool
	watch   sync.WaitGroup
	once    sync.Once
	leave   chan struct{}
	ending  error // how the client leaves
}

// Open begins a session without a Connect. The client leaves when the test ends; whatever the core did wrong with its Conn fails
// the test then.
func Open(t testing.TB, b *broker.Broker, info broker.ConnInfo) *Client {
	t.Helper()
	c := &Client{t: t, Conn: NewConn(), leave: make(chan struct{})}
	if info.Transport == "" {
		info.Transport = "test"
	}
	s, err := b.Open(c.Conn, info)
	if err != nil {
		t.Fatalf("open a session: %v", err)
	}
	c.Session = s
	c.watch.Go(c.hangUp)
	t.Cleanup(func() {
		c.Leave()
		if err := c.Fault(); err != nil {
			t.Errorf("conn of session %s: %v", s.ID(), err)
		}
	})
	return c
}

// Dial begins a session for id, nil for whoever the broker takes it for, and waits until it is connected.
func Dial(t testing.TB, b *broker.Broker, id *broker.Identity) *Client {
	t.Helper()
	c := Open(t, b, broker.ConnInfo{Identity: id})
	c.Send(&protocol.Connect{Version: 1})
	c.Connected = *Expect[*protocol.Connected](c)
	return c
}

// hangUp tells the session that its connection has ended, as a transport's reader does.
func (c *Client) hangUp() {
	select {
	case <-c.ended:
	case <-c.leave:
	}
	c.reading.Lock()
	defer c.reading.Unlock()
	c.closed = true
	c.Session.Closed(c.ending)
}

// Leave ends the connection from the client's side, without a word.
func (c *Client) Leave() { c.leaveBy(nil) }

// Quit ends it with the word that the client leaves, as a close frame of 1000 is.
func (c *Client) Quit() { c.leaveBy(broker.ErrLeft) }

func (c *Client) leaveBy(err error) {
	c.once.Do(func() {
		c.reading.Lock()
		c.ending = err
		c.reading.Unlock()
		close(c.leave)
	})
	c.watch.Wait()
}

// Send sends packets in one message and fails the test if the session does not take them.
func (c *Client) Send(packets ...protocol.Packet) {
	c.t.Helper()
	if err := c.TrySend(packets...); err != nil {
		c.t.Fatalf("send %s: %v", packets[0].Type(), err)
	}
}

// TrySend sends packets in one message and returns what the session makes of it. It blocks while the session does.
func (c *Client) TrySend(packets ...protocol.Packet) error {
	var msg []byte
	for _, p := range packets {
		msg = p.Append(msg)
	}
	return c.SendBytes(msg)
}

// SendBytes sends one message.
func (c *Client) SendBytes(msg []byte) error {
	c.reading.Lock()
	defer c.reading.Unlock()
	if c.closed {
		return ErrGone
	}
	c.hear()
	return c.Session.Receive(msg, false)
}

// Expect takes the next packet and fails the test if it is not a P.
func Expect[P protocol.Packet](c *Client) P {
	c.t.Helper()
	got, err := c.Next()
	if err != nil {
		c.t.Fatalf("found no packet, wanted a %T: %v", *new(P), err)
	}
	p, ok := got.(P)
	if !ok {
		c.t.Fatalf("found %T %+v, wanted a %T", got, got, p)
	}
	return p
}

// ExpectError takes the next packet and fails the test if it is not an Error with the given code.
func ExpectError(c *Client, code protocol.Code) *protocol.ErrorPacket {
	c.t.Helper()
	p := Expect[*protocol.ErrorPacket](c)
	if p.Code != code {
		c.t.Fatalf("found error %s (%s), wanted %s", p.Name, p.Detail, code)
	}
	return p
}

// Subscribe subscribes without retained messages, and waits until the subscription is live.
func (c *Client) Subscribe(id uint64, filter string) protocol.Position {
	c.t.Helper()
	c.Send(&protocol.Subscribe{ID: id, Filter: filter, NoRetained: true})
	return Expect[*protocol.Subscribed](c).Position
}

// Publish publishes payload to topic and waits for the acknowledgement.
func (c *Client) Publish(id uint64, topic, payload string) protocol.Published {
	c.t.Helper()
	c.Send(&protocol.Publish{ID: id, Topic: topic, Payload: []byte(payload)})
	return *Expect[*protocol.Published](c)
}
