package carillon

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/carillon-mq/carillon/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeBroker is a broker that does what the test says, packet by packet, over real WebSockets in memory.
type fakeBroker struct {
	t         testing.TB
	listener  *pipeListener
	transport *http.Transport
	conns     chan *fakeConn
	refuse    atomic.Pointer[func(w http.ResponseWriter) bool] // answers upgrades that it reports true for
	whole     atomic.Bool                                      // hands a Subscribes, and the Ping behind it, to the test as it came
}

// inBubble runs a test with its own clock.
func inBubble(t *testing.T, f func(t *testing.T, b *fakeBroker)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, newFakeBroker(t)) })
}

func newFakeBroker(t *testing.T) *fakeBroker {
	b := &fakeBroker{t: t, listener: newPipeListener(), conns: make(chan *fakeConn, 16)}
	b.transport = &http.Transport{DialContext: b.listener.dial}
	srv := &http.Server{Handler: b}
	var serving sync.WaitGroup
	serving.Go(func() { _ = srv.Serve(b.listener) })
	t.Cleanup(func() {
		srv.Close()
		b.transport.CloseIdleConnections()
		serving.Wait()
	})
	return b
}

func (b *fakeBroker) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if refuse := b.refuse.Load(); refuse != nil && (*refuse)(w) {
		return
	}
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{protocol.Subprotocol}})
	if err != nil {
		b.t.Error(err)
		return
	}
	ws.SetReadLimit(-1)
	fc := &fakeConn{t: b.t, ws: ws, header: r.Header, in: make(chan received, 100_000), over: make(chan struct{}), whole: b.whole.Load()}
	b.conns <- fc
	fc.read()
}

func (b *fakeBroker) refuseWith(f func(w http.ResponseWriter) bool) { b.refuse.Store(&f) }

// options are those of a client of the fake broker: delays are half of the ceiling.
func (b *fakeBroker) options(more ...Option) []Option {
	return append([]Option{
		WithHTTPClient(&http.Client{Transport: b.transport}),
		func(o *options) { o.rand = func() float64 { return 0.5 } },
	}, more...)
}

// dial connects a client and returns it with the broker's end, greeted at position at.
func (b *fakeBroker) dial(at protocol.Position, opts ...Option) (*Client, *fakeConn) {
	b.t.Helper()
	return b.dialWith(connected(at), opts...)
}

func (b *fakeBroker) dialWith(hello *protocol.Connected, opts ...Option) (*Client, *fakeConn) {
	b.t.Helper()
	type dialed struct {
		c   *Client
		err error
	}
	done := make(chan dialed, 1)
	go func() {
		c, err := Dial(context.Background(), "ws://broker/ws", b.options(opts...)...)
		done <- dialed{c, err}
	}()
	fc := b.accept()
	fc.send(hello)
	d := <-done
	if d.err != nil {
		b.t.Fatal(d.err)
	}
	b.t.Cleanup(func() {
		d.c.cancel()
		d.c.running.Wait()
	})
	return d.c, fc
}

// accept waits for the next connection and its Connect.
func (b *fakeBroker) accept() *fakeConn {
	b.t.Helper()
	select {
	case fc := <-b.conns:
		fc.hello = expect[*protocol.Connect](fc)
		return fc
	case <-time.After(time.Hour):
		b.t.Fatal("no connection came")
		return nil
	}
}

// resume accepts the next connection and greets it at position at.
func (b *fakeBroker) resume(at protocol.Position) *fakeConn {
	b.t.Helper()
	fc := b.accept()
	fc.greet(at)
	return fc
}

// fakeConn is the broker's end of one connection.
type fakeConn struct {
	t      testing.TB
	ws     *websocket.Conn
	header http.Header // of the upgrade
	hello  *protocol.Connect
	in     chan received
	over   chan struct{} // closed when the client's end is gone
	whole  bool
	err    error
}

type received struct {
	packet  protocol.Packet
	message int // the number of the WebSocket message it came in
}

func (fc *fakeConn) read() {
	defer close(fc.over)
	defer fc.ws.CloseNow()
	for n := 0; ; n++ {
		_, b, err := fc.ws.Read(context.Background())
		if err != nil {
			fc.err = err
			return
		}
		for len(b) > 0 {
			raw, rest, err := protocol.Next(b)
			if err != nil {
				fc.t.Errorf("the client sent: %v", err)
				return
			}
			p, err := protocol.DecodePacket(raw)
			if err != nil {
				fc.t.Errorf("the client sent: %v", err)
				return
			}
			fc.take(p, n)
			b = rest
		}
	}
}

// take hands a packet to the test: of a Subscribes what it stands for, unless the test wants it whole.
func (fc *fakeConn) take(p protocol.Packet, message int) {
	many, ok := p.(*protocol.Subscribes)
	switch {
	case fc.whole:
		fc.in <- received{p, message}
	case ok:
		for i := range many.Subscriptions {
			fc.in <- received{&many.Subscriptions[i], message}
		}
	case p.Type() != protocol.TypePing:
		fc.in <- received{p, message}
	}
}

func connected(at protocol.Position) *protocol.Connected {
	return &protocol.Connected{Session: "s1", User: "ann", Position: at, Ping: 25 * time.Second}
}

func (fc *fakeConn) greet(at protocol.Position) { fc.send(connected(at)) }

// send sends packets in one WebSocket message.
func (fc *fakeConn) send(packets ...protocol.Packet) {
	fc.t.Helper()
	var b []byte
	for _, p := range packets {
		b = p.Append(b)
	}
	fc.write(b)
}

