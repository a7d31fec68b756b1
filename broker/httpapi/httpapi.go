// Package httpapi is the broker's public HTTP door: publishing and reading retained values and histories by plain requests, and receiving by SSE and
// long-poll, beside the WebSocket on the same port.
//
// A request goes Handler.ServeHTTP -> guard (Host, Origin, token in the URL) -> route -> a handleX -> authenticate -> readBody ->
// Broker. Every refusal, whatever its reason, is an RFC 9457 problem document written by Handler.refuse. Who receives gets a session:
// handleSubscribe -> serveStream, which takes the connection out of net/http, or servePoll. The package opens no listener: newly
// accepted connections, header time-outs and TLS are its caller's; the time a body may take is its own.
package httpapi

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/internal/outlet"
	"github.com/carillon-mq/carillon/broker/internal/webrules"
	"github.com/carillon-mq/carillon/protocol"
)

// Broker is what the door needs of the core. *broker.Broker is one.
type Broker interface {
	Authenticate(ctx context.Context, c broker.Credentials) (*broker.Identity, error)
	Revoked(id *broker.Identity) error
	MayPublish(id *broker.Identity, topics []string, exclude bool) (denied string, err error)
	Publish(ctx context.Context, id *broker.Identity, r broker.PublishRequest) (protocol.Published, error)
	Retained(id *broker.Identity, topic string) (protocol.Message, error)
	History(ctx context.Context, id *broker.Identity, q broker.HistoryRequest) (broker.HistoryResult, error)
	Presence(id *broker.Identity, topic string) (broker.Presence, error)
	Position() protocol.Position
	CheckFollow(id *broker.Identity, r *broker.FollowRequest) error
	Open(conn broker.Conn, info broker.ConnInfo) (*broker.Session, error)
	Form(p *broker.Packet, kind broker.FormKind, encode func(*protocol.Message, protocol.Position) []byte) []byte
	Refused(r broker.Refusal)
}

var _ Broker = (*broker.Broker)(nil)

// Options are the door's settings. The zero value serves loopback names and no foreign origin.
type Options struct {
	Origins           []string // web origins that may use the door, beside the broker's own
	Hosts             []string // names the broker is reached by, beside loopback
	Listen            []string // HOST:PORT of the listeners
	AnyLoopbackOrigin bool     // pages of any port of this machine may use the door
	Cookie            string   // name of the cookie that may hold a token; "": none
	AuthHeaders       []string // names of headers that the authenticator gets beside the token
	TrustedProxies    []string // addresses and ranges whose word about a client's address is taken
	TrustedHeader     string   // where they say it: auto (""), x-forwarded-for or forwarded
	Logger            *slog.Logger

	Payload        int           // bytes of one message's payload: 64 KiB
	BodyTimeout    time.Duration // for a whole request body: 8 s
	PublishTimeout time.Duration // for the acknowledgement of a publish: 15 s
	AuthCache      time.Duration // how long an answer of the authenticator holds for the very same credentials: 5 s
	AuthCacheSize  int           // answers: 10,000

	PublishBurst int // publishes at once of a user whose token states a rate: 100

	StreamPing  time.Duration // how often a stream of events is told its position: 15 s, or what the broker pings in if that is less
	SendBuffer  int           // SO_SNDBUF of a stream, bytes: 128 KiB
	PeerTimeout time.Duration // a stream's client that acknowledges nothing for so long is gone (Linux): 2 min
	Stalled     time.Duration // longest time in which a long-poll's client takes nothing of its answer: 90 s
	CloseTime   time.Duration // longest time the end of a stream may take: 2 s
}

func (o Options) withDefaults() Options {
	setDefault(&o.Logger, slog.New(slog.DiscardHandler))
	setDefault(&o.Payload, 64<<10)
	setDefault(&o.BodyTimeout, 8*time.Second)
	setDefault(&o.PublishTimeout, 15*time.Second)
	setDefault(&o.PublishBurst, 100)
	setDefault(&o.AuthCache, 5*time.Second)
	setDefault(&o.AuthCacheSize, 10_000)
	setDefault(&o.StreamPing, 15*time.Second)
	setDefault(&o.SendBuffer, 128<<10)
	setDefault(&o.PeerTimeout, 2*time.Minute)
	setDefault(&o.Stalled, 90*time.Second)
	setDefault(&o.CloseTime, 2*time.Second)
	return o
}

