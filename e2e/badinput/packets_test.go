package badinput

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/internal/rawws"
	"github.com/carillon-mq/carillon/protocol"
)

func bytesOf(all ...protocol.Packet) (b []byte) {
	for _, p := range all {
		b = p.Append(b)
	}
	return b
}

// first sends bytes as the first message of a connection, which ends.
func first(code string, b []byte) func(*testing.T, *stand) {
	return func(t *testing.T, s *stand) {
		t.Helper()
		w := upgraded(t, s)
		w.raw(rawws.Frame(rawws.Binary, b))
		h := w.end()
		if c, _ := protocol.CodeByName(code); h.code != code || h.status != int(c) {
			t.Errorf("found Disconnect %q and close frame %d, wanted %s", h.code, h.status, code)
		}
		if strings.HasPrefix(code, "bad_version") && !strings.Contains(detail(h), "1") {
			t.Errorf("the detail %q does not say what is spoken", detail(h))
		}
	}
}

func detail(h *heard) string {
	for _, p := range h.packets {
		if d, ok := p.(*protocol.Disconnect); ok {
			return d.Detail
		}
	}
	return ""
}

func packetInputs(t testing.TB) []input {
	t.Helper()
	hello := &protocol.Connect{Version: protocol.Version, Token: token(t, "tester", everything)}
	publish := &protocol.Publish{ID: 1, Topic: "a", Payload: []byte(marker)}
	var all []input
	add := func(id, name string, counts map[string]int, send func(*testing.T, *stand)) {
		all = append(all, input{id: id, name: name, counts: counts, send: send})
	}
	for name, p := range map[string]protocol.Packet{
		"Publish": publish, "Subscribe": &protocol.Subscribe{ID: 1, Filter: "a"}, "Ping": &protocol.Ping{}, "History": &protocol.History{ID: 1, Filter: "a"},
	} {
		add("P1", name+" first", once("bad_order"), first("bad_order", bytesOf(p)))
	}
	add("P1", "17 KiB before Connect", once("message_too_large"), first("message_too_large", bytesOf(&protocol.Connect{Version: 1, Token: hello.Token}, &protocol.Publish{Topic: "a", Payload: make([]byte, 80<<10)})))
	add("P2", "a second Connect", once("bad_order"), closes("bad_order", rawws.Frame(rawws.Binary, bytesOf(hello))))
	for name, version := range map[string]int{"0": 0, "255": 255, "2^31": 1 << 31} {
		add("P4", "version "+name, once("bad_version"), first("bad_version", bytesOf(&protocol.Connect{Version: version, Token: hello.Token})))
	}
	all = append(all, input{id: "P5", name: "500 publishes right behind Connect", accepted: 500, send: pipelined})
	for name, row := range map[string]string{"0": "92 00 01", "-1": "92 ff 01", `"1"`: "92 a131 01", "128": "92 cc80 01"} {
		add("P6", "type "+name, once("bad_packet"), closes("bad_packet", rawws.Frame(rawws.Binary, unhex(row))))
	}
	add("P6", "type 127 with an id", once("unknown_type"), fails("unknown_type", unhex("92 7f 01")))
	add("P6", "type 127 without one", once("unknown_type"), serves(rawws.Frame(rawws.Binary, unhex("92 7f a161"))))
	add("P6", "a reserved type", once("unknown_type"), fails("unknown_type", unhex("93 0e 07 01")))
	for _, p := range serverPackets() {
		add("P7", p.Type().String(), once("bad_packet"), closes("bad_packet", rawws.Frame(rawws.Binary, bytesOf(p))))
	}
	sub := func(id uint64) protocol.Packet { return &protocol.Subscribe{ID: id, Filter: "public.a"} }
	add("P13", "the id of a subscription again", once("duplicate_id"), fails("duplicate_id", bytesOf(sub(1), sub(1))))
	add("P13", "the id 0", once("bad_args"), fails("bad_args", bytesOf(sub(0))))
	add("P13", "no such subscription", once("not_found"), fails("not_found", bytesOf(&protocol.Unsubscribe{ID: 2, Subscription: 7})))
	add("P14", "an integer where options are", once("bad_packet"), closes("bad_packet", rawws.Frame(rawws.Binary, unhex("95 07 01 a161 c400 ccff"))))
	all = append(all, input{id: "P15", name: "the largest payload", accepted: 1, send: serves(rawws.Frame(rawws.Binary, bytesOf(&protocol.Publish{ID: 1, Topic: "a", Payload: make([]byte, 64<<10)})))})
	add("P15", "one byte more", once("too_large"), fails("too_large", bytesOf(&protocol.Publish{ID: 1, Topic: "a", Payload: make([]byte, 64<<10+1)})))
	for name, row := range map[string]string{"-1": "ff", "2^53": "cf 0020000000000000", "2^64-1": "cf ffffffffffffffff", "1.5": "cb 3ff8000000000000"} {
		add("P34", "an id "+name, once("bad_packet"), closes("bad_packet", rawws.Frame(rawws.Binary, unhex("93 05 01 "+row))))
	}
	add("P38", "a ping time in Connect", nil, func(t *testing.T, s *stand) { // there is none: the option is ignored
		w := upgraded(t, s)
		w.raw(rawws.Frame(rawws.Binary, append(append(unhex("94 01 01 da"), byte(len(hello.Token)>>8), byte(len(hello.Token))), append([]byte(hello.Token), unhex("81 a9 6b656570616c697665 00")...)...)))
		if h := w.until(protocol.TypeConnected); h.ended {
			t.Errorf("found %q", h.code)
		}
		w.nc.Close()
	})
	return slices.Concat(all, rateInputs(), resumeInputs(), slowInputs())
}

