package httpapi

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"testing"
	"unicode/utf8"

	"github.com/carillon-mq/carillon/protocol"
)

// What a body of POST /v1/publish is read as can be published, and says the same in JSON to whoever reads it otherwise.
func FuzzBody(f *testing.F) {
	for _, s := range []string{
		`{"topic":"a","data":1}`, `{"topics":["a","b"],"data":{"x":[1]},"id":"1"}`, `{"topic":"a","data_base64":"AA==","type":"image/png","headers":{"a":"b"}}`,
		`{"topic":"a","retain":true}`, "topic=a&data=1&retain=true", "topic=a&data=%7B%7D&id=x", `{"topic":"a","topic":"b"}`, `{"a":[{"b":1,"b":2}]}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		keys, refusal := strictObject(body)
		if refusal == nil {
			var object map[string]json.RawMessage
			if err := json.Unmarshal(body, &object); err != nil || len(object) != len(keys) || !utf8.Valid(body) {
				t.Fatalf("%q passes with the keys %q, and the library reads %d: %v", body, keys, len(object), err)
			}
			for _, key := range keys {
				if _, has := object[key]; !has {
					t.Fatalf("%q has no key %q", body, key)
				}
			}
		} else if !refusalIsTold(refusal) {
			t.Fatalf("%q is refused with %v", body, refusal)
		}
		for _, parse := range []func([]byte) (*envelope, *protocol.Error){parseJSONEnvelope, parseCurlEnvelope, parseFormEnvelope} {
			e, refusal := parse(body)
			if refusal != nil {
				if !refusalIsTold(refusal) {
					t.Fatalf("%q is refused with %v", body, refusal)
				}
				continue
			}
			checkEnvelope(t, body, e)
		}
	})
}

func checkEnvelope(t *testing.T, body []byte, e *envelope) {
	t.Helper()
	switch {
	case len(e.topics) == 0 || len(e.topics) > maxTopics:
		t.Fatalf("%q is for %d topics", body, len(e.topics))
	case e.payload == nil && !e.retain:
		t.Fatalf("%q publishes nothing and clears nothing", body)
	case e.contentType == typeJSON && !json.Valid(e.payload):
		t.Fatalf("%q publishes %q as JSON", body, e.payload)
	case !utf8.ValidString(e.contentType) || !utf8.ValidString(e.id) || len(e.id) > protocol.MaxMessageID || len(e.headers) > protocol.MaxHeaders:
		t.Fatalf("%q is read as %+v", body, e)
	}
	var ids []string
	for _, topic := range e.topics {
		if r := e.request(topic); e.id != "" && len(r.MessageID) <= protocol.MaxMessageID && !slices.Contains(e.topics[:len(ids)], topic) {
			if slices.Contains(ids, r.MessageID) {
				t.Fatalf("%q gives two topics the message id %q", body, r.MessageID)
			}
			ids = append(ids, r.MessageID)
		}
	}
}

func refusalIsTold(e *protocol.Error) bool {
	return e.Detail != "" && e.Code != protocol.CodeInternal && e.Code.HTTPStatus() >= 400 && utf8.ValidString(e.Detail)
}

// Whatever a subscription is asked for with, it is refused in words or has filters, a bounded wait and a position that was given as it is.
func FuzzSubscribe(f *testing.F) {
	cursor := (protocol.Position{Epoch: protocol.RunID{1}, Seq: 5, Term: protocol.RunID{2}, Offset: 7}).Cursor()
	for _, s := range [][2]string{
		{"filter=a", ""}, {"filter=a&filter=b.%3E&fresh=a", cursor}, {"filter=a&mode=poll&wait=2500ms", ""}, {"filter=a&after=" + cursor, ""}, {"filter=a&wait=NaN&mode=poll", "-1"},
	} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, query, last string) {
		r := &http.Request{Method: http.MethodGet, URL: &url.URL{Path: "/v1/subscribe", RawQuery: query}, Header: http.Header{"Last-Event-Id": {last}}}
		sub, refusal := parseSubscribe(r)
		if refusal != nil {
			if !refusalIsTold(refusal) {
				t.Fatalf("%q is refused with %v", query, refusal)
			}
			return
		}
		if len(sub.Filters) == 0 || sub.wait < minWait || sub.wait > maxWait {
			t.Fatalf("%q is read as %+v", query, sub)
		}
		given := url.Values{}
		if parsed, err := url.ParseQuery(query); err == nil {
			given = parsed
		}
		switch {
		case last != "" && (sub.After == nil || sub.After.Cursor() != last):
			t.Fatalf("Last-Event-ID %q is read as %v", last, sub.After)
		case last == "" && given.Has("after") != (sub.After != nil):
			t.Fatalf("%q goes on after %v", query, sub.After)
		}
	})
}
