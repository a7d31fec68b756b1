package badinput

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

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
  retained: 4
  retained_bytes: 2500B
  message_ids: 3
  accept_rate: 20
  accept_burst: 10
`

// otherLimits are proven where there is more to them than a refusal: FOLDER.TEST, which sets the limit and goes beyond it. That the key reaches
// what the test is of is proven for all of them (limitsReach).
var otherLimits = map[string][]string{
	"ring":            {"e2e.TestASilentlyCutConnectionResumes", "e2e.TestMemoryStaysWithinItsBound"},
	"resume_window":   {"broker.TestAResumeWithoutHistoryReachesBackTheResumeWindow", "broker.TestAResumeFromTheStoreWithoutHistoryReachesBackTheResumeWindow"},
	"pending":         {"broker.TestASessionLagsBeyondWhatMayWaitForIt"},
	"inflight":        {"broker.TestASessionWithItsLimitOfUnansweredPublishesWaits"},
	"store_pending":   {"broker.TestPublishesThatWaitForTheStoreAreBoundedInAll"},
	"auth_timeout":    {"broker.TestALoginThatIsNotDecidedInTimeIsUnavailable", "broker.TestASubscriptionEndsWhenNoDecisionCanBeHadInTime"},
	"store_timeout":   {"broker.TestWhatWaitsTooLongForTheStoreIsWithdrawn", "e2e/badinput.TestBadInputThatNeedsABrokerOfItsOwn"}, // A22
	"connect_timeout": {"broker.TestASessionThatDoesNotConnectEnds", "e2e/badinput.TestBadInputThatTakesItsTime"},                 // P3
	"ping_every":      {"broker.TestAClientThatAnswersPingsStays", "broker.TestAnotherPingDoesNotPutOffTheEnd"},
	"pong_wait":       {"broker.TestASessionThatDoesNotAnswerAPingEnds", "broker.TestAnotherPingDoesNotPutOffTheEnd"},
	"stalled":         {"broker.TestASessionThatTakesNothingEndsAsStalled"},
	"drain":           {"e2e/badinput.TestADrainEndsInItsTime"},
	"drain_spread":    {"broker.TestDrainSpreadsWhoComesBack", "e2e/badinput.TestADrainEndsInItsTime"},
}

// limitsReach is the test of the way from the configuration to the core.
const limitsReach = "cmd/carillon.TestEveryLimitReachesTheCore"

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
	// each but the last of these publishes is taken
	allButTheLast := func(n int, p func(i int) *protocol.Publish) func(t *testing.T, s *stand) {
		return func(t *testing.T, s *stand) {
			t.Helper()
			w := connected(t, s, token(t, "keeper", free))
			for i := range n {
				w.packets(p(i))
				stop := protocol.TypePublished
				if i == n-1 {
					stop = protocol.TypeError
				}
				if h := w.until(stop); h.ended || (i == n-1) != (strings.Join(h.errors, " ") == "quota") {
					t.Errorf("publish %d: found errors %q and Disconnect %q", i, h.errors, h.code)
				}
			}
			w.nc.Close()
		}
	}
	retainedToo := allButTheLast(4, func(i int) *protocol.Publish {
		return &protocol.Publish{ID: uint64(i + 1), Topic: fmt.Sprint("kept.", i), Payload: []byte("1"), Retain: true}
	})
	retainedBytesToo := allButTheLast(2, func(i int) *protocol.Publish { // of 2 KiB, with what a value costs beside its payload
		return &protocol.Publish{ID: uint64(i + 1), Topic: fmt.Sprint("kept.", i), Payload: make([]byte, 1000), Retain: true}
	})
	moreIDs := allButTheLast(4, func(i int) *protocol.Publish {
		return &protocol.Publish{ID: uint64(i + 1), Topic: "a", MessageID: fmt.Sprint("m", i)}
	})
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
		"retained":       {counts: once("quota"), accepted: 3, send: retainedToo},
		"retained_bytes": {counts: once("quota"), accepted: 1, send: retainedBytesToo},
		"message_ids":    {counts: once("quota"), accepted: 3, send: moreIDs},
		"accept_rate":    {send: crowd(30)},
		"accept_burst":   {send: crowd(15)},
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

// crowd has more clients come at once than are accepted, limits.accept_burst at once and then limits.accept_rate a second. All are served, later.
func crowd(n int) func(*testing.T, *stand) {
	const burst, perSecond = 10, 20
	return func(t *testing.T, s *stand) {
		t.Helper()
		before, began := s.figures(t), time.Now()
		all := make([]*wire, n)
		for i := range all {
			all[i] = dial(t, s.listen) // by the kernel, which does not ask the broker
			defer all[i].nc.Close()
			all[i].text("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
		}
		for i, w := range all {
			if a := w.exchange(""); a == nil || a.StatusCode != 200 {
				t.Errorf("client %d: found %+v, wanted it served", i, a)
			}
		}
		took, delayed := time.Since(began), s.figures(t)[acceptsDelayed]-before[acceptsDelayed]
		if least := time.Duration(n-burst) * time.Second / perSecond; took < least*9/10 || delayed < 1 || int(delayed) > n {
			t.Errorf("%d clients were served in %s, %.0f of them late; wanted it to take %s", n, took, delayed, least)
		}
	}
}

const acceptsDelayed = "carillon_accepts_delayed_total"

// TestADrainEndsInItsTime goes beyond limits.drain with a request that does not end, and has its clients told to come back within limits.drain_spread.
func TestADrainEndsInItsTime(t *testing.T) {
	t.Parallel()
	s := openStand(t, strings.Replace(config, "limits: {", "limits: {drain: 1s, drain_spread: 5ms, ", 1))
	slow := dial(t, s.listen)
	slow.text("POST /v1/topics/a HTTP/1.1\r\nHost: localhost\r\n" + bearer(token(t, "42", everything)) + "\r\nContent-Length: 1000\r\n\r\nx")
	var clients []*wire
	for range 5 {
		clients = append(clients, connected(t, s, token(t, "42", everything)))
	}
	began := time.Now()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for _, w := range clients {
		h := w.end()
		last, ok := h.packets[len(h.packets)-1].(*protocol.Disconnect)
		if !ok || h.code != "going_away" || !last.Reconnect || last.After > 5*time.Millisecond {
			t.Errorf("found %q and the last packet %+v, wanted to come back within 5 ms", h.code, last)
		}
	}
	select {
	case <-s.exited:
	case <-time.After(patience):
		t.Fatal("the broker runs on")
	}
	if took := time.Since(began); took > 20*time.Second || s.cmd.ProcessState.ExitCode() == 0 || !strings.Contains(s.said(0), "carillon: drain: HTTP requests") {
		t.Errorf("it ended with %d after %s and said %q, wanted an error within 1 s; the body would have had 8", s.cmd.ProcessState.ExitCode(), took, s.said(0))
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
	for name, tests := range otherLimits {
		for _, test := range tests {
			if !isTest(t, test) {
				t.Errorf("limits.%s: there is no %s", name, test)
			}
		}
	}
	if !isTest(t, limitsReach) {
		t.Errorf("there is no %s", limitsReach)
	}
	j.end(t)
	s.canary.judge(t, control.canary)
}
