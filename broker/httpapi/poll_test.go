package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/protocol"
)

// polled is an answer of a long-poll.
type polled struct {
	Messages []json.RawMessage
	Gap      json.RawMessage
	Reset    []string
	Fresh    []string
	Cursor   string
}

func (d *door) poll(t *testing.T, query string) polled {
	t.Helper()
	resp := d.subscribe(t, "mode=poll&"+query)
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var p polled
	if err := json.Unmarshal(b, &p); err != nil || resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "application/json" ||
		resp.Header.Get("Cache-Control") != "no-store" {
		t.Fatalf("found %s %v %s", resp.Status, resp.Header, b)
	}
	if p.Messages == nil {
		t.Errorf("found no list of messages in %s", b)
	}
	return p
}

// lines are the messages, without what differs from run to run; one with an id ends in `+`.
func (p polled) lines() []string {
	lines := []string{}
	for _, m := range p.Messages {
		line := noTimes(string(m))
		if object, id, found := strings.Cut(line, `,"id":"`); found {
			line = object + "}+"
			_ = id
		}
		lines = append(lines, line)
	}
	return lines
}

func (p polled) want(t *testing.T, lines ...string) {
	t.Helper()
	if diff := cmp.Diff(append([]string{}, lines...), p.lines()); diff != "" {
		t.Fatalf("messages (-wanted +found):\n%s", diff)
	}
}

func TestAPollWithoutACursorAnswersAtOnce(t *testing.T) {
	d := newDoor(t, Options{})
	d.putJSON(t, "a.x", "1", true)
	d.putJSON(t, "a.y", "2", true)
	p := d.poll(t, "filter=a.*")
	p.want(t, `{"topic":"a.x","data":1,"retain":true,"retained":true}`, `{"topic":"a.y","data":2,"retain":true,"retained":true}`)
	if p.Cursor != d.Position().Cursor() || p.Gap != nil || p.Reset != nil || p.Fresh != nil {
		t.Errorf("found %+v", p)
	}
	p = d.poll(t, "filter=a.*&retained=false")
	p.want(t)
	if p.Cursor != d.Position().Cursor() {
		t.Errorf("found cursor %s", p.Cursor)
	}
}

func TestAPollGoesOnBehindItsCursor(t *testing.T) {
	d := newDoor(t, Options{})
	cursor := d.poll(t, "filter=a&filter=b").Cursor
	d.putJSON(t, "a", "1", false)
	d.putJSON(t, "c", "2", false)
	d.putJSON(t, "b", "3", false)
	p := d.poll(t, "filter=a&filter=b&after="+cursor)
	p.want(t, `{"topic":"a","data":1}+`, `{"topic":"b","data":3}+`)
	answer := make(chan polled, 1)
	go func() { answer <- d.poll(t, "filter=a&filter=b&wait=60s&after="+p.Cursor) }()
	eventually(t, "a session", func() bool { return d.Stats().Sessions == 1 })
	d.putJSON(t, "c", "4", false)
	d.putJSON(t, "a", "5", false)
	p = <-answer
	p.want(t, `{"topic":"a","data":5}+`)
	if p.Cursor != d.Position().Cursor() {
		t.Errorf("found cursor %s", p.Cursor)
	}
	eventually(t, "no session", func() bool { return d.Stats().Sessions == 0 })
}

func TestAPollThatWaitsInVainBringsAFreshCursor(t *testing.T) {
	d := newDoor(t, Options{})
	cursor := d.poll(t, "filter=a").Cursor
	d.putJSON(t, "b", "1", false)
	began := time.Now()
	p := d.poll(t, "filter=a&wait=1s&after="+cursor)
	p.want(t)
	if waited := time.Since(began); waited < time.Second || p.Cursor != d.Position().Cursor() {
		t.Errorf("found cursor %s after %s", p.Cursor, waited)
	}
}

// A filter that begins in a poll of others is answered at once, with what is retained of it.
func TestAFreshFilterIsAnsweredAtOnce(t *testing.T) {
	d := newDoor(t, Options{})
	cursor := d.poll(t, "filter=a").Cursor
	d.putJSON(t, "b", "1", true)
	d.putJSON(t, "a", "2", false)
	p := d.poll(t, "filter=a&filter=b&fresh=b&after="+cursor)
	p.want(t, `{"topic":"a","data":2}+`, `{"topic":"b","data":1,"retain":true,"retained":true}`)
	p = d.poll(t, "filter=a&filter=b&filter=c&fresh=c&after="+p.Cursor)
	p.want(t)
	if p.Cursor != d.Position().Cursor() || p.Fresh != nil {
		t.Errorf("found %+v", p)
	}
}

