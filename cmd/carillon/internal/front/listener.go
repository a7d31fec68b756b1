// Package front is what a connection meets before HTTP does: TLS, with certificates that are renewed while it runs, and an answer for
// who speaks TLS to a plain port or plain HTTP to one with TLS.
//
// An accepted connection goes TLS or Plain (its first bytes are looked at) -> net/http, which shakes hands within its
// ReadHeaderTimeout -> Unwrapped -> the doors. The package starts no goroutine; Certificate.Watch is its caller's to run.
package front

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/carillon-mq/carillon/protocol"
)

// Refused is told of a client that speaks the wrong one of TLS and plain HTTP.
type Refused func(remote string, err *protocol.Error)

// TLS is l with connections that speak TLS by config. A client that sends a plain HTTP request is answered in kind.
func TLS(l net.Listener, config *tls.Config, refused Refused) net.Listener {
	return &listener{Listener: l, config: config, refused: refused}
}

// Plain is l, on which a client that begins with TLS is told to refused.
func Plain(l net.Listener, refused Refused) net.Listener {
	return &listener{Listener: l, refused: refused}
}

type listener struct {
	net.Listener
	config  *tls.Config // nil: plain
	refused Refused
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: nc, of: l}
	if l.config == nil {
		return c, nil
	}
	return tls.Server(c, l.config), nil
}

// conn looks at the first bytes that come.
type conn struct {
	net.Conn
	of     *listener
	looked bool
}

// NetConn is the connection beneath, as (*tls.Conn).NetConn is.
func (c *conn) NetConn() net.Conn { return c.Conn }

// Read implements net.Conn.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.looked || n == 0 {
		return n, err
	}
	c.looked = true
	switch isTLS := p[0] == recordHandshake; {
	case c.of.config == nil && isTLS:
		// net/http answers in plain text, which every TLS library tells apart from TLS.
		c.of.refused(c.remote(), protocol.Errorf(protocol.CodeBadScheme, "found TLS on a port that speaks plain HTTP").
			WithHint("connect with ws:// or http://, or give the broker a certificate (tls in its configuration)"))
	case c.of.config != nil && !isTLS && p[0] >= 'A' && p[0] <= 'Z':
		return 0, c.answer(protocol.Errorf(protocol.CodeBadScheme, "found a plain HTTP request on a port that speaks TLS").
			WithHint("write the same address with https:// or wss://; a proxy in front has to speak TLS to this port too"))
	}
	return n, err
}

// recordHandshake is the first byte of a TLS client (RFC 8446 section 5.1). No method of HTTP begins with it.
const recordHandshake = 0x16

func (c *conn) remote() string {
	host, _, err := net.SplitHostPort(c.RemoteAddr().String())
	if err != nil {
		return c.RemoteAddr().String()
	}
	return host
}

var errPlain = errors.New("a plain HTTP request")

// answer writes the refusal as plain HTTP. What the client goes on sending is read for a moment: closing a socket with unread bytes
// would throw the answer away.
func (c *conn) answer(e *protocol.Error) error {
	c.of.refused(c.remote(), e)
	p := e.Packet(0)
	status := e.Code.HTTPStatus()
	body, err := json.Marshal(struct {
		Type   string `json:"type"`
		Title  string `json:"title"`
		Status int    `json:"status"`
		Code   string `json:"code"`
		Detail string `json:"detail"`
		Hint   string `json:"hint"`
	}{"about:blank", http.StatusText(status), status, p.Name, p.Detail, p.Hint})
	if err != nil {
		return err
	}
	c.SetDeadline(time.Now().Add(time.Second))
	_, err = fmt.Fprintf(c.Conn, "HTTP/1.1 %d %s\r\nContent-Type: application/problem+json\r\nCache-Control: no-store\r\n"+
		"Connection: close\r\nContent-Length: %d\r\n\r\n%s\n", status, http.StatusText(status), len(body)+1, body)
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok && err == nil {
		_ = half.CloseWrite()                                      // the client has gone: nobody is left to tell
		_, _ = io.Copy(io.Discard, io.LimitReader(c.Conn, 64<<10)) // until it closes, or the deadline
	}
	return errPlain
}

// Unwrapped is h with requests whose connection, when it is taken over, is the one that Plain wrapped.
func Unwrapped(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(writer{w}, r) })
}
