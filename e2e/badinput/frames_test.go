package badinput

import (
	"bytes"
	"compress/flate"
	"encoding/hex"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/internal/rawws"
	"github.com/carillon-mq/carillon/internal/require"
	"github.com/carillon-mq/carillon/protocol"
)

// unhex reads bytes with blanks between them.
func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

// closes sends bytes behind a good Connect. The broker ends the connection with a Disconnect of that code, and a close frame of its number.
func closes(code string, b []byte) func(*testing.T, *stand) {
	return func(t *testing.T, s *stand) {
		t.Helper()
		w := connected(t, s, token(t, "tester", everything))
		go w.raw(b)
		h := w.end()
		if h.code != code || h.status < 4000 || len(h.errors) > 0 {
			t.Errorf("found Disconnect %q, close frame %d and errors %q, wanted %s", h.code, h.status, h.errors, code)
		}
		if c, _ := protocol.CodeByName(code); int(c) != h.status {
			t.Errorf("found the close frame %d, wanted %d", h.status, c)
		}
	}
}

// breaks sends bytes that are no frames. The broker ends the connection, with a close frame of that status or, 0, in any way.
func breaks(status int, b []byte) func(*testing.T, *stand) {
	return func(t *testing.T, s *stand) {
		t.Helper()
		w := connected(t, s, token(t, "tester", everything))
		began := time.Now()
		go w.raw(b)
		h := w.end()
		if h.code != "" || status != 0 && h.status != status {
			t.Errorf("found Disconnect %q and close frame %d, wanted %d", h.code, h.status, status)
		}
		if took := time.Since(began); took > patience/2 {
			t.Errorf("it took %s", took)
		}
	}
}

// serves sends bytes and finds the session in order behind them.
func serves(b []byte, checks ...func(*testing.T, *heard)) func(*testing.T, *stand) {
	return func(t *testing.T, s *stand) {
		t.Helper()
		w := connected(t, s, token(t, "tester", everything))
		w.raw(b)
		h := w.asks()
		if h.ended || len(h.errors) > 0 {
			t.Errorf("found errors %q and Disconnect %q, wanted none", h.errors, h.code)
		}
		for _, check := range checks {
			check(t, h)
		}
		w.raw(rawws.Frame(rawws.Close, []byte{0x03, 0xe8}))
		w.end()
	}
}

