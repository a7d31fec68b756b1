package conformance

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/protocol"
)

// grease has everything in a connection that version 1 may grow by ([GRO-1]), from both sides: options, elements behind them and limits that
// nobody knows in each packet ([ENC-8]), and packets of types that nobody knows in between ([ENC-9], [GRO-2]).
type grease struct {
	client bool // only what the client sends

	mu       sync.Mutex
	cut      func()          // the connection
	asked    uint64          // packets with an id that nobody knows, in this connection
	answered uint64          // by the server
	passed   map[string]bool // the names of packets that have been greased
	fault    error           // what went wrong with it
}

// greaseIDs is where the request ids of packets begin that nobody knows. No client that counts gets there.
const greaseIDs = 1 << 52

func (g *grease) opened(cut func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.cut, g.asked, g.answered = cut, 0, 0
}

// rewrite greases a WebSocket message. The server's answers to what the client did not send do not go further.
func (g *grease) rewrite(message []byte, fromServer bool) []byte {
	g.mu.Lock()
	defer g.mu.Unlock()
	var out []byte
	for rest := message; len(rest) > 0; {
		p, behind, err := decodePacket(rest)
		if err != nil {
			g.fault = errors.Join(g.fault, err)
			return append(out, rest...)
		}
		raw := rest[:len(rest)-len(behind)]
		rest = behind
		if id, _ := integer(p.values["id"]); p.name == "Error" && id > greaseIDs {
			g.answered++
			continue
		}
		g.passed[p.name] = true
		if fromServer && g.client {
			out = append(out, raw...)
			continue
		}
		greased, err := greasePacket(raw)
		g.fault = errors.Join(g.fault, err)
		out = append(append(out, greased...), g.between(fromServer)...)
	}
	return out
}

// between are packets of types that nobody knows: reserved ones, those of the spec's later versions and those of extensions.
func (g *grease) between(fromServer bool) []byte {
	unknown := []any{[]any{31, nil, "later"}, []any{126, pairs{{"example.com.x", []any{1, nil}}}}, []any{33, 0}, []any{99}}
	if fromServer {
		unknown = append(unknown, []any{14, 1, 2}, []any{30, 1, bin("x")}) // which an answer of the server's could be
	} else {
		g.asked += 2
		unknown = append(unknown, []any{127, greaseIDs + g.asked - 1, "x"}, []any{14, greaseIDs + g.asked})
	}
	b, err := appendAll(nil, unknown)
	g.fault = errors.Join(g.fault, err)
	return b
}

// greasePacket adds to a packet what nobody knows. A packet of a type that is not in the table stays as it is.
func greasePacket(raw []byte) ([]byte, error) {
	v, _, err := decodeValue(raw)
	if err != nil {
		return nil, err
	}
	list, _ := v.([]any)
	number, _ := integer(list[0])
	f := forms.byNumber[int(number)]
	if f == nil || f.fields == nil && f.options == nil && number != int64(protocol.TypePong) {
		return raw, nil
	}
	if f.name == "Subscribes" { // each of them is what stands behind the type of a Subscribe ([SUB-13])
		subscriptions, _ := list[1].([]any)
		for i, s := range subscriptions {
			elements, _ := s.([]any)
			subscriptions[i] = greaseElements(elements, len(forms.byName["Subscribe"].fields))
		}
	}
	return appendValue(nil, greaseElements(list, 1+len(f.fields)))
}

// greaseElements adds options to those behind so many fields, and elements behind them.
func greaseElements(list []any, fields int) []any {
	for len(list) < fields {
		list = append(list, nil) // may be missing where nothing follows ([ENC-4])
	}
	options := map[string]any{}
	if len(list) > fields {
		if given, ok := list[fields].(map[string]any); ok {
			options = given
		}
		list = slices.Delete(list, fields, fields+1)
	}
	if len(options) <= 30 { // 32 is the limit
		options["example.com.grease"] = pairs{{"a", []any{1, nil, bin("x")}}, {"b", pairs{}}}
		options["later"] = "x"
	}
	if limits, ok := options["limits"].(map[string]any); ok {
		limits["example.com.tomorrows"], limits["later"] = 3, 0
	}
	return append(slices.Insert(list, fields, any(options)), "more", 5, []any{nil})
}

