package httpapi

import (
	"fmt"
	"strings"
	"testing"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/brokertest"
	"github.com/carillon-mq/carillon/protocol"
)

// PRE-4: who is a member of a topic can be asked over HTTP, with the right to presence on it.
func TestPresenceOverHTTP(t *testing.T) {
	rooms := []broker.Grant{{Actions: broker.ActionSubscribe | broker.ActionPresence, Filter: "room.*"}}
	d := newDoorWith(t, Options{}, broker.Options{Anonymous: &broker.Identity{Grants: rooms}})
	join := func(user string) {
		c := brokertest.Dial(t, d.Broker, &broker.Identity{User: user, Grants: rooms})
		c.Send(&protocol.Subscribe{ID: 1, Filter: "room.7", NoRetained: true, Join: true})
		brokertest.Expect[*protocol.Subscribed](c)
	}
	want := func(body string) {
		t.Helper()
		if got := d.do("GET", "/v1/presence?filter=room.7", ""); got.status != 200 || got.body != body+"\n" || got.header.Get("Cache-Control") != "no-store" {
			t.Errorf("found %d %s, wanted %s", got.status, got.body, body)
		}
	}
	want(`{"topic":"room.7","count":0,"users":[]}`)
	join("bob")
	join("alice")
	want(`{"topic":"room.7","count":2,"users":["alice","bob"]}`)
	if got := d.do("HEAD", "/v1/presence?filter=room.7", ""); got.status != 200 || got.body != "" {
		t.Errorf("found %d %q", got.status, got.body)
	}
	for _, tc := range []struct {
		path   string
		status int
		code   string
	}{
		{"/v1/presence", 400, "bad_args"},
		{"/v1/presence?filter=", 400, "bad_args"},
		{"/v1/presence?filter=room.7&filter=room.8", 400, "bad_args"},
		{"/v1/presence?topic=room.7", 400, "bad_args"},
		{"/v1/presence?filter=room.*", 400, "bad_topic"},
		{"/v1/presence?filter=kitchen", 403, "forbidden"},
		{"/v1/presence?filter=$sys.a", 403, "forbidden"},
	} {
		if got := d.do("GET", tc.path, ""); got.status != tc.status || got.code(t) != tc.code {
			t.Errorf("%s: found %d %s", tc.path, got.status, got.body)
		}
	}
	if got := d.do("POST", "/v1/presence?filter=room.7", ""); got.status != 405 || got.header.Get("Allow") != "GET, HEAD, OPTIONS" {
		t.Errorf("found %d with Allow %q", got.status, got.header.Get("Allow"))
	}
}

// PRE-4: more than 1,000 members are counted and not named.
func TestMoreMembersThanAreNamed(t *testing.T) {
	for n, named := range map[int]bool{protocol.MaxUsers: true, protocol.MaxUsers + 1: false} {
		d := newDoorWith(t, Options{}, broker.Options{})
		d.present = broker.Presence{Count: n}
		if named {
			d.present.Users = make([]string, n)
		}
		got := d.do("GET", "/v1/presence?filter=room.7", "")
		if !strings.HasPrefix(got.body, fmt.Sprintf(`{"topic":"room.7","count":%d`, n)) || strings.Contains(got.body, "users") != named {
			t.Errorf("%d members: found %.100s", n, got.body)
		}
	}
}
