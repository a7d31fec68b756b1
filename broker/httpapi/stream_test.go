package httpapi

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/protocol"
)

// rawStream opens a stream on a connection that the test holds itself.
func (d *door) rawStream(t *testing.T, query string) (net.Conn, *events) {
	t.Helper()
	nc, err := net.Dial("tcp", strings.TrimPrefix(d.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(20 * time.Second))
	return nc, streamOn(t, nc, query)
}

func streamOn(t *testing.T, nc net.Conn, query string) *events {
	t.Helper()
	fmt.Fprintf(nc, "GET /v1/subscribe?%s HTTP/1.1\r\nHost: localhost\r\n\r\n", query)
	br := bufio.NewReader(nc)
	resp, err := http.ReadResponse(br, nil)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("found %v, %v", resp, err)
	}
	return &events{t: t, resp: resp, br: bufio.NewReader(resp.Body)}
}

// Over TLS a stream is the same, although no write there can be made without perhaps waiting.
func TestAStreamOverTLS(t *testing.T) {
	d := newDoor(t, Options{})
	s := httptest.NewTLSServer(d.h)
	t.Cleanup(func() {
		d.Close()
		s.Close()
	})
	nc, err := tls.Dial("tcp", s.Listener.Addr().String(), s.Client().Transport.(*http.Transport).TLSClientConfig)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	d.putJSON(t, "a", "0", true)
	stream := streamOn(t, nc, "filter=a")
	stream.want(`message {"topic":"a","data":0,"retain":true,"retained":true}`, `retained {"filter":"a","reset":false}`, "live {} +")
	for i := range 2000 {
		d.putJSON(t, "a", fmt.Sprint(i), false)
	}
	for i := range 2000 {
		stream.want(fmt.Sprintf(`message {"topic":"a","data":%d} +`, i))
	}
	go func() { _ = d.Drain(t.Context()) }()
	stream.want("+")
	if e, ok := stream.next(); !ok || e.name != "end" {
		t.Errorf("found %v", e)
	}
	if _, ok := stream.next(); ok {
		t.Error("found something behind the end")
	}
}

// What cannot be taken over from the HTTP server is refused in words.
func TestAStreamOverHTTP2IsRefused(t *testing.T) {
	d := newDoor(t, Options{})
	s := httptest.NewUnstartedServer(d.h)
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	resp, err := s.Client().Get(s.URL + "/v1/subscribe?filter=a")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, _ := io.ReadAll(resp.Body); resp.ProtoMajor != 2 || resp.StatusCode != http.StatusNotImplemented || !strings.Contains(string(b), "HTTP/1.1") {
		t.Errorf("found %s %s %s", resp.Proto, resp.Status, b)
	}
}

// A client that leaves is seen at once, and so is one that goes on sending.
func TestAStreamEndsWithItsClient(t *testing.T) {
	for name, leave := range map[string]func(nc net.Conn){
		"it leaves":                  func(nc net.Conn) { nc.Close() },
		"it says no more":            func(nc net.Conn) { _ = nc.(*net.TCPConn).CloseWrite() },
		"it is cut":                  func(nc net.Conn) { nc.(*net.TCPConn).SetLinger(0); nc.Close() },
		"it goes on and on":          func(nc net.Conn) { _, _ = io.Copy(nc, strings.NewReader(strings.Repeat("GET / HTTP/1.1\r\n", 10_000))) },
		"it leaves while it is slow": func(nc net.Conn) { nc.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			d := newDoor(t, Options{SendBuffer: 8 << 10})
			nc, s := d.rawStream(t, "filter=a&retained=false")
			s.want("live {} +")
			if strings.Contains(name, "slow") {
				for range 10_000 {
					d.putJSON(t, "a", `"`+strings.Repeat("x", 1000)+`"`, false)
				}
				eventually(t, "the stream lagging", func() bool { return d.Stats().Lagging == 1 })
			}
			leave(nc)
			eventually(t, "no session", func() bool { st := d.Stats(); return st.Sessions == 0 && st.Lagging == 0 })
		})
	}
}

// R6, G7: a stream whose rights are revoked ends at once; what still waits is not sent.
func TestARevokedStreamSendsNothingMore(t *testing.T) {
	d := newDoor(t, Options{SendBuffer: 8 << 10})
	sessions := make(chan *broker.Session, 1)
	d.opened = func(s *broker.Session) { sessions <- s }
	_, s := d.rawStream(t, "filter=a&retained=false")
	s.want("live {} +")
	for range 20_000 {
		d.putJSON(t, "a", `"`+strings.Repeat("x", 1000)+`"`, false)
	}
	eventually(t, "the stream lagging", func() bool { return d.Stats().Lagging == 1 })
	(<-sessions).Revoke(protocol.Errorf(protocol.CodeRevoked, "no"))
	n := 0
	for e, ok := s.next(); ok; e, ok = s.next() {
		if e.name != "message" {
			t.Errorf("found %v", e)
		}
		n++
	}
	if n == 20_000 {
		t.Error("found every message sent")
	}
}

// A stream that was not read for long, and has been passed by the log, is told exactly how many messages it has missed.
func TestAStreamThatWasPassedIsToldHowManyItMissed(t *testing.T) {
	d := newDoorWith(t, Options{SendBuffer: 8 << 10}, broker.Options{RingBytes: 1 << 20})
	_, s := d.rawStream(t, "filter=a")
	s.want(`retained {"filter":"a","reset":false}`, "live {} +")
	const messages = 20_000
	for i := range messages {
		d.putJSON(t, "a", fmt.Sprintf(`{"n":%d,"pad":%q}`, i, strings.Repeat("x", 1000)), false)
	}
	got, missed, cursor, gaps := 0, 0, "", 0
	for got+missed < messages {
		e, ok := s.next()
		var g struct {
			Reason string
			Count  int
			From   string
		}
		switch {
		case !ok:
			t.Fatalf("found the end after %d messages", got)
		case e.name == "message":
			got, cursor = got+1, e.id
		case e.name == "gap":
			decodeJSON(t, e.data, &g)
			missed += g.Count
			gaps++
			if g.Reason != "trimmed" || g.Count == 0 || g.From != cursor || e.hasID {
				t.Fatalf("found %v behind %s", e, cursor)
			}
			s.want(`retained {"filter":"a","reset":true}`)
			if e, _ = s.next(); e.name != "" || !e.hasID {
				t.Fatalf("found %v, wanted the position", e)
			}
			cursor = e.id
		case e.name != "":
			t.Fatalf("found %v", e)
		}
	}
	if gaps == 0 || got+missed != messages {
		t.Errorf("found %d messages and %d told missing in %d gaps, wanted %d", got, missed, gaps, messages)
	}
}
