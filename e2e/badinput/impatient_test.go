package badinput

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/carillon-mq/carillon/protocol"
)

// impatient sends 500 publishes behind its Connect, about which nothing is decided for a second (P5). None is done before it.
func impatient(t *testing.T) {
	asked, decide := make(chan struct{}), make(chan struct{})
	answers := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "Bearer slow" {
			close(asked)
			<-decide
		}
		fmt.Fprint(w, `{"user": "u", "grants": {"publish": [">"], "subscribe": [">"]}, "limits": {"publish_rate": "unlimited"}}`)
	}))
	defer answers.Close()
	s := openStand(t, "auth: {plugin: auth-http, config: {url: "+answers.URL+", timeout: 1m, remember: none}}\nlimits: {ring: 2MiB, auth_timeout: 1m, connect_timeout: 1m}\ntopics: [{match: canary, class: live}]\n")
	w := upgraded(t, s)
	packets := []protocol.Packet{&protocol.Connect{Version: protocol.Version, Token: "slow"}}
	for range 500 {
		packets = append(packets, &protocol.Publish{Topic: "a", Payload: []byte(marker)})
	}
	w.packets(append(packets, &protocol.Ping{})...)
	<-asked
	before := s.figures(t)
	s.canary.pass(t, 100)
	if n := s.figures(t).accepted() - before.accepted(); n != 0 {
		t.Errorf("found %d publishes done before anything was decided", n)
	}
	close(decide)
	if h := w.until(protocol.TypePong); len(h.packets) != 2 || h.packets[0].Type() != protocol.TypeConnected {
		t.Errorf("found %d packets and %q, wanted Connected and Pong", len(h.packets), h.code)
	}
	after := s.figures(t)
	if n := after.accepted() - before.accepted(); n != 500 || inUse(after) > inUse(before)+growth {
		t.Errorf("found %d publishes done behind it, wanted 500; %.0f KiB in use, %.0f before", n, inUse(after)/1024, inUse(before)/1024)
	}
	w.nc.Close()
	s.canary.pass(t, 5)
	checkLog(t, s.said(0), 20)
}