func frameInputs() []input {
	var all []input
	closed := func(id, name, code string, b []byte) {
		all = append(all, input{id: id, name: name, counts: once(code), send: closes(code, b)})
	}
	broken := func(id, name string, status int, b []byte) {
		all = append(all, input{id: id, name: name, counts: once("bad_frame"), send: breaks(status, b)})
	}
	huge := unhex("82 ff 7fffffffffffffff 00000000")
	bad := rawws.Frame(rawws.Binary, []byte{0xc1})

	broken("F1", "not masked", 0, unhex("82 01 00"))
	broken("F5-F6", "a reserved opcode", 1002, unhex("83 80 00000000"))
	broken("F5-F6", "a reserved control opcode", 1002, unhex("8b 80 00000000"))
	broken("F5-F6", "a reserved bit", 1002, unhex("c2 80 00000000"))
	broken("F7", "a continuation first", 1002, unhex("80 80 00000000"))
	broken("F9", "a ping in fragments", 1002, unhex("09 80 00000000"))
	broken("F9", "a ping of 126 bytes", 1002, unhex("89 fe 007e 00000000"))
	broken("F11", "a close of one byte", 1002, unhex("88 81 00000000 03"))
	for _, code := range []string{"03ed", "03ee", "03f7", "03e7", "1388", "0000", "03ec"} {
		broken("F12", "close "+code, 1002, append(unhex("88 82 00000000"), unhex(code)...))
	}
	broken("F13", "a reason that is not UTF-8", 1007, unhex("88 84 00000000 03e8 c328"))
	broken("F14", "the first bit of a length", 1002, unhex("82 ff 8000000000000001 00000000"))
	broken("F15", "a length of ones", 1002, unhex("82 ff ffffffffffffffff 00000000"))
	// Nothing deflated is taken, whatever was offered: permessage-deflate stays off, so there is nothing to blow up.
	zeros, cut := deflated(64<<20), deflated(1000)
	all = append(all,
		input{id: "F35", name: "64 MiB of zeros, deflated", counts: once("bad_frame"), send: offering(rawws.Frame(0xc2, zeros))},
		input{id: "F36", name: "a deflated ping", counts: once("bad_frame"), send: offering(rawws.Frame(0xc2, cut))},
		input{id: "F36", name: "deflated bytes with something behind", counts: once("bad_frame"), send: offering(rawws.Frame(0xc2, append(bytes.Clone(cut), 1, 2, 3)))},
		input{id: "F36", name: "deflated bytes that are cut off", counts: once("bad_frame"), send: offering(rawws.Frame(0xc2, cut[:len(cut)/2]))},
		input{id: "F36", name: "deflated in a continuation", counts: once("bad_frame"), send: offering(append(rawws.Frame(0x02, []byte{0x91}), rawws.Frame(0xc0, cut)...))},
	)
	closed("F18", "text", "bad_frame", unhex("81 82 00000000 c328"))
	closed("F20", "too large in fragments", "message_too_large", fragments(1000, 74))
	closed("F20", "too large at once", "message_too_large", huge)
	closed("F22", "a bad packet and then a huge header", "bad_packet", append(bytes.Clone(bad), huge...))
	closed("F25", "a million empty fragments", "bad_frame", append(unhex("02 80 00000000"), bytes.Repeat(unhex("00 80 00000000"), 1_000_000)...))
	closed("F27", "10,000 pings", "flooding", bytes.Repeat(rawws.Frame(rawws.Ping, []byte("p")), 10_000))
	closed("F29", "1,000 pongs", "flooding", bytes.Repeat(unhex("8a 84 00000000 61626364"), 1000))
	closed("F30", "an empty message", "bad_packet", unhex("82 80 00000000"))
	closed("F38", "20,000 pings inside a message", "flooding", append(rawws.Frame(0x02, []byte{0x92}), bytes.Repeat(rawws.Frame(rawws.Ping, []byte("p")), 20_000)...))
	all = append(all,
		input{id: "F38", name: "10 pings inside a message", send: pingsInside},
		input{id: "F32", name: "the close is never answered", counts: once("bad_packet"), send: func(t *testing.T, s *stand) {
			w := connected(t, s, token(t, "tester", everything))
			w.leaves = true
			w.raw(bad)
			if h := w.end(); h.code != "bad_packet" || !h.ended {
				t.Errorf("found %+v", h)
			}
		}},
		input{id: "F24", name: "the token expires inside a frame", counts: once("token_expired"), send: expiresInside},
		input{id: "F34", name: "compression is offered", send: func(t *testing.T, s *stand) {
			w := dial(t, s.listen)
			resp := w.exchangeHead(upgradeWith("Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"))
			if resp.StatusCode != http.StatusSwitchingProtocols || resp.Header.Get("Sec-WebSocket-Extensions") != "" {
				t.Errorf("found %s with %v", resp.Status, resp.Header)
			}
			w.nc.Close()
		}},
	)
	return append(all, endInputs()...)
}

// deflated is a message of n zeros as permessage-deflate would write it (RFC 7692).
func deflated(n int) []byte {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestCompression)
	if err == nil {
		_, err = w.Write(make([]byte, n))
	}
	if err == nil {
		err = w.Flush()
	}
	if err != nil {
		panic(err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte{0, 0, 0xff, 0xff})
}

