//go:build unix

package host

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/protocol"
)

// shadowSays waits until the candidate's figures are as wanted.
func shadowSays(t *testing.T, h *Host, wanted func(ShadowFigures) bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	timeout := time.After(patience)
	for {
		var last ShadowFigures
		for _, f := range h.Figures() {
			if f.Shadow != nil {
				last = *f.Shadow
			}
		}
		if wanted(last) {
			return
		}
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatalf("the figures of the candidate are %+v and not as wanted", last)
		}
	}
}

func TestACandidateIsAskedBesideThePluginAndDecidesNothing(t *testing.T) {
	t.Parallel()
	log, logger := newLog()
	o := patient()
	o.Logger = logger
	h := newHost(t, o)
	a := startAuth(t, h, config(bundled("a", "auth"), `{"user": "active"}`))
	candidate := config(bundled("a-shadow", "auth"), `{"user": "candidate"}`)
	if err := a.SetShadow(t.Context(), &candidate); err != nil {
		t.Fatal(err)
	}
	s := until(t, h, "a-shadow", in(Ready))
	if !s.Shadow || s.Kind != KindAuth {
		t.Errorf("status %+v", s)
	}
	if got := asked(t, a, "s3cr3t-token"); got != "active" {
		t.Errorf("%q decided", got)
	}
	if _, err := a.Authenticate(t.Context(), broker.Credentials{Token: "expired"}); !isRefusal(err) {
		t.Errorf("got %v, wanted the plugin's refusal", err)
	}
	shadowSays(t, h, func(f ShadowFigures) bool { return f == ShadowFigures{Compared: 2, Differences: 1} })
	line := log.line(t, "candidate decides otherwise")
	if !strings.Contains(line, "user candidate") || !strings.Contains(line, "user=active") || strings.Contains(line, "s3cr3t") {
		t.Errorf("log line %q", line)
	}

	hangs := bundled("a-shadow", "auth")
	hangs.Config = []byte(`{"slow": 1}`)
	if err := a.SetShadow(t.Context(), &hangs); err != nil {
		t.Fatal(err)
	}
	const many = shadowWaiting + shadowAsking + 100
	began := time.Now()
	for range many {
		asked(t, a, "x")
	}
	if took := time.Since(began); took > patience { // one after the other, the questions would have been 30 minutes
		t.Errorf("%d calls took %v with a candidate that does not answer", many, took)
	}
	shadowSays(t, h, func(f ShadowFigures) bool { return f.Dropped >= 50 })

	if err := a.SetShadow(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if list := h.List(); len(list) != 1 || asked(t, a, "x") != "active" {
		t.Errorf("plugins left: %+v", list)
	}
}

func TestACandidateThatDoesNotStartHurtsNobody(t *testing.T) {
	t.Parallel()
	h := newHost(t, patient())
	a := startAuth(t, h, bundled("a", "auth"))
	candidate := bundled("c", "panic")
	if err := a.SetShadow(t.Context(), &candidate); err != nil {
		t.Fatal(err)
	}
	until(t, h, "c", func(s Status) bool { return s.Restarts > 1 })
	for range 10 {
		asked(t, a, "x")
	}
	shadowSays(t, h, func(f ShadowFigures) bool { return f.Failed == 10 && f.Compared == 0 })
}

func TestWhatDiffersBetweenTwoDecisionsIsNamed(t *testing.T) {
	refused := func(c protocol.Code) error { return protocol.Errorf(c, "no") }
	base := func(change func(*broker.Identity)) *broker.Identity {
		id := &broker.Identity{
			User: "u", TokenID: "t", Expires: time.Unix(1, 0), Attributes: map[string]string{"a": "s3cr3t"},
			Grants: []broker.Grant{{Actions: broker.ActionPublish | broker.ActionSubscribe, Filter: "a.>"}, {Actions: broker.ActionPublish, Filter: "b"}},
		}
		change(id)
		return id
	}
	same := base(func(*broker.Identity) {})
	for _, c := range []struct {
		name    string
		id      *broker.Identity
		err     error
		ofOther error // when the active one refused
		want    string
	}{
		{"the same", same, nil, nil, ""},
		{"grants split up", base(func(id *broker.Identity) {
			id.Grants = []broker.Grant{{Actions: broker.ActionPublish, Filter: "b"}, {Actions: broker.ActionSubscribe, Filter: "a.>"}, {Actions: broker.ActionPublish, Filter: "a.>"}}
		}), nil, nil, ""},
		{"refused", nil, refused(protocol.CodeTokenExpired), nil, "refused (token_expired), not let in"},
		{"let in", same, nil, refused(protocol.CodeRevoked), "let in, not refused (revoked)"},
		{"both refused", nil, refused(protocol.CodeRevoked), refused(protocol.CodeRevoked), ""},
		{"otherwise refused", nil, refused(protocol.CodeTokenExpired), refused(protocol.CodeRevoked), "refused as token_expired, not as revoked"},
		{"user", base(func(id *broker.Identity) { id.User = "v\n" }), nil, nil, `user v\n`},
		{"less", base(func(id *broker.Identity) { id.Grants = nil }), nil, nil, "grants less: a.> (publish, subscribe) and 1 more"},
		{"more", base(func(id *broker.Identity) {
			id.Grants = append(id.Grants, broker.Grant{Actions: broker.ActionHistory, Filter: ">"})
		}), nil, nil, "grants more: > (history)"},
		{"the rest", base(func(id *broker.Identity) {
			id.TokenID, id.Expires, id.Attributes, id.Limits.PublishRate = "", time.Time{}, nil, 7
		}), nil, nil, "token id; expires; limits; attributes"},
	} {
		active := same
		if c.ofOther != nil {
			active = nil
		}
		got := strings.Join(compareDecisions(active, c.ofOther, c.id, c.err), "; ")
		if got != c.want {
			t.Errorf("%s: %q, wanted %q", c.name, got, c.want)
		}
	}
}

func TestACandidateEndsWithItsHost(t *testing.T) {
	t.Parallel()
	h := newHost(t, patient())
	a := startAuth(t, h, bundled("a", "auth"))
	candidate := bundled("c", "auth")
	if err := a.SetShadow(t.Context(), &candidate); err != nil {
		t.Fatal(err)
	}
	if err := h.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := a.SetShadow(t.Context(), nil); err != nil {
		t.Error(err)
	}
	if err := a.SetShadow(t.Context(), &candidate); !errors.Is(err, errClosed) {
		t.Errorf("a candidate after Close: %v", err)
	}
}
