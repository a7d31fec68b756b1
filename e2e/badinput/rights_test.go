package badinput

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/internal/rawws"
	"github.com/carillon-mq/carillon/protocol"
)

// revocable is config with a list of what is revoked.
var revocable = strings.Replace(config, "    keys:\n", "    revoked: REVOKED\n    keys:\n", 1)

// revocationLines are what the log says of a revocation: of the list, by the plugin and by the broker.
const revocationLines = 6

// revoke takes back what a token allows, by its jti.
func (s *stand) revoke(t *testing.T, jti string) {
	t.Helper()
	list, err := os.OpenFile(s.revoked(), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = fmt.Fprintf(list, "{\"jti\": %q}\n", jti); err != nil {
		t.Fatal(err)
	}
	if err := list.Close(); err != nil {
		t.Fatal(err)
	}
}

// rightsInputs are rights that end, and those of somebody else.
func rightsInputs(t testing.TB) []input {
	t.Helper()
	secretPublish := bytesOf(&protocol.Publish{ID: 1, Topic: "secret.a", Payload: []byte(marker)})
	all := []input{
		{id: "F24", name: "the token is revoked inside a frame", counts: once("revoked"), lines: revocationLines, send: revokedInside},
		{id: "P39", name: "retained by somebody whose token is revoked later", counts: map[string]int{"revoked": 2}, accepted: 2, lines: revocationLines, send: retainedByTheRevoked},
		{id: "P25", name: "the name, the inbox and the position of another's session", counts: map[string]int{"forbidden": 3}, accepted: 1, lines: 4, send: anothersSession},
		{id: "P26", name: "two resume from one position at once", accepted: 20, send: resumedTwice},
		{id: "P30", name: "what a Connect asks to have published in the end", send: lastWill},
		{id: "P30", name: "to be told gone from where one may not be", counts: once("forbidden"), send: goneUninvited},
		{id: "C14", name: "the door of MessagePack, to publish", counts: once("forbidden"), send: failsAs(narrow, "forbidden", secretPublish)},
		{id: "C14", name: "the door of MessagePack, to subscribe", counts: once("forbidden"), send: failsAs(narrow, "forbidden", bytesOf(&protocol.Subscribe{ID: 1, Filter: "secret.a"}), noMessages)},
		{id: "C14", name: "the door of JSON", counts: map[string]int{"forbidden": 2}, send: func(t *testing.T, s *stand) {
			w := speaksAs(t, s, token(t, "tester", narrow))
			w.says(`[7,1,"secret.a",1][3,2,"secret.a"][15]`)
			if w.listen(1); !slices.Equal(w.errors, []string{"forbidden", "forbidden"}) {
				t.Errorf("found errors %q and Disconnect %q", w.errors, w.code)
			}
			w.nc.Close()
		}},
		{id: "C14", name: "the admin listener", send: func(t *testing.T, s *stand) {
			for _, path := range []string{"/v1/publish", "/v1/topics/a", "/v1/subscribe?filter=a", "/ws"} {
				w := dial(t, s.admin)
				if a := w.exchange(request("GET", path, "", bearer(token(t, "42", everything)))); a == nil || a.StatusCode != 404 {
					t.Errorf("%s: found %+v", path, a)
				}
				w.nc.Close()
			}
		}},
	}
	small := []string{bearer(token(t, "43", narrow)), jsonType}
	for name, text := range map[string]string{
		"POST of a topic": post("secret.a", "1", small...), "POST of an envelope": request("POST", "/v1/publish", `{"topic":"secret.a","data":1}`, small...),
		"DELETE of a retained message": request("DELETE", "/v1/topics/secret.a", "", small...), "GET of a retained message": request("GET", "/v1/topics/secret.a", "", small...),
		"GET of a history": request("GET", "/v1/topics/kept.a/history", "", small...), "GET of who is there": request("GET", "/v1/presence?filter=secret.a", "", small...),
		"SSE": request("GET", "/v1/subscribe?filter=secret.a", "", small...), "long-poll": request("GET", "/v1/subscribe?filter=secret.a&mode=poll&wait=1", "", small...),
	} {
		all = append(all, input{id: "C14", name: "the door of HTTP, " + name, counts: once("forbidden"), send: refusedBy(text, 403, "forbidden")})
	}
	return all
}

// revokedInside waits for a frame that never ends while the token of the session is revoked.
func revokedInside(t *testing.T, s *stand) {
	w := connected(t, s, signedClaims(t, "tester", map[string]any{"jti": "inside"}))
	w.raw(unhex("82 fe 1000 00000000 01"))
	s.revoke(t, "inside")
	if h := w.end(); h.code != "revoked" || h.status != int(protocol.CodeRevoked) {
		t.Errorf("found %+v", h)
	}
}

// retainedByTheRevoked finds the choice that is documented ([RGT-2]): what was published stays, and its publisher is out.
func retainedByTheRevoked(t *testing.T, s *stand) {
	tok := signedClaims(t, "leaver", map[string]any{"jti": "leaver"})
	p := connected(t, s, tok)
	p.packets(&protocol.Publish{ID: 1, Topic: "left.behind", Payload: []byte("1"), Retain: true})
	p.until(protocol.TypePublished)
	s.revoke(t, "leaver")
	if h := p.end(); h.code != "revoked" {
		t.Errorf("found %+v", h)
	}
	again := upgraded(t, s)
	again.packets(&protocol.Connect{Version: protocol.Version, Token: tok}, &protocol.Publish{ID: 1, Topic: "left.behind", Payload: []byte("2"), Retain: true})
	if h := again.end(); h.code != "revoked" {
		t.Errorf("found %+v", h)
	}
	w := connected(t, s, token(t, "tester", everything))
	w.packets(&protocol.Subscribe{ID: 1, Filter: "left.behind"})
	if got := w.until(protocol.TypeRetainedEnd).messages(); !slices.Equal(got, []string{"left.behind=1"}) {
		t.Errorf("found messages %q, wanted the one from before", got)
	}
	w.packets(&protocol.Publish{ID: 2, Topic: "left.behind", Retain: true})
	w.until(protocol.TypePublished)
	w.nc.Close()
}

// anothersSession shows what names the session of somebody else, and gets nothing by it.
func anothersSession(t *testing.T, s *stand) {
	owner := upgraded(t, s)
	owner.packets(&protocol.Connect{Version: protocol.Version, Token: token(t, "owner", everything)}, &protocol.Subscribe{ID: 1, Filter: "secret.a", NoRetained: true})
	var hello *protocol.Connected
	for _, p := range owner.until(protocol.TypeSubscribed).packets {
		if c, ok := p.(*protocol.Connected); ok {
			hello = c
		}
	}
	if hello == nil {
		t.Fatal("no session")
	}
	owner.packets(&protocol.Publish{ID: 2, Topic: "secret.a", Payload: []byte(marker)})
	owner.until(protocol.TypePublished)
	tok := token(t, "tester", narrow)
	w := upgraded(t, s)
	b := append(unhex(fmt.Sprintf("94 01 01 da %04x", len(tok))), tok...)
	w.raw(rawws.Frame(rawws.Binary, append(b, unhex("82"+text("session")+text(hello.Session)+text("user")+text("owner"))...)))
	for _, p := range w.until(protocol.TypeConnected).packets {
		if c, ok := p.(*protocol.Connected); ok && (c.Session == hello.Session || c.User != "tester") {
			t.Errorf("found the session %s of %s", c.Session, c.User)
		}
	}
	w.packets(
		&protocol.Subscribe{ID: 1, Filter: "$inbox." + hello.Session + ".>", NoRetained: true},
		&protocol.Subscribe{ID: 2, Filter: "secret.a", Position: hello.Position.Append(nil)},
		&protocol.Subscribe{ID: 3, Filter: "$user.owner.>", NoRetained: true},
	)
	h := w.asks()
	for len(h.errors) < 3 && !h.ended {
		more := w.until(protocol.TypeError)
		h.errors, h.packets, h.ended = append(h.errors, more.errors...), append(h.packets, more.packets...), more.ended
	}
	if !slices.Equal(h.errors, []string{"forbidden", "forbidden", "forbidden"}) {
		t.Errorf("found errors %q", h.errors)
	}
	noMessages(t, h)
	w.nc.Close()
	if h := owner.asks(); h.ended {
		t.Errorf("the owner's session has ended: %q", h.code)
	}
	owner.nc.Close()
}

// resumedTwice has two sessions resume from one position at the same time. A position is nobody's: both get all, once and in order ([RES-1]).
func resumedTwice(t *testing.T, s *stand) {
	at := position(t, s)
	p := connected(t, s, token(t, "tester", everything))
	var want []string
	for i := range 20 {
		p.packets(&protocol.Publish{Topic: "twice.a", Payload: fmt.Append(nil, i)})
		want = append(want, fmt.Sprint("twice.a=", i))
	}
	p.asks()
	p.nc.Close()
	both := []*wire{connected(t, s, token(t, "tester", everything)), connected(t, s, token(t, "tester", everything))}
	for _, w := range both {
		w.packets(&protocol.Subscribe{ID: 1, Filter: "twice.a", Position: at})
	}
	for _, w := range both {
		if got := w.until(protocol.TypeResumed).messages(); !slices.Equal(got, want) {
			t.Errorf("found messages %q, wanted %q", got, want)
		}
		w.nc.Close()
	}
}

// lastWill asks for a last will, which there is not: nothing is published when the connection is lost.
func lastWill(t *testing.T, s *stand) {
	watch := connected(t, s, token(t, "watch", everything))
	watch.packets(&protocol.Subscribe{ID: 1, Filter: "will.>", NoRetained: true})
	watch.until(protocol.TypeSubscribed)
	tok := token(t, "tester", everything)
	w := upgraded(t, s)
	b := append(unhex(fmt.Sprintf("94 01 01 da %04x", len(tok))), tok...)
	w.raw(rawws.Frame(rawws.Binary, append(b, unhex("81"+text("will")+"92"+text("will.a")+text(marker))...)))
	if h := w.until(protocol.TypeConnected); h.ended {
		t.Errorf("found %q", h.code)
	}
	_ = w.nc.SetLinger(0)
	w.nc.Close()
	s.canary.pass(t, 5)
	noMessages(t, watch.asks())
	watch.nc.Close()
}

// goneUninvited joins a topic without the right to, and is cut: the one thing that the end of a connection has published, who has left, is not.
func goneUninvited(t *testing.T, s *stand) {
	watch := connected(t, s, token(t, "watch", rights{"subscribe": filters{">"}, "presence": filters{">"}}))
	watch.packets(&protocol.Subscribe{ID: 1, Filter: "$presence.kitchen", NoRetained: true})
	watch.until(protocol.TypeSubscribed)
	w := connected(t, s, token(t, "tester", rights{"subscribe": filters{">"}}))
	w.packets(&protocol.Subscribe{ID: 1, Filter: "kitchen", Join: true})
	if h := w.until(protocol.TypeError); !slices.Equal(h.errors, []string{"forbidden"}) {
		t.Errorf("found errors %q", h.errors)
	}
	w.raw(rawws.Frame(rawws.Close, []byte{0x03, 0xe8})) // who leaves so is gone at once
	w.end()
	began := time.Now()
	for time.Since(began) < 1500*time.Millisecond { // changes come once a second at most ([PRE-3])
		s.canary.pass(t, 10)
	}
	noMessages(t, watch.asks())
	watch.nc.Close()
}
