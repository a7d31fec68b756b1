package httpapi

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/brokertest"
)

// authorizing lets everybody in as ann, whose rights but for the topics below "granted" are asked about.
type authorizing struct {
	mu    sync.Mutex
	away  bool
	calls []string
}

func (a *authorizing) Authenticate(context.Context, broker.Credentials) (*broker.Identity, error) {
	publish := broker.ActionPublish | broker.ActionExclude
	return &broker.Identity{User: "ann", Grants: []broker.Grant{{Actions: publish, Filter: "granted.>"}}, Ask: publish | broker.ActionSubscribe | broker.ActionHistory | broker.ActionPresence}, nil
}

// Authorize allows what begins with yes.
func (a *authorizing) Authorize(_ context.Context, who broker.Principal, questions []broker.Question) ([]broker.Decision, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var call []string
	var decisions []broker.Decision
	for _, q := range questions {
		call = append(call, fmt.Sprintf("%s: %d %s", who.User, q.Action, q.Filter))
		decisions = append(decisions, broker.Decision{Allowed: strings.HasPrefix(q.Filter, "yes."), TTL: time.Hour, Reason: "the order is closed"})
	}
	a.calls = append(a.calls, strings.Join(call, ", "))
	if a.away {
		return nil, errors.New("away")
	}
	return decisions, nil
}

// A publish to several topics asks about all of them in one call; each gets its own verdict, and the first that is denied is named, with the
// plugin's reason. Nothing is published then, as where no decision can be had. What was decided is remembered with the identity.
func TestAPublishToSeveralTopicsHasAVerdictForEach(t *testing.T) {
	const publish, exclude = "ann: 1 ", "ann: 16 "
	for _, tc := range []struct {
		name, body string
		away       bool
		status     int
		says       string
		asked      string
		published  uint64
	}{
		{"all allowed", `{"topics":["yes.1","granted.1","yes.2","yes.1"],"data":1}`, false, 200, `"results":[{"topic":"yes.1"`, publish + "yes.1, " + publish + "yes.2", 4},
		{"one denied", `{"topics":["yes.1","no.1","no.2"],"data":1}`, false, 403, `publishing to \"no.1\": the order is closed; nothing was published`, publish + "yes.1, " + publish + "no.1, " + publish + "no.2", 0},
		{"only granted", `{"topics":["granted.1","granted.2"],"data":1}`, false, 200, `"granted.2"`, "", 2},
		{"an origin to exclude", `{"topics":["yes.1","yes.2"],"data":1,"exclude":"tab"}`, false, 200, `"yes.2"`, publish + "yes.1, " + exclude + "yes.1, " + publish + "yes.2, " + exclude + "yes.2", 2},
		{"a bad topic", `{"topics":["yes.1","a..b"],"data":1}`, false, 400, `"bad_topic"`, "", 0},
		{"no decision", `{"topics":["yes.1","granted.1"],"data":1}`, true, 503, `nothing was published`, publish + "yes.1", 0},
		{"no decision is needed", `{"topics":["granted.1","granted.2"],"data":1}`, true, 200, `"granted.2"`, "", 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := &authorizing{away: tc.away}
			d := newDoorWith(t, Options{AuthHeaders: []string{"Cookie"}}, broker.Options{Authenticator: a})
			var want []string
			if tc.asked != "" {
				want = append(want, tc.asked)
			}
			for round := range uint64(2) {
				got := d.do("POST", "/v1/publish", tc.body, asJSON, "Cookie: sid=ann")
				if got.status != tc.status || !strings.Contains(got.body, tc.says) {
					t.Errorf("status %d %s, want %d and %s", got.status, got.body, tc.status, tc.says)
				}
				if n := d.Position().Seq; n != (round+1)*tc.published {
					t.Errorf("%d messages are in the log, want %d", n, (round+1)*tc.published)
				}
			}
			if tc.away {
				want = slices.Repeat(want, 2) // no decision is not remembered
			}
			if !slices.Equal(a.calls, want) {
				t.Errorf("asked %q, want %q", a.calls, want)
			}
		})
	}
}

// [RGT-3]: a right about which no decision can be had is no refusal at any door: the client is told to come back.
func TestNoDecisionAboutARightIsForNow(t *testing.T) {
	for _, tc := range []struct{ method, path, body string }{
		{"POST", "/v1/topics/yes.1", "1"},
		{"DELETE", "/v1/topics/yes.1", ""},
		{"GET", "/v1/topics/yes.1", ""},
		{"GET", "/v1/topics/yes.1/history", ""},
		{"POST", "/v1/publish", `{"topic":"yes.1","data":1}`},
		{"GET", "/v1/subscribe?filter=yes.1", ""},
		{"GET", "/v1/subscribe?filter=yes.1&mode=poll", ""},
		{"GET", "/v1/presence?filter=yes.1", ""},
	} {
		t.Run(tc.method+" "+tc.path, func(t *testing.T) {
			d := newDoorWith(t, Options{AuthHeaders: []string{"Cookie"}}, broker.Options{
				Authenticator: &authorizing{away: true}, Store: brokertest.NewStore(), Topics: []broker.TopicRule{{Match: "yes.>", Class: broker.ClassStored}},
			})
			got := d.do(tc.method, tc.path, tc.body, asJSON, "Cookie: sid=ann")
			if got.status != 503 || !strings.Contains(got.body, `"auth_unavailable"`) || got.header.Get("Retry-After") == "" {
				t.Errorf("status %d %s, Retry-After %q", got.status, got.body, got.header.Get("Retry-After"))
			}
		})
	}
}
