package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/protocol"
)

// dropStyle is one way in which a client comes, does what it came for, and is gone.
type dropStyle struct {
	name  string
	odds  int
	cycle func(c *churn, w *wire, n int64) error // n is unlike that of any other cycle
}

var dropStyles = []dropStyle{
	{"WebSocket, close frame", 4, inSession((*wire).goodbye)},
	{"WebSocket, FIN", 4, inSession((*wire).close)},
	{"WebSocket, RST", 4, inSession((*wire).reset)},
	{"WebSocket, FIN of one direction", 2, inSession((*wire).closeOneWay)},
	{"WebSocket, half-open", 1, inSession(func(w *wire) error { return errors.Join(w.drain(), w.close()) })},
	{"WebSocket, in the middle of a frame, FIN", 2, inSession(func(w *wire) error { return errors.Join(w.cutFrame(someFrame), w.close()) })},
	{"WebSocket, in the middle of a frame, RST", 2, inSession(func(w *wire) error { return errors.Join(w.cutFrame(someFrame), w.reset()) })},
	{"in the middle of the handshake, FIN", 2, inHandshake((*wire).close)},
	{"in the middle of the handshake, RST", 2, inHandshake((*wire).reset)},
	{"before Connect", 1, func(c *churn, w *wire, _ int64) error { return errors.Join(w.upgrade(c.b.listen), w.close()) }},
	{"SSE, FIN", 2, inStream("", (*wire).close)},
	{"SSE, RST", 2, inStream("", (*wire).reset)},
	{"SSE, FIN of one direction", 1, inStream("", (*wire).closeOneWay)},
	{"long-poll, FIN", 2, inStream("&mode=poll&after=", (*wire).close)},
	{"long-poll, RST", 2, inStream("&mode=poll&after=", (*wire).reset)},
	{"long-poll, answered", 1, inStream("&mode=poll", func(w *wire) error { return errors.Join(w.drain(), w.close()) })},
}

var someFrame = frame(&protocol.Publish{Topic: "churn.never", Payload: make([]byte, 100)})

// inSession subscribes twice, publishes, and goes when the message has come.
func inSession(drop func(*wire) error) func(*churn, *wire, int64) error {
	return func(c *churn, w *wire, n int64) error {
		if err := w.upgrade(c.b.listen); err != nil {
			return err
		}
		for _, filter := range []string{fmt.Sprintf("churn.%d.>", n), fmt.Sprintf("churn.*.%d.*", n)} {
			if _, err := w.subscribe(&protocol.Subscribe{Filter: filter}); err != nil {
				return err
			}
		}
		if err := w.send(&protocol.Publish{Topic: fmt.Sprintf("churn.%d.x", n), Payload: make([]byte, 100)}); err != nil {
			return err
		}
		for came := false; !came; {
			err := w.read(func(r protocol.Raw, _ []byte) error {
				came = came || r.Type == protocol.TypeMessage
				return nil
			})
			if err != nil {
				return err
			}
		}
		return drop(w)
	}
}

// inHandshake goes when a part of the request for an upgrade has been sent.
func inHandshake(drop func(*wire) error) func(*churn, *wire, int64) error {
	return func(c *churn, w *wire, _ int64) error {
		return errors.Join(w.cutFrame([]byte(upgradeRequest(c.b.listen))), drop(w))
	}
}

// inStream asks for events or a long-poll, and goes when the answer has begun, or, if there is none for now, a moment later.
func inStream(query string, drop func(*wire) error) func(*churn, *wire, int64) error {
	return func(c *churn, w *wire, n int64) error {
		behind, waits := "", strings.HasSuffix(query, "=")
		if waits {
			behind = c.cursor.Load().(string)
		}
		_, err := fmt.Fprintf(w.conn, "GET /v1/subscribe?filter=churn.%d.%%3E%s%s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", n, query, behind, c.b.listen)
		if err != nil {
			return err
		}
		if waits {
			wait(c.t, time.Duration(rand.Int64N(int64(5*time.Millisecond))))
			return drop(w)
		}
		resp, err := http.ReadResponse(w.in, nil)
		if err == nil && resp.StatusCode != http.StatusOK {
			err = fmt.Errorf("found %s", resp.Status)
		}
		return errors.Join(err, drop(w))
	}
}

// churn is clients that come and go.
type churn struct {
	t      *testing.T
	b      *broker
	cursor atomic.Value // of a message that the log still has
	next   atomic.Int64
}

const churnWorkers = 8

// G13: whatever a connection has taken is given back, however it ends: after so many that connect, subscribe, publish and drop, the broker has
// the goroutines, descriptors and live memory that it had before, within 1 % and 10 s.
func TestConnectionsGiveBackWhatTheyTook(t *testing.T) {
	cycles, lasts := int64(count(0, 100_000)), 2*time.Second
	b := newBroker(t)
	b.env = []string{"CARILLON_LIMITS_RING=16MiB", "CARILLON_LIMITS_PING_EVERY=1s", "CARILLON_LIMITS_PONG_WAIT=500ms", "GOGC=10", "CARILLON_LOG_LEVEL=error"}
	b.start()
	c := &churn{t: t, b: b}
	c.fillLog()
	c.cursor.Store(publishedAt(t, b))
	c.run(1000, 0)
	before := c.settled()
	began, first := time.Now(), c.next.Load()
	c.run(cycles, lasts)
	n, took := c.next.Load()-first, time.Since(began)
	late := time.Now()
	after := b.resources()
	for after.within(before, 0.01) != nil && time.Since(late) < 10*time.Second {
		after = b.resources()
	}
	t.Logf("%d cycles in %s; before %+v, %s after the last %+v", n, took.Round(time.Second), before, time.Since(late).Round(time.Millisecond), after)
	if err := after.within(before, 0.01); err != nil {
		t.Error(err)
	}
	if floor := int64(200); n < floor {
		t.Errorf("the run is invalid: found %d cycles, wanted at least %d", n, floor)
	}
}