// serverPackets are what only a server sends.
func serverPackets() []protocol.Packet {
	return []protocol.Packet{
		&protocol.Connected{Session: "a"}, &protocol.Subscribed{ID: 1}, &protocol.Unsubscribed{ID: 1}, &protocol.Published{ID: 1, Receivers: -1},
		&protocol.Message{Topic: "a"}, &protocol.Replay{Subscription: 1, Count: 1}, &protocol.RetainedEnd{Subscription: 1}, &protocol.Resumed{Subscription: 1},
		&protocol.Gap{Reason: protocol.GapEpoch}, &protocol.Histories{ID: 1}, &protocol.ErrorPacket{Code: protocol.CodeBadArgs, Name: "x"},
		&protocol.Refreshed{ID: 1}, &protocol.Presences{ID: 1}, &protocol.Disconnect{Code: protocol.CodeKicked, Name: "x"},
	}
}

// pipelined sends publishes without waiting for Connected. None is done before it.
func pipelined(t *testing.T, s *stand) {
	w := upgraded(t, s)
	packets := []protocol.Packet{&protocol.Connect{Version: protocol.Version, Token: token(t, "tester", everything)}}
	for range 500 {
		packets = append(packets, &protocol.Publish{Topic: "a"})
	}
	w.packets(append(packets, &protocol.Ping{})...)
	h := w.until(protocol.TypePong)
	if len(h.packets) != 2 || h.packets[0].Type() != protocol.TypeConnected {
		t.Errorf("found %d packets and %q, wanted Connected and Pong", len(h.packets), h.code)
	}
	w.nc.Close()
}

