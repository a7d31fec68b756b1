package httpapi

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/protocol"
)

func TestRefusals(t *testing.T) {
	deep := `{"topic":"a","data":` + strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000) + `}`
	for _, tc := range []struct {
		name, method, path, body, header string
		status                           int
		code                             string
	}{
		{"A4 open brace", "POST", "/v1/publish", `{`, asJSON, 400, "bad_body"},
		{"A4 trailing data", "POST", "/v1/publish", `{"topic":"a","data":1}{}`, asJSON, 400, "bad_body"},
		{"A4 trailing bracket", "POST", "/v1/publish", `{"topic":"a","data":1}]`, asJSON, 400, "bad_body"},
		{"A4 duplicate key", "POST", "/v1/publish", `{"topic":"a","topic":"b","data":1}`, asJSON, 400, "bad_body"},
		{"A4 duplicate key, escaped", "POST", "/v1/publish", `{"topic":"a","t\u006fpic":"b","data":1}`, asJSON, 400, "bad_body"},
		{"A4 duplicate key in data", "POST", "/v1/publish", `{"topic":"a","data":{"x":1,"x":2}}`, asJSON, 400, "bad_body"},
		{"A4 NaN", "POST", "/v1/publish", `{"topic":"a","data":NaN}`, asJSON, 400, "bad_body"},
		{"A4 depth", "POST", "/v1/publish", deep, asJSON, 400, "bad_body"},
		{"A4 UTF-16", "POST", "/v1/publish", "\xff\xfe{\x00}\x00", asJSON, 400, "bad_body"},
		{"A4 BOM", "POST", "/v1/publish", "\ufeff{\"topic\":\"a\",\"data\":1}", asJSON, 400, "bad_body"},
		{"A4 broken UTF-8", "POST", "/v1/publish", "{\"topic\":\"a\",\"data\":\"\xc3\x28\"}", asJSON, 400, "bad_body"},
		{"empty body", "POST", "/v1/publish", "", asJSON, 400, "bad_body"},
		{"a list", "POST", "/v1/publish", "[]", asJSON, 400, "bad_body"},
		{"unknown key", "POST", "/v1/publish", `{"topic":"a","data":1,"retian":true}`, asJSON, 400, "bad_body"},
		{"key in other letters", "POST", "/v1/publish", `{"Topic":"a","data":1}`, asJSON, 400, "bad_body"},
		{"no topic", "POST", "/v1/publish", `{"data":1}`, asJSON, 400, "bad_body"},
		{"topic and topics", "POST", "/v1/publish", `{"topic":"a","topics":["b"],"data":1}`, asJSON, 400, "bad_body"},
		{"no topics", "POST", "/v1/publish", `{"topics":[],"data":1}`, asJSON, 400, "bad_body"},
		{"no data", "POST", "/v1/publish", `{"topic":"a"}`, asJSON, 400, "bad_body"},
		{"data twice", "POST", "/v1/publish", `{"topic":"a","data":1,"data_base64":"AA=="}`, asJSON, 400, "bad_body"},
		{"bad base64", "POST", "/v1/publish", `{"topic":"a","data_base64":"AA"}`, asJSON, 400, "bad_body"},
		{"wrong type", "POST", "/v1/publish", `{"topic":7,"data":1}`, asJSON, 400, "bad_body"},
		{"retain as a string", "POST", "/v1/publish", `{"topic":"a","data":1,"retain":"true"}`, asJSON, 400, "bad_body"},
		{"content type with a line break", "POST", "/v1/publish", `{"topic":"a","data_base64":"AA==","type":"a\nb"}`, asJSON, 400, "bad_body"},
		{"bad topic in an envelope", "POST", "/v1/publish", `{"topic":"a..b","data":1}`, asJSON, 400, "bad_topic"},
		{"one bad topic of several", "POST", "/v1/publish", `{"topics":["a","a.*"],"data":1}`, asJSON, 400, "bad_topic"},
		{"form without data", "POST", "/v1/publish", `topic=a`, form, 400, "bad_body"},
		{"form with a field twice", "POST", "/v1/publish", `topic=a&topic=b&data=1`, form, 400, "bad_body"},
		{"form with an unknown field", "POST", "/v1/publish", `topic=a&data=1&retian=1`, form, 400, "bad_body"},
		{"A6 text", "POST", "/v1/publish", `{"topic":"a","data":1}`, "Content-Type: text/plain", 415, "unsupported_media_type"},
		{"no type", "POST", "/v1/publish", `{"topic":"a","data":1}`, "X-Other: 1", 415, "unsupported_media_type"},
		{"A5 compressed envelope", "POST", "/v1/publish", "x", asJSON + "\nContent-Encoding: gzip", 415, "unsupported_media_type"},
		{"A5 compressed body", "POST", "/v1/topics/a", "x", "Content-Encoding: gzip", 415, "unsupported_media_type"},
		{"A8 GET on publish", "GET", "/v1/publish", "", "", 405, "method_not_allowed"},
		{"A8 PUT on a topic", "PUT", "/v1/topics/a", "x", "", 405, "method_not_allowed"},
		{"A8 OPTIONS from elsewhere", "OPTIONS", "/v1/publish", "", "Origin: http://evil.test", 403, "bad_origin"},
		{"foreign origin", "POST", "/v1/topics/a", "x", "Origin: http://evil.test", 403, "bad_origin"},
		{"origin null", "POST", "/v1/topics/a", "x", "Origin: null", 403, "bad_origin"},
		{"foreign host", "GET", "/v1/topics/a", "", "Host: evil.test", 421, "bad_host"},
		{"foreign host and origin (DNS rebinding)", "POST", "/v1/topics/a", "x", "Host: evil.test\nOrigin: http://evil.test", 421, "bad_host"},
		{"foreign host anywhere", "GET", "/", "", "Host: evil.test", 421, "bad_host"},
		{"token in the URL", "POST", "/v1/topics/a?token=abc", "x", "", 400, "token_in_url"},
		{"JWT in the URL", "GET", "/v1/topics/a?x=" + jwtLike, "", "", 400, "token_in_url"},
		{"unknown parameter", "POST", "/v1/topics/a?retian=true", "x", "", 400, "bad_args"},
		{"parameter twice", "POST", "/v1/topics/a?retain=true&retain=false", "x", "", 400, "bad_args"},
		{"parameter of no kind", "POST", "/v1/topics/a?retain=", "x", "", 400, "bad_args"},
		{"broken query", "POST", "/v1/topics/a?retain=%zz", "x", "", 400, "bad_args"},
		{"empty ttl", "POST", "/v1/topics/a?ttl=", "x", "", 400, "bad_args"},
		{"ttl of nothing", "POST", "/v1/topics/a?ttl=0s", "x", "", 400, "bad_args"},
		{"negative ttl", "POST", "/v1/topics/a?ttl=-60s", "x", "", 400, "bad_args"},
		{"ttl below a millisecond", "POST", "/v1/topics/a?ttl=1500us", "x", "", 400, "bad_args"},
		{"ttl too long", "POST", "/v1/topics/a?ttl=1000000001", "x", "", 400, "bad_args"},
		{"ttl that is no time", "POST", "/v1/topics/a?ttl=soon", "x", "", 400, "bad_args"},
		{"ttl when clearing", "DELETE", "/v1/topics/a?ttl=60s", "", "", 400, "bad_args"},
		{"ttl in the body that is no time", "POST", "/v1/publish", `{"topic":"a","data":1,"ttl":"soon"}`, asJSON, 400, "bad_args"},
		{"ttl in the body that is a fraction", "POST", "/v1/publish", `{"topic":"a","data":1,"ttl":1.5}`, asJSON, 400, "bad_args"},
		{"ttl in the body that is a list", "POST", "/v1/publish", `{"topic":"a","data":1,"ttl":["60s"]}`, asJSON, 400, "bad_args"},
		{"ttl in a form that is no time", "POST", "/v1/publish", `topic=a&data=1&ttl=soon`, form, 400, "bad_args"},
		{"empty exclude", "POST", "/v1/topics/a?exclude=", "x", "", 400, "bad_args"},
		{"exclude too long", "POST", "/v1/topics/a?exclude=" + strings.Repeat("x", 65), "x", "", 400, "bad_args"},
		{"exclude that is not UTF-8", "DELETE", "/v1/topics/a?exclude=%ff", "", "", 400, "bad_args"},
		{"empty exclude in the body", "POST", "/v1/publish", `{"topic":"a","data":1,"exclude":""}`, asJSON, 400, "bad_args"},
		{"exclude in the body that is a list", "POST", "/v1/publish", `{"topic":"a","data":1,"exclude":["s"]}`, asJSON, 400, "bad_body"},
		{"exclude too long in a form", "POST", "/v1/publish", `topic=a&data=1&exclude=` + strings.Repeat("x", 65), form, 400, "bad_args"},
		{"empty origin", "GET", "/v1/subscribe?filter=a&origin=", "", "", 400, "bad_args"},
		{"origin too long", "GET", "/v1/subscribe?filter=a&origin=" + strings.Repeat("x", 65), "", "", 400, "bad_args"},
		{"two origins", "GET", "/v1/subscribe?filter=a&origin=a&origin=b", "", "", 400, "bad_args"},
		{"empty id", "POST", "/v1/topics/a?id=", "x", "", 400, "bad_args"},
		{"id too long", "POST", "/v1/topics/a?id=" + strings.Repeat("x", 65), "x", "", 400, "bad_args"},
		{"id twice", "POST", "/v1/topics/a?id=1&id=1", "x", "", 400, "bad_args"},
		{"id that is not UTF-8", "POST", "/v1/topics/a?id=%ff", "x", "", 400, "bad_args"},
		{"empty Idempotency-Key", "POST", "/v1/topics/a", "x", "Idempotency-Key: ", 400, "bad_args"},
		{"Idempotency-Key of two quotes", "POST", "/v1/topics/a", "x", `Idempotency-Key: ""`, 400, "bad_args"},
		{"Idempotency-Key too long", "POST", "/v1/publish", `{"topic":"a","data":1}`, asJSON + "\nIdempotency-Key: " + strings.Repeat("x", 65), 400, "bad_args"},
		{"two keys", "POST", "/v1/topics/a", "x", "Idempotency-Key: 1\nIdempotency-Key: 1", 400, "bad_args"},
		{"another key than id", "POST", "/v1/topics/a?id=1", "x", "Idempotency-Key: 2", 400, "bad_args"},
		{"another key than id, clearing", "DELETE", "/v1/topics/a?id=1", "", "Idempotency-Key: 2", 400, "bad_args"},
		{"another key than in the body", "POST", "/v1/publish", `{"topic":"a","data":1,"id":"1"}`, asJSON + "\nIdempotency-Key: 2", 400, "bad_args"},
		{"empty id in the body", "POST", "/v1/publish", `{"topic":"a","data":1,"id":""}`, asJSON, 400, "bad_args"},
		{"id in the body that is a number", "POST", "/v1/publish", `{"topic":"a","data":1,"id":1}`, asJSON, 400, "bad_body"},
		{"empty id in a form", "POST", "/v1/publish", `topic=a&data=1&id=`, form, 400, "bad_args"},
		{"filter as topic", "POST", "/v1/topics/a.*", "x", "", 400, "bad_topic"},
		{"empty level", "GET", "/v1/topics/a..b", "", "", 400, "bad_topic"},
		{"no topic in the path", "GET", "/v1/topics/", "", "", 404, "not_found"},
		{"two levels of path", "GET", "/v1/topics/a/b", "", "", 404, "not_found"},
		{"A20 double slash", "POST", "//v1/publish", "x", asJSON, 404, "not_found"},
		{"A20 double slash before the topic", "POST", "/v1/topics//a", "x", "", 404, "not_found"},
		{"A20 dots", "GET", "/v1/topics/../admin", "", "", 404, "not_found"},
		{"A20 escaped dots", "POST", "/v1/topics/..%2fadmin", "x", "", 400, "bad_topic"},
		{"A20 parameter in the path", "POST", "/v1/publish;jsessionid=1", "x", asJSON, 404, "not_found"},
		{"A23 metrics", "GET", "/metrics", "", "", 404, "not_found"},
		{"A23 admin", "GET", "/v1/admin/plugins", "", "", 404, "not_found"},
		{"A23 probes", "GET", "/readyz", "", "", 404, "not_found"},
		{"WebSocket in capitals", "GET", "/WS", "", "", 404, "not_found"},
		{"too large", "POST", "/v1/topics/a", strings.Repeat("x", 65537), "", 413, "too_large"},
		{"envelope too large", "POST", "/v1/publish", `{"topic":"a","data":"` + strings.Repeat("x", 300_000) + `"}`, asJSON, 413, "too_large"},
		{"payload too large inside an envelope", "POST", "/v1/publish", `{"topic":"a","data":"` + strings.Repeat("x", 65536) + `"}`, asJSON, 413, "too_large"},
		{"no retained value", "GET", "/v1/topics/none", "", "", 404, "not_found"},
		{"scheme Basic", "GET", "/v1/topics/a", "", "Authorization: Basic eDp5", 401, "token_malformed"},
		{"no token after Bearer", "GET", "/v1/topics/a", "", "Authorization: Bearer", 401, "token_malformed"},
		{"two tokens", "GET", "/v1/topics/a", "", "Authorization: Bearer a\nAuthorization: Bearer b", 401, "token_malformed"},
		{"token too long", "GET", "/v1/topics/a", "", "Authorization: Bearer " + strings.Repeat("x", 8193), 401, "token_malformed"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			d := newDoor(t, Options{})
			var headers []string
			if tc.header != "" {
				headers = strings.Split(tc.header, "\n")
			}
			got := d.do(tc.method, tc.path, tc.body, headers...)
			if got.status != tc.status {
				t.Fatalf("status %d, want %d: %s", got.status, tc.status, got.body)
			}
			if code := got.code(t); code != tc.code {
				t.Errorf("code %q, want %q: %s", code, tc.code, got.body)
			}
			if got.status == 401 && got.header.Get("WWW-Authenticate") == "" {
				t.Error("no WWW-Authenticate")
			}
			if got.status == 405 && got.header.Get("Allow") == "" {
				t.Error("no Allow")
			}
			if acao := got.header.Get("Access-Control-Allow-Origin"); acao != "" {
				t.Errorf("a page was let in: %q", acao)
			}
			if d.Position().Seq != 0 {
				t.Error("something was published")
			}
			counted := uint64(0)
			for _, n := range d.Stats().Rejected {
				counted += n
			}
			if counted != 1 && tc.name != "no retained value" {
				t.Errorf("the refusal was counted %d times, wanted once", counted)
			}
			if log := d.log.String(); strings.Contains(log, "eyJ") || strings.Contains(log, "xxxxx") {
				t.Errorf("the log holds what it must not: %s", log)
			}
		})
	}
}

