package badinput

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/carillon-mq/carillon/internal/rawws"
	"github.com/carillon-mq/carillon/protocol"
)

// ruleInputs are cases of rules that are newer than the corpus; their ids are those of the rules.
func ruleInputs(t testing.TB) []input {
	t.Helper()
	var all []input
	fail := func(id, name, code string, r rights, b []byte) {
		all = append(all, input{id: id, name: name, counts: once(code), send: failsAs(r, code, b, noMessages)})
	}
	closed := func(id, name string, b []byte) {
		all = append(all, input{id: id, name: name, counts: once("bad_packet"), send: closes("bad_packet", rawws.Frame(rawws.Binary, b))})
	}
	connect := func(id, name string, options string) {
		tok := token(t, "tester", everything)
		b := append(unhex(fmt.Sprintf("94 01 01 da %04x", len(tok))), tok...)
		all = append(all, input{id: id, name: name, counts: once("bad_packet"), send: first("bad_packet", append(b, unhex(options)...))})
	}
	long := strings.Repeat("o", 65)

	connect("CON-11", "an empty origin", "81"+text("origin")+"a0")
	connect("CON-11", "an origin of 65 bytes", "81"+text("origin")+text(long))
	connect("CON-11", "an origin that is a number", "81"+text("origin")+"07")
	connect("CON-12", "an empty compression", "81"+text("compress")+"a0")
	connect("CON-12", "a compression of 65 bytes", "81"+text("compress")+text(long))
	all = append(all, input{id: "CON-12", name: "a compression that nobody knows", send: unknownCompression})

	for name, ttl := range map[string]string{"0": "00", "10^12 + 1": "cf 000000e8d4a51001"} {
		fail("PUB-13", "a lifetime of "+name, "bad_args", everything, unhex("95 07 01 a161 c40178 81"+text("ttl")+ttl))
	}
	closed("PUB-13", "a lifetime below zero", unhex("95 07 01 a161 c40178 81"+text("ttl")+"ff"))
	closed("PUB-13", "a lifetime in words", unhex("95 07 01 a161 c40178 81"+text("ttl")+text("1s")))
	fail("PUB-14", "an empty exclude", "bad_args", everything, unhex("95 07 01 a161 c40178 81"+text("exclude")+"a0"))
	fail("PUB-14", "an exclude of 65 bytes", "bad_args", everything, unhex("95 07 01 a161 c40178 81"+text("exclude")+text(long)))
	fail("PUB-14", "another's origin without the right", "forbidden", narrow, bytesOf(&protocol.Publish{ID: 1, Topic: "public.a", Payload: []byte(marker), Exclude: "other"}))

	fail("SUB-13", "none", "bad_args", everything, unhex("92 19 90"))
	closed("SUB-13", "1,025", append(unhex("92 19 dc 0401"), slices.Repeat(unhex("92 01 a161"), 1025)...))
	closed("SUB-13", "no arrays", unhex("92 19 92 01 02"))
	fail("SUB-13", "one with the id 0", "bad_args", everything, unhex("92 19 92 92 01 a161 92 00 a161"))
	fail("SUB-13", "last and a position", "bad_args", everything, unhex("92 19 91 93 01 a161 82"+text("last")+"05"+text("position")+"c400"))
	fail("SUB-14", "the same id twice", "duplicate_id", everything, unhex("92 19 92 92 01 a161 92 01 a162"))
	fail("SUB-14", "one without the right", "forbidden", narrow, unhex("92 19 92 92 01"+text("secret")+"92 02"+text("public.a")))
	all = append(all, input{id: "SUB-14", name: "1,000 subscriptions of a session that may have 128", counts: map[string]int{"subscription_limit": 1, "rate_limited": 0, "flooding": 0}, many: true, lines: 80, send: tooManyAtOnce})

	join := func(filter string) []byte { return bytesOf(&protocol.Subscribe{ID: 1, Filter: filter, Join: true}) }
	room := rights{"subscribe": filters{">"}, "presence": filters{"room.*"}, "limits": unlimited}
	fail("PRE-1", "to join a filter", "bad_args", room, join("room.*"))
	fail("PRE-1", "to join without the right", "forbidden", room, join("kitchen"))
	fail("PRE-1", "to join the reserved", "forbidden", rights{"subscribe": filters{">"}, "presence": filters{">"}}, join("$user.tester.a"))
	fail("PRE-3", "to publish a change", "forbidden", everything, bytesOf(&protocol.Publish{ID: 1, Topic: "$presence.room.7", Payload: []byte(marker)}))
	fail("PRE-3", "to watch without the right", "forbidden", room, bytesOf(&protocol.Subscribe{ID: 1, Filter: "$presence.>", NoRetained: true}))
	fail("PRE-4", "of a filter", "bad_topic", room, bytesOf(&protocol.Presence{ID: 1, Topic: "room.*"}))
	fail("PRE-4", "without the right", "forbidden", room, bytesOf(&protocol.Presence{ID: 1, Topic: "kitchen"}))
	closed("PRE-4", "of a number", unhex("93 15 01 07"))

	fail("REQ-2", "another's inbox", "forbidden", everything, bytesOf(&protocol.Subscribe{ID: 1, Filter: "$inbox.fedcba9876543210fedcba9876543210.>", NoRetained: true}))
	fail("REQ-2", "everybody's inbox", "forbidden", everything, bytesOf(&protocol.Subscribe{ID: 1, Filter: "$inbox.*.>", NoRetained: true}))
	fail("REQ-2", "the inbox of nobody", "not_found", everything, bytesOf(&protocol.Publish{ID: 1, Topic: "$inbox.fedcba9876543210fedcba9876543210.a", Payload: []byte(marker)}))
	all = append(all, input{id: "REQ-3", name: "a reply that is retained", counts: once("bad_args"), send: retainedReply})
	return all
}

