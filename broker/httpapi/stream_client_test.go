package httpapi

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/carillon-mq/carillon/broker"
)

// event is one event of a stream.
type event struct {
	name, data, id string
	hasID          bool
	retry          string
}

// events is the client's side of a stream.
type events struct {
	t    *testing.T
	resp *http.Response
	br   *bufio.Reader
}

// subscribe asks for /v1/subscribe with the query and the headers, in pairs.
func (d *door) subscribe(t *testing.T, query string, header ...string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, d.url+"/v1/subscribe?"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := (&http.Transport{}).RoundTrip(req) // of its own, as a stream is
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return resp
}

func (d *door) stream(t *testing.T, query string, header ...string) *events {
	t.Helper()
	resp := d.subscribe(t, query, header...)
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" {
		b, _ := io.ReadAll(resp.Body)
		t.Fatalf("found %s %v %s", resp.Status, resp.Header, b)
	}
	return newEvents(t, resp)
}

func newEvents(t *testing.T, resp *http.Response) *events {
	return &events{t: t, resp: resp, br: bufio.NewReader(resp.Body)}
}

// next reads an event; ok is false at the end of the stream.
func (s *events) next() (e event, ok bool) {
	s.t.Helper()
	for begun := false; ; {
		line, err := s.br.ReadString('\n')
		if err != nil {
			return e, false
		}
		line = line[:len(line)-1]
		field, value, _ := strings.Cut(line, ": ")
		switch field {
		case "":
			if begun {
				return e, true
			}
			continue
		case "event":
			e.name = value
		case "data":
			e.data = value
		case "id":
			e.id, e.hasID = value, true
		case "retry":
			e.retry = value
			continue // it is in front of an event, or alone
		default:
			s.t.Fatalf("found line %q", line)
		}
		begun = true
	}
}

// want reads the next events, each as one line: its name, the data, and `+` when it has an id.
func (s *events) want(want ...string) {
	s.t.Helper()
	var got []string
	for range want {
		e, ok := s.next()
		if !ok {
			break
		}
		got = append(got, e.String())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		s.t.Fatalf("events (-wanted +found):\n%s", diff)
	}
}

func (e event) String() string {
	line := e.name
	if e.data != "" {
		line += " " + e.data
	}
	if e.hasID {
		line += " +"
	}
	return noTimes(strings.TrimSpace(line))
}

// noTimes takes what differs from run to run out of JSON.
func noTimes(s string) string {
	for _, key := range []string{`,"ts":`, `,"from":`, `,"to":`, `,"retry_after_ms":`} {
		for {
			before, rest, found := strings.Cut(s, key)
			if !found {
				break
			}
			s = before + rest[strings.IndexAny(rest, ",}"):]
		}
	}
	return s
}

func (d *door) put(t *testing.T, r broker.PublishRequest) {
	t.Helper()
	if _, err := d.Broker.Publish(t.Context(), broker.Everybody(), r); err != nil {
		t.Fatal(err)
	}
}

func (d *door) putJSON(t *testing.T, topic, payload string, retain bool) {
	t.Helper()
	d.put(t, broker.PublishRequest{Topic: topic, Payload: []byte(payload), ContentType: "application/json", Retain: retain})
}

// eventually waits until f.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	tick, late := time.NewTicker(time.Millisecond), time.After(10*time.Second)
	defer tick.Stop()
	for !f() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("not found within 10 s: %s", what)
		}
	}
}

func decodeJSON(t *testing.T, text string, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
}
