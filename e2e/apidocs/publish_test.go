package apidocs

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/carillon-mq/carillon/internal/apidoc"
)

const asJSON = "Content-Type: application/json"

func publishing(t *testing.T, doc *apidoc.Document) {
	s := open(t, doc)
	for _, query := range []string{"", "?retain=true", "?receivers=true", "?id=a1", "?ttl=90", "?ttl=1500ms&retain=true", "?retain=true&receivers=true&id=a2&exclude=tab"} {
		for _, topic := range []string{"orders.1", "live.1", "kept.1", "caf%C3%A9.menu", "x%2Fb"} {
			a := s.ask(t, "POST", "/v1/topics/"+topic+strings.Replace(query, "id=", "id="+topic[:1], 1), "1", s.auth)
			a.wants(t, topic+query, 200, "")
			if _, has := a.decoded(t)["receivers"]; has != strings.Contains(query, "receivers") {
				t.Errorf("%s%s: whether there are receivers: %s", topic, query, a.body)
			}
		}
	}
	s.ask(t, "DELETE", "/v1/topics/orders.1?receivers=true&id=a3", "", s.auth).wants(t, "DELETE", 200, "")
	for _, m := range []sample{samples()[0], samples()[2]} {
		bad := *m.with("/v1/topics/orders.*")
		bad.ask(t, s, "", s.auth).wants(t, m.id, 400, "bad_topic")
		m.ask(t, s, "?retian=true", s.auth).wants(t, m.id, 400, "bad_args")
		m.ask(t, s, "?id=", s.auth).wants(t, m.id, 400, "bad_args")
		m.ask(t, s, "?exclude=", s.auth).wants(t, m.id, 400, "bad_args")
		m.ask(t, s, "?exclude=tab", bearer(token(t, map[string]any{"carillon": map[string]any{"publish": []string{">"}}}))).wants(t, m.id, 403, "forbidden")
		m.ask(t, s, "?receivers=perhaps", s.auth).wants(t, m.id, 400, "bad_args")
		m.ask(t, s, "?id=a&id=b", s.auth).wants(t, m.id, 400, "bad_args")
		m.ask(t, s, "?id=a", "Idempotency-Key: b", s.auth).wants(t, m.id, 400, "bad_args")
		m.ask(t, s, "?ttl=0", s.auth).wants(t, m.id, 400, "bad_args")
		m.with("/v1/topics/$sys.a").ask(t, s, "", s.auth).wants(t, m.id, 403, "forbidden")
	}
	s.ask(t, "POST", "/v1/topics/$inbox.0123456789abcdef.1", "1", s.auth).wants(t, "a reply to a session that has ended", 404, "not_found")
	s.ask(t, "DELETE", "/v1/topics/$inbox.0123456789abcdef.1", "", s.auth).wants(t, "an inbox that is cleared", 400, "bad_args")
	s.ask(t, "POST", "/v1/topics/a", "1", s.auth, "Content-Type: "+strings.Repeat("x", 256)).wants(t, "a long content type", 400, "bad_args")
	s.ask(t, "POST", "/v1/topics/a", strings.Repeat("x", 64<<10+1), s.auth).wants(t, "a large body", 413, "too_large")
	s.ask(t, "POST", "/v1/topics/a", "x", s.auth, "Content-Encoding: gzip").wants(t, "a compressed body", 415, "unsupported_media_type")
	for _, path := range []string{"/v1/topics/a", "/v1/publish"} {
		w := s.dial(t, s.listen)
		w.ask(t, "POST", path, "POST "+path+" HTTP/1.1\r\nHost: localhost\r\n"+s.auth+"\r\n"+asJSON+"\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n").
			wants(t, path+" in broken chunks", 400, "bad_body")
		w.nc.Close()
	}
}

// with is m with another target.
func (m sample) with(target string) *sample {
	m.target = target
	return &m
}