func TestJSONSentAsAFormIsToldSo(t *testing.T) {
	d := newDoor(t, Options{})
	for body, found := range map[string]string{
		`{"topic":"a","payload":1}`: `key \"payload\" is not known`,
		`{"topic":"a","data":1`:     `not well formed`,
	} {
		got := d.do("POST", "/v1/publish", body, form)
		if got.status != 400 || !strings.Contains(got.body, found) || !strings.Contains(got.body, "-H 'Content-Type: application/json'") {
			t.Errorf("%s: status %d: %s", body, got.status, got.body)
		}
	}
}

func TestWhatIsServedIsNamed(t *testing.T) {
	d := newDoor(t, Options{})
	for _, tc := range []struct{ method, path, want string }{
		{"GET", "/v1/publish", `found method \"GET\", wanted POST or OPTIONS`},
		{"GET", "/v1/topic", "POST, GET and DELETE /v1/topics/{topic}"},
	} {
		if got := d.do(tc.method, tc.path, ""); !strings.Contains(got.body, tc.want) {
			t.Errorf("%s %s: %s", tc.method, tc.path, got.body)
		}
	}
}

func TestRefusalsOfTheBrokerReachTheClient(t *testing.T) {
	for _, tc := range []struct {
		name   string
		err    error
		status int
		code   string
		header string
	}{
		{"forbidden", protocol.Errorf(protocol.CodeForbidden, "no grant covers publishing to a"), 403, "forbidden", ""},
		{"rate", protocol.Errorf(protocol.CodeRateLimited, "x").WithRetryAfter(1500 * time.Millisecond), 429, "rate_limited", "Retry-After: 2"},
		{"A22 store away", protocol.Errorf(protocol.CodeStoreUnavailable, "the outcome is unknown"), 503, "store_unavailable", "Retry-After: 1"},
		{"fault", errors.New("secret detail"), 500, "internal", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := newDoor(t, Options{})
			d.publish = func(broker.PublishRequest) (protocol.Published, error) { return protocol.Published{}, tc.err }
			got := d.do("POST", "/v1/topics/a", "x")
			if got.status != tc.status || got.code(t) != tc.code || strings.Contains(got.body, "secret") {
				t.Errorf("%+v", got)
			}
			if name, value, ok := strings.Cut(tc.header, ": "); ok && got.header.Get(name) != value {
				t.Errorf("%s is %q, want %q", name, got.header.Get(name), value)
			}
		})
	}
}

