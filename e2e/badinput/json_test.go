package badinput

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/carillon-mq/carillon/internal/rawws"
	"github.com/carillon-mq/carillon/protocol"
)

const textFrame = 0x81

// spoken is a session of carillon.v1.json, and what it was told.
type spoken struct {
	*wire
	errors []string
	code   string // of the Disconnect
	status int    // of the close frame
	pongs  int
}

// speaks begins a session in JSON.
func speaks(t *testing.T, s *stand) *spoken {
	t.Helper()
	return speaksAs(t, s, token(t, "tester", everything))
}

func speaksAs(t *testing.T, s *stand, token string) *spoken {
	t.Helper()
	w := &spoken{wire: dial(t, s.listen)}
	w.text(rawws.Request("localhost", protocol.SubprotocolJSON) + "\r\n")
	if err := rawws.ReadUpgraded(w.in); err != nil {
		t.Fatal(err)
	}
	w.says(fmt.Sprintf("[1,1,%q]", token))
	if first, payload, err := w.read(); err != nil || first != textFrame || !strings.HasPrefix(string(payload), "[2,") {
		t.Fatalf("no session: %#x %q %v", first, payload, err)
	}
	return w
}

func (w *spoken) says(text string) { w.raw(rawws.Frame(textFrame, []byte(text))) }

// listen reads until the connection is over, or until so many pongs have come.
func (w *spoken) listen(pongs int) {
	w.t.Helper()
	for w.pongs < pongs || pongs == 0 {
		first, payload, err := w.read()
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			w.t.Fatalf("neither a pong nor the end of the connection came within %s", patience)
		case err != nil:
			return
		case first == rawws.Close:
			w.status = int(binary.BigEndian.Uint16(payload))
			w.raw(rawws.Frame(rawws.Close, payload[:2]))
			w.nc.Close()
			return
		case first != textFrame:
			w.t.Fatalf("found a frame %#x", first)
		}
		for d := json.NewDecoder(strings.NewReader(string(payload))); d.More(); {
			w.take(d)
		}
	}
}

func (w *spoken) take(d *json.Decoder) {
	w.t.Helper()
	var packet []any
	if err := d.Decode(&packet); err != nil {
		w.t.Fatal(err)
	}
	number, _ := packet[0].(float64)
	switch protocol.Type(number) {
	case protocol.TypeError:
		w.errors = append(w.errors, fmt.Sprint(packet[3]))
	case protocol.TypeDisconnect:
		w.code = fmt.Sprint(packet[2])
	case protocol.TypePing:
		w.says("[16]")
	case protocol.TypePong:
		w.pongs++
	default:
	}
}

// jsonInputs are frames and packets of the subprotocol for people ([JSN-1] to [JSN-4]).
func jsonInputs() []input {
	var all []input
	closed := func(id, name, code string, frame []byte) {
		all = append(all, input{id: id, name: name, counts: once(code), send: func(t *testing.T, s *stand) {
			w := speaks(t, s)
			w.raw(frame)
			w.listen(0)
			if c, _ := protocol.CodeByName(code); w.code != code || w.status != int(c) || len(w.errors) > 0 {
				t.Errorf("found Disconnect %q, close frame %d and errors %q, wanted %s", w.code, w.status, w.errors, code)
			}
		}})
	}
	packet := func(id, name, text string) { closed(id, name, "bad_packet", rawws.Frame(textFrame, []byte(text))) }
	fail := func(id, name, code, text string) {
		all = append(all, input{id: id, name: name, counts: once(code), send: func(t *testing.T, s *stand) {
			w := speaks(t, s)
			w.says(text + "[15]")
			w.listen(1)
			if w.code != "" || !slices.Equal(w.errors, []string{code}) {
				t.Errorf("found Disconnect %q and errors %q, wanted one error %s", w.code, w.errors, code)
			}
			w.nc.Close()
		}})
	}
	closed("JSN-1", "a binary message", "bad_frame", rawws.Frame(rawws.Binary, []byte(`[15]`)))
	closed("JSN-1", "MessagePack", "bad_frame", rawws.Frame(rawws.Binary, bytesOf(&protocol.Ping{})))
	closed("JSN-1", "too large", "message_too_large", unhex("81 ff 7fffffffffffffff 00000000"))
	for name, text := range map[string]string{
		"nothing": "", "white space alone": " \n\t ", "a comma between packets": `[15],[15]`, "something behind": `[15] x`, "a brace": `{`, "an object": `{"type":15}`,
		"a string": `"[15]"`, "a packet that is cut off": `[15`, "a BOM": "\ufeff[15]", "a byte that is no character of JSON": "[15\x00]", "a comment": "[15/**/]",
		"a comma too many": "[15,]", "single quotes": "[7,1,'a',1]",
	} {
		packet("JSN-1", name, text)
	}
	for name, text := range map[string]string{
		"a type of 1.5": "[1.5]", "an id below zero": "[5,-1,1]", "an id of 2^53": "[5,9007199254740992,1]", "an id of 1e400": "[5,1e400,1]", "NaN": "[5,NaN,1]",
		"a number that begins with 0": "[5,01,1]", "hexadecimal": "[5,0x1,1]", "a name twice": `[7,1,"a",1,{"retain":true,"retain":false}]`,
		"a name twice, once escaped": `[7,1,"a",1,{"retain":true,"\u0072etain":false}]`, "half a surrogate pair": `[3,1,"\ud800"]`,
		"the other half": `[3,1,"a\udc00"]`, "a line feed in a string": "[3,1,\"a\nb\"]", "an unknown escape": `[3,1,"\x61"]`,
		"options 17 deep": `[3,1,"a",{"x":` + strings.Repeat("[", 16) + strings.Repeat("]", 16) + `}]`, "20,000 brackets": strings.Repeat("[", 20_000),
		"an array of 1,025": "[6,1,[" + strings.Repeat("1,", 1024) + "1]]", "33 options": `[6,1,{` + namesOf(33) + `}]`,
	} {
		packet("JSN-2", name, text)
	}
	all = append(all, input{id: "JSN-2", name: "broken UTF-8", counts: once("bad_frame"), send: func(t *testing.T, s *stand) {
		w := speaks(t, s)
		w.says("[3,1,\"\xc3\x28\"]")
		if w.listen(0); w.code != "" || w.status != 1007 { // of RFC 6455, section 8.1
			t.Errorf("found Disconnect %q and close frame %d, wanted 1007", w.code, w.status)
		}
	}})
	fail("JSN-3", "a cursor that is none", "bad_position", `[3,1,"a",{"position":"AAAA"}]`)
	for name, text := range map[string]string{
		"a number as text": `[7,1,"a",9,{"type":"text/plain"}]`, "a picture as JSON": `[7,1,"a",9,{"type":"image/png"}]`, "base64 without padding": `[7,1,"a","kwE",{"base64":true}]`,
		"base64 for URLs": `[7,1,"a","_-8=",{"base64":true}]`, "base64 that is a number": `[7,1,"a",9,{"base64":true}]`,
	} {
		fail("JSN-4", name, "bad_args", text)
	}
	return all
}

// namesOf is so many options, each of another name.
func namesOf(n int) string {
	var names []string
	for i := range n {
		names = append(names, fmt.Sprintf(`"x%d":1`, i))
	}
	return strings.Join(names, ",")
}