// fillLog publishes more than the log holds.
func (c *churn) fillLog() {
	c.t.Helper()
	publisher := client(c.t, c.b)
	defer publisher.Close(c.t.Context()) // once all are acknowledged
	for range 5000 {
		if _, err := publisher.PublishAsync(c.t.Context(), fmt.Sprintf("churn.%d.x", c.next.Add(1)), make([]byte, 4<<10)); err != nil {
			c.t.Fatal(err)
		}
	}
}

// publishedAt is the cursor of a message.
func publishedAt(t *testing.T, b *broker) string {
	t.Helper()
	resp, err := http.Post("http://"+b.listen+"/v1/topics/churn.first", "application/json", strings.NewReader("1"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var ack struct{ Cursor string }
	if err := json.NewDecoder(resp.Body).Decode(&ack); err != nil || ack.Cursor == "" {
		t.Fatalf("%s: found %+v, %v", resp.Status, ack, err)
	}
	return ack.Cursor
}

// run lives through so many cycles, or, without a number, through as many as there is time for and at least a few of each style.
func (c *churn) run(cycles int64, lasts time.Duration) {
	c.t.Helper()
	var order []dropStyle
	for _, s := range dropStyles {
		for range s.odds {
			order = append(order, s)
		}
	}
	began, first := time.Now(), c.next.Load()
	over := func(n int64) bool {
		if cycles > 0 {
			return n > cycles
		}
		return n > 10*int64(len(order)) && time.Since(began) > lasts
	}
	var workers, patient sync.WaitGroup
	for range churnWorkers {
		workers.Go(func() {
			for !c.t.Failed() {
				n := c.next.Add(1)
				if over(n - first) {
					c.next.Add(-1)
					return
				}
				style := order[n%int64(len(order))]
				if strings.HasSuffix(style.name, "half-open") { // it takes the broker's patience
					patient.Go(func() { c.live(style, n) })
					continue
				}
				c.live(style, n)
			}
		})
	}
	workers.Wait()
	patient.Wait()
}

// live lives through one cycle, from one of many addresses of the loopback: a port is not free again at once.
func (c *churn) live(style dropStyle, n int64) {
	ctx, cancel := context.WithTimeout(c.t.Context(), 20*time.Second)
	defer cancel()
	from := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+n%200))}}
	if n%5000 == 0 {
		c.cursor.Store(publishedAt(c.t, c.b))
	}
	w, err := openWire(ctx, from, c.b.listen, 0)
	if err == nil {
		err = style.cycle(c, w, n)
	}
	if err != nil {
		c.t.Errorf("cycle %d, %s: %v", n, style.name, err)
	}
}

// resources are what a broker holds.
type resources struct{ goroutines, descriptors, heap, log, sessions, subscriptions float64 }

func (b *broker) resources() resources {
	b.t.Helper()
	r := resources{heap: b.heap()}
	m := b.metrics()
	r.goroutines, r.descriptors, r.sessions, r.subscriptions = m["go_goroutines"], m["process_open_fds"], m["carillon_sessions"], m["carillon_subscriptions"]
	r.log = m["carillon_ring_bytes"]
	return r
}

// within is an error unless r is at most so much above what was there before. The log, of which large pieces are let go, does not count.
func (r resources) within(before resources, part float64) error {
	const kept = 64 // goroutines that wait for the next connection that says something, at most
	var errs []error
	for _, f := range []struct {
		what        string
		found, most float64
	}{
		{"goroutines", r.goroutines, before.goroutines*(1+part) + kept},
		{"descriptors", r.descriptors, before.descriptors * (1 + part)},
		{"bytes of live memory", r.heap, before.heap*(1+part) + r.log - before.log},
		{"sessions", r.sessions, 0},
		{"subscriptions", r.subscriptions, 0},
	} {
		if f.found > f.most {
			errs = append(errs, fmt.Errorf("found %.0f %s, wanted at most %.0f", f.found, f.what, f.most))
		}
	}
	return errors.Join(errs...)
}

// settled is what the broker holds when nobody is connected: the most of a few looks.
func (c *churn) settled() (most resources) {
	c.t.Helper()
	eventually(c.t, 10*time.Second, "nobody is connected", func() bool { return c.b.metric("carillon_sessions") == 0 })
	for range 3 {
		r := c.b.resources()
		if r.heap-r.log > most.heap-most.log {
			most.heap, most.log = r.heap, r.log
		}
		most.goroutines, most.descriptors = max(most.goroutines, r.goroutines), max(most.descriptors, r.descriptors)
	}
	return most
}
