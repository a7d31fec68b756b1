package httpapi

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/internal/webrules"
	"github.com/carillon-mq/carillon/protocol"
)

// core is a real broker whose answers can be replaced.
type core struct {
	*broker.Broker
	authenticate func(broker.Credentials) (*broker.Identity, error)
	publish      func(broker.PublishRequest) (protocol.Published, error)
	history      func(broker.HistoryRequest) (broker.HistoryResult, error)
	opened       func(*broker.Session)
	present      broker.Presence // if it has a count

	mu        sync.Mutex
	published []broker.PublishRequest
	asked     int
}

func (c *core) Authenticate(ctx context.Context, creds broker.Credentials) (*broker.Identity, error) {
	c.mu.Lock()
	c.asked++
	c.mu.Unlock()
	if c.authenticate != nil {
		return c.authenticate(creds)
	}
	return c.Broker.Authenticate(ctx, creds)
}

func (c *core) History(ctx context.Context, id *broker.Identity, q broker.HistoryRequest) (broker.HistoryResult, error) {
	if c.history != nil {
		return c.history(q)
	}
	return c.Broker.History(ctx, id, q)
}

func (c *core) Presence(id *broker.Identity, topic string) (broker.Presence, error) {
	if c.present.Count > 0 {
		return c.present, nil
	}
	return c.Broker.Presence(id, topic)
}

func (c *core) Open(conn broker.Conn, info broker.ConnInfo) (*broker.Session, error) {
	s, err := c.Broker.Open(conn, info)
	if err == nil && c.opened != nil {
		c.opened(s)
	}
	return s, err
}

func (c *core) Publish(ctx context.Context, id *broker.Identity, r broker.PublishRequest) (protocol.Published, error) {
	c.mu.Lock()
	c.published = append(c.published, r)
	c.mu.Unlock()
	if c.publish != nil {
		return c.publish(r)
	}
	return c.Broker.Publish(ctx, id, r)
}

// door is an HTTP server with the door to a running broker.
type door struct {
	*core
	h   *Handler
	url string
	log *log
	t   *testing.T
}

func newDoor(t *testing.T, o Options) *door {
	t.Helper()
	return newDoorWith(t, o, broker.Options{})
}

func newDoorWith(t *testing.T, o Options, opt broker.Options) *door {
	t.Helper()
	d := &door{log: &log{}, t: t}
	opt.Logger = slog.New(slog.NewTextHandler(d.log, nil))
	b, err := broker.New(opt)
	if err != nil {
		t.Fatal(err)
	}
	b.Start()
	t.Cleanup(func() { b.Close() })
	d.core = &core{Broker: b}
	d.h, err = New(d.core, o)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(d.h)
	t.Cleanup(func() {
		b.Close() // and with it the streams and polls, which the server would wait for
		s.Close()
		d.h.Wait()
	})
	d.url = s.URL
	return d
}

type log struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

type reply struct {
	status int
	header http.Header
	body   string
}

// do sends a request. Each of headers is "Name: value"; "Host: x" sets the host.
func (d *door) do(method, path, body string, headers ...string) reply {
	d.t.Helper()
	req, err := http.NewRequestWithContext(d.t.Context(), method, d.url+path, strings.NewReader(body))
	if err != nil {
		d.t.Fatal(err)
	}
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		if name == "Host" {
			req.Host = value
			continue
		}
		req.Header.Add(name, value)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		d.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	return reply{resp.StatusCode, resp.Header, string(text)}
}

// code is the code of the problem document in r, which has to be one.
func (r reply) code(t *testing.T) string {
	t.Helper()
	var p webrules.Problem
	if err := json.Unmarshal([]byte(r.body), &p); err != nil {
		t.Fatalf("status %d is not a problem document: %q", r.status, r.body)
	}
	if ct := r.header.Get("Content-Type"); ct != "application/problem+json" || p.Status != r.status || p.Hint == "" || p.Detail == "" {
		t.Errorf("incomplete problem document of type %q: %s", ct, r.body)
	}
	return p.Code
}

const (
	form    = "Content-Type: application/x-www-form-urlencoded"
	asJSON  = "Content-Type: application/json"
	jwtLike = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI0MiJ9.c2ln"
)
