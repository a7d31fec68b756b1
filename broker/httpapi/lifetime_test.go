package httpapi

import (
	"testing"
	"time"
)

// PUB-13: a lifetime is told in seconds or as a duration, wherever a publish comes from.
func TestALifetimeMayBeToldInSeveralWays(t *testing.T) {
	for _, tc := range []struct {
		path, body, header string
		want               time.Duration
	}{
		{"/v1/topics/a", "1", asJSON, 0},
		{"/v1/topics/a?ttl=60s", "1", asJSON, time.Minute},
		{"/v1/topics/a?ttl=60", "1", asJSON, time.Minute},
		{"/v1/topics/a?ttl=1.5s&retain=true", "1", asJSON, 1500 * time.Millisecond},
		{"/v1/topics/a?ttl=1000000000", "1", asJSON, 1_000_000_000 * time.Second},
		{"/v1/publish", `{"topic":"a","data":1,"ttl":"1h30m"}`, asJSON, 90 * time.Minute},
		{"/v1/publish", `{"topic":"a","data":1,"ttl":90}`, asJSON, 90 * time.Second},
		{"/v1/publish", `{"topic":"a","data":1,"ttl":null}`, asJSON, 0},
		{"/v1/publish", `topic=a&data=1&ttl=1ms`, form, time.Millisecond},
	} {
		d := newDoor(t, Options{})
		if got := d.do("POST", tc.path, tc.body, tc.header); got.status != 200 {
			t.Errorf("%s %s: status %d: %s", tc.path, tc.body, got.status, got.body)
			continue
		}
		if got := d.published[0].TTL; got != tc.want {
			t.Errorf("%s %s: published for %v, want %v", tc.path, tc.body, got, tc.want)
		}
	}
}

// PUB-13: a retained message whose time is over is not found any more, and its subscribers are told.
func TestARetainedMessageExpiresOverHTTP(t *testing.T) {
	d := newDoor(t, Options{})
	stream := d.stream(t, "filter=a&retained=false")
	stream.want("live {} +")
	if got := d.do("POST", "/v1/topics/a?retain=true&ttl=200ms", "1", asJSON); got.status != 200 {
		t.Fatalf("status %d: %s", got.status, got.body)
	}
	stream.want(`message {"topic":"a","data":1,"retain":true} +`, `message {"topic":"a","data_base64":"","retain":true} +`)
	if got := d.do("GET", "/v1/topics/a", ""); got.status != 404 || got.code(t) != "not_found" {
		t.Errorf("status %d: %s", got.status, got.body)
	}
}
