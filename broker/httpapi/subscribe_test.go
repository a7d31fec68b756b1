package httpapi

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/protocol"
)

func TestAStreamBeginsWithWhatIsRetainedAndGoesOnLive(t *testing.T) {
	d := newDoor(t, Options{})
	d.putJSON(t, "a.x", `{"n": 1}`, true)
	s := d.stream(t, "filter=a.*&filter=b")
	s.want(`message {"topic":"a.x","data":{"n":1},"retain":true,"retained":true}`,
		`retained {"filter":"a.*","reset":false}`, `retained {"filter":"b","reset":false}`, "live {} +")
	d.putJSON(t, "c", "0", false)
	d.putJSON(t, "b", "2", false)
	s.want(`message {"topic":"b","data":2} +`)
	for name, want := range map[string]string{"Cache-Control": "no-store", "X-Accel-Buffering": "no", "X-Content-Type-Options": "nosniff", "Connection": ""} {
		if got := s.resp.Header.Get(name); got != want && name != "Connection" {
			t.Errorf("found %s: %q, wanted %q", name, got, want)
		}
	}
	if !s.resp.Close {
		t.Error("found the connection to be kept for other requests")
	}
}

// What a payload is in a stream, by its content type.
func TestPayloadsAreShownAsTheyAre(t *testing.T) {
	d := newDoor(t, Options{})
	for i, tt := range []struct {
		contentType, payload, want string
	}{
		{"", "\x81\xa1a\x93\x01\xc0\xa1b", `"data":{"a":[1,null,"b"]}`},
		{"application/msgpack", "\x05", `"data":5`},
		{"application/x-msgpack", "\x05", `"data":5`},
		{"", "\xc4\x01x", `"data_base64":"xAF4"`},
		{"", "\x05\x05", `"data_base64":"BQU="`},
		{"", "", `"data_base64":""`},
		{"application/json", " { \"a\" :\n1 } ", `"data":{"a":1}`},
		{"application/json; charset=utf-8", "1", `"data":1`},
		{"application/json", "{not json", `"data_base64":"e25vdCBqc29u","content_type":"application/json"`},
		{"application/json", "\"\xff\"", `"data_base64":"Iv8i","content_type":"application/json"`},
		{"application/geo+json", "{}", `"data":{},"content_type":"application/geo+json"`},
		{"text/plain; charset=utf-8", "a\r\n\"b\"\u2028", `"data":"a\r\n\"b\"` + "\u2028" + `","content_type":"text/plain; charset=utf-8"`},
		{"text/plain", "\xff", `"data_base64":"/w==","content_type":"text/plain"`},
		{"text/plain; charset=iso-8859-1", "a", `"data_base64":"YQ==","content_type":"text/plain; charset=iso-8859-1"`},
		{"image/png", "\x89PNG", `"data_base64":"iVBORw==","content_type":"image/png"`},
		{"no type at all", "a", `"data_base64":"YQ==","content_type":"no type at all"`},
	} {
		t.Run(fmt.Sprintf("%d %s", i, tt.contentType), func(t *testing.T) {
			s := d.stream(t, "filter=p&retained=false")
			s.want("live {} +")
			d.put(t, broker.PublishRequest{Topic: "p", Payload: []byte(tt.payload), ContentType: tt.contentType})
			e, _ := s.next()
			if got, want := noTimes(e.data), `{"topic":"p",`+tt.want+"}"; got != want {
				t.Errorf("found %s, wanted %s", got, want)
			}
			if !json.Valid([]byte(e.data)) {
				t.Errorf("%s is not JSON", e.data)
			}
		})
	}
	s := d.stream(t, "filter=p&retained=false")
	s.want("live {} +")
	d.put(t, broker.PublishRequest{Topic: "p", Payload: []byte("\x01"), Headers: map[string]string{"b": "2", "a": "\"1\""}})
	s.want(`message {"topic":"p","data":1,"headers":{"a":"\"1\"","b":"2"}} +`)
}

func TestLastEventIDResumes(t *testing.T) {
	d := newDoor(t, Options{})
	s := d.stream(t, "filter=a&filter=b")
	s.want(`retained {"filter":"a","reset":false}`, `retained {"filter":"b","reset":false}`, "live {} +")
	d.putJSON(t, "a", "1", false)
	first, _ := s.next()
	d.putJSON(t, "b", "2", false)
	d.putJSON(t, "a", "3", false)
	missed := []string{"+", `message {"topic":"b","data":2} +`, `message {"topic":"a","data":3} +`, "live {} +"}
	d.stream(t, "filter=a&filter=b", "Last-Event-ID", first.id).want(missed...)
	d.stream(t, "filter=a&filter=b&after="+first.id).want(missed...)
	d.stream(t, "filter=a&filter=b&after="+d.Position().Cursor(), "Last-Event-ID", first.id).want(missed...)
	d.stream(t, "filter=a&filter=b&fresh=b&after="+first.id).want(
		"+", `message {"topic":"a","data":3} +`, `retained {"filter":"b","reset":false}`, "live {} +")
}

