package badinput

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/carillon-mq/carillon/internal/rawws"
	"github.com/carillon-mq/carillon/protocol"
)

// fails sends packets of which one request fails, by that name; the session goes on.
func fails(code string, b []byte, checks ...func(*testing.T, *heard)) func(*testing.T, *stand) {
	return failsAs(everything, code, b, checks...)
}

func failsAs(r rights, code string, b []byte, checks ...func(*testing.T, *heard)) func(*testing.T, *stand) {
	return func(t *testing.T, s *stand) {
		t.Helper()
		w := connected(t, s, token(t, "tester", r))
		w.raw(rawws.Frame(rawws.Binary, b))
		h := w.asks()
		if !h.ended && len(h.errors) == 0 { // some answers come from the shard, behind the pong
			h = w.until(protocol.TypeError)
		}
		if h.ended || !slices.Equal(h.errors, []string{code}) {
			t.Errorf("found errors %q and Disconnect %q, wanted one error %s", h.errors, h.code, code)
		}
		for _, check := range checks {
			check(t, h)
		}
		w.raw(rawws.Frame(rawws.Close, []byte{0x03, 0xe8}))
		w.end()
	}
}

// text is msgpack of a str, in hexadecimal digits.
func text(s string) string { return hexed(append([]byte{0xd9, byte(len(s))}, s...)) }

func hexed(b []byte) string {
	const digits = "0123456789abcdef"
	var s strings.Builder
	for _, c := range b {
		s.WriteByte(digits[c>>4])
		s.WriteByte(digits[c&15])
	}
	return s.String()
}

func msgpackInputs(t testing.TB) []input {
	t.Helper()
	var all []input
	closed := func(id, name string, b []byte) {
		all = append(all, input{id: id, name: name, counts: once("bad_packet"), send: closes("bad_packet", rawws.Frame(rawws.Binary, b))})
	}
	for id, rows := range map[string][]string{
		"M1": {"c1", "93 07 c1 a161"},
		"M4": {"c0", "c3", "01", "a3 666f6f", "c4 01 00"},
		"M5": {"dd ffffffff", "93 07 01 dd ffffffff"}, "M6": {"df ffffffff", "94 07 01 a161 df ffffffff"}, "M7": {"c6 ffffffff", "94 07 01 a161 c6 ffffffff"},
		"M8": {"db ffffffff", "94 07 01 db ffffffff 61"}, "M9": {"c9 ffffffff 01"},
		"M13": {"95 07 01 a161 c400 82 a161 01 a161 02", "95 07 01 a161 c400 81 a7 68656164657273 82 a161 a162 a161 a163"},
		"M16": {
			"94 07 01 a2 c328 c400", "94 07 01 a2 c080 c400", "94 07 01 a3 eda080 c400", "94 07 01 a4 f4908080 c400", "94 07 01 a1 ff c400",
			"95 07 01 a161 c400 81 a3 6d6964 a1 ff",
		},
		"M17": {"94 07 ff a161 c400", "94 07 d3 8000000000000000 a161 c400", "94 07 cf ffffffffffffffff a161 c400", "94 07 cf 0020000000000000 a161 c400"},
		"M18": {"94 07 cb 3ff8000000000000 a161 c400", "94 07 cb 7ff8000000000000 a161 c400", "94 07 ca 7f800000 a161 c400", "94 07 cb fff0000000000000 a161 c400"},
		"M24": {"94 07 01 c0 c400", "94 07 01 a161 c0", "93 03 c0 a161", "93 07 01 a161"},
		"M29": {"c7 00 01", "94 07 01 a161 c7 00 01", "94 07 01 a161 d4 01 00"},
	} {
		for i, row := range rows {
			closed(id, strings.ReplaceAll(row, " ", ".")+"-"+string(rune('a'+i)), unhex(row))
		}
	}
	closed("M11", "65,000 arrays", bytes.Repeat([]byte{0x91}, 65_000))
	closed("M12", "16,000 maps", bytes.Repeat(unhex("81 a161"), 16_000))
	closed("M12", "a payload of arrays", append(unhex("94 07 01 a161"), bytes.Repeat([]byte{0x91}, 17)...))
	closed("M25", "65,535 pairs", append(unhex("95 07 01 a161 c400 de ffff"), bytes.Repeat(unhex("a161 01"), 20_000)...))
	closed("M25", "33 options", append(unhex("95 07 01 a161 c400 de 0021"), options(33)...))
	return append(all, goodMsgpackInputs()...)
}

