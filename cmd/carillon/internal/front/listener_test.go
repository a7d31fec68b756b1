package front

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/carillon-mq/carillon/internal/testcert"
	"github.com/carillon-mq/carillon/protocol"
)

// port is a server behind this package, as cmd/carillon has it.
type port struct {
	addr      string
	authority *testcert.Authority
	files     Files
	cert      *Certificate // nil: plain
	refused   chan string
}

func serve(t *testing.T, secure bool, h http.Handler) *port {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &port{addr: l.Addr().String(), refused: make(chan string, 16)}
	refused := func(remote string, e *protocol.Error) { p.refused <- remote + " " + e.Error() }
	if !secure {
		l = Plain(l, refused)
	} else {
		p.authority = testcert.New(t)
		p.files.Cert, p.files.Key = p.authority.Files(t, t.TempDir(), testcert.Request{})
		if p.cert, err = Open(p.files, nil, slog.New(slog.DiscardHandler)); err != nil {
			t.Fatal(err)
		}
		l = TLS(l, p.cert.Config(tls.VersionTLS12), refused)
	}
	s := &http.Server{Handler: Unwrapped(h), ReadHeaderTimeout: 5 * time.Second, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		s.Close()
		serving.Wait()
	})
	return p
}

func (p *port) dial(t *testing.T, config *tls.Config) *tls.Conn {
	t.Helper()
	pool, err := Trusted(p.authority.File)
	if err != nil {
		t.Fatal(err)
	}
	config.RootCAs = pool
	c, err := (&tls.Dialer{Config: config}).DialContext(t.Context(), "tcp", p.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.(*tls.Conn)
}

// ask sends a request on a connection that is kept, and returns the answer's body.
func ask(t *testing.T, c net.Conn, br *bufio.Reader) string {
	t.Helper()
	if _, err := fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(br, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

var hello = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "hello over "+r.Proto) })

func TestOnlyHTTP1IsSpokenOverTLS(t *testing.T) {
	p := serve(t, true, hello)
	for name, offered := range map[string][]string{"a browser": {"h2", "http/1.1"}, "a WebSocket client": {"http/1.1"}, "a client without ALPN": nil} {
		c := p.dial(t, &tls.Config{NextProtos: offered})
		if got := c.ConnectionState().NegotiatedProtocol; got == "h2" || offered != nil && got != "http/1.1" {
			t.Errorf("%s: %q was agreed on", name, got)
		}
		if body := ask(t, c, bufio.NewReader(c)); body != "hello over HTTP/1.1" {
			t.Errorf("%s: %q", name, body)
		}
	}
}

func TestAnOldVersionOfTLSIsNotSpoken(t *testing.T) {
	p := serve(t, true, hello)
	_, err := tls.Dial("tcp", p.addr, &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11, InsecureSkipVerify: true})
	if err == nil || !strings.Contains(err.Error(), "protocol version") {
		t.Errorf("TLS 1.1: %v", err)
	}
}

func TestARenewalDropsNoConnection(t *testing.T) {
	p := serve(t, true, hello)
	before := p.dial(t, &tls.Config{})
	reader := bufio.NewReader(before)
	ask(t, before, reader)
	cert, key := p.authority.Issue(t, testcert.Request{})
	write(t, p.files.Cert, cert)
	write(t, p.files.Key, key)
	p.cert.Look()
	after := p.dial(t, &tls.Config{})
	if was, is := before.ConnectionState().PeerCertificates[0], after.ConnectionState().PeerCertificates[0]; was.Equal(is) {
		t.Error("a new connection still gets the old certificate")
	}
	if body := ask(t, before, reader); body != "hello over HTTP/1.1" {
		t.Errorf("on the old connection: %q", body)
	}
}

