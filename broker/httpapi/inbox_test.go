package httpapi

import (
	"testing"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/brokertest"
	"github.com/carillon-mq/carillon/protocol"
)

// [REQ-2], [REQ-3]: whoever has seen a request replies over HTTP, without a grant; nobody reads an inbox there.
func TestARequestIsRepliedToOverHTTP(t *testing.T) {
	d := newDoorWith(t, Options{}, broker.Options{Anonymous: &broker.Identity{}})
	asks := brokertest.Dial(t, d.Broker, nil)
	inbox := "$inbox." + asks.Session.ID()
	asks.Subscribe(1, inbox+".>")
	for _, tc := range []struct {
		method, path, body string
		status             int
		code               string
	}{
		{"POST", "/v1/topics/" + inbox + ".1", `3`, 200, ""},
		{"POST", "/v1/publish", `{"topics":["` + inbox + `.2"],"data":4,"headers":{"correlation-id":"2"}}`, 200, ""},
		{"POST", "/v1/topics/" + inbox + ".1?retain=true", `3`, 400, "bad_args"},
		{"DELETE", "/v1/topics/" + inbox + ".1", ``, 400, "bad_args"},
		{"POST", "/v1/topics/" + inbox, `3`, 403, "forbidden"},
		{"POST", "/v1/topics/$inbox.0.1", `3`, 404, "not_found"},
		{"GET", "/v1/topics/" + inbox + ".1", ``, 403, "forbidden"},
		{"GET", "/v1/subscribe?filter=" + inbox + ".1", ``, 403, "forbidden"},
	} {
		if got := d.do(tc.method, tc.path, tc.body, asJSON); got.status != tc.status || tc.code != "" && got.code(t) != tc.code {
			t.Errorf("%s %s: status %d, want %d %s: %s", tc.method, tc.path, got.status, tc.status, tc.code, got.body)
		}
	}
	for _, want := range []string{inbox + `.1 3 `, inbox + `.2 4 2`} {
		m := brokertest.Expect[*protocol.Message](asks)
		if found := m.Topic + " " + string(m.Payload) + " " + m.Headers["correlation-id"]; found != want || m.Seq != 0 {
			t.Errorf("found %q, want %q", found, want)
		}
	}
}
