package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/plugins/plugintest"
	"github.com/carillon-mq/carillon/protocol"
)

func TestContract(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch session, err := r.Cookie("PHPSESSID"); {
		case err == nil && session.Value == "ada":
			fmt.Fprint(w, `{"user": 42, "grants": {"subscribe": ["orders.{user}.>"]}, "expires_in": 600, "limits": {"publish_rate": 7}}`)
		case err == nil && session.Value == "locked":
			w.WriteHeader(http.StatusForbidden)
		case r.Header.Get("Authorization") == "Bearer good":
			fmt.Fprint(w, `{"user": "api"}`)
		default:
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	defer app.Close()
	session := func(id string) broker.Credentials {
		return broker.Credentials{Transport: "ws", Remote: "192.0.2.1", Header: http.Header{"Cookie": {"theme=dark; PHPSESSID=" + id}}}
	}
	want := &broker.Identity{
		User: "42", Expires: time.Now().Add(10 * time.Minute), Issued: time.Now(), Limits: broker.SessionLimits{PublishRate: 7},
		Grants: []broker.Grant{{Actions: broker.ActionPublish, Filter: "chat.42"}, {Actions: broker.ActionSubscribe, Filter: "orders.42.>"}},
	}
	plugintest.Run(t, plugintest.Plugin{
		Path:    plugintest.Build(t, "."),
		Bundled: true,
		Config:  fmt.Sprintf(`{"url": %q, "remember": "none", "grants": {"publish": ["chat.{user}"]}}`, app.URL),
		Logins: []plugintest.Login{
			{Name: "a session", Credentials: session("ada"), Check: func(id *broker.Identity) error {
				if d := cmp.Diff(want, id, cmpopts.EquateApproxTime(time.Minute)); d != "" {
					return fmt.Errorf("the identity differs (- want, + got): %s", d)
				}
				return nil
			}},
			{Name: "a token", Credentials: broker.Credentials{Token: "good"}, Check: func(id *broker.Identity) error {
				if id.User != "api" {
					return fmt.Errorf("user %q, want api", id.User)
				}
				return nil
			}},
			{Name: "a session that has ended", Credentials: session("gone"), Refused: protocol.CodeTokenMissing},
			{Name: "a user who is locked out", Credentials: session("locked"), Refused: protocol.CodeKicked},
			{Name: "a bad token", Credentials: broker.Credentials{Token: "bad"}, Refused: protocol.CodeTokenBadClaims},
			{Name: "nothing", Credentials: broker.Credentials{Transport: "ws"}, Refused: protocol.CodeTokenMissing},
		},
	})
}
