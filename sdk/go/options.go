package carillon

import (
	"context"
	"crypto/rand"
	"log/slog"
	mathrand "math/rand/v2"
	"net/http"
	"time"
)

// Option is an option of Dial.
type Option func(*options)

type options struct {
	token        func(context.Context, TokenRequest) (string, error)
	staticToken  bool
	header       http.Header
	httpClient   *http.Client
	logger       *slog.Logger
	base, cap    time.Duration
	pendingLimit int
	bufferCount  int
	bufferBytes  int
	maxSilence   time.Duration
	dialTimeout  time.Duration
	retryDial    bool
	status       func(Status)
	name         string
	origin       string
	plain        bool // payloads are not to be compressed
	rand         func() float64
}

func defaultOptions() options {
	return options{
		httpClient:   http.DefaultClient,
		logger:       slog.New(slog.DiscardHandler),
		base:         500 * time.Millisecond,
		cap:          20 * time.Second,
		pendingLimit: 1024,
		bufferCount:  4096,
		bufferBytes:  4 << 20,
		dialTimeout:  10 * time.Second,
		name:         "carillon-go",
		origin:       rand.Text(),
		rand:         mathrand.Float64,
	}
}

// WithToken authenticates with a fixed token. When the broker ends the session because it has expired, the client shows it once more, and stops
// when it is refused.
func WithToken(token string) Option {
	return func(o *options) {
		o.token = func(context.Context, TokenRequest) (string, error) { return token, nil }
		o.staticToken = true
	}
}

// TokenRequest says why a token is wanted.
type TokenRequest struct {
	// Reason is "connect" for the first one, "expiring" while the session still has the last one, "expired" when the time of that is up, else
	// the broker's code by name.
	Reason string
}

// WithTokenFunc authenticates with the tokens that source returns. It is called before the first connection and whenever a
// new token is needed, not on every reconnect. An error is as good as a failed connection: the client tries again later. A session whose
// token expires gets a fresh one in time and goes on. ctx ends with the client, or with the session that source is called for. source is
// called by one goroutine at a time and holds up the reconnect.
func WithTokenFunc(source func(ctx context.Context, r TokenRequest) (string, error)) Option {
	return func(o *options) { o.token, o.staticToken = source, false }
}

// WithHTTPHeader sends headers with the upgrade request. Where they say who the client is, a cookie for instance, they do so again when the
// broker ends the session because its time is over (what the application has answered may be good for a while only), and the client stops when
// they are refused.
func WithHTTPHeader(h http.Header) Option {
	return func(o *options) { o.header = h.Clone() }
}

// WithHTTPClient makes the connection with h: for TLS settings, proxies, or another way to dial. Its Timeout bounds the upgrade.
func WithHTTPClient(h *http.Client) Option {
	return func(o *options) { o.httpClient = h }
}

// WithLogger logs connections made and lost to l. Without it nothing is logged.
func WithLogger(l *slog.Logger) Option {
	return func(o *options) { o.logger = l }
}

// WithBackoff sets the delays between attempts to reconnect: the n-th is random in [0, min(most, base*2^n)). Default 500 ms, 20 s.
func WithBackoff(base, most time.Duration) Option {
	return func(o *options) { o.base, o.cap = base, most }
}

// WithPendingLimit bounds how many publishes are accepted and not acknowledged yet. Default 1,024.
func WithPendingLimit(n int) Option {
	return func(o *options) { o.pendingLimit = max(n, 1) }
}

// WithBuffer bounds what each subscription holds for the application: so many messages, so many bytes. Default 4,096 and 4 MiB.
func WithBuffer(messages, bytes int) Option {
	return func(o *options) { o.bufferCount, o.bufferBytes = max(messages, 1), max(bytes, 1) }
}

// WithMaxSilence sets how long nothing may come from the broker before the connection counts as dead. Default: the broker's ping
// interval and 10 s.
func WithMaxSilence(d time.Duration) Option {
	return func(o *options) { o.maxSilence = d }
}

// WithDialTimeout bounds one attempt to connect, up to the broker's Connected. Default 10 s.
func WithDialTimeout(d time.Duration) Option {
	return func(o *options) { o.dialTimeout = d }
}

// WithDialRetry lets Dial try again, like a reconnect, until its context ends. Without it a failed first attempt is Dial's error.
func WithDialRetry() Option {
	return func(o *options) { o.retryDial = true }
}

// WithClientName tells the broker what kind of client this is; it is shown to its operators.
func WithClientName(name string) Option {
	return func(o *options) { o.name = name }
}

// WithOrigin names the client over all its connections, 1 to 64 bytes of UTF-8, in place of a random text of 128 bits: for several clients
// that count as one for ExcludeSelf and Exclude ([CON-11]). Whoever knows it, and may exclude, can keep messages from the client.
func WithOrigin(origin string) Option {
	return func(o *options) { o.origin = origin }
}

// WithoutCompression asks the broker not to compress payloads. Without it the client takes them compressed where the broker does that: less
// to transfer, for some work and about 40 KB while one is read.
func WithoutCompression() Option {
	return func(o *options) { o.plain = true }
}

// WithStatus calls f with every change of the status, in order, by one goroutine. f must not wait for Close.
func WithStatus(f func(Status)) Option {
	return func(o *options) { o.status = f }
}