// ratedUsers bounds how many users' rates are remembered, about 300 bytes each.
const ratedUsers = 100_000

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Handler serves everything on the public port. It is safe for concurrent use.
type Handler struct {
	b     Broker
	opt   Options
	rules *webrules.Rules
	auth  *authCache
	rates *rates
	ws    http.Handler            // nil: none
	pages map[string]http.Handler // by path

	streams outlet.Group
	advised atomic.Bool // of a proxy that is not configured
}

// New makes the door to b.
func New(b Broker, o Options) (*Handler, error) {
	o = o.withDefaults()
	proxies, err := webrules.NewProxies(o.TrustedProxies, o.TrustedHeader)
	if err != nil {
		return nil, err
	}
	rules, err := webrules.New(webrules.Options{
		Origins: o.Origins, Hosts: o.Hosts, Listen: o.Listen, AnyLoopbackOrigin: o.AnyLoopbackOrigin,
		Cookie: o.Cookie, Headers: o.AuthHeaders, Proxies: proxies,
	})
	if err != nil {
		return nil, err
	}
	return &Handler{b: b, opt: o, rules: rules, auth: newAuthCache(b, o.AuthCache, o.AuthCacheSize), rates: newRates(o.PublishBurst, o.Payload, ratedUsers)}, nil
}

// Rules are the door's rules for hosts, origins, cookies and proxies, for the other doors on the port.
func (h *Handler) Rules() *webrules.Rules { return h.rules }

// HandleWebSocket has /ws served by ws. It must be called before the first request.
func (h *Handler) HandleWebSocket(ws http.Handler) { h.ws = ws }

// HandlePages has GET and HEAD of each path, which must be neither /ws nor below /v1/, served by its handler, after the checks of Host,
// Origin and URL. The headers of every answer are set already; a page replaces the Content-Security-Policy. It must be called before
// the first request.
func (h *Handler) HandlePages(pages map[string]http.Handler) { h.pages = pages }

// Wait returns when every stream of events has ended. (Long-polls are net/http's.)
func (h *Handler) Wait() { h.streams.Wait() }

// request is one request on its way, with what is known of it so far.
type request struct {
	*http.Request
	w      http.ResponseWriter
	remote string // address of the client, without port, after trusted proxies
	user   string // "" until authenticated, and for an anonymous client
	topic  string // "" when not known
}

// adviseOnProxy logs, once, what to do about a proxy in front that is not configured: its clients would all count as one, or as
// none if it is on this machine.
func (h *Handler) adviseOnProxy(r *request) {
	if h.advised.Load() {
		return
	}
	if advice := h.rules.ProxyAdvice(r.Request); advice != "" && h.advised.CompareAndSwap(false, true) {
		h.opt.Logger.Warn("a request came through a proxy that is not configured", "remote", r.remote, "hint", advice)
	}
}

// answerTime is what a client has to take an answer.
const answerTime = 15 * time.Second

// ServeHTTP answers every path of the port.
func (h *Handler) ServeHTTP(w http.ResponseWriter, hr *http.Request) {
	r := &request{Request: hr, w: w, remote: h.rules.Remote(hr)}
	h.adviseOnProxy(r)
	path := hr.URL.EscapedPath() // not cleaned and not decoded: //v1 and %2e%2e are no way to anything
	if path == "/ws" && h.ws != nil {
		h.serveWebSocket(r)
		return
	}
	// What is left over from an earlier request on this connection ends here too: the deadline is set anew for each.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(h.opt.BodyTimeout + h.opt.PublishTimeout + answerTime))
	header := w.Header()
	if len(hr.TransferEncoding) > 0 {
		header.Set("Connection", "close") // net/http takes a Content-Length beside it in silence; RFC 9112 section 6.1 wants an end then
	}
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Content-Security-Policy", "default-src 'none'; sandbox") // a retained value may be HTML; it is never a page of ours
	header.Set("Referrer-Policy", "no-referrer")
	if err := h.guard(r); err != nil {
		h.refuse(r, err)
		return
	}
	h.allowOrigin(r)
	h.route(r, path)
}