// envelopes are bodies of POST /v1/publish. The schema of the document says which of them are taken.
func envelopes(t *testing.T, doc *apidoc.Document) {
	s := open(t, doc)
	post := func(body string) answer { return s.ask(t, "POST", "/v1/publish", body, s.auth, asJSON) }
	for _, body := range []string{
		`{"topic":"a","data":1}`, `{"topic":"a","data":null}`, `{"topics":["a"],"data":[]}`, `{"topics":["a","b"],"data":{"x":"y"}}`,
		`{"topic":"a","data_base64":"AAEC"}`, `{"topic":"a","data_base64":"","type":"image/png"}`, `{"topic":"a","retain":true}`,
		`{"topic":"a","topics":null,"data":1,"type":null,"data_base64":null,"retain":null,"receivers":true,"headers":{"a":"b"},"id":"e1"}`,
		`{"topic":"a","data":1,"headers":null,"id":null,"exclude":null,"receivers":false}`, `{"topics":["a","b"],"data":1,"exclude":"tab"}`,
		`{"topic":"a","data":1,"ttl":"90s"}`, `{"topic":"a","data":1,"ttl":90}`, `{"topic":"a","data":1,"ttl":null}`, `{"topic":null,"topics":["kept.a","live.a","c"],"data":1,"retain":true}`,
	} {
		post(body).wants(t, body, 200, "")
		if err := doc.ValidateText("Envelope", []byte(body)); err != nil {
			t.Errorf("%s is taken, and the document says: %v", body, err)
		}
	}
	for _, body := range []string{
		`[]`, `{}`, `{"topic":"a"}`, `{"data":1}`, `{"topic":"a","topics":["b"],"data":1}`, `{"topics":[],"data":1}`, `{"topics":"a","data":1}`,
		`{"topics":["a` + strings.Repeat(`","a`, 100) + `"],"data":1}`, `{"topic":"a","data":1,"data_base64":""}`, `{"topic":"a","data_base64":"AAE"}`,
		`{"topic":"a","data":1,"type":"text/plain"}`, `{"topic":"a","data":1,"retain":"true"}`, `{"topic":"a","data":1,"headers":{"a":1}}`,
		`{"topic":"a","data":1,"retian":true}`, `{"topic":1,"data":1}`, `{"topic":"a","retain":false}`, `{"topic":"a","data_base64":"","type":"a\nb"}`,
	} {
		post(body).wants(t, body, 400, "bad_body")
		if doc.ValidateText("Envelope", []byte(body)) == nil {
			t.Errorf("%s is refused, and the document allows it", body)
		}
	}
	post(`{"topic":"a","data":1,"ttl":"0s"}`).wants(t, "a lifetime of nothing", 400, "bad_args")
	post(`{"topic":"a","data":1,"id":""}`).wants(t, "an empty id", 400, "bad_args")
	post(`{"topic":"a*","data":1}`).wants(t, "a bad topic", 400, "bad_topic")
	post(`{"topics":["a","$sys.a"],"data":1}`).wants(t, "one that nobody may publish to", 403, "forbidden")
	post(`{"topic":"$inbox.0123456789abcdef.1","data":1}`).wants(t, "a reply to a session that has ended", 404, "not_found")
	post(`{"topic":"a","data_base64":"`+base64.StdEncoding.EncodeToString(make([]byte, 64<<10+1))+`"}`).wants(t, "a large payload", 413, "too_large")
	post(`{"topic":"a","data":"`+strings.Repeat("x", 200<<10)+`"}`).wants(t, "a large body", 413, "too_large")
	s.ask(t, "POST", "/v1/publish?id=a", "", s.auth, asJSON).wants(t, "a query", 400, "bad_args")
	s.ask(t, "POST", "/v1/publish", "<a/>", s.auth, "Content-Type: application/xml").wants(t, "XML", 415, "unsupported_media_type")
	s.ask(t, "POST", "/v1/publish", "1", s.auth, asJSON, "Content-Encoding: gzip").wants(t, "a compressed body", 415, "unsupported_media_type")
	form := "Content-Type: application/x-www-form-urlencoded"
	s.ask(t, "POST", "/v1/publish", "topic=a&data=x&retain=true&receivers=true&id=f1&exclude=tab&ttl=5s", s.auth, form).wants(t, "a form", 200, "")
	s.ask(t, "POST", "/v1/publish", "topic=a", s.auth, form).wants(t, "a form without data", 400, "bad_body")
}