func TestAPollIsToldOfAGapAndWhatIsRetainedBehindIt(t *testing.T) {
	d := newDoor(t, Options{})
	d.putJSON(t, "a", "1", true)
	other := protocol.Position{Epoch: protocol.RunID{1}, Seq: 7}.Cursor()
	p := d.poll(t, "filter=a&filter=b&after="+other)
	began := d.Position()
	began.Seq = 0
	p.want(t) // as of where this run began
	if noTimes(string(p.Gap)) != `{"reason":"epoch"}` || len(p.Reset) != 2 || p.Cursor != began.Cursor() {
		t.Errorf("found %+v", p)
	}
	d.poll(t, "filter=a&filter=b&after="+p.Cursor).want(t, `{"topic":"a","data":1,"retain":true}+`)
	p = d.poll(t, "filter=a&retained=false&after="+other)
	p.want(t)
	if noTimes(string(p.Gap)) != `{"reason":"epoch"}` || p.Reset != nil || p.Cursor != began.Cursor() {
		t.Errorf("found %+v", p)
	}
}

// An answer is bounded; the next poll goes on where it ends. What begins comes when it is its turn.
func TestAnAnswerIsBounded(t *testing.T) {
	d := newDoor(t, Options{})
	cursor := d.poll(t, "filter=a").Cursor
	const messages = 2000
	for i := range messages {
		d.putJSON(t, "a", fmt.Sprintf(`{"n":%d,"pad":%q}`, i, strings.Repeat("x", 1000)), false)
	}
	d.putJSON(t, "b", "1", true)
	query, next, polls, retained := "filter=a&filter=b&fresh=b", 0, 0, 0
	for next < messages || retained == 0 {
		p := d.poll(t, query+"&after="+cursor)
		for _, m := range p.lines() {
			if strings.Contains(m, `"retained":true`) {
				retained++
				continue
			}
			if !strings.HasPrefix(m, fmt.Sprintf(`{"topic":"a","data":{"n":%d,`, next)) {
				t.Fatalf("found %.60s, wanted message %d", m, next)
			}
			next++
		}
		cursor = p.Cursor
		if polls++; p.Fresh == nil {
			query = "filter=a&filter=b"
		}
		if polls > messages {
			t.Fatal("found no end")
		}
	}
	if polls < 6 || polls > 12 || retained != 1 {
		t.Errorf("found %d polls for 2 MB, and b named %d times", polls, retained)
	}
}

// A snapshot is not bounded, and not kept in memory.
func TestASnapshotIsAnsweredWhole(t *testing.T) {
	d := newDoor(t, Options{})
	for i := range 1500 {
		d.putJSON(t, fmt.Sprintf("a.%04d", i), fmt.Sprintf("%q", strings.Repeat("x", 1000)), true)
	}
	p := d.poll(t, "filter=a.*")
	if len(p.Messages) != 1500 || p.Cursor != d.Position().Cursor() {
		t.Errorf("found %d messages, cursor %s", len(p.Messages), p.Cursor)
	}
}

func TestAPollWhoseClientHasGoneFreesItsSession(t *testing.T) {
	d := newDoor(t, Options{})
	cursor := d.Position().Cursor()
	ctx, leave := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.url+"/v1/subscribe?mode=poll&filter=a&wait=60s&after="+cursor, nil)
	if err != nil {
		t.Fatal(err)
	}
	gone := make(chan error, 1)
	go func() {
		_, err := http.DefaultTransport.RoundTrip(req)
		gone <- err
	}()
	eventually(t, "a session", func() bool { return d.Stats().Sessions == 1 })
	leave()
	if err := <-gone; err == nil {
		t.Error("found an answer")
	}
	eventually(t, "no session", func() bool { return d.Stats().Sessions == 0 })
}

func TestAPollIsToldWhenTheBrokerGoesAway(t *testing.T) {
	d := newDoor(t, Options{})
	answer := make(chan string, 1)
	go func() {
		resp := d.subscribe(t, "mode=poll&filter=a&wait=60s&after="+d.Position().Cursor())
		b, _ := io.ReadAll(resp.Body)
		answer <- resp.Status + " " + string(b)
	}()
	eventually(t, "a session", func() bool { return d.Stats().Sessions == 1 })
	if err := d.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := <-answer; !strings.HasPrefix(got, "503 ") || !strings.Contains(got, `"code":"going_away"`) {
		t.Errorf("found %s", got)
	}
}

// Rights that end while a poll waits end it, with nothing said of what they were for.
func TestAPollWhoseTokenExpiresIsRefused(t *testing.T) {
	d := newDoorWith(t, Options{}, broker.Options{ExpiryLeeway: time.Millisecond, PingEvery: 100 * time.Millisecond})
	d.authenticate = func(broker.Credentials) (*broker.Identity, error) {
		return &broker.Identity{User: "u", Grants: broker.Everybody().Grants, Expires: time.Now().Add(50 * time.Millisecond)}, nil
	}
	resp := d.subscribe(t, "mode=poll&filter=a&wait=60s&after="+d.Position().Cursor(), "Authorization", "Bearer x")
	b, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusUnauthorized || !strings.Contains(string(b), `"code":"token_expired"`) {
		t.Errorf("found %s %s", resp.Status, b)
	}
}