// serveWebSocket hands the upgrade on. The Origin is the WebSocket handler's to check: it answers in its own words.
func (h *Handler) serveWebSocket(r *request) {
	err := h.rules.CheckHost(r.Request)
	if err == nil {
		err = webrules.HeaderSize(r.Request)
	}
	if err == nil {
		err = webrules.TokenInURL(r.Request)
	}
	if err != nil {
		h.refuse(r, err)
		return
	}
	h.ws.ServeHTTP(r.w, r.Request)
}

func (h *Handler) guard(r *request) *protocol.Error {
	if err := h.rules.CheckHost(r.Request); err != nil {
		return err
	}
	if err := h.rules.CheckOrigin(r.Request); err != nil {
		return err
	}
	if err := webrules.HeaderSize(r.Request); err != nil {
		return err
	}
	return webrules.TokenInURL(r.Request)
}

// allowOrigin lets the page that was let in read the answer, and send its cookies if it is listed by name.
func (h *Handler) allowOrigin(r *request) {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return
	}
	header := r.w.Header()
	header.Add("Vary", "Origin")
	header.Set("Access-Control-Allow-Origin", origin)
	if h.rules.Credentials(r.Request) {
		header.Set("Access-Control-Allow-Credentials", "true")
	}
	header.Set("Access-Control-Expose-Headers", "ETag, Retry-After, WWW-Authenticate")
}

const topicsPrefix = "/v1/topics/"

// route finds what path, still escaped, names.
func (h *Handler) route(r *request, path string) {
	switch {
	case path == "/v1/publish":
		h.methods(r, method{http.MethodPost, h.handlePublish})
	case path == "/v1/subscribe":
		h.methods(r, method{http.MethodGet, h.handleSubscribe}, method{http.MethodHead, h.handleSubscribe})
	case path == "/v1/presence":
		h.methods(r, method{http.MethodGet, h.getPresence}, method{http.MethodHead, h.getPresence})
	case strings.HasPrefix(path, topicsPrefix):
		h.handleTopic(r, path[len(topicsPrefix):])
	case h.pages[path] != nil:
		serve := func(r *request) { h.pages[path].ServeHTTP(r.w, r.Request) }
		h.methods(r, method{http.MethodGet, serve}, method{http.MethodHead, serve})
	default:
		h.refuse(r, notFound())
	}
}

func notFound() *protocol.Error {
	return protocol.Errorf(protocol.CodeNotFound, "nothing is served under this path").
		WithHint("GET /v1/subscribe, POST, GET and DELETE /v1/topics/{topic}, GET /v1/topics/{topic}/history, POST /v1/publish, GET /v1/presence and the WebSocket under /ws are")
}

type method struct {
	name  string
	serve func(*request)
}

// methods calls what serves the request's method, and answers OPTIONS and what is not served.
func (h *Handler) methods(r *request, served ...method) {
	var allow []string
	for _, m := range served {
		if m.name == r.Method {
			m.serve(r)
			return
		}
		allow = append(allow, m.name)
	}
	allow = append(allow, http.MethodOptions)
	r.w.Header().Set("Allow", strings.Join(allow, ", "))
	if r.Method != http.MethodOptions {
		h.refuse(r, protocol.Errorf(protocol.CodeMethodNotAllowed, "found method %q, wanted %s", clip(r.Method), strings.Join(allow, " or ")))
		return
	}
	if r.Header.Get("Origin") != "" {
		r.w.Header().Set("Access-Control-Allow-Methods", strings.Join(allow, ", "))
		r.w.Header().Set("Access-Control-Allow-Headers", "Authorization, Content-Type, Idempotency-Key, If-None-Match, Last-Event-ID")
		r.w.Header().Set("Access-Control-Max-Age", "600")
	}
	r.w.WriteHeader(http.StatusNoContent)
}

// clip bounds what of a client's text is repeated.
func clip(s string) string {
	if len(s) > 100 {
		return s[:100] + "…"
	}
	return s
}
