package httpapi

import (
	"testing"

	"github.com/carillon-mq/carillon/broker"
)

// PUB-14, CON-11: whoever publishes over HTTP may exclude an origin, and a stream or long-poll of that origin is not sent the message.
func TestAnOriginIsExcludedOverHTTP(t *testing.T) {
	d := newDoor(t, Options{})
	after := d.Position().Cursor()
	stream, other := d.stream(t, "filter=a&origin=tab-1"), d.stream(t, "filter=a&origin=tab-2")
	stream.want(`retained {"filter":"a","reset":false}`, "live {} +")
	other.want(`retained {"filter":"a","reset":false}`, "live {} +")
	for i, r := range []struct{ method, path, body, header string }{
		{"POST", "/v1/topics/a?exclude=tab-1", "1", asJSON},
		{"POST", "/v1/publish", `{"topic":"a","data":2,"exclude":"tab-1"}`, asJSON},
		{"POST", "/v1/publish", `{"topics":["a","b"],"data":3,"exclude":"tab-1"}`, asJSON},
		{"POST", "/v1/publish", `topic=a&data=4&exclude=tab-1`, form},
		{"POST", "/v1/topics/a", "5", asJSON},
		{"DELETE", "/v1/topics/a?exclude=tab-2", "", asJSON},
	} {
		if got := d.do(r.method, r.path, r.body, r.header); got.status != 200 {
			t.Fatalf("request %d: status %d: %s", i, got.status, got.body)
		}
	}
	stream.want(`message {"topic":"a","data":5} +`, `message {"topic":"a","data_base64":"","retain":true} +`)
	for _, n := range []string{"1", "2", "3", "4", "5"} {
		other.want(`message {"topic":"a","data":` + n + `} +`)
	}
	d.poll(t, "filter=a&origin=tab-1&after="+after).want(t, `{"topic":"a","data":5}+`, `{"topic":"a","data_base64":"","retain":true}+`)
}

// PUB-14, R7: over HTTP the right to exclude is always needed, for every topic; without it nothing is published.
func TestExcludingOverHTTPNeedsTheRight(t *testing.T) {
	d := newDoorWith(t, Options{}, broker.Options{Anonymous: &broker.Identity{Grants: []broker.Grant{
		{Actions: broker.ActionPublish, Filter: ">"}, {Actions: broker.ActionExclude, Filter: "a"},
	}}})
	for _, tc := range []struct {
		path, body string
		status     int
	}{
		{"/v1/topics/a?exclude=tab-1", "1", 200},
		{"/v1/topics/b?exclude=tab-1", "1", 403},
		{"/v1/publish", `{"topics":["a","b"],"data":3,"exclude":"tab-1"}`, 403},
		{"/v1/publish", `{"topics":["a","b"],"data":3}`, 200},
	} {
		if got := d.do("POST", tc.path, tc.body, asJSON); got.status != tc.status || got.status == 403 && got.code(t) != "forbidden" {
			t.Errorf("%s %s: status %d, want %d: %s", tc.path, tc.body, got.status, tc.status, got.body)
		}
	}
	if n := d.Position().Seq; n != 3 {
		t.Errorf("found %d messages in the log, want 3", n)
	}
}