func TestACursorOfAnotherRunIsAGap(t *testing.T) {
	d := newDoor(t, Options{})
	d.putJSON(t, "a", "1", true)
	other := protocol.Position{Epoch: protocol.RunID{1}, Seq: 7}.Cursor()
	s := d.stream(t, "filter=a", "Last-Event-ID", other)
	s.want("+", `gap {"reason":"epoch"}`, `retained {"filter":"a","reset":true}`, "+", `message {"topic":"a","data":1,"retain":true} +`, "live {} +")
	s = d.stream(t, "filter=a&retained=false", "Last-Event-ID", other)
	s.want("+", `gap {"reason":"epoch"} +`, `message {"topic":"a","data":1,"retain":true} +`, "live {} +")
}

func TestAQuietStreamIsToldItsPosition(t *testing.T) {
	d := newDoorWith(t, Options{StreamPing: 20 * time.Millisecond}, broker.Options{PingEvery: 100 * time.Millisecond})
	s := d.stream(t, "filter=a&retained=false")
	s.want("live {} +")
	d.putJSON(t, "b", "1", false)
	for at := d.Position().Cursor(); ; {
		if e, ok := s.next(); !ok || e.name != "" || !e.hasID {
			t.Fatalf("found %v", e)
		} else if e.id == at {
			return
		}
	}
}

func TestTheEndOfAStreamSaysWhyAndWhetherToComeBack(t *testing.T) {
	d := newDoor(t, Options{})
	s := d.stream(t, "filter=a&retained=false")
	s.want("live {} +")
	go func() { _ = d.Drain(t.Context()) }()
	s.want("+")
	e, _ := s.next()
	if got := noTimes(e.data); e.name != "end" || e.retry == "" ||
		got != `{"code":"going_away","detail":"the broker is going away","hint":"Reconnect after the delay it names; nothing that can be resumed is lost.","reconnect":true}` {
		t.Errorf("found %+v", e)
	}
	if e, ok := s.next(); ok {
		t.Errorf("found %v behind the end", e)
	}
	d.h.Wait()
}

func TestRefusalsOfASubscription(t *testing.T) {
	d := newDoor(t, Options{})
	d.authenticate = func(c broker.Credentials) (*broker.Identity, error) {
		switch c.Token {
		case "away":
			return nil, protocol.Errorf(protocol.CodeUnavailable, "no").WithRetryAfter(2 * time.Second)
		case "old":
			return nil, protocol.Errorf(protocol.CodeTokenExpired, "no")
		}
		return &broker.Identity{User: "u", Grants: []broker.Grant{{Actions: broker.ActionSubscribe, Filter: "a.>"}}}, nil
	}
	for _, tt := range []struct {
		name, query, token, accept string
		status                     int
		code                       string
	}{
		{"no filter", "", "", "", 400, "bad_args"},
		{"bad filter", "filter=a..b", "", "", 400, "bad_filter"},
		{"no grant", "filter=a.b&filter=b", "", "", 403, "forbidden"},
		{"twice", "filter=a.b&filter=a.b", "", "", 400, "bad_args"},
		{"too many", "filter=a.b" + manyFilters(129), "", "", 429, "subscription_limit"},
		{"unknown parameter", "filter=a.b&filters=a.c", "", "", 400, "bad_args"},
		{"bad mode", "filter=a.b&mode=ws", "", "", 400, "bad_args"},
		{"bad cursor", "filter=a.b&after=x", "", "", 400, "bad_position"},
		{"empty cursor", "filter=a.b&after=", "", "", 400, "bad_position"},
		{"fresh that is no filter", "filter=a.b&fresh=a.c", "", "", 400, "bad_args"},
		{"wait without poll", "filter=a.b&wait=5s", "", "", 400, "bad_args"},
		{"too long a wait", "filter=a.b&mode=poll&wait=2m", "", "", 400, "bad_args"},
		{"bad retained", "filter=a.b&retained=no", "", "", 400, "bad_args"},
		{"two cursors", "filter=a.b&after=x&after=y", "", "", 400, "bad_args"},
		{"no decision", "filter=a.b", "away", "", 503, "unavailable"},
		{"no decision, for an EventSource", "filter=a.b", "away", "text/event-stream", 200, "unavailable"},
		{"no decision, for a poll", "filter=a.b&mode=poll", "away", "text/event-stream", 503, "unavailable"},
		{"an expired token, for an EventSource", "filter=a.b", "old", "text/event-stream", 401, "token_expired"},
		{"no grant, for an EventSource", "filter=b", "", "text/event-stream", 403, "forbidden"},
		{"a token in the URL", "filter=a.b&token=x", "", "", 400, "token_in_url"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			header := []string{}
			if tt.token != "" {
				header = append(header, "Authorization", "Bearer "+tt.token)
			}
			if tt.accept != "" {
				header = append(header, "Accept", tt.accept)
			}
			resp := d.subscribe(t, tt.query, header...)
			b, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			kind := "application/problem+json"
			if tt.status == 200 {
				kind = "text/event-stream"
			}
			if resp.StatusCode != tt.status || resp.Header.Get("Content-Type") != kind || !strings.Contains(string(b), `"code":"`+tt.code+`"`) {
				t.Errorf("found %s, %s: %s", resp.Status, resp.Header.Get("Content-Type"), b)
			}
			if tt.status == 200 && (!strings.HasPrefix(string(b), "retry: 2000\nevent: end\n") || !strings.Contains(string(b), `"reconnect":true`)) {
				t.Errorf("found %q", b)
			}
			if tt.status == 503 && resp.Header.Get("Retry-After") != "2" {
				t.Errorf("found Retry-After %q", resp.Header.Get("Retry-After"))
			}
		})
	}
}