// offering asks for permessage-deflate, gets none, and sends a frame of it all the same.
func offering(frame []byte) func(*testing.T, *stand) {
	return func(t *testing.T, s *stand) {
		t.Helper()
		w := dial(t, s.listen)
		resp := w.exchangeHead(upgradeWith("Sec-WebSocket-Extensions: permessage-deflate"))
		if resp.StatusCode != http.StatusSwitchingProtocols || resp.Header.Get("Sec-WebSocket-Extensions") != "" {
			t.Errorf("found %s with %v", resp.Status, resp.Header)
		}
		w.packets(&protocol.Connect{Version: protocol.Version, Token: token(t, "tester", everything)})
		w.until(protocol.TypeConnected)
		go w.raw(frame)
		if h := w.end(); h.code != "" || h.status != 1002 {
			t.Errorf("found Disconnect %q and close frame %d, wanted 1002", h.code, h.status)
		}
	}
}

// fragments is a message of n pieces.
func fragments(size, n int) []byte {
	b := rawws.Frame(0x02, make([]byte, size))
	for range n - 1 {
		b = append(b, rawws.Frame(0x00, make([]byte, size))...)
	}
	return b
}

func pingsInside(t *testing.T, s *stand) {
	packet := (&protocol.Ping{}).Append(nil)
	b := rawws.Frame(0x02, packet[:1])
	for range 10 {
		b = append(b, rawws.Frame(rawws.Ping, []byte("p"))...)
	}
	serves(append(b, rawws.Frame(0x80, packet[1:])...), func(t *testing.T, h *heard) {
		if h.pongs != 10 {
			t.Errorf("found %d pongs, wanted 10", h.pongs)
		}
	})(t, s)
}

// expiresInside waits for a frame that never ends while the token of the session does.
func expiresInside(t *testing.T, s *stand) {
	const leeway = 30 * time.Second
	exp := time.Now().Add(require.Bound(2*time.Second, 3) - leeway) // by then the session is open
	w := connected(t, s, signedClaims(t, "tester", map[string]any{"exp": exp.Unix(), "iat": exp.Add(-time.Hour).Unix()}))
	w.raw(unhex("82 fe 1000 00000000 01"))
	if h := w.end(); h.code != "token_expired" || h.status != int(protocol.CodeTokenExpired) {
		t.Errorf("found %+v", h)
	}
	if late := time.Since(exp.Add(leeway)); late > 20*time.Second {
		t.Errorf("the session ended %s after its token", late)
	}
}

// endInputs are the ways in which a client goes without a word, and masks.
func endInputs() []input {
	var all []input
	for _, way := range []struct {
		name string
		end  func(*wire)
	}{
		{"FIN inside a frame", func(w *wire) { w.nc.Close() }},
		{"RST inside a frame", func(w *wire) {
			_ = w.nc.SetLinger(0)
			w.nc.Close()
		}},
		{"FIN inside a frame, and reading on", func(w *wire) {
			_ = w.nc.CloseWrite()
			w.end()
		}},
	} {
		all = append(all, input{id: "F33", name: way.name, send: func(t *testing.T, s *stand) {
			w := connected(t, s, token(t, "tester", everything))
			w.raw(unhex("82 fe 1000 00000000 01 02 03"))
			way.end(w)
		}})
	}
	for name, key := range map[string][]byte{"zeros": {0, 0, 0, 0}, "ones": {0xff, 0xff, 0xff, 0xff}, "changing": {1, 2, 3, 4}} {
		var b []byte
		for i := range 8 {
			packet := (&protocol.Ping{}).Append(nil)
			for n := range packet {
				packet[n] ^= key[n%4] + byte(i)*key[0]
			}
			k := bytes.Clone(key)
			for n := range k {
				k[n] += byte(i) * key[0]
			}
			b = append(append(append(b, rawws.Binary, 0x80|byte(len(packet))), k...), packet...)
		}
		all = append(all, input{id: "F37", name: name, send: func(t *testing.T, s *stand) {
			w := connected(t, s, token(t, "tester", everything))
			w.raw(b)
			for pongs := 0; pongs < 8; {
				h := w.until(protocol.TypePong)
				if h.ended || len(h.errors) > 0 {
					t.Fatalf("found %+v after %d pongs", h, pongs)
				}
				pongs += len(h.packets)
			}
			w.nc.Close()
		}})
	}
	return all
}
