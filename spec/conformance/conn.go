package conformance

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// conn is one connection and what has come over it. A goroutine of its own reads it until it ends; close waits for that.
type conn struct {
	name  string
	ws    *websocket.Conn
	pongs bool // pings are answered, and passed over unless they are waited for
	log   *transcript
	ended chan struct{} // closed when nothing more comes
	stop  context.CancelFunc

	farewell time.Time // when the script began to end it, kindly or not

	// What Connected has said of compression, for the reader alone.
	compress string
	payload  int64 // bytes that a payload may have

	mu      sync.Mutex
	arrived []received
	fault   error         // why nothing more comes
	lost    time.Time     // since when; to be read when ended is closed
	news    chan struct{} // one waits in it when something has been added
}

// received is a packet and the WebSocket message that it came in, counted from 1.
type received struct {
	packet
	message int
}

// maxMessage is the largest WebSocket message that the player takes.
const maxMessage = 16 << 20

func newConn(ctx context.Context, name string, ws *websocket.Conn, pongs, fromServer bool, log *transcript) *conn {
	ctx, stop := context.WithCancel(ctx)
	c := &conn{name: name, ws: ws, pongs: pongs, log: log, ended: make(chan struct{}), stop: stop, news: make(chan struct{}, 1)}
	ws.SetReadLimit(maxMessage)
	go c.read(ctx, fromServer) // ends with the connection, which close sees to
	return c
}

// read takes messages apart until there are no more.
func (c *conn) read(ctx context.Context, fromServer bool) {
	defer close(c.ended)
	for n := 1; ; n++ {
		kind, b, err := c.ws.Read(ctx)
		if err == nil && (kind != c.kind() || len(b) == 0) {
			err = fmt.Errorf("a WebSocket message came that is %s, or empty [TRA-2] [JSN-1]", kind)
		}
		if err != nil {
			c.end(err)
			return
		}
		packets, err := c.packets(b)
		for _, p := range packets {
			if f := forms.byName[p.name]; f != nil && (fromServer && !f.server || !fromServer && !f.client) {
				c.end(fmt.Errorf("%s came from the wrong side [ENC-11]", p.name))
				return
			}
			if err := c.inflate(p); err != nil {
				c.end(err)
				return
			}
			c.take(ctx, received{p, n})
		}
		if err != nil {
			c.log.add(c.name, "received", fmt.Sprintf("%x", b[:min(len(b), 64)]))
			c.end(err)
			return
		}
	}
}

// kind is what its messages are.
func (c *conn) kind() websocket.MessageType {
	if c.ws.Subprotocol() == SubprotocolJSON {
		return websocket.MessageText
	}
	return websocket.MessageBinary
}

// packets are those of a message, up to one that is none.
func (c *conn) packets(b []byte) ([]packet, error) {
	if c.kind() == websocket.MessageText {
		return decodeTexts(b)
	}
	var all []packet
	for len(b) > 0 {
		p, rest, err := decodePacket(b)
		if err != nil {
			return all, err
		}
		all = append(all, p.apart()...)
		b = rest
	}
	return all, nil
}

func (c *conn) take(ctx context.Context, r received) {
	c.log.add(c.name, "received", r.String())
	if r.name == "Ping" && c.pongs {
		pong, _ := encodePacket(map[string]any{"Pong": nil}) // it is in the table
		if c.kind() == websocket.MessageText {
			pong = []byte("[16]")
		}
		c.write(ctx, c.kind(), pong, 1)
	}
	c.mu.Lock()
	c.arrived = append(c.arrived, r)
	c.mu.Unlock()
	c.wake()
}

func (c *conn) end(err error) {
	c.log.add(c.name, "ended", err.Error())
	c.mu.Lock()
	c.fault, c.lost = err, time.Now()
	c.mu.Unlock()
	c.wake()
}

func (c *conn) wake() {
	select {
	case c.news <- struct{}{}:
	default:
	}
}

