package ws

import (
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/internal/outlet"
	"github.com/carillon-mq/carillon/broker/internal/webrules"
	"github.com/carillon-mq/carillon/protocol"
)

// subprotocols are those that are spoken, the one that is chosen first if a client offers both: packets in msgpack, several in one binary
// message, or in JSON, several in one text.
var subprotocols = []string{protocol.Subprotocol, protocol.SubprotocolJSON}

// wsVersion is the version of the WebSocket protocol (RFC 6455 section 4.4).
const wsVersion = "13"

// Options are the door's settings. The zero value works.
type Options struct {
	// Rules decide which Origin may connect; nil allows every one. (The Host is checked for the whole port by the handler above.)
	Rules  *webrules.Rules
	Logger *slog.Logger

	PacketBytes int           // longest message from a client: 72 KiB
	MessageTime time.Duration // longest time from the first to the last byte of one: 30 s
	CloseTime   time.Duration // longest time a close may take: 2 s
	SendBuffer  int           // SO_SNDBUF, bytes: 128 KiB
	ControlRate int           // pings and pongs from a client per second: 10
	RemoteOf    func(*http.Request) string
}

// Handler accepts WebSocket connections for a broker.
type Handler struct {
	b      *broker.Broker
	opt    Options
	conns  outlet.Group
	poller outlet.Poller
}

// New returns the door of b.
func New(b *broker.Broker, opt Options) *Handler {
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	if opt.RemoteOf == nil {
		opt.RemoteOf = opt.Rules.Remote
	}
	or(&opt.PacketBytes, 72<<10)
	or(&opt.MessageTime, 30*time.Second)
	or(&opt.CloseTime, 2*time.Second)
	or(&opt.SendBuffer, 128<<10)
	or(&opt.ControlRate, 10)
	return &Handler{b: b, opt: opt}
}

func or[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Wait returns when every connection has ended.
func (h *Handler) Wait() {
	h.conns.Wait()
	h.poller.Stop()
}

// ServeHTTP upgrades the request, or says why it does not.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	remote := h.opt.RemoteOf(r)
	if err := h.check(r); err != nil {
		h.refuse(w, r, remote, err)
		return
	}
	info := broker.ConnInfo{Transport: "ws", Remote: remote}
	token, refusal := h.opt.Rules.Token(r)
	if refusal != nil {
		h.refuse(w, r, remote, refusal)
		return
	}
	if info.Header, refusal = h.opt.Rules.Headers(r); refusal != nil {
		h.refuse(w, r, remote, refusal)
		return
	}
	if token != "" {
		id, err := h.b.Authenticate(r.Context(), broker.Credentials{Token: token, Transport: "ws", Remote: remote, Header: info.Header})
		if err != nil {
			h.refuse(w, r, remote, err)
			return
		}
		info.Identity = id
	}
	if err := h.b.Accepting(); err != nil {
		h.refuse(w, r, remote, err)
		return
	}
	if err := h.upgrade(w, r, info); err != nil {
		h.opt.Logger.Debug("upgrade", "remote", remote, "err", err)
	}
}

func (h *Handler) upgrade(w http.ResponseWriter, r *http.Request, info broker.ConnInfo) error {
	conn, err := h.hijack(w, r)
	if err != nil {
		return err
	}
	session, err := h.b.Open(conn, info)
	if err != nil {
		refusal := asRefusal(err)
		h.b.Refused(broker.Refusal{Code: refusal.Code, Detail: refusal.Detail, Hint: refusal.Packet(0).Hint, Transport: "ws", Remote: info.Remote})
		conn.Close(refusal.Disconnect())
		h.conns.Go(conn.discard)
		return err
	}
	conn.session = session
	conn.start()
	return nil
}

// check refuses what is no upgrade to our protocol, in words.
func (h *Handler) check(r *http.Request) error {
	if err := webrules.TokenInURL(r); err != nil {
		return err
	}
	if h.opt.Rules != nil {
		if err := h.opt.Rules.CheckOrigin(r); err != nil {
			return err
		}
	}
	if r.Method != http.MethodGet {
		return protocol.Errorf(protocol.CodeMethodNotAllowed, "found %.20q, wanted GET with an upgrade to WebSocket", r.Method)
	}
	if !r.ProtoAtLeast(1, 1) || r.ProtoMajor > 1 || !headerHas(r, "Connection", "upgrade") || !headerHas(r, "Upgrade", "websocket") {
		return protocol.Errorf(protocol.CodeUpgradeRequired, "found a plain HTTP request, wanted an upgrade to WebSocket").
			WithHint("connect with a WebSocket client; a proxy in between has to pass the Upgrade and Connection headers on")
	}
	if !headerHas(r, "Sec-WebSocket-Version", wsVersion) {
		return protocol.Errorf(protocol.CodeUpgradeRequired, "found Sec-WebSocket-Version %.20q, wanted %q", r.Header.Get("Sec-WebSocket-Version"), wsVersion).
			WithHint("connect with a WebSocket client that speaks RFC 6455")
	}
	if !slices.ContainsFunc(subprotocols, func(p string) bool { return headerHas(r, "Sec-WebSocket-Protocol", p) }) {
		return wrongSubprotocol(r)
	}
	return checkKey(r)
}

// wrongSubprotocol refuses what r offers. What is longer than the name of a subprotocol of ours is not repeated, in the answer or in the log:
// browsers can send no other header, so some clients put a token there.
func wrongSubprotocol(r *http.Request) *protocol.Error {
	hint := `offer one of them: new WebSocket(url, "carillon.v1"), or Sec-WebSocket-Protocol: carillon.v1.json`
	offered := strings.Split(strings.Join(r.Header.Values("Sec-WebSocket-Protocol"), ","), ",")
	long := false
	for i, name := range offered {
		if offered[i] = strings.TrimSpace(name); len(offered[i]) > len(protocol.SubprotocolJSON) {
			offered[i], long = "…", true
		}
	}
	if long {
		hint += "; a token is sent in Connect, never as a subprotocol"
	}
	return protocol.Errorf(protocol.CodeBadSubprotocol, "found subprotocol %.100q, wanted %q or, for JSON, %q", strings.Join(offered, ", "), subprotocols[0], subprotocols[1]).
		WithHint(hint)
}

func headerHas(r *http.Request, name, token string) bool {
	for _, v := range r.Header.Values(name) {
		for part := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(strings.TrimSpace(part), token) {
				return true
			}
		}
	}
	return false
}

func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, remote string, err error) {
	refusal := asRefusal(err)
	h.b.Refused(broker.Refusal{Code: refusal.Code, Detail: refusal.Detail, Hint: refusal.Packet(0).Hint, Transport: "ws", Remote: remote})
	switch refusal.Code {
	case protocol.CodeUpgradeRequired:
		w.Header().Set("Upgrade", "websocket")
		w.Header().Set("Connection", "Upgrade")
		w.Header().Set("Sec-WebSocket-Version", wsVersion)
	case protocol.CodeMethodNotAllowed:
		w.Header().Set("Allow", http.MethodGet)
	default:
	}
	webrules.WriteProblem(w, r, refusal)
}

func asRefusal(err error) *protocol.Error {
	if e, ok := errors.AsType[*protocol.Error](err); ok {
		return e
	}
	return protocol.Errorf(protocol.CodeInternal, "the broker failed")
}
