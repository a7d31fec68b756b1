package carillon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptrace"
	"slices"
	"strconv"
	"time"

	"github.com/coder/websocket"

	"github.com/carillon-mq/carillon/protocol"
)

const (
	readLimit       = 16 << 20 // bytes of one WebSocket message from the broker
	keepBuffer      = 1 << 20  // a read buffer larger than this is not kept
	pongGrace       = 10 * time.Second
	closeGrace      = 2 * time.Second
	defaultMessage  = 64 << 10 // bytes of one WebSocket message to the broker
	defaultInflight = 64
)

// connection is one WebSocket connection with a session of the broker on it.
type connection struct {
	ws          *websocket.Conn
	raw         net.Conn      // nil if the HTTP client hides it
	silence     time.Duration // longest time between two reads; 0: any
	maxMessage  int           // bytes
	maxInflight int
	limits      map[string]int64 // as announced, never nil
	compress    string           // how payloads may be compressed; "": they are not
	maxPayload  int              // bytes of a payload that was compressed
	with        peer

	wake  chan struct{} // there may be something to write
	over  chan struct{} // closed when reading has ended
	watch *time.Timer   // fires after silence
	retry *time.Timer   // fires when something that was refused for now is to be asked for again
	in    []byte        // the message being read
	plain []byte        // its payload, if that was compressed

	// Guarded by Client.mu.
	cause    error // why the connection was given up, if not for what reading it returned
	control  []byte
	requests []request
	later    []request // refused for now; again after laterAt
	laterAt  time.Time
	inflight map[uint64]request
	byID     map[uint64]*Subscription
	replies  replies
	trial    trial
	targets  []*Subscription // whom the message being handled is for
	before   []protocol.Position
	replay   replay
}

// replay is what remains of a Replay: so many messages for the subscription that has this id, if it still has.
type replay struct {
	left uint64
	kind protocol.ReplayKind
	id   uint64
}

// request is something that is sent with an id and gets an answer.
type request interface {
	packet(id uint64) protocol.Packet
}

func (s *Subscription) packet(id uint64) protocol.Packet { return s.subscribe(id) }

func (p *Publishing) packet(id uint64) protocol.Packet {
	p.out.ID = id
	return &p.out.Publish
}

// unsubscribing is the request to end the subscription of that id.
type unsubscribing uint64

func (u unsubscribing) packet(id uint64) protocol.Packet {
	return &protocol.Unsubscribe{ID: id, Subscription: uint64(u)}
}

// connect makes a connection and a session. rest is what came in the same message after Connected; it is valid until the next
// read.
func (c *Client) connect(ctx context.Context) (cn *connection, hello *protocol.Connected, rest []byte, err error) {
	token, err := c.tokens.next(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.opt.dialTimeout)
	defer cancel()
	cn = &connection{
		wake: make(chan struct{}, 1), over: make(chan struct{}),
		inflight: make(map[uint64]request), byID: make(map[uint64]*Subscription),
	}
	if err := cn.upgrade(ctx, c.url, &c.opt); err != nil {
		return nil, nil, nil, err
	}
	hello, rest, err = cn.greet(ctx, c.hello(token))
	if err != nil {
		cn.ws.CloseNow()
		return nil, nil, nil, err
	}
	c.tokens.accepted(hello.Expires)
	cn.compress = hello.Compress
	cn.announce(hello.Limits)
	cn.with = peer{run: hello.Position.Epoch, user: hello.User}
	if hello.Ping > 0 {
		cn.silence = hello.Ping + pongGrace
	}
	if c.opt.maxSilence > 0 {
		cn.silence = c.opt.maxSilence
	}
	return cn, hello, rest, nil
}

// hello is the client's first packet.
func (c *Client) hello(token string) *protocol.Connect {
	p := &protocol.Connect{
		Version: protocol.Version, Token: token, Client: c.opt.name[:min(len(c.opt.name), protocol.MaxClientBytes)],
		Origin: c.opt.origin, Compress: protocol.CompressDeflate,
	}
	if c.opt.plain {
		p.Compress = ""
	}
	return p
}

// announce takes the limits that the broker has named.
func (cn *connection) announce(limits map[string]int64) {
	cn.limits = make(map[string]int64, len(limits))
	maps.Copy(cn.limits, limits)
	cn.maxMessage, cn.maxInflight, cn.maxPayload = defaultMessage, defaultInflight, readLimit
	if n := limits["packet"]; n > 0 {
		cn.maxMessage = int(min(n, readLimit))
	}
	if n := limits["payload"]; n > 0 {
		cn.maxPayload = int(min(n, readLimit))
	}
	if n := limits["inflight"]; n > 0 {
		cn.maxInflight = int(min(n, 1<<20))
	}
}