func manyFilters(n int) string {
	q := url.Values{}
	for i := range n {
		q.Add("filter", fmt.Sprintf("a.n%d", i))
	}
	return "&" + q.Encode()
}

// Common slips are answered with what to write instead.
func TestSlipsInASubscriptionAreExplained(t *testing.T) {
	d := newDoor(t, Options{})
	for _, tt := range []struct{ path, want string }{
		{"/v1/subscribe?filter=a&after=", `parameter \"after\" is \"\", which is no cursor`},
		{"/v1/subscribe?filter=a&after=5", `send a cursor exactly as`},
		{"/v1/subscribe?filter=a&mode=poll&wait=2.5", `whole seconds or a duration`},
		{"/v1/subscribe?filter=a.*,b.*", `several filters are several parameters`},
		{"/v1/topics/orders/42", `the levels of a topic have dots between them`},
	} {
		if got := d.do("GET", tt.path, ""); got.status/100 != 4 || !strings.Contains(got.body, tt.want) {
			t.Errorf("%s: found %d %s", tt.path, got.status, got.body)
		}
	}
}

// What is retained in msgpack is shown in JSON to who asks for JSON by name.
func TestARetainedMessageIsShownInJSONOnDemand(t *testing.T) {
	d := newDoor(t, Options{})
	d.put(t, broker.PublishRequest{Topic: "a", Payload: []byte("\x81\xa1a\x01"), Retain: true})
	d.put(t, broker.PublishRequest{Topic: "b", Payload: []byte("\xc4\x01x"), Retain: true})
	for _, tt := range []struct{ topic, accept, kind, body string }{
		{"a", "Accept: application/json", "application/json", `{"a":1}`},
		{"a", "Accept: text/html, application/json;q=0.9", "application/json", `{"a":1}`},
		{"a", "Accept: */*", "application/msgpack", "\x81\xa1a\x01"},
		{"b", "Accept: application/json", "application/msgpack", "\xc4\x01x"},
	} {
		got := d.do("GET", "/v1/topics/"+tt.topic, "", tt.accept)
		if got.status != 200 || got.body != tt.body || got.header.Get("Content-Type") != tt.kind || !slices.Contains(got.header.Values("Vary"), "Accept") {
			t.Errorf("%s, %s: found %d %v %q", tt.topic, tt.accept, got.status, got.header, got.body)
		}
	}
	inJSON := d.do("GET", "/v1/topics/a", "", "Accept: application/json").header.Get("ETag")
	if raw := d.do("GET", "/v1/topics/a", "").header.Get("ETag"); raw == inJSON {
		t.Errorf("found one tag %s for two representations", raw)
	}
	if again := d.do("GET", "/v1/topics/a", "", "Accept: application/json", "If-None-Match: "+inJSON); again.status != 304 {
		t.Errorf("found %d", again.status)
	}
}