func TestPlainHTTPOnAPortWithTLSIsAnsweredInPlainHTTP(t *testing.T) {
	p := serve(t, true, hello)
	for name, req := range map[string]string{
		"GET":               "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
		"POST with a body":  "POST /v1/topics/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 30000\r\n\r\n" + strings.Repeat("x", 30000),
		"one byte at first": "G",
	} {
		t.Run(name, func(t *testing.T) {
			c, err := net.Dial("tcp", p.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if _, err := io.WriteString(c, req); err != nil {
				t.Fatal(err)
			}
			resp, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			if err != nil || resp.StatusCode != 400 || !strings.Contains(string(body), `"code":"bad_scheme"`) || !strings.Contains(string(body), "wss://") {
				t.Errorf("%v: status %d: %s", err, resp.StatusCode, body)
			}
			if told := <-p.refused; !strings.HasPrefix(told, "127.0.0.1 bad_scheme: found a plain HTTP request") {
				t.Errorf("told %q", told)
			}
		})
	}
}

func TestTLSOnAPlainPortIsTold(t *testing.T) {
	p := serve(t, false, hello)
	_, err := tls.Dial("tcp", p.addr, &tls.Config{InsecureSkipVerify: true})
	if err == nil || !strings.Contains(err.Error(), "does not look like a TLS handshake") {
		t.Errorf("the client got %v", err)
	}
	if told := <-p.refused; !strings.HasPrefix(told, "127.0.0.1 bad_scheme: found TLS") {
		t.Errorf("told %q", told)
	}
	c, err := net.Dial("tcp", p.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if body := ask(t, c, bufio.NewReader(c)); body != "hello over HTTP/1.1" {
		t.Errorf("plain HTTP: %q", body)
	}
}

func TestNoiseOnAPortWithTLSEndsTheConnection(t *testing.T) {
	p := serve(t, true, hello)
	c, err := net.Dial("tcp", p.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("\x00\x01\x02\x03\x04\x05\x06\x07")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(c); err != nil && !strings.Contains(err.Error(), "reset") {
		t.Error(err)
	}
}

func TestWhoTakesAConnectionOverGetsTheSocketItself(t *testing.T) {
	kinds := make(chan string, 1)
	h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		nc, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer nc.Close()
		kinds <- fmt.Sprintf("%T", nc)
		early, _ := rw.Peek(5)
		fmt.Fprintf(nc, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\n%s", early)
	})
	for _, secure := range []bool{false, true} {
		p := serve(t, secure, h)
		var c net.Conn
		want := "*net.TCPConn"
		if secure {
			c, want = p.dial(t, &tls.Config{}), "*tls.Conn"
		} else {
			var err error
			if c, err = net.Dial("tcp", p.addr); err != nil {
				t.Fatal(err)
			}
			defer c.Close()
		}
		fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\nearly")
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil || string(body) != "early" {
			t.Errorf("%s: what came behind the request: %q, %v", want, body, err)
		}
		if got := <-kinds; got != want {
			t.Errorf("the connection is a %s, want %s", got, want)
		}
	}
}

// pipes is a listener of connections in memory, whose time a test can make pass.
type pipes struct {
	conns chan net.Conn
	ended context.Context
}

func (p pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.ended.Done():
		return nil, net.ErrClosed
	}
}
func (pipes) Close() error   { return nil }
func (pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

func TestAHandshakeThatDoesNotComeEndsInFiveSeconds(t *testing.T) {
	authority := testcert.New(t)
	var f Files
	f.Cert, f.Key = authority.Files(t, t.TempDir(), testcert.Request{NotBefore: time.Unix(0, 0), NotAfter: time.Now().AddDate(1, 0, 0)})
	for name, sent := range map[string]string{"nothing": "", "the beginning of one": "\x16\x03\x01\x01\x00", "something else": "\x00"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				c, err := Open(f, nil, slog.New(slog.DiscardHandler))
				if err != nil {
					t.Fatal(err)
				}
				l := pipes{conns: make(chan net.Conn), ended: ctx}
				s := &http.Server{Handler: hello, ReadHeaderTimeout: 5 * time.Second, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
				go func() { _ = s.Serve(TLS(l, c.Config(tls.VersionTLS12), func(string, *protocol.Error) {})) }() // ends with ctx
				ours, theirs := net.Pipe()
				l.conns <- theirs
				begin := time.Now()
				go fmt.Fprint(ours, sent)
				if _, err := io.Copy(io.Discard, ours); err != nil {
					t.Error(err)
				}
				if took := time.Since(begin); took > 6*time.Second {
					t.Errorf("the connection was kept for %v", took)
				}
				cancel()
				s.Close()
			})
		})
	}
}