var errLate = errors.New("found nothing in time")

// next returns what came next, and waits for it until ctx ends, which is errLate. Pings are passed over unless they are wanted.
func (c *conn) next(ctx context.Context, pings bool) (received, error) {
	for {
		c.mu.Lock()
		for len(c.arrived) > 0 {
			r := c.arrived[0]
			c.arrived = c.arrived[1:]
			if r.name == "Ping" && !pings {
				continue
			}
			c.mu.Unlock()
			return r, nil
		}
		fault := c.fault
		c.mu.Unlock()
		if fault != nil {
			return received{}, &endError{fault}
		}
		select {
		case <-c.news:
		case <-ctx.Done():
			return received{}, errLate
		}
	}
}

// endError is the end of a connection.
type endError struct{ err error }

func (e *endError) Error() string { return "the connection has ended: " + e.err.Error() }
func (e *endError) Unwrap() error { return e.err }

// status is the close code and reason with which it ended; -1 for another end.
func (e *endError) status() (int, string) {
	if c, ok := errors.AsType[websocket.CloseError](e.err); ok {
		return int(c.Code), c.Reason
	}
	return -1, ""
}

// write sends a message. That it could not be sent shows in what is read: the other side may have ended the session meanwhile, and have said why.
func (c *conn) write(ctx context.Context, kind websocket.MessageType, b []byte, pieces int) {
	if err := c.tryWrite(ctx, kind, b, pieces); err != nil {
		c.log.add(c.name, "not sent", err.Error())
	}
}

func (c *conn) tryWrite(ctx context.Context, kind websocket.MessageType, b []byte, pieces int) error {
	if pieces <= 1 {
		return c.ws.Write(ctx, kind, b)
	}
	w, err := c.ws.Writer(ctx, kind)
	if err != nil {
		return err
	}
	size := max(len(b)/pieces, 1)
	for len(b) > 0 { // each Write is a frame
		n := min(size, len(b))
		if _, err := w.Write(b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return w.Close()
}

// deliver sends a binary message as the step says.
func (c *conn) deliver(ctx context.Context, b []byte, s *Step) error {
	switch {
	case s.Cut > 0:
		err := c.begin(ctx, b[:min(s.Cut, len(b)-1)])
		c.leave()
		c.log.add(c.name, "cut", "within the message")
		c.close()
		return err
	case !s.Unfinished:
		c.write(ctx, websocket.MessageBinary, b, s.Pieces)
		return nil
	case c.pongs:
		return errors.New("unfinished: Pong could not be sent any more; say pongs: false when it is opened")
	}
	return c.begin(ctx, b)
}

// begin sends the first fragment of a message, and has seen that it arrived.
func (c *conn) begin(ctx context.Context, b []byte) error {
	w, err := c.ws.Writer(ctx, websocket.MessageBinary)
	if err == nil {
		_, err = w.Write(b)
	}
	if err == nil {
		err = c.ws.Ping(ctx) // which takes what is buffered along
	}
	return err
}

// leave takes down that the script ends the connection, the first time that it says so.
func (c *conn) leave() {
	if c.farewell.IsZero() {
		c.farewell = time.Now()
	}
}

// close ends the connection if it has not, and waits for its reader.
func (c *conn) close() {
	c.ws.CloseNow()
	c.stop()
	<-c.ended
}

// transcript is what happened on all connections of a script, for the report of a failure.
type transcript struct {
	began time.Time

	mu    sync.Mutex
	lines []string
}

// maxTranscript is how many lines are kept, the newest.
const maxTranscript = 30

func (t *transcript) add(conn, what, detail string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lines = append(t.lines, fmt.Sprintf("%6.3f s  %s %s %s", time.Since(t.began).Seconds(), conn, what, detail))
	if len(t.lines) > maxTranscript {
		t.lines = t.lines[1:]
	}
}

func (t *transcript) text() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]string(nil), t.lines...)
}
