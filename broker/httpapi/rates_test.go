package httpapi

import (
	"fmt"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/protocol"
)

func TestARateThatTheTokenStatesHoldsOverHTTP(t *testing.T) {
	stated := func(user string, l broker.SessionLimits) *broker.Identity {
		return &broker.Identity{User: user, Limits: l}
	}
	r := newRates(10, 1000, 100)
	now := time.Now()
	taken := func(id *broker.Identity, n, size int) (ok int) {
		t.Helper()
		for range 1000 {
			switch err := r.allow(id, now, n, size); {
			case err == nil:
				ok++
			case err.Code != protocol.CodeRateLimited || err.RetryAfter <= 0:
				t.Fatalf("found %+v, wanted rate_limited and when to come again", err)
			}
		}
		return ok
	}
	few := stated("a", broker.SessionLimits{PublishRate: 5})
	if n := taken(few, 1, 1); n != 10 {
		t.Errorf("found %d publishes at once, wanted the burst of 10", n)
	}
	if n := taken(stated("a", broker.SessionLimits{PublishRate: 5}), 1, 1); n != 0 {
		t.Errorf("found %d publishes with another token of the same user, wanted none", n)
	}
	if n := taken(stated("b", broker.SessionLimits{PublishRate: 5}), 5, 1); n != 2 {
		t.Errorf("found %d requests of 5 topics of another user, wanted 2", n)
	}
	if n := taken(stated("c", broker.SessionLimits{PublishBytes: 3000}), 1, 500); n != 6 {
		t.Errorf("found %d publishes of 500 bytes, wanted 6 of 3,000 bytes a second", n)
	}
	if n := taken(stated("d", broker.SessionLimits{PublishBytes: 100}), 1, 1000); n != 1 {
		t.Errorf("found %d of the largest payloads, wanted 1", n)
	}
	for name, id := range map[string]*broker.Identity{
		"nothing is stated": stated("e", broker.SessionLimits{}), "unlimited": stated("f", broker.SessionLimits{PublishRate: broker.Unlimited, PublishBytes: broker.Unlimited}),
	} {
		if n := taken(id, 100, 1000); n != 1000 {
			t.Errorf("%s: found %d of 1,000 taken", name, n)
		}
	}
	now = now.Add(time.Second)
	if n := taken(few, 1, 1); n != 5 {
		t.Errorf("found %d publishes a second later, wanted 5", n)
	}
}

func TestUsersWithRatesAreBounded(t *testing.T) {
	r := newRates(1, 1, 10)
	now := time.Now()
	ask := func(i int) *protocol.Error {
		return r.allow(&broker.Identity{User: fmt.Sprint(i), Limits: broker.SessionLimits{PublishRate: 1}}, now, 1, 1)
	}
	for i := range 1000 {
		if err := ask(i); err != nil {
			t.Fatalf("user %d: %v", i, err)
		}
		if len(r.users) > 10 {
			t.Fatalf("found %d users remembered, the limit is 10", len(r.users))
		}
	}
	now = now.Add(2 * time.Second)
	if ask(1000) != nil || len(r.users) != 1 {
		t.Errorf("found %d users remembered when all the others have rested, wanted 1", len(r.users))
	}
	if ask(1000) == nil {
		t.Error("found a user beyond the rate taken")
	}
}

func TestPublishesBeyondAStatedRateAreRefused(t *testing.T) {
	d := newDoorWith(t, Options{PublishBurst: 2}, broker.Options{Anonymous: &broker.Identity{
		Grants: broker.Everybody().Grants, Limits: broker.SessionLimits{PublishRate: 1},
	}})
	taken := 0
	for taken < 1000 && d.do("POST", "/v1/topics/a", "x").status == 200 {
		taken++
	}
	if taken < 2 || taken == 1000 {
		t.Errorf("found %d publishes taken, wanted the burst of 2, and what the machine takes its time for", taken)
	}
	a := d.do("POST", "/v1/publish", `{"topics":["a","b"],"data":1}`, asJSON)
	if a.status != 429 || a.code(t) != "rate_limited" || a.header.Get("Retry-After") == "" {
		t.Errorf("found %+v", a)
	}
	if n := d.Stats().Rejected[protocol.CodeRateLimited]; n != 2 {
		t.Errorf("found it counted %d times, wanted 2", n)
	}
}