// A packet says with grease what it says without.
func TestGreasedPacketsAreReadAsThemselves(t *testing.T) {
	text, err := os.ReadFile("../vectors/packet.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct{ Name, Hex, Error string }
	if err := json.Unmarshal(text, &vectors); err != nil {
		t.Fatal(err)
	}
	read := 0
	for _, v := range vectors {
		raw, err := hex.DecodeString(v.Hex)
		if err != nil {
			t.Fatal(err)
		}
		if v.Error != "" || len(raw) == 0 {
			continue
		}
		greased, err := greasePacket(raw)
		if err != nil || !bytes.Contains(greased, []byte("more")) {
			t.Errorf("%s: found %x, %v, wanted it with grease", v.Name, greased, err)
			continue
		}
		want, err1 := packetOf(raw)
		found, err2 := packetOf(greased)
		if err := errors.Join(err1, err2); err != nil || show(found) != show(want) {
			t.Errorf("%s: found %s, %v, wanted %s [ENC-8]", v.Name, show(found), err, show(want))
		}
		read++
	}
	if read < 100 {
		t.Errorf("read %d vectors", read)
	}
}

// packetOf is a packet as the product reads it, but for limits that nobody knows.
func packetOf(b []byte) (protocol.Packet, error) {
	raw, _, err := protocol.Next(b)
	if err != nil {
		return nil, err
	}
	p, err := protocol.DecodePacket(raw)
	unknown := func(name string, _ int64) bool { return name == "later" || name == "example.com.tomorrows" }
	switch p := p.(type) {
	case *protocol.Connected:
		maps.DeleteFunc(p.Limits, unknown)
	case *protocol.Refreshed:
		maps.DeleteFunc(p.Limits, unknown)
	}
	return p, err
}

// The sessions of both sides, part by part. What happens in between is the test's: a refresh, a cut, a restart.
var greasedSession = []string{`
- do: {connect: {ask: true}}
- event: {token: {reason: connect}}
- do: {token: {token: $short}}
- event: {status: {state: connected}}
- do: {publish: {name: p1, topic: "$topic.a", data: 1, retain: true}}
- event: {published: {name: p1, durability: committed, duplicate: false}}
- do: {subscribe: {name: s1, filter: "$topic.*"}}
- event: {message: {subscription: s1, topic: "$topic.a", data: 1, retained: true}}
- event: {snapshot: {subscription: s1, reset: false}}
- do: {subscribe: {name: s2, filter: "$topic.b"}}
- event: {snapshot: {subscription: s2, reset: false}}
- do: {publish: {name: p2, topic: "$topic.b", data: 2}}
- event: {published: {name: p2, durability: appended, duplicate: false}}
- event: {message: {subscription: s1, topic: "$topic.b", data: 2, retained: false}}
- event: {message: {subscription: s2, topic: "$topic.b", data: 2, retained: false}}
- do: {subscribe: {name: s3, filter: "elsewhere.>"}}
- event: {ended: {subscription: s3, code: forbidden}}
- do: {presence: {name: q1, topic: "$topic.a"}}
- event: {members: {name: q1, count: 0}}
- event: {token: {reason: expiring}}
  within: 20s
- do: {token: {token: $long}}
`, `
- event: {status: {state: reconnecting}}
- do: {publish: {name: p3, topic: "$topic.b", data: 3}}
- event: {published: {name: p3, durability: appended, duplicate: false}}
- event: {message: {subscription: s1, topic: "$topic.b", data: 3, retained: false}}
- event: {message: {subscription: s2, topic: "$topic.b", data: 3, retained: false}}
- do: {unsubscribe: {name: s2}}
- do: {publish: {name: p4, topic: "$topic.b", data: 4}}
- event: {published: {name: p4}}
- event: {message: {subscription: s1, data: 4}}
`, `
- event: {status: {state: reconnecting}}
- event: {gap: {subscription: s1, reason: epoch}}
- event: {message: {subscription: s1, topic: "$topic.a", data: 1, retained: true}}
- event: {snapshot: {subscription: s1, reset: true}}
- do: {publish: {name: p5, topic: "$topic.c", data: 5}}
- event: {published: {name: p5, durability: appended, duplicate: false}}
- event: {message: {subscription: s1, topic: "$topic.c", data: 5, retained: false}}
- no_event: 100ms
- do: {close: {}}
- event: {status: {state: closed}}
`}

// greasy are the packets that these sessions have.
var greasy = []string{
	"Connect", "Connected", "Subscribe", "Subscribed", "Subscribes", "Unsubscribe", "Unsubscribed", "Publish", "Published", "Message", "Replay",
	"RetainedEnd", "Resumed", "Gap", "Ping", "Pong", "Refresh", "Refreshed", "Presence", "Presences", "Error",
}

// A whole session of an SDK and the broker goes as without grease ([GRO-1]).
func TestGreaseChangesNothing(t *testing.T) {
	t.Parallel()
	for name, driver := range map[string]func(*testing.T) []string{
		"Go":         func(t *testing.T) []string { t.Helper(); return []string{goDriver(t)} },
		"JavaScript": jsDriver,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			command := driver(t)
			t.Run("without", func(t *testing.T) { playGreased(t, command, false) })
			t.Run("with grease", func(t *testing.T) { playGreased(t, command, true) })
		})
	}
}

