package badinput

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/carillon-mq/carillon/internal/built"
	"github.com/carillon-mq/carillon/internal/rawws"
	"github.com/carillon-mq/carillon/protocol"
)

// smallLimits are those of a broker on which every limit is soon reached.
const smallLimits = `
trusted_proxies: [127.0.0.1]
limits:
  ring: 2MiB
  payload: 1KiB
  headers: 64B
  subscriptions: 3
  subscribe_rate: 5
  subscribe_burst: 6
  publish_rate: 5
  publish_burst: 6
  publish_bytes: 4KiB
  ping_rate: 5
  sessions: 8
  sessions_per_user: 3
  sessions_per_address: 2
  subscriptions_total: 6
  retained: 3
`

// otherLimits are proven where there is more to them than a refusal.
var otherLimits = map[string]string{
	"ring": "e2e: the broker's memory under everything at once", "resume_window": "broker: tests of resuming", "pending": "broker: tests of lagging sessions",
	"inflight": "P35, and broker: tests of unanswered publishes", "retained_bytes": "broker: retained messages are bounded by their bytes",
	"store_pending": "broker: tests of the store", "message_ids": "broker: tests of message ids", "auth_timeout": "plugins/host: tests of calls",
	"store_timeout": "A22", "connect_timeout": "P3", "ping_every": "broker: tests of the heartbeat", "pong_wait": "broker: tests of the heartbeat",
	"stalled": "e2e: clients that are silent", "drain": "e2e: tests of draining", "drain_spread": "e2e: tests of draining",
}

// limitInputs go beyond a limit each, and are told so by its code.
func limitInputs(t testing.TB) map[string]input {
	t.Helper()
	free := rights{"publish": filters{">"}, "subscribe": filters{">"}, "limits": unlimited}
	plain := rights{"publish": filters{">"}, "subscribe": filters{">"}}
	repeat := func(n int, packet func(i int) protocol.Packet) (b []byte) {
		for i := range n {
			b = packet(i).Append(b)
		}
		return b
	}
	publish := func(n, size int) []byte {
		return repeat(n, func(i int) protocol.Packet {
			return &protocol.Publish{ID: uint64(i + 1), Topic: "a", Payload: make([]byte, size)}
		})
	}
	subscribe := func(n int) []byte {
		return repeat(n, func(i int) protocol.Packet {
			return &protocol.Subscribe{ID: uint64(i + 1), Filter: "a", NoRetained: true}
		})
	}
	limited := map[string]int{"rate_limited": 1}
	headers := bytesOf(&protocol.Publish{ID: 1, Topic: "a", Headers: map[string]string{"k": strings.Repeat("v", 64)}})
	retainedToo := func(t *testing.T, s *stand) {
		w := connected(t, s, token(t, "keeper", free))
		for i := range 4 {
			w.packets(&protocol.Publish{ID: uint64(i + 1), Topic: fmt.Sprint("kept.", i), Payload: []byte("1"), Retain: true})
			if h := w.until(protocol.TypePublished + protocol.Type(min(i/3, 1))*(protocol.TypeError-protocol.TypePublished)); (i == 3) != (strings.Join(h.errors, " ") == "quota") {
				t.Errorf("topic %d: found errors %q", i, h.errors)
			}
		}
		w.nc.Close()
	}
	return map[string]input{
		"payload":             {counts: once("too_large"), send: failsAs(free, "too_large", publish(1, 1025))},
		"headers":             {counts: once("too_large"), send: failsAs(free, "too_large", headers)},
		"subscriptions":       {counts: once("subscription_limit"), send: failsAs(plain, "subscription_limit", subscribe(4))},
		"subscribe_rate":      {counts: map[string]int{"rate_limited": 1, "subscription_limit": 1}, many: true, lines: 20, send: exceeds(plain, subscribe(12))},
		"subscribe_burst":     {counts: map[string]int{"rate_limited": 1, "subscription_limit": 1}, many: true, lines: 20, send: exceeds(plain, subscribe(9))},
		"publish_rate":        {counts: limited, many: true, lines: 20, accepted: anyNumber, send: exceeds(plain, publish(20, 1))},
		"publish_burst":       {counts: limited, many: true, lines: 20, accepted: anyNumber, send: exceeds(plain, publish(12, 1))},
		"publish_bytes":       {counts: limited, many: true, lines: 20, accepted: anyNumber, send: exceeds(rights{"publish": filters{">"}, "limits": map[string]any{"publish_rate": "unlimited"}}, publish(6, 1000))},
		"ping_rate":           {counts: once("flooding"), send: closes("flooding", rawws.Frame(rawws.Binary, repeat(40, func(int) protocol.Packet { return &protocol.Ping{} })))},
		"subscriptions_total": {counts: once("subscription_limit"), send: failsAs(free, "subscription_limit", subscribe(6))},
		"sessions":            {counts: once("session_limit"), send: tooManySessions(7, func(i int) string { return fmt.Sprint("user", i) }, "")},
		"sessions_per_user":   {counts: once("session_limit"), send: tooManySessions(3, func(int) string { return "user" }, "")},
		"sessions_per_address": {
			counts: once("session_limit"), send: tooManySessions(2, func(i int) string { return fmt.Sprint("user", i) }, "X-Forwarded-For: 10.1.2.3"),
		},
		"retained": {counts: once("quota"), accepted: 3, send: retainedToo},
	}
}

