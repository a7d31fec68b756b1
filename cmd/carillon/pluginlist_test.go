package main

import (
	"strings"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/broker/admin"
	"github.com/carillon-mq/carillon/plugins/host"
)

// Every state but ready comes with what will happen and what to do.
func TestEveryStateOfAPluginComesWithAdvice(t *testing.T) {
	now := time.Now()
	for state := host.Starting; state.String() != "unknown"; state++ {
		p := admin.Plugin{Name: "auth-doors", State: state.String(), RetryAt: now.Add(90 * time.Second)}
		advice := adviceFor(p, now)
		if ready := state == host.Ready || state == host.Attached; (advice == "") != ready { // attached is never without an address
			t.Errorf("%v: %q", state, advice)
		}
		p.Attach = "unix:/tmp/s"
		ends := state == host.Ready || state == host.Stopping || state == host.Stopped
		if advice := adviceFor(p, now); (advice == "") != ends {
			t.Errorf("%v, attached: %q", state, advice)
		}
	}
	for name, c := range map[string]struct {
		p    admin.Plugin
		says string
	}{
		"backoff":      {admin.Plugin{State: "backoff", RetryAt: now.Add(90 * time.Second)}, "started again in 1m30s"},
		"at once":      {admin.Plugin{State: "backoff", RetryAt: now}, "started again soon"},
		"too often":    {admin.Plugin{State: "failed", RetryAt: now.Add(time.Minute)}, "ended too often"},
		"refused":      {admin.Plugin{State: "failed"}, "not started again by itself"},
		"breaker":      {admin.Plugin{State: "ready", Breaker: "open"}, "publishes that need it are refused"},
		"how to start": {admin.Plugin{State: "backoff", Attach: "unix:/tmp/s"}, "--debug=unix:/tmp/s"},
	} {
		if advice := adviceFor(c.p, now); !strings.Contains(advice, c.says) {
			t.Errorf("%s: %q, wanted %q", name, advice, c.says)
		}
	}
}