// The limits of sessions count streams and polls, and the refusal is an ordinary one although the connection is no longer net/http's.
func TestLimitsOfSessionsCountStreamsAndPolls(t *testing.T) {
	d := newDoorWith(t, Options{}, broker.Options{Limits: broker.Limits{SessionsOfUser: 1}})
	d.authenticate = func(broker.Credentials) (*broker.Identity, error) {
		return &broker.Identity{User: "u", Grants: broker.Everybody().Grants}, nil
	}
	s := d.stream(t, "filter=a")
	s.want(`retained {"filter":"a","reset":false}`)
	for _, mode := range []string{"sse", "poll"} {
		resp := d.subscribe(t, "filter=a&mode="+mode)
		b, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != http.StatusTooManyRequests || resp.Header.Get("Retry-After") != "5" || !strings.Contains(string(b), "session_limit") ||
			resp.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: found %s %v %s", mode, resp.Status, resp.Header, b)
		}
	}
	resp := d.subscribe(t, "filter=a", "Accept", "text/event-stream")
	if b, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusOK || !strings.Contains(string(b), "event: end") {
		t.Errorf("found %s %s", resp.Status, b)
	}
	s.resp.Body.Close()
	eventually(t, "no session", func() bool { return d.Stats().Sessions == 0 })
}

func TestHeadAndOptionsOfASubscription(t *testing.T) {
	d := newDoor(t, Options{AnyLoopbackOrigin: true})
	for _, tt := range []struct{ query, kind string }{{"filter=a", "text/event-stream"}, {"filter=a&mode=poll", "application/json"}} {
		resp, err := http.Head(d.url + "/v1/subscribe?" + tt.query)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != tt.kind {
			t.Errorf("found %s %v", resp.Status, resp.Header)
		}
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodOptions, d.url+"/v1/subscribe", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Origin", "http://localhost:5173")
	req.Header.Set("Access-Control-Request-Headers", "authorization,last-event-id")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	allowed := resp.Header.Get("Access-Control-Allow-Headers")
	if resp.StatusCode != http.StatusNoContent || !strings.Contains(allowed, "Authorization") || !strings.Contains(allowed, "Last-Event-ID") ||
		resp.Header.Get("Access-Control-Allow-Methods") != "GET, HEAD, OPTIONS" {
		t.Errorf("found %s %v", resp.Status, resp.Header)
	}
	s := d.stream(t, "filter=a", "Origin", "http://localhost:5173")
	if s.resp.Header.Get("Access-Control-Allow-Origin") != "http://localhost:5173" {
		t.Errorf("found %v", s.resp.Header)
	}
}

// A slow reader of a stream lags in the log, is not cut, and misses nothing; the others do not notice.
func TestASlowReaderOfAStreamLagsAndMissesNothing(t *testing.T) {
	d := newDoor(t, Options{SendBuffer: 8 << 10})
	nc, err := net.Dial("tcp", strings.TrimPrefix(d.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	fmt.Fprintf(nc, "GET /v1/subscribe?filter=s&retained=false HTTP/1.1\r\nHost: localhost\r\n\r\n")
	br := bufio.NewReaderSize(nc, 512)
	resp, err := http.ReadResponse(br, nil)
	if err != nil {
		t.Fatal(err)
	}
	slow := &events{t: t, resp: resp, br: bufio.NewReaderSize(resp.Body, 512)}
	slow.want("live {} +")
	quick := d.stream(t, "filter=s&retained=false")
	quick.want("live {} +")
	const messages = 12_000
	go func() {
		for i := range messages {
			d.put(t, broker.PublishRequest{Topic: "s", Payload: fmt.Appendf(nil, `{"n":%d,"pad":%q}`, i, strings.Repeat("x", 1000)), ContentType: "application/json"})
		}
	}()
	numbered := func(s *events, i int) {
		e, ok := s.next()
		for ok && e.name == "" {
			e, ok = s.next() // a position
		}
		if want := fmt.Sprintf(`{"topic":"s","data":{"n":%d,`, i); !ok || !strings.HasPrefix(e.data, want) {
			t.Fatalf("found %.60v, wanted message %d", e, i)
		}
	}
	for i := range messages {
		numbered(quick, i)
	}
	eventually(t, "the slow one lagging", func() bool { return d.Stats().Lagging == 1 })
	for i := range messages {
		numbered(slow, i)
	}
	eventually(t, "nobody lagging", func() bool { return d.Stats().Lagging == 0 })
}