func unknownCompression(t *testing.T, s *stand) {
	w := upgraded(t, s)
	w.packets(&protocol.Connect{Version: protocol.Version, Token: token(t, "tester", everything), Compress: "zip"})
	for _, p := range w.until(protocol.TypeConnected).packets {
		if c, ok := p.(*protocol.Connected); ok && c.Compress != "" {
			t.Errorf("found the compression %q", c.Compress)
		}
	}
	w.nc.Close()
}

// tooManyAtOnce asks for a thousand subscriptions in one packet. Each is answered, and most are refused.
func tooManyAtOnce(t *testing.T, s *stand) {
	w := connected(t, s, token(t, "many", rights{"subscribe": filters{">"}, "limits": map[string]any{"subscribe_rate": "unlimited"}}))
	b := unhex("92 19 dc 03e8")
	for id := range 1000 {
		b = append(append(b, unhex(fmt.Sprintf("92 cd %04x", id+1))...), unhex(text(fmt.Sprint("public.", id)))...)
	}
	w.raw(rawws.Frame(rawws.Binary, b))
	answered := 0
	for answered < 1000 {
		h := w.until(protocol.TypeError)
		if h.ended {
			t.Fatalf("found Disconnect %q after %d answers", h.code, answered)
		}
		for _, p := range h.packets {
			switch p.(type) {
			case *protocol.Subscribed, *protocol.ErrorPacket:
				answered++
			default:
			}
		}
	}
	w.nc.Close()
}

func retainedReply(t *testing.T, s *stand) {
	w := upgraded(t, s)
	w.packets(&protocol.Connect{Version: protocol.Version, Token: token(t, "tester", everything)})
	for _, p := range w.until(protocol.TypeConnected).packets {
		if c, ok := p.(*protocol.Connected); ok {
			w.packets(&protocol.Publish{ID: 1, Topic: "$inbox." + c.Session + ".a", Payload: []byte(marker), Retain: true})
		}
	}
	if h := w.until(protocol.TypeError); !slices.Equal(h.errors, []string{"bad_args"}) {
		t.Errorf("found errors %q and Disconnect %q", h.errors, h.code)
	}
	w.nc.Close()
}