// conformsWithGrease plays the scripts for servers with grease in what the broker is sent. Left out are scripts that a proxy of packets does not let through,
// or passes on the end of a session late, one that sends as much at once as a message holds, and those that wait for long.
func conformsWithGrease(t *testing.T, own *Own) {
	t.Helper()
	g := &grease{client: true, passed: map[string]bool{}}
	proxy := &serverFault{opened: g.opened, rewrite: g.rewrite}
	scripts := slices.DeleteFunc(all(t, Sessions), func(s *Script) bool {
		asks := slices.ContainsFunc(s.Steps, func(step Step) bool { return step.HTTP != nil || step.Close != 0 })
		waits := s.Slow || s.Pings > 0 || slices.Contains(s.Needs, "restart") || slices.Contains(s.Needs, "resume_window")
		return asks || waits || s.File == "transport" || s.ID() == "publish/too-often"
	})
	check(t, Play(t.Context(), proxy.behind(t, own), scripts, nil))
}

// playGreased plays the sessions, with grease or without.
func playGreased(t *testing.T, command []string, with bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*scriptTime)
	defer cancel()
	own := newOwn(t)
	g := &grease{passed: map[string]bool{}}
	proxy := &serverFault{opened: g.opened}
	if with {
		proxy.rewrite = g.rewrite
	}
	log := &transcript{began: time.Now()}
	driver, err := startDriver(ctx, command, log)
	if err != nil {
		t.Fatal(err)
	}
	defer driver.close()
	rights := TokenRequest{User: "ann", Publish: []string{"conformance.>"}, Subscribe: []string{"conformance.>"}, Presence: []string{"conformance.>"}}
	short := rights
	short.TTL = 15 * time.Second // an SDK asks for another one 10 s before ([REF-6])
	run := &sdkPlay{
		play: &play{
			script: &Script{}, conns: map[string]*conn{}, log: log,
			vars: variables{"topic": "conformance.grease", "long": own.sign(rights)},
		},
		broker: &fake{url: proxy.behind(t, own).URL}, driver: driver,
	}
	run.do = run.step
	parts := []func() error{
		func() error {
			err := driver.ready(ctx, run.script)
			run.vars["short"] = own.sign(short)
			return err
		},
		func() error {
			err := g.wait(ctx, with, func() bool { return g.passed["Refreshed"] })
			g.cut()
			return err
		},
		func() error {
			err := g.wait(ctx, with, func() bool { return g.passed["Unsubscribed"] && g.asked == g.answered })
			return errors.Join(err, own.restart(ctx))
		},
	}
	for i, part := range greasedSession {
		err := parts[i]()
		if err == nil {
			err = run.run(ctx, stepsOf(t, part), "")
		}
		if err != nil {
			for _, line := range log.text() {
				t.Log(line)
			}
			t.Fatalf("part %d: %v", i+1, err)
		}
	}
	if with {
		g.check(t)
	}
}

func stepsOf(t *testing.T, text string) []Step {
	t.Helper()
	scripts, err := Parse("grease", []byte("- name: a\n  about: b\n  rules: [GRO-1]\n  steps:\n"+strings.ReplaceAll(text, "\n", "\n    ")))
	if err != nil {
		t.Fatal(err)
	}
	steps := scripts[0].Steps
	for i := range steps {
		steps[i].Within = max(steps[i].Within, scriptTime/2) // nothing here is about time
	}
	return steps
}

// wait waits until so says so. Without grease nobody looks at the packets.
func (g *grease) wait(ctx context.Context, with bool, so func() bool) error {
	for with {
		g.mu.Lock()
		done := so()
		g.mu.Unlock()
		if done {
			return nil
		}
		if err := sleep(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

func (g *grease) check(t *testing.T) {
	t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.fault != nil {
		t.Error(g.fault)
	}
	for _, name := range greasy {
		if !g.passed[name] {
			t.Errorf("no %s has passed", name)
		}
	}
}
