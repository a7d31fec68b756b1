package httpapi

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/protocol"
)

func TestRawBodyIsPublishedAsItIs(t *testing.T) {
	for _, tc := range []struct {
		name, path, body, contentType string
		want                          broker.PublishRequest
	}{
		{
			"curl -d with JSON", "/v1/topics/orders.42", `{"total":5}`, form,
			broker.PublishRequest{Topic: "orders.42", Payload: []byte(`{"total":5}`), ContentType: typeJSON},
		},
		{
			"curl -d with text", "/v1/topics/log", `hello & good=bye`, form,
			broker.PublishRequest{Topic: "log", Payload: []byte(`hello & good=bye`), ContentType: typeText},
		},
		{
			"curl -d with bytes", "/v1/topics/log", "\xff\xfe", form,
			broker.PublishRequest{Topic: "log", Payload: []byte("\xff\xfe"), ContentType: typeBinary},
		},
		{
			"own type", "/v1/topics/img?retain=true", "GIF89a", "Content-Type: image/gif",
			broker.PublishRequest{Topic: "img", Payload: []byte("GIF89a"), ContentType: "image/gif", Retain: true},
		},
		{
			"JSON is not looked into", "/v1/topics/a", "{", asJSON,
			broker.PublishRequest{Topic: "a", Payload: []byte("{"), ContentType: "application/json"},
		},
		{
			"no type", "/v1/topics/a?receivers=true&retain=false", "x", "X-Other: 1",
			broker.PublishRequest{Topic: "a", Payload: []byte("x"), ContentType: typeBinary, Receivers: true},
		},
		{
			"escaped once", "/v1/topics/%24user.a%252Fb.x", "1", form,
			broker.PublishRequest{Topic: "$user.a%2Fb.x", Payload: []byte("1"), ContentType: typeJSON},
		},
		{
			"slash in a level", "/v1/topics/a%2Fb", "1", form,
			broker.PublishRequest{Topic: "a/b", Payload: []byte("1"), ContentType: typeJSON},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := newDoor(t, Options{})
			got := d.do("POST", tc.path, tc.body, tc.contentType)
			if got.status != 200 {
				t.Fatalf("status %d: %s", got.status, got.body)
			}
			if diff := cmp.Diff([]broker.PublishRequest{tc.want}, d.published); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAcknowledgementTellsThePosition(t *testing.T) {
	d := newDoor(t, Options{})
	d.do("POST", "/v1/topics/a", "1", form)
	got := d.do("POST", "/v1/topics/orders.42?receivers=true", "1", form)
	var ack map[string]any
	if err := json.Unmarshal([]byte(got.body), &ack); err != nil {
		t.Fatal(err)
	}
	at := d.Position()
	want := map[string]any{
		"topic": "orders.42", "epoch": at.Epoch.String(), "seq": 2.0, "offset": 0.0, "durability": "appended",
		"receivers": 0.0, "cursor": at.Cursor(),
	}
	if diff := cmp.Diff(want, ack); diff != "" {
		t.Error(diff)
	}
}

func TestEnvelopeIsPublished(t *testing.T) {
	for _, tc := range []struct {
		name, body, contentType string
		want                    []broker.PublishRequest
	}{
		{
			"JSON", `{"topic": "a", "data": {"x": [1, null]}, "retain": true, "headers": {"traceparent": "00-1"}}`, asJSON,
			[]broker.PublishRequest{{
				Topic: "a", Payload: []byte(`{"x": [1, null]}`), ContentType: typeJSON, Retain: true,
				Headers: map[string]string{"traceparent": "00-1"},
			}},
		},
		{
			"bytes", `{"topic":"a","data_base64":"/wA="}`, asJSON + "; charset=utf-8",
			[]broker.PublishRequest{{Topic: "a", Payload: []byte{0xff, 0}, ContentType: typeBinary}},
		},
		{
			"bytes of a type", `{"topic":"a","data_base64":"/wA=","type":"image/gif"}`, asJSON,
			[]broker.PublishRequest{{Topic: "a", Payload: []byte{0xff, 0}, ContentType: "image/gif"}},
		},
		{
			"null is data", `{"topic":"a","data":null}`, asJSON,
			[]broker.PublishRequest{{Topic: "a", Payload: []byte("null"), ContentType: typeJSON}},
		},
		{
			"several topics", `{"topics":["a","b"],"data":1}`, asJSON,
			[]broker.PublishRequest{{Topic: "a", Payload: []byte("1"), ContentType: typeJSON}, {Topic: "b", Payload: []byte("1"), ContentType: typeJSON}},
		},
		{"clear", `{"topic":"a","retain":true}`, asJSON, []broker.PublishRequest{{Topic: "a", Retain: true}}},
		{
			"form", "topic=a&data=hello+you&retain=true", form,
			[]broker.PublishRequest{{Topic: "a", Payload: []byte("hello you"), ContentType: typeText, Retain: true}},
		},
		{
			"curl -d with JSON", `{"topic":"a","data":{"x":1}}`, form,
			[]broker.PublishRequest{{Topic: "a", Payload: []byte(`{"x":1}`), ContentType: typeJSON}},
		},
		{
			"form with JSON", "topic=a&data=%7B%22x%22%3A1%7D", form,
			[]broker.PublishRequest{{Topic: "a", Payload: []byte(`{"x":1}`), ContentType: typeJSON}},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := newDoor(t, Options{})
			got := d.do("POST", "/v1/publish", tc.body, tc.contentType)
			if got.status != 200 {
				t.Fatalf("status %d: %s", got.status, got.body)
			}
			if diff := cmp.Diff(tc.want, d.published); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRetainedValueIsReadRaw(t *testing.T) {
	d := newDoor(t, Options{})
	d.do("POST", "/v1/topics/page?retain=true", "<b>hi</b>", "Content-Type: text/html")
	got := d.do("GET", "/v1/topics/page", "")
	if got.status != 200 || got.body != "<b>hi</b>" || got.header.Get("Content-Type") != "text/html" {
		t.Fatalf("%+v", got)
	}
	if !strings.Contains(got.header.Get("Content-Security-Policy"), "sandbox") {
		t.Error("a retained value could run scripts as a page of the broker")
	}
	etag := got.header.Get("ETag")
	if _, err := protocol.ParseCursor(strings.Trim(etag, `"`)); err != nil {
		t.Errorf("ETag %s: %v", etag, err)
	}
	for _, tag := range []string{etag, "W/" + etag, `"x", ` + etag, "*"} {
		if again := d.do("GET", "/v1/topics/page", "", "If-None-Match: "+tag); again.status != 304 || again.body != "" {
			t.Errorf("If-None-Match %s: status %d", tag, again.status)
		}
	}
	if head := d.do("HEAD", "/v1/topics/page", ""); head.status != 200 || head.body != "" || head.header.Get("ETag") != etag {
		t.Errorf("HEAD: %+v", head)
	}
	if cleared := d.do("DELETE", "/v1/topics/page", ""); cleared.status != 200 {
		t.Errorf("DELETE: %+v", cleared)
	}
	if gone := d.do("GET", "/v1/topics/page", "", "If-None-Match: "+etag); gone.status != 404 {
		t.Errorf("after DELETE: %+v", gone)
	}
}

func TestAllowedPageReadsTheAnswer(t *testing.T) {
	d := newDoor(t, Options{Origins: []string{"https://app.example"}})
	got := d.do("POST", "/v1/topics/a", "1", form, "Origin: https://app.example")
	if got.status != 200 || got.header.Get("Access-Control-Allow-Origin") != "https://app.example" {
		t.Errorf("%+v", got)
	}
	pre := d.do("OPTIONS", "/v1/topics/a", "", "Origin: https://app.example", "Access-Control-Request-Method: DELETE")
	if pre.status != 204 || !strings.Contains(pre.header.Get("Access-Control-Allow-Methods"), "DELETE") {
		t.Errorf("%+v", pre)
	}
}

func FuzzParseJSONEnvelope(f *testing.F) {
	for _, s := range []string{`{"topic":"a","data":1}`, `{"topics":["a"],"data_base64":"AA=="}`, `{`, `{"a":{"a":[]},"a":1}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		e, err := parseJSONEnvelope(body)
		if err != nil {
			return
		}
		if len(e.topics) == 0 {
			t.Errorf("accepted without a topic: %q", body)
		}
		if e.contentType == typeJSON && !json.Valid(e.payload) {
			t.Errorf("payload is not the JSON it claims to be: %q", e.payload)
		}
	})
}

func TestTopicsOfTheBrokerAreRefusedInTheSameWordsAloneAndAmongOthers(t *testing.T) {
	for _, topic := range []string{"$sys.a", "$presence.room.7"} {
		d := newDoor(t, Options{})
		alone := d.do("POST", "/v1/publish", `{"topic":"`+topic+`","data":1}`, asJSON)
		d.published = nil
		among := d.do("POST", "/v1/publish", `{"topics":["a","`+topic+`"],"data":1}`, asJSON)
		if alone.status != 403 || !strings.Contains(alone.body, "nobody may publish to it") {
			t.Fatalf("%s alone: %d %s", topic, alone.status, alone.body)
		}
		want := strings.Replace(alone.body, "nobody may publish to it", "nobody may publish to it; nothing was published", 1)
		if among.status != 403 || among.body != want || len(d.published) != 0 {
			t.Errorf("%s among others: found %d %s after %d publishes, wanted %s after none", topic, among.status, among.body, len(d.published), want)
		}
	}
}
