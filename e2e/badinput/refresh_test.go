package badinput

import (
	"slices"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/internal/rawws"
	"github.com/carillon-mq/carillon/internal/require"
	"github.com/carillon-mq/carillon/protocol"
)

// refreshInputs are fresh tokens that are none ([REF-2], [REF-3], [REF-4]).
func refreshInputs(t testing.TB) []input {
	t.Helper()
	refresh := func(token string) []byte { return bytesOf(&protocol.Refresh{ID: 7, Token: token}) }
	now := time.Now()
	good := token(t, "tester", everything)
	all := []input{
		{id: "P28", name: "somebody else's", counts: once("wrong_user"), send: closes("wrong_user", rawws.Frame(rawws.Binary, refresh(token(t, "other", everything))))},
		{id: "P28", name: "one that ends earlier", send: endsEarlier},
		{id: "P28", name: "first", counts: once("bad_order"), send: first("bad_order", refresh(good))},
		{id: "P29", name: "fewer rights", counts: once("forbidden"), accepted: 2, send: fewerRights},
	}
	for name, bad := range map[string]string{
		"garbage": "garbage", "expired": signedClaims(t, "tester", map[string]any{"exp": now.Add(-time.Hour).Unix(), "iat": now.Add(-2 * time.Hour).Unix()}),
		"signed by another": signedWith("x"+secret[1:], `{"alg":"HS256","kid":"main"}`, `{}`), "nobody's": signedClaims(t, "tester", map[string]any{"sub": nil}),
		"for another audience": signedClaims(t, "tester", map[string]any{"aud": "else"}),
	} {
		all = append(all, input{id: "P28", name: name, counts: once("forbidden"), send: fails("forbidden", refresh(bad), staysItself)})
	}
	return all
}

// staysItself finds that the session has been told what was wrong, and nothing else.
func staysItself(t *testing.T, h *heard) {
	t.Helper()
	for _, p := range h.packets {
		if e, ok := p.(*protocol.ErrorPacket); ok && e.ID != 7 {
			t.Errorf("the error is of request %d: %+v", e.ID, e)
		}
		if _, ok := p.(*protocol.Refreshed); ok {
			t.Error("the token was taken")
		}
	}
}

// endsEarlier has a session end with its fresh token, though the first one was good for an hour.
func endsEarlier(t *testing.T, s *stand) {
	w := connected(t, s, token(t, "tester", everything))
	exp := time.Now().Add(10 * time.Minute).Truncate(time.Second)
	w.packets(&protocol.Refresh{ID: 7, Token: signedClaims(t, "tester", map[string]any{"exp": exp.Unix()})})
	for _, p := range w.until(protocol.TypeRefreshed).packets {
		if r, ok := p.(*protocol.Refreshed); ok && r.Expires != exp.UnixMilli() {
			t.Errorf("the session ends at %d, wanted %d", r.Expires, exp.UnixMilli())
		}
	}
	w.nc.Close()
}

// fewerRights takes a right away: its subscription ends within a second, the other one stays.
func fewerRights(t *testing.T, s *stand) {
	w := connected(t, s, token(t, "tester", everything))
	w.packets(&protocol.Subscribe{ID: 1, Filter: "secret.>", NoRetained: true}, &protocol.Subscribe{ID: 2, Filter: "public.*", NoRetained: true})
	w.until(protocol.TypeSubscribed)
	w.packets(&protocol.Refresh{ID: 7, Token: token(t, "tester", narrow)})
	h := w.until(protocol.TypeRefreshed)
	began := time.Now()
	if len(h.errors) == 0 {
		h = w.until(protocol.TypeError)
	}
	took := time.Since(began)
	var ended []uint64
	for _, p := range h.packets {
		if e, ok := p.(*protocol.ErrorPacket); ok && e.Name == "forbidden" {
			ended = append(ended, e.ID)
		}
	}
	if !slices.Equal(ended, []uint64{1}) || took > require.Bound(time.Second, 10) {
		t.Errorf("found subscriptions %v ended after %s, wanted the first within a second", ended, took)
	}
	p := connected(t, s, token(t, "other", everything))
	p.packets(&protocol.Publish{ID: 1, Topic: "secret.a", Payload: []byte(marker)}, &protocol.Publish{ID: 2, Topic: "public.a", Payload: []byte("1")})
	p.until(protocol.TypePublished)
	p.nc.Close()
	if got := w.until(protocol.TypeMessage).messages(); !slices.Equal(got, []string{"public.a=1"}) {
		t.Errorf("found messages %q, wanted the public one", got)
	}
	w.nc.Close()
}
