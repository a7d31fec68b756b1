package badinput

import (
	"context"
	"encoding/binary"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/carillon-mq/carillon/protocol"
)

const (
	canaryEvery = 10 * time.Millisecond
	canaryWaits = 20 * time.Second // for a message: what is later is missing
)

// canary publishes to a topic of its own and waits for its message, over and over.
type canary struct {
	mu    sync.Mutex
	times []time.Duration
	fault error
	ended chan struct{}
}

func startCanary(t *testing.T, s *stand) *canary {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	c := &canary{ended: make(chan struct{})}
	conn, _, err := websocket.Dial(ctx, "ws://"+s.listen+"/ws", &websocket.DialOptions{Subprotocols: []string{protocol.Subprotocol}})
	if err != nil {
		t.Fatalf("the canary: %v", err)
	}
	hello := (&protocol.Connect{Version: protocol.Version, Token: token(t, "canary", rights{"publish": filters{"canary"}, "subscribe": filters{"canary"}, "limits": unlimited})}).Append(nil)
	if err := conn.Write(ctx, websocket.MessageBinary, (&protocol.Subscribe{ID: 1, Filter: "canary"}).Append(hello)); err != nil {
		t.Fatalf("the canary: %v", err)
	}
	go func() {
		defer close(c.ended)
		for n := uint64(1); ctx.Err() == nil; n++ {
			c.note(c.round(ctx, conn, n))
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-c.ended
		conn.CloseNow()
	})
	c.pass(t, 20)
	return c
}

// round sends message n and waits until it comes, and then for the rest of the time of a round.
func (c *canary) round(ctx context.Context, conn *websocket.Conn, n uint64) (time.Duration, error) {
	began := time.Now()
	limited, cancel := context.WithTimeout(ctx, canaryWaits)
	defer cancel()
	message := &protocol.Publish{Topic: "canary", Payload: binary.BigEndian.AppendUint64(nil, n)}
	if err := conn.Write(limited, websocket.MessageBinary, message.Append(nil)); err != nil {
		return 0, err
	}
	for came := false; !came; {
		_, b, err := conn.Read(limited)
		if err != nil {
			return 0, err
		}
		if came, err = c.take(limited, conn, b, n); err != nil {
			return 0, err
		}
	}
	took := time.Since(began)
	select {
	case <-ctx.Done():
	case <-time.After(canaryEvery - took):
	}
	return took, nil
}

// take reads packets and reports whether message n is among them. Another one is one that was lost, or sent twice.
func (c *canary) take(ctx context.Context, conn *websocket.Conn, b []byte, n uint64) (came bool, err error) {
	for len(b) > 0 {
		raw, rest, err := protocol.Next(b)
		if err != nil {
			return false, err
		}
		b = rest
		p, err := protocol.DecodePacket(raw)
		if err != nil {
			return false, err
		}
		switch p := p.(type) {
		case *protocol.Ping:
			if err := conn.Write(ctx, websocket.MessageBinary, (&protocol.Pong{}).Append(nil)); err != nil {
				return false, err
			}
		case *protocol.Message:
			if binary.BigEndian.Uint64(p.Payload) != n {
				return false, errors.New("another message than the one that was sent")
			}
			came = true
		case *protocol.ErrorPacket:
			return false, errors.New("refused: " + p.Name + ": " + p.Detail)
		case *protocol.Disconnect:
			return false, errors.New("disconnected: " + p.Name + ": " + p.Detail)
		}
	}
	return came, nil
}

func (c *canary) note(took time.Duration, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		if c.fault == nil && !errors.Is(err, context.Canceled) {
			c.fault = err
		}
		<-time.After(canaryEvery)
		return
	}
	c.times = append(c.times, took)
}

func (c *canary) state() (rounds int, fault error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.times), c.fault
}

// pass waits for n more rounds, the first of which may have begun already.
func (c *canary) pass(t *testing.T, n int) {
	t.Helper()
	from, _ := c.state()
	wrong := eventually(t, canaryWaits+10*time.Second, func() string {
		rounds, fault := c.state()
		switch {
		case fault != nil:
			t.Fatalf("the canary has noticed: %v", fault)
		case rounds < from+n:
			return "the canary waits"
		}
		return ""
	})
	if wrong != "" {
		t.Fatal(wrong)
	}
}

// since are the times of the rounds from a number on.
func (c *canary) since(from int) []time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]time.Duration(nil), c.times[from:]...)
}

// judge fails the test unless the canary was served as well as control, which is the canary of a broker that nobody bothers, on the
// same machine at the same time.
func (c *canary) judge(t *testing.T, control *canary) {
	t.Helper()
	c.judgeSince(t, 0, control, 0)
}

// judgeSince is judge of the rounds from a number on, of each.
func (c *canary) judgeSince(t *testing.T, from int, control *canary, first int) {
	t.Helper()
	mine, other := c.since(from), control.since(first)
	p99, quiet := percentile(mine, 0.99), percentile(other, 0.99)
	t.Logf("canary: %d rounds, p50 %s, p99 %s; beside a broker that is left alone p99 %s", len(mine), percentile(mine, 0.5), p99, quiet)
	if most := canaryMost + quietTimes()*quiet; p99 > most {
		t.Errorf("the canary's p99 is %s, wanted at most %s", p99, most)
	}
}