// exceeds sends what is refused in part, because there is too much of it at once; the session goes on.
func exceeds(r rights, b []byte) func(*testing.T, *stand) {
	return func(t *testing.T, s *stand) {
		t.Helper()
		w := connected(t, s, token(t, "tester", r))
		w.raw(rawws.Frame(rawws.Binary, b))
		if h := w.asks(); h.ended || !strings.Contains(strings.Join(h.errors, " "), "rate_limited") {
			t.Errorf("found errors %q and Disconnect %q, wanted rate_limited", h.errors, h.code)
		}
		w.nc.Close()
	}
}

// tooManySessions opens as many sessions as there may be, and one more.
func tooManySessions(n int, user func(i int) string, header string) func(*testing.T, *stand) {
	return func(t *testing.T, s *stand) {
		t.Helper()
		request := upgradeWith()
		if header != "" {
			request = upgradeWith(header)
		}
		for i := range n + 1 {
			w := dial(t, s.listen)
			defer w.nc.Close()
			w.exchangeHead(request)
			w.packets(&protocol.Connect{Version: protocol.Version, Token: token(t, user(i), everything)})
			if h := w.until(protocol.TypeConnected); (h.code == "session_limit") != (i == n) {
				t.Errorf("session %d of %d: found %q", i+1, n, h.code)
			}
		}
	}
}

// TestEveryLimitIsInForce goes beyond each limit of the configuration, with the postconditions of all bad input.
func TestEveryLimitIsInForce(t *testing.T) {
	t.Parallel()
	small := strings.Replace(config, "limits: {ring: 2MiB}\n", strings.TrimPrefix(smallLimits, "\n"), 1)
	s := openStand(t, small)
	control := openStand(t, config)
	cmd := exec.CommandContext(t.Context(), carillonBinary, "config", "show", "-c", filepath.Join(s.dir, "carillon.yaml"))
	cmd.Env = built.Environ()
	shown, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(shown), "\nlimits:\n")
	j, inputs, n := newJudge(t, s), limitInputs(t), 0
	for line := range strings.SplitSeq(section, "\n") {
		if line != "" && line[0] != ' ' && line[0] != '#' {
			break // the next section
		}
		name, _, isKey := strings.Cut(strings.TrimSpace(line), ":")
		in, here := inputs[name]
		if _, elsewhere := otherLimits[name]; !isKey || name[0] == '#' || elsewhere && !here {
			continue
		}
		if n++; !here {
			t.Errorf("nobody goes beyond limits.%s", name)
			continue
		}
		in.id = name
		j.all(t, []input{in})
	}
	if n != len(inputs) {
		t.Errorf("found %d limits of %d: %s", n, len(inputs), section)
	}
	j.end(t)
	s.canary.judge(t, control.canary)
}