// options are pairs of keys that nobody knows.
func options(n int) (b []byte) {
	for i := range n {
		b = append(b, 0xa2, 'k', byte('0'+i), 0x01)
	}
	return b
}

// goodMsgpackInputs are unusual, and in order.
func goodMsgpackInputs() []input {
	var all []input
	good := func(id, name string, b []byte) {
		all = append(all, input{id: id, name: name, accepted: 1, send: serves(rawws.Frame(rawws.Binary, b), func(t *testing.T, h *heard) {
			if len(h.packets) != 2 || h.packets[0].Type() != protocol.TypePublished {
				t.Errorf("found %+v, wanted it published", h.packets)
			}
		})})
	}
	good("M18", "1.0 for 1", unhex("94 07 cb 3ff0000000000000 a161 c400"))
	good("M19", "wide integers and strings", unhex("dd 00000004 d3 0000000000000007 ce 00000001 db 00000001 61 c6 00000000"))
	good("M19", "an array of 16 bits", unhex("dc 0004 cc 07 d1 0001 d9 01 61 c5 0000"))
	good("M23", "an option that nobody knows", unhex("95 07 01 a161 c400 81 a3 6e6577 82 a161 01 a162 93 01 02 03"))
	good("M23", "32 options", append(unhex("95 07 01 a161 c400 de 0020"), options(32)...))
	good("M23", "elements behind the options", unhex("97 07 01 a161 c400 80 01 c0"))
	good("M24", "nil for an option", unhex("95 07 01 a161 c400 82 a6 72657461696e c0 a3 6d6964 c0"))
	good("M26", "names of JavaScript", unhex("95 07 01 a161 c400 81 a7 68656164657273 83"+text("__proto__")+text("x")+text("constructor")+text("y")+text("toString")+text("z")))
	good("M29", "an empty payload", unhex("94 07 01 a161 c400"))
	good("M29", "a str as payload", unhex("94 07 01 a161 a0"))
	all = append(all, input{id: "M27", name: "hostile bytes as payload", accepted: 5, send: opaque})
	for _, limit := range []struct {
		name, code string
		packet     func(n int) protocol.Packet
		most       int
	}{
		{"topic", "bad_topic", func(n int) protocol.Packet { return &protocol.Publish{ID: 1, Topic: strings.Repeat("a", n)} }, 255},
		{"levels", "bad_topic", func(n int) protocol.Packet { return &protocol.Publish{ID: 1, Topic: strings.Repeat("a.", n-1) + "a"} }, 16},
		{"type", "bad_args", func(n int) protocol.Packet {
			return &protocol.Publish{ID: 1, Topic: "a", ContentType: strings.Repeat("x", n)}
		}, 255},
		{"mid", "bad_args", func(n int) protocol.Packet {
			return &protocol.Publish{ID: 1, Topic: "a", MessageID: strings.Repeat("x", n)}
		}, 64},
		{"headers", "too_large", func(n int) protocol.Packet {
			return &protocol.Publish{ID: 1, Topic: "a", Headers: map[string]string{"k": strings.Repeat("x", n-1)}}
		}, 4096},
	} {
		good("M28", limit.name+" at the limit", limit.packet(limit.most).Append(nil))
		all = append(all, input{
			id: "M28", name: limit.name + " beyond the limit", counts: once(limit.code),
			send: fails(limit.code, limit.packet(limit.most+1).Append(nil)),
		})
	}
	return all
}

// opaque publishes what would be no packet, and gets the same bytes back.
func opaque(t *testing.T, s *stand) {
	w := connected(t, s, token(t, "tester", everything))
	w.packets(&protocol.Subscribe{ID: 1, Filter: "opaque"})
	w.until(protocol.TypeSubscribed)
	payloads := [][]byte{unhex("dd ffffffff"), unhex("df ffffffff"), unhex("c1"), bytes.Repeat([]byte{0x91}, 60_000), bytes.Repeat(unhex("81 a161"), 16_000)}
	for i, p := range payloads {
		w.packets(&protocol.Publish{ID: uint64(i + 2), Topic: "opaque", Payload: p})
	}
	for got := 0; got < len(payloads); {
		h := w.until(protocol.TypeMessage)
		if h.ended || len(h.errors) > 0 {
			t.Fatalf("found %q and errors %q", h.code, h.errors)
		}
		for _, m := range h.packets {
			if m, ok := m.(*protocol.Message); ok {
				if !bytes.Equal(m.Payload, payloads[got]) {
					t.Errorf("found payload %d of %d bytes changed", got, len(m.Payload))
				}
				got++
			}
		}
	}
	w.nc.Close()
}