// repetitions are of ids that are known. The store and the broker know each their own, so the first one is kept too if the second is.
func repetitions(t *testing.T, doc *apidoc.Document) {
	s := open(t, doc)
	for i, m := range []sample{samples()[0], samples()[2], samples()[4]} {
		key := fmt.Sprint("Idempotency-Key: r", i)
		m.ask(t, s, "", s.auth, key).wants(t, m.id, 200, "")
		a := m.ask(t, s, "", s.auth, key)
		a.wants(t, m.id, 200, "")
		if a.decoded(t)["duplicate"] != true {
			t.Errorf("%s: the repetition is no duplicate: %s", m.id, a.body)
		}
		first := map[bool]string{true: "?retain=true"}[m.method == "DELETE"]
		key = fmt.Sprint("Idempotency-Key: q", i)
		s.ask(t, "POST", "/v1/topics/orders.1"+first, "another", s.auth, key).wants(t, "the first", 200, "")
		m.ask(t, s, "", s.auth, key).wants(t, m.id, 409, "duplicate_id")
	}
}

// bodies that never come.
func bodies(t *testing.T, doc *apidoc.Document) {
	s := open(t, doc)
	wires := map[string]*wire{}
	for _, path := range []string{"/v1/topics/a", "/v1/publish"} {
		w := s.dial(t, s.listen)
		if _, err := fmt.Fprintf(w.nc, "POST %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n%s\r\nContent-Length: 9\r\n\r\n{", path, s.auth, asJSON); err != nil {
			t.Fatal(err)
		}
		wires[path] = w
	}
	for path, w := range wires {
		w.answer(t, "POST", path).wants(t, path, 408, "timeout")
		w.nc.Close()
	}
}

// limits are soon reached on this broker.
func limits(t *testing.T, doc *apidoc.Document) {
	s := open(t, doc, "CARILLON_LIMITS_RETAINED=1", "CARILLON_LIMITS_MESSAGE_IDS=1", "CARILLON_LIMITS_SUBSCRIPTIONS=2", "CARILLON_LIMITS_SESSIONS_PER_USER=1", "CARILLON_LIMITS_PUBLISH_BURST=1")
	s.ask(t, "POST", "/v1/topics/a?retain=true", "1", s.auth).wants(t, "the first retained message", 200, "")
	s.ask(t, "POST", "/v1/topics/b?retain=true", "1", s.auth).wants(t, "the second", 507, "quota")
	s.ask(t, "POST", "/v1/topics/b?id=1", "1", s.auth).wants(t, "the first id", 200, "")
	s.ask(t, "POST", "/v1/publish", `{"topics":["a","b"],"data":1,"retain":true}`, s.auth, asJSON).wants(t, "several", 507, "quota")
	s.ask(t, "GET", "/v1/subscribe?filter=a&filter=b&filter=c", "", s.auth).wants(t, "three filters", 429, "subscription_limit")
	all := []string{">"}
	slow := "Authorization: Bearer " + token(t, map[string]any{"sub": "43", "carillon": map[string]any{"publish": all, "limits": map[string]any{"publish_rate": 1}}})
	for _, r := range [][3]string{{"POST", "/v1/topics/a", "1"}, {"DELETE", "/v1/topics/a", ""}, {"POST", "/v1/publish", `{"topics":["a","b"],"data":1}`}} {
		a := s.ask(t, r[0], r[1], r[2], slow, asJSON)
		for n := 0; a.status == 200 && n < 100; n++ { // a slow machine does no more than the token states
			a = s.ask(t, r[0], r[1], r[2], slow, asJSON)
		}
		a.wants(t, r[0]+" "+r[1]+" beyond the rate of the token", 429, "rate_limited")
	}
	first := s.stream(t, "/v1/subscribe?filter=a", s.auth)
	defer first.nc.Close()
	first.until(t, "event: live")
	s.ask(t, "GET", "/v1/subscribe?filter=a", "", s.auth).wants(t, "a second session", 429, "session_limit")
	s.ask(t, "GET", "/v1/subscribe?filter=a", "", s.auth, "Accept: text/event-stream").wants(t, "one of an EventSource", 200, "")
}