func TestWhenOneOfSeveralTopicsFailsAllResultsAreTold(t *testing.T) {
	d := newDoor(t, Options{})
	d.publish = func(r broker.PublishRequest) (protocol.Published, error) {
		if r.Topic == "b" {
			return protocol.Published{}, protocol.Errorf(protocol.CodeStoreUnavailable, "away")
		}
		return protocol.Published{Seq: 7, Receivers: -1}, nil
	}
	got := d.do("POST", "/v1/publish", `{"topics":["a","b","c"],"data":1}`, asJSON)
	var p struct{ Results []result }
	if err := json.Unmarshal([]byte(got.body), &p); err != nil {
		t.Fatal(err)
	}
	if got.status != 503 || len(p.Results) != 3 || *p.Results[0].Seq != 7 || p.Results[1].Code != "store_unavailable" || *p.Results[2].Seq != 7 {
		t.Errorf("status %d: %s", got.status, got.body)
	}
}

func TestForbiddenTopicAmongSeveralPublishesNothing(t *testing.T) {
	d := newDoor(t, Options{})
	d.authenticate = func(broker.Credentials) (*broker.Identity, error) {
		return &broker.Identity{User: "42", Grants: []broker.Grant{{Actions: broker.ActionPublish, Filter: "orders.>"}}}, nil
	}
	got := d.do("POST", "/v1/publish", `{"topics":["orders.1","secret"],"data":1}`, asJSON)
	if got.status != 403 || got.code(t) != "forbidden" || !strings.Contains(got.body, `secret`) {
		t.Errorf("%+v", got)
	}
	if len(d.published) != 0 {
		t.Errorf("published %v", d.published)
	}
	if log := d.log.String(); !strings.Contains(log, "code=forbidden") || !strings.Contains(log, "user=42") || !strings.Contains(log, "topic=secret") {
		t.Errorf("the refusal is not explained in the log: %s", log)
	}
}