// rateInputs go beyond what a session may do in a second. The session has the default limits.
func rateInputs() []input {
	return []input{
		{id: "P9", name: "one subscription too many", counts: once("subscription_limit"), send: func(t *testing.T, s *stand) {
			w := connected(t, s, token(t, "many", rights{"subscribe": filters{">"}, "publish": filters{">"}, "limits": map[string]any{"subscriptions": 3, "subscribe_rate": "unlimited"}}))
			for id := range uint64(4) {
				w.packets(&protocol.Subscribe{ID: id + 1, Filter: "a", NoRetained: true})
			}
			w.packets(&protocol.Publish{ID: 9, Topic: "a"})
			h := w.until(protocol.TypeMessage)
			if !slices.Equal(h.errors, []string{"subscription_limit"}) || len(h.messages()) != 1 {
				t.Errorf("found errors %q and messages %q, wanted the others live", h.errors, h.messages())
			}
			w.nc.Close()
		}, accepted: 1},
		{id: "P12", name: "10,000 subscribes and unsubscribes", counts: map[string]int{"rate_limited": 1, "flooding": 1, "duplicate_id": 0, "not_found": 0}, many: true, lines: 80, send: floods(func(n int) protocol.Packet {
			if n%2 == 0 {
				return &protocol.Subscribe{ID: 1, Filter: "public.a", NoRetained: true}
			}
			return &protocol.Unsubscribe{ID: 2, Subscription: 1}
		}, 10_000)},
		{id: "P37", name: "a storm to its own subscription", counts: map[string]int{"rate_limited": 1, "flooding": 1}, many: true, lines: 80, send: floods(func(n int) protocol.Packet {
			if n == 0 {
				return &protocol.Subscribe{ID: 1, Filter: "public.a", NoRetained: true}
			}
			return &protocol.Publish{ID: uint64(n + 1), Topic: "public.a", Retain: false, Payload: []byte(marker)}
		}, 10_000), accepted: anyNumber},
		{id: "T26", name: "100,000 topics of a client without a rate", accepted: 100_000, send: manyTopics},
		{id: "T26", name: "20,000 topics of one client", counts: map[string]int{"rate_limited": 1, "flooding": 1}, many: true, lines: 80, send: floods(func(n int) protocol.Packet {
			return &protocol.Publish{Topic: fmt.Sprintf("public.%s%d", strings.Repeat("x", n%200), n), Payload: []byte{1}}
		}, 20_000), accepted: anyNumber},
	}
}

// manyTopics publishes once to each of 100,000 topics. Of a topic that nobody reads nothing is left but what the ring has.
func manyTopics(t *testing.T, s *stand) {
	w := connected(t, s, token(t, "tester", everything))
	for i := range 1000 {
		var b []byte
		for k := range 100 {
			b = (&protocol.Publish{Topic: fmt.Sprintf("many.%d.%d", i, k), Payload: []byte{1}}).Append(b)
		}
		w.raw(rawws.Frame(rawws.Binary, b))
	}
	if h := w.asks(); h.ended || len(h.errors) > 0 {
		t.Errorf("found %q and errors %q", h.code, h.errors)
	}
	w.nc.Close()
}

// floods sends so many packets, of a session with the default limits, and reads on: it is refused, and sent away in the end.
func floods(packet func(n int) protocol.Packet, n int) func(*testing.T, *stand) {
	return func(t *testing.T, s *stand) {
		t.Helper()
		w := connected(t, s, token(t, "ordinary", narrow))
		go func() {
			for i := 0; i < n; i += 50 {
				var b []byte
				for k := range 50 {
					b = packet(i + k).Append(b)
				}
				w.raw(rawws.Frame(rawws.Binary, b))
			}
		}()
		if h := w.end(); h.code != "flooding" || !slices.Contains(h.errors, "rate_limited") {
			t.Errorf("found Disconnect %q and %d errors, wanted rate_limited and then flooding", h.code, len(h.errors))
		}
	}
}