// upgrade opens the WebSocket.
func (cn *connection) upgrade(ctx context.Context, url string, opt *options) error {
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(i httptrace.GotConnInfo) { cn.raw = i.Conn },
	})
	ws, resp, err := websocket.Dial(ctx, url, &websocket.DialOptions{
		HTTPClient: opt.httpClient, HTTPHeader: opt.header, Subprotocols: []string{protocol.Subprotocol},
	})
	if err != nil {
		if resp != nil && resp.StatusCode != http.StatusSwitchingProtocols {
			return upgradeRefused(resp)
		}
		return fmt.Errorf("connect: %w", err)
	}
	if ws.Subprotocol() != protocol.Subprotocol {
		ws.CloseNow()
		return fmt.Errorf("connect: the server at %s does not speak %s", url, protocol.Subprotocol)
	}
	ws.SetReadLimit(readLimit)
	cn.ws = ws
	return nil
}

// upgradeRefused reads the broker's problem document. An answer that is none, from a proxy for instance, is as good as no answer.
func upgradeRefused(resp *http.Response) error {
	defer resp.Body.Close()
	var problem struct{ Code, Detail, Hint string }
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 4096))
	_ = json.Unmarshal(body, &problem)
	e := &Error{Detail: problem.Detail, Hint: problem.Hint}
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s > 0 {
		e.RetryAfter = time.Duration(min(s, 3600)) * time.Second
	}
	code, ok := protocol.CodeByName(problem.Code)
	switch {
	case ok:
		e.Code = code
	case resp.StatusCode == http.StatusServiceUnavailable || resp.StatusCode == http.StatusTooManyRequests:
		e.Code, e.Detail = protocol.CodeUnavailable, "the server answered "+resp.Status
	default:
		return fmt.Errorf("connect: the server answered %s", resp.Status)
	}
	return refusal(e)
}

// greet sends Connect and waits for the answer.
func (cn *connection) greet(ctx context.Context, hello *protocol.Connect) (*protocol.Connected, []byte, error) {
	if err := cn.ws.Write(ctx, websocket.MessageBinary, hello.Append(nil)); err != nil {
		return nil, nil, fmt.Errorf("connect: %w", err)
	}
	b, err := cn.read(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("connect: %w", err)
	}
	raw, rest, err := protocol.Next(b)
	if err != nil {
		return nil, nil, fmt.Errorf("connect: the server's first packet: %w", plainError(err))
	}
	p, err := protocol.DecodePacket(raw)
	if err != nil {
		return nil, nil, fmt.Errorf("connect: the server's first packet: %w", plainError(err))
	}
	switch p := p.(type) {
	case *protocol.Connected:
		return p, rest, nil
	case *protocol.Disconnect:
		return nil, nil, disconnected(p)
	case *protocol.ErrorPacket:
		return nil, nil, refusal(p.Err())
	}
	return nil, nil, fmt.Errorf("connect: the server's first packet is %s, wanted Connected", raw.Type)
}

// read reads one WebSocket message, which is valid until the next read. A close code of the protocol is a refusal.
func (cn *connection) read(ctx context.Context) ([]byte, error) {
	kind, r, err := cn.ws.Reader(ctx)
	if err != nil {
		if code := Code(websocket.CloseStatus(err)); code >= 4000 && code < 5000 {
			ce, _ := errors.AsType[websocket.CloseError](err)
			return nil, refusal(&Error{Code: code, Detail: ce.Reason})
		}
		return nil, err
	}
	if kind != websocket.MessageBinary {
		return nil, errors.New("found a text message, wanted a binary one")
	}
	b := cn.in[:0]
	if cap(b) > keepBuffer {
		b = nil
	}
	for {
		b = slices.Grow(b, 512)
		n, err := r.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		cn.alive()
		if errors.Is(err, io.EOF) {
			cn.in = b
			return b, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// alive notes that something has come from the broker.
func (cn *connection) alive() {
	if cn.watch != nil && cn.silence > 0 {
		cn.watch.Reset(cn.silence)
	}
}

// write writes what fill gives it, as long as it gives something, whenever the connection is woken. An error ends the connection.
func (cn *connection) write(fill func([]byte) []byte) error {
	var b []byte
	for {
		select {
		case <-cn.wake:
		case <-cn.over:
			return nil
		}
		for {
			if b = fill(b[:0]); len(b) == 0 {
				break
			}
			if err := cn.ws.Write(context.Background(), websocket.MessageBinary, b); err != nil {
				return err
			}
		}
	}
}

// abort closes the connection at once. TLS would first try to say so to a peer that may not take anything any more.
func (cn *connection) abort() {
	if t, ok := cn.raw.(interface{ NetConn() net.Conn }); ok {
		t.NetConn().Close()
	}
	cn.ws.CloseNow()
}

// shut closes the connection in good order, within closeGrace.
func (cn *connection) shut() {
	if cn.raw == nil || cn.raw.SetDeadline(time.Now().Add(closeGrace)) != nil {
		cn.ws.CloseNow()
		return
	}
	_ = cn.ws.Close(websocket.StatusNormalClosure, "") // the other end may be quicker
}