func TestSlowBodyEndsInTime(t *testing.T) {
	d := newDoor(t, Options{BodyTimeout: 50 * time.Millisecond})
	body, w := io.Pipe()
	defer w.Close()
	req, err := http.NewRequestWithContext(t.Context(), "POST", d.url+"/v1/topics/a", body)
	if err != nil {
		t.Fatal(err)
	}
	req.ContentLength = 10
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusRequestTimeout || !resp.Close {
		t.Errorf("status %d, close %v", resp.StatusCode, resp.Close)
	}
}

func TestTokenIsAskedForOnceAndForgottenInTime(t *testing.T) {
	d := newDoor(t, Options{AuthCache: time.Hour, AuthCacheSize: 2})
	until := time.Now().Add(time.Hour)
	d.authenticate = func(c broker.Credentials) (*broker.Identity, error) {
		if c.Token == "bad" {
			return nil, protocol.Errorf(protocol.CodeTokenExpired, "exp has passed")
		}
		id := *broker.Everybody()
		id.User, id.Expires = c.Token, until
		return &id, nil
	}
	ask := func(token string, status int) {
		t.Helper()
		if got := d.do("POST", "/v1/topics/a", "1", "Authorization: bearer "+token); got.status != status {
			t.Errorf("token %s: %+v", token, got)
		}
	}
	for range 5 {
		ask("one", 200)
	}
	if d.asked != 1 {
		t.Errorf("asked %d times for one token", d.asked)
	}
	for range 3 {
		ask("bad", 401)
	}
	if d.asked != 4 {
		t.Errorf("a refusal was kept: asked %d times", d.asked)
	}
	for _, token := range []string{"two", "three", "four"} {
		ask(token, 200)
	}
	if n := len(d.h.auth.entries); n > 2 {
		t.Errorf("%d tokens are kept, want at most 2", n)
	}
	until = time.Now().Add(-time.Minute) // within the authenticator's leeway
	before := d.asked
	ask("late", 200)
	ask("late", 200)
	if d.asked != before+2 {
		t.Error("an answer outlived its expiry")
	}
}

func TestWebSocketIsHandedOnOnlyUnderOurNames(t *testing.T) {
	reached := false
	d := newDoor(t, Options{})
	d.h.HandleWebSocket(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true }))
	for _, tc := range []struct{ path, host string }{{"/ws", "evil.test"}, {"/ws?token=x", "localhost"}, {"//ws", "localhost"}, {"/%77s", "localhost"}} {
		if d.do("GET", tc.path, "", "Host: "+tc.host); reached {
			t.Errorf("%+v was handed on", tc)
		}
	}
	if d.do("GET", "/ws", ""); !reached {
		t.Error("/ws was not handed on")
	}
}
