package httpapi

import (
	"bufio"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// send writes bytes to the door as they are and returns the answers until it closes the connection.
func (d *door) send(raw string) []*http.Response {
	d.t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(d.url, "http://"))
	if err != nil {
		d.t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		d.t.Fatal(err)
	}
	if _, err := c.Write([]byte(raw)); err != nil {
		d.t.Fatal(err)
	}
	var answers []*http.Response
	for r := bufio.NewReader(c); ; {
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			return answers
		}
		_ = resp.Body.Close()
		answers = append(answers, resp)
	}
}

// A9: two ways to say where a request ends must not leave a second request for somebody else.
func TestFramingThatTwoServersCouldReadDifferently(t *testing.T) {
	const smuggled = "POST /v1/topics/smuggled HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx"
	for _, tc := range []struct {
		name, raw string
		status    int
	}{
		{"length and chunks", "POST /v1/topics/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", 200},
		{"two lengths", "POST /v1/topics/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx", 400},
		{"unknown coding", "POST /v1/topics/a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", 501},
		{"no host", "GET /v1/topics/a HTTP/1.1\r\n\r\n", 400},
		{"another host in the request line", "GET http://evil.test/v1/topics/a HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 421},
		{"HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 421},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := newDoor(t, Options{})
			answers := d.send(tc.raw + smuggled)
			if len(answers) == 0 || answers[0].StatusCode != tc.status {
				t.Fatalf("answers %v, want status %d", answers, tc.status)
			}
			for _, p := range d.published {
				if p.Topic == "smuggled" {
					t.Error("the bytes behind the request were taken for another one")
				}
			}
		})
	}
}