// resumeInputs come back with positions of all kinds.
func resumeInputs() []input {
	resume := func(filter string, at []byte) []byte {
		return bytesOf(&protocol.Subscribe{ID: 1, Filter: filter, Position: at})
	}
	here := protocol.Position{Epoch: protocol.RunID{1, 2, 3}, Seq: 5}
	all := []input{{id: "P24", name: "a topic that was lost", counts: once("forbidden"), send: func(t *testing.T, s *stand) {
		failsAs(narrow, "forbidden", resume("secret.a", position(t, s)), noMessages)(t, s)
	}}}
	for name, at := range map[string][]byte{
		"nothing": {}, "another first byte": append([]byte{2}, here.Append(nil)[1:]...), "cut off": here.Append(nil)[:10], "something behind": append(here.Append(nil), 0),
		"2^53": append(append([]byte{1}, make([]byte, 8)...), unhex("8080808080808010 0000000000000000 00")...),
	} {
		all = append(all, input{id: "P23", name: name, counts: once("bad_position"), send: fails("bad_position", resume("a", at), noMessages)})
	}
	for name, row := range map[string]string{"-1": "ff", "1.5": "cb 3ff8000000000000", "a str": "a131"} {
		all = append(all, input{
			id: "P23", name: "a position " + name, counts: once("bad_packet"),
			send: closes("bad_packet", rawws.Frame(rawws.Binary, unhex("94 03 01 a161 81 a8 706f736974696f6e "+row))),
		})
	}
	gap := func(id, name string, reason protocol.GapReason, at func(protocol.Position) protocol.Position) {
		all = append(all, input{id: id, name: name, send: func(t *testing.T, s *stand) {
			p, err := protocol.ParsePosition(position(t, s))
			if err != nil {
				t.Fatal(err)
			}
			w := connected(t, s, token(t, "tester", everything))
			w.raw(rawws.Frame(rawws.Binary, resume("resumed.a", at(p).Append(nil))))
			h := w.until(protocol.TypeResumed)
			if i := slices.IndexFunc(h.packets, func(p protocol.Packet) bool { return p.Type() == protocol.TypeGap }); i < 0 || h.packets[i].(*protocol.Gap).Reason != reason {
				t.Errorf("found no gap with the reason %s: %+v", reason, h.packets)
			}
			noMessages(t, h)
			w.nc.Close()
		}})
	}
	gap("P19", "ahead of the log", protocol.GapAhead, func(p protocol.Position) protocol.Position { p.Seq += 1 << 40; return p })
	gap("P22", "of another run", protocol.GapEpoch, func(p protocol.Position) protocol.Position { p.Epoch[0] ^= 1; return p })
	return append(all, input{id: "P33", name: "a message id with another body", accepted: 1, counts: once("duplicate_id"), send: func(t *testing.T, s *stand) {
		mid := time.Now().Format(time.RFC3339Nano)
		one := protocol.Publish{ID: 1, Topic: "a", Payload: []byte("1"), MessageID: mid}
		again, other := one, one
		again.ID, other.ID, other.Payload = 2, 3, []byte(marker)
		fails("duplicate_id", bytesOf(&one, &again, &other), func(t *testing.T, h *heard) {
			var acks []protocol.Published
			for _, p := range h.packets {
				if ack, ok := p.(*protocol.Published); ok {
					acks = append(acks, *ack)
				}
			}
			if len(acks) != 2 || acks[0].Seq != acks[1].Seq || acks[0].Duplicate || !acks[1].Duplicate {
				t.Errorf("found acknowledgements %+v", acks)
			}
		})(t, s)
	}})
}

func noMessages(t *testing.T, h *heard) {
	t.Helper()
	if all := h.messages(); len(all) > 0 {
		t.Errorf("found messages %q, wanted none", all)
	}
}

// position is where the log is.
func position(t *testing.T, s *stand) []byte {
	t.Helper()
	w := upgraded(t, s)
	w.packets(&protocol.Connect{Version: protocol.Version, Token: token(t, "tester", everything)})
	defer w.nc.Close()
	for _, p := range w.until(protocol.TypeConnected).packets {
		if p, ok := p.(*protocol.Connected); ok {
			return p.Position.Append(nil)
		}
	}
	t.Fatal("no position")
	return nil
}