// write sends bytes that are not packets.
func (fc *fakeConn) write(b []byte) {
	fc.t.Helper()
	if err := fc.ws.Write(context.Background(), websocket.MessageBinary, b); err != nil {
		fc.t.Errorf("write: %v", err)
	}
}

// cut ends the connection without a word.
func (fc *fakeConn) cut() {
	fc.ws.CloseNow()
	<-fc.over
}

// expect waits for the client's next packet, which has to be a P.
func expect[P protocol.Packet](fc *fakeConn) P {
	fc.t.Helper()
	select {
	case r := <-fc.in:
		p, ok := r.packet.(P)
		if !ok {
			fc.t.Fatalf("the client sent %s %+v, wanted %s", r.packet.Type(), r.packet, reflect.TypeFor[P]())
		}
		return p
	case <-time.After(time.Minute):
		fc.t.Fatalf("the client sent nothing, wanted %s", reflect.TypeFor[P]())
		panic("unreachable")
	}
}

// quiet fails the test if the client has sent anything, once all that can happen now has happened.
func (fc *fakeConn) quiet() {
	fc.t.Helper()
	synctest.Wait()
	select {
	case r := <-fc.in:
		fc.t.Fatalf("the client sent %s %+v, wanted nothing", r.packet.Type(), r.packet)
	default:
	}
}

// live answers the next Subscribe, which has to be for filter and without a position, and makes it live at position at.
func (fc *fakeConn) live(filter string, at protocol.Position) uint64 {
	fc.t.Helper()
	p := expect[*protocol.Subscribe](fc)
	if p.Filter != filter || p.Position != nil {
		fc.t.Fatalf("the client sent %+v, wanted a fresh subscription to %q", p, filter)
	}
	fc.send(&protocol.Subscribed{ID: p.ID, Position: at})
	if !p.NoRetained {
		fc.send(&protocol.RetainedEnd{Subscription: p.ID}, &protocol.Resumed{Subscription: p.ID, Position: at})
	}
	return p.ID
}

// resumes expects the next packet to resume filter at position at, and answers it.
func (fc *fakeConn) resumes(filter string, at protocol.Position) uint64 {
	fc.t.Helper()
	return fc.resumesWith(filter, at, false)
}

// resumesWith is resumes for a subscription that asks for the retained messages again, or not.
func (fc *fakeConn) resumesWith(filter string, at protocol.Position, snapshot bool) uint64 {
	fc.t.Helper()
	p := expect[*protocol.Subscribe](fc)
	got, err := protocol.ParsePosition(p.Position)
	if err != nil || p.Filter != filter || p.Snapshot != snapshot {
		fc.t.Fatalf("the client sent %+v (%v), wanted to resume %q, with a snapshot: %t", p, err, filter, snapshot)
	}
	if diff := cmp.Diff(at, got); diff != "" {
		fc.t.Fatalf("%q resumes at another position (-want +got):\n%s", filter, diff)
	}
	fc.send(&protocol.Subscribed{ID: p.ID, Position: at})
	return p.ID
}

var (
	epoch1, epoch2 = protocol.RunID{1}, protocol.RunID{2}
	term1, term2   = protocol.RunID{0xa}, protocol.RunID{0xb}
)

// at is a position in the first epoch and term.
func at(seq, offset uint64) protocol.Position {
	return protocol.Position{Epoch: epoch1, Seq: seq, Term: term1, Offset: offset}
}

func msg(seq, offset uint64, topic, payload string) *protocol.Message {
	return &protocol.Message{Seq: seq, Offset: offset, Topic: topic, Payload: []byte(payload), ContentType: typeText, Time: 1000}
}

// reader iterates over a subscription in its own goroutine and keeps every step as a line of text.
type reader struct {
	t     testing.TB
	steps chan string
	stop  context.CancelFunc
}

func read(t *testing.T, s *Subscription) *reader {
	ctx, cancel := context.WithCancel(context.Background())
	r := &reader{t: t, steps: make(chan string, 100_000), stop: cancel}
	var done sync.WaitGroup
	done.Go(func() {
		for e, err := range s.Events(ctx) {
			r.steps <- describe(e, err)
		}
		r.steps <- "end"
	})
	t.Cleanup(func() {
		cancel()
		done.Wait()
	})
	return r
}

func describe(e Event, err error) string {
	switch e := e.(type) {
	case *Message:
		kind := "message"
		if e.Retained {
			kind = "retained"
		}
		return fmt.Sprintf("%s %s=%s", kind, e.Topic, e.Payload)
	case *GapError:
		return fmt.Sprintf("gap %s %s %d", e.Filter, e.Reason, e.Count)
	case *SnapshotEnd:
		return fmt.Sprintf("snapshot end, reset %v", e.Reset)
	case *Resumed:
		return "resumed"
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return "error " + e.Code.String()
	}
	return fmt.Sprintf("error %v", err)
}

// next compares the next steps.
func (r *reader) next(want ...string) {
	r.t.Helper()
	for i, w := range want {
		select {
		case got := <-r.steps:
			if got != w {
				r.t.Fatalf("step %d: got %q, want %q", i, got, w)
			}
		case <-time.After(time.Hour):
			r.t.Fatalf("step %d: nothing came, want %q", i, w)
		}
	}
}

// quiet fails the test if there is another step.
func (r *reader) quiet() {
	r.t.Helper()
	synctest.Wait()
	select {
	case got := <-r.steps:
		r.t.Fatalf("got %q, wanted nothing", got)
	default:
	}
}
