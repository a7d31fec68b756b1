package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// streamEvent is one event of a stream.
type streamEvent struct{ name, data string }

// eventSource does what a browser's EventSource does: it reads, remembers the last id, and comes back with it after a while. It gives up at
// any status but 200.
type eventSource struct {
	url    string
	header http.Header // beside its own
	lastID string
	retry  time.Duration
	events chan streamEvent
}

func (s *eventSource) run(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := s.connect(ctx); err != nil {
			return err
		}
		timer := time.NewTimer(s.retry)
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
	return nil
}

// connect reads one connection to its end. Its error is for good.
func (s *eventSource) connect(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url, nil)
	if err != nil {
		return err
	}
	maps.Copy(req.Header, s.header)
	req.Header.Set("Accept", "text/event-stream")
	if s.lastID != "" {
		req.Header.Set("Last-Event-ID", s.lastID)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil //nolint:nilerr // the broker is away: come back
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		b, _ := io.ReadAll(resp.Body)
		return fmt.Errorf("%s: %s", resp.Status, b)
	}
	var e streamEvent
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		field, value, _ := strings.Cut(lines.Text(), ": ")
		switch field {
		case "id":
			s.lastID = value
		case "retry":
			ms, err := strconv.Atoi(value)
			if err != nil {
				return err
			}
			s.retry = min(time.Duration(ms)*time.Millisecond, 50*time.Millisecond) // not to wait here
		case "event":
			e.name = value
		case "data":
			e.data = value
		case "":
			if e.name != "" {
				s.events <- e
			}
			e = streamEvent{}
		}
	}
	return nil
}

func (s *eventSource) next(t *testing.T) streamEvent {
	t.Helper()
	select {
	case e := <-s.events:
		return e
	case <-time.After(20 * time.Second):
		t.Fatal("no event came within 20 s")
	}
	return streamEvent{}
}

// want reads up to the next event of the name, and fails if another one that tells of a loss comes before it.
func (s *eventSource) want(t *testing.T, name string) streamEvent {
	t.Helper()
	for {
		e := s.next(t)
		if e.name == name {
			return e
		}
		if e.name == "gap" || e.name == "end" {
			t.Fatalf("found %v before %q", e, name)
		}
	}
}

// G4, G10: an EventSource, which knows nothing but Last-Event-ID, resumes after kill -9 of the broker. Of topics in memory it is told one gap;
// what is retained comes again; what follows misses nothing.
func TestAnEventSourceResumesAfterKills(t *testing.T) {
	b := newBroker(t)
	b.start()
	ctx, stop := context.WithCancel(t.Context())
	s := &eventSource{url: "http://" + b.listen + "/v1/subscribe?filter=es.*", retry: 20 * time.Millisecond, events: make(chan streamEvent, 1000)}
	ended := make(chan error, 1)
	go func() { ended <- s.run(ctx) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("the EventSource has given up: %v", err)
		}
	}()
	s.want(t, "live")
	for round := range count(4, 200) {
		for i := range 30 {
			post(t, b, "es.n", strconv.Itoa(i))
			if got := number(t, s.want(t, "message"), "es.n"); got != i {
				t.Fatalf("round %d: found %d, wanted %d", round, got, i)
			}
		}
		post(t, b, "es.kept?retain=true", strconv.Itoa(round+1))
		if got := number(t, s.want(t, "message"), "es.kept"); got != round+1 {
			t.Fatalf("round %d: found %d", round, got)
		}
		b.kill()
		b.start()
		e := s.next(t)
		for e.name == "end" && strings.Contains(e.data, `"code":"not_ready"`) && strings.Contains(e.data, `"reconnect":true`) {
			e = s.next(t) // it came back while the store was being loaded; with a 503 a browser's would have given up
		}
		if e.name != "gap" || !strings.Contains(e.data, `"reason":"epoch"`) {
			t.Fatalf("round %d: found %v, wanted a gap", round, e)
		}
		if got := s.want(t, "message"); number(t, got, "es.kept") != round+1 || !strings.Contains(got.data, `"retained":true`) {
			t.Fatalf("round %d: found %v, wanted what is retained", round, got)
		}
		if e := s.next(t); e.name != "retained" || !strings.Contains(e.data, `"reset":true`) {
			t.Fatalf("round %d: found %v", round, e)
		}
		s.want(t, "live")
	}
}

// number is the payload of a message.
func number(t *testing.T, e streamEvent, topic string) int {
	t.Helper()
	var m struct {
		Topic string
		Data  int
	}
	if err := json.Unmarshal([]byte(e.data), &m); err != nil || m.Topic != topic {
		t.Fatalf("found %v, %v", e, err)
	}
	return m.Data
}

func post(t *testing.T, b *broker, path, body string) {
	t.Helper()
	resp, err := http.Post("http://"+b.listen+"/v1/topics/"+path, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("publish: %s, %v", resp.Status, err)
	}
}
