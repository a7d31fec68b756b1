package packetjson

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/carillon-mq/carillon/internal/require"
	"github.com/carillon-mq/carillon/protocol"
)

// vector is one object of spec/vectors/json.json or packet.json.
type vector struct {
	Name      string
	JSON      string
	Hex       string
	Packet    map[string]map[string]any
	Error     string
	ID        uint64
	Canonical *bool
	Read      *bool
}

func vectors(t testing.TB, kind string) (all []vector) {
	t.Helper()
	text, err := os.ReadFile("../../../spec/vectors/" + kind + ".json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	if len(all) == 0 {
		t.Fatal("no vectors")
	}
	return all
}

// packet is the one that a vector describes, in msgpack.
func (v *vector) packet(t *testing.T) []byte {
	t.Helper()
	for name, fields := range v.Packet {
		str := func(name string) string { s, _ := fields[name].(string); return s }
		num := func(name string) uint64 { f, _ := fields[name].(float64); return uint64(f) }
		payload, err := hex.DecodeString(str("payload"))
		if err != nil {
			t.Fatal(err)
		}
		switch name {
		case "Connect":
			return (&protocol.Connect{Version: int(num("version")), Token: str("token"), Client: str("client")}).Append(nil)
		case "Subscribed":
			f := strings.Fields(str("position"))
			p := protocol.Subscribed{ID: num("id")}
			_, err1 := hex.Decode(p.Position.Epoch[:], []byte(f[0]))
			_, err2 := hex.Decode(p.Position.Term[:], []byte(f[2]))
			var err3, err4 error
			p.Position.Seq, err3 = strconv.ParseUint(f[1], 10, 64)
			p.Position.Offset, err4 = strconv.ParseUint(f[3], 10, 64)
			if err := errors.Join(err1, err2, err3, err4); err != nil {
				t.Fatal(err)
			}
			return p.Append(nil)
		case "Publish":
			retain, _ := fields["retain"].(bool)
			return (&protocol.Publish{ID: num("id"), Topic: str("topic"), Payload: payload, Retain: retain, ContentType: str("type")}).Append(nil)
		case "Message":
			m := protocol.Message{
				Seq: num("seq"), Offset: num("offset"), Topic: str("topic"), Payload: payload, Time: int64(num("ts")), ContentType: str("type"),
			}
			return m.Append(nil)
		default:
			t.Fatalf("a vector has a packet %s: this test has to learn it", name)
		}
	}
	t.Fatal("a vector has no packet")
	return nil
}

// canonical is a packet as its own type encodes it.
func canonical(t testing.TB, packet []byte) []byte {
	t.Helper()
	raw, rest, err := protocol.Next(packet)
	if err != nil || len(rest) > 0 {
		t.Fatalf("%x: %v, %d bytes behind it", packet, err, len(rest))
	}
	p, err := protocol.DecodePacket(raw)
	if err != nil {
		t.Fatalf("%x: %v", packet, err)
	}
	return p.Append(nil)
}

// wantError checks err against the code that the vector wants.
func (v *vector) wantError(t *testing.T, err error) {
	t.Helper()
	if protocol.CodeOf(err).String() != v.Error {
		t.Fatalf("found %v, wanted the error %s", err, v.Error)
	}
	var request *RequestError
	if errors.As(err, &request) != (v.ID > 0) || request != nil && request.ID != v.ID {
		t.Errorf("found %+v, wanted it about request %d", request, v.ID)
	}
}

// [JSN-2] to [JSN-6], in both directions.
func TestJSONVectors(t *testing.T) {
	for _, v := range vectors(t, "json") {
		t.Run(v.Name, func(t *testing.T) {
			read, rest, err := Read(nil, []byte(v.JSON))
			if v.Error != "" {
				v.wantError(t, err)
				return
			}
			want := v.packet(t)
			if v.Read == nil || *v.Read {
				if err != nil || len(rest) > 0 {
					t.Fatalf("found %v, and %q left", err, rest)
				}
				if diff := cmp.Diff(want, canonical(t, read)); diff != "" {
					t.Errorf("read (-wanted +found):\n%s", diff)
				}
			}
			written, err := Append(nil, want)
			if err != nil {
				t.Fatal(err)
			}
			if same := string(written) == v.JSON+"\n"; same != (v.Canonical == nil || *v.Canonical) {
				t.Errorf("it is written %s", written)
			}
		})
	}
}

// Every packet goes to JSON and comes back as it was, but for a payload in MessagePack that a Message shows as the value that it is ([JSN-5]).
func TestEveryPacketGoesToJSONAndBack(t *testing.T) {
	back := 0
	for _, v := range vectors(t, "packet") {
		if v.Error != "" || v.Canonical != nil && !*v.Canonical {
			continue
		}
		packet, err := hex.DecodeString(v.Hex)
		if err != nil {
			t.Fatal(err)
		}
		text, err := Append([]byte("x"), packet)
		if err != nil {
			t.Errorf("%s: %v", v.Name, err)
			continue
		}
		text = text[1:]
		if !json.Valid(text) || bytes.Count(text, []byte("\n")) != 1 || !bytes.HasSuffix(text, []byte("]\n")) {
			t.Errorf("%s: found %q", v.Name, text)
		}
		if m := v.Packet["Message"]; m != nil && m["type"] == nil && !bytes.Contains(text, []byte(`"base64":true`)) {
			if _, _, err := Read(nil, text); protocol.CodeOf(err) != protocol.CodeBadArgs {
				t.Errorf("%s: %s reads as %v", v.Name, text, err)
			}
			continue
		}
		again, rest, err := Read([]byte{0xc0}, text)
		if err != nil || len(rest) > 0 || !bytes.Equal(again, append([]byte{0xc0}, packet...)) {
			t.Errorf("%s: %x became %s and %x (%v)", v.Name, packet, text, again, err)
		}
		back++
	}
	if back < 70 {
		t.Errorf("found %d packets that came back", back)
	}
}

// What a text is read as: packets in msgpack, and the code of what ends it.
func TestReading(t *testing.T) {
	publish := func(payload, contentType string) string {
		return hex.EncodeToString((&protocol.Publish{ID: 1, Topic: "a", Payload: []byte(payload), ContentType: contentType}).Append(nil))
	}
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	for _, tt := range []struct {
		name, text, want string // want: hex, or the code
	}{
		{"JSN-1 two packets", " [16]\r\n\t[6,1] ", "911092 0601"},
		{"JSN-1 nothing between", "[16][16]", "9110 9110"},
		{"JSN-1 empty", "", "bad_packet"},
		{"JSN-1 white space alone", " \n", "bad_packet"},
		{"JSN-1 a comma between", "[16],[16]", "bad_packet"},
		{"JSN-1 another white space", "[16]\u00a0[16]", "bad_packet"},
		{"JSN-1 not UTF-8", "[6,\"\xff\"]", "bad_packet"},
		{"ENC-1 a number", "6", "bad_packet"},
		{
			"JSN-2 integers", "[6,[0,127,128,255,256,65535,65536,4294967295,4294967296,9007199254740991]]",
			"92069a 00 7f cc80 ccff cd0100 cdffff ce00010000 ceffffffff cf0000000100000000 cf001fffffffffffff",
		},
		{
			"JSN-2 integers in other clothes", "[6,[-0,1.0,1e2,10e-1,0.00,0.5e1,1E+2,900719925474099.1e1,0e999999999999999999999]]",
			"920699 00 01 64 01 00 05 64 cf001fffffffffffff 00",
		},
		{"JSN-2 a fraction behind many digits", "[6,9007199254740991.0000000000000000001]", "bad_packet"},
		{"JSN-2 a fraction by its exponent", "[6,15e-1]", "bad_packet"},
		{"JSN-2 too large by its exponent", "[6,1e16]", "bad_packet"},
		{"JSN-2 far too large", "[6,1e99999999999999999999]", "bad_packet"},
		{"JSN-2 negative", "[6,-1]", "bad_packet"},
		{"JSN-2 a zero in front", "[6,01]", "bad_packet"},
		{"JSN-2 a plus", "[6,+1]", "bad_packet"},
		{"JSN-2 a point without digits", "[6,1.]", "bad_packet"},
		{"JSN-2 an exponent without digits", "[6,1e]", "bad_packet"},
		{"JSN-2 NaN", "[6,NaN]", "bad_packet"},
		{"JSN-2 words", "[6,[true,false,null]]", "920693 c3 c2 c0"},
		{"JSN-2 a word cut off", "[6,tru", "bad_packet"},
		{"JSN-2 strings", `[6,["","\"\\\/\b\f\n\r\t\u00e9\ud83d\udd14é🔔"]]`, "920692 a0 b4 225c2f080c0a0d09 c3a9 f09f9494 c3a9 f09f9494"},
		{"JSN-2 a string of 32", `[6,"` + strings.Repeat("a", 32) + `"]`, "9206d920" + strings.Repeat("61", 32)},
		{"JSN-2 a string of 256", `[6,"` + strings.Repeat("a", 256) + `"]`, "9206da0100" + strings.Repeat("61", 256)},
		{"JSN-2 the high half of a pair alone", `[6,"\ud800"]`, "bad_packet"},
		{"JSN-2 the low half of a pair alone", `[6,"\udc00"]`, "bad_packet"},
		{"JSN-2 a pair the wrong way round", `[6,"\udc00\ud800"]`, "bad_packet"},
		{"JSN-2 a control character", "[6,\"\n\"]", "bad_packet"},
		{"JSN-2 an escape that is none", `[6,"\x"]`, "bad_packet"},
		{"JSN-2 an escape cut off", `[6,"\u00e"]`, "bad_packet"},
		{"JSN-2 single quotes", "[6,'a']", "bad_packet"},
		{"JSN-2 a comma at the end", "[6,1,]", "bad_packet"},
		{"JSN-2 a comma in front", "[,6]", "bad_packet"},
		{"JSN-2 no comma", "[6 1]", "bad_packet"},
		{"JSN-2 the wrong bracket", "[6}", "bad_packet"},
		{"JSN-2 objects", `[6,1,{"a":1,"b":{}}]`, "9306 01 82 a161 01 a162 80"},
		{"JSN-2 a name twice, once escaped", `[6,1,{"a":1,"\u0061":2}]`, "bad_packet"},
		{"JSN-2 a name twice further in", `[6,1,{"x":[{"a":1,"a":2}]}]`, "bad_packet"},
		{"JSN-2 a name in another object", `[6,1,{"a":{"a":1}}]`, "930601 81 a161 81 a161 01"},
		{"JSN-2 a name that is no string", `[6,1,{1:2}]`, "bad_packet"},
		{"JSN-2 no colon", `[6,1,{"a",2}]`, "bad_packet"},
		{"JSN-2 a comment", "[6,/**/1]", "bad_packet"},
		{"ENC-6 16 deep", "[6," + deep(15) + "]", "9206" + strings.Repeat("91", 14) + "90"},
		{"ENC-6 17 deep", "[6," + deep(16) + "]", "bad_packet"},
		{"ENC-6 very deep", strings.Repeat("[", 60000), "bad_packet"},
		{"ENC-6 16 elements", "[6,[" + strings.Repeat("1,", 15) + "1]]", "9206dc0010" + strings.Repeat("01", 16)},
		{"ENC-6 1024 elements", "[6,[" + strings.Repeat("1,", 1023) + "1]]", "9206dc0400" + strings.Repeat("01", 1024)},
		{"ENC-6 1025 elements", "[6,[" + strings.Repeat("1,", 1024) + "1]]", "bad_packet"},
		{"ENC-6 1025 elements of a packet", "[6," + strings.Repeat("1,", 1023) + "1]", "bad_packet"},
		{"ENC-6 65 pairs", "[6,1,{" + members(65) + "}]", "bad_packet"},
		{"JSN-3 a token", `[19,1,"a",{"after":"AQECAwQFBgcIrAIREhMUFRYXGAc"}]`, "94130 1a161 81a56166746572 c414 010102030405060708ac02111213141516171807"},
		{"JSN-3 no token", `[19,1,"a",{"after":"!"}]`, "941301a161 81a56166746572 c400"},
		{"JSN-3 a line break in a token", `[19,1,"a",{"after":"AQEC\nAwQF"}]`, "941301a161 81a56166746572 c400"},
		{"JSN-3 a number as a token", `[19,1,"a",{"after":7}]`, "941301a161 81a56166746572 07"},
		{
			"JSN-3 tokens of many subscriptions", `[25,[[1,"a",{"position":"AQ"}]],{"position":"AQ"}]`,
			"9319 91 93 01 a161 81a8706f736974696f6e c40101 81a8706f736974696f6e c40101",
		},
		{"JSN-4 a fraction", `[7,1,"a",[1.5,-2]]`, publish("[1.5,-2]", "application/json")},
		{"JSN-4 null", `[7,1,"a",null]`, publish("null", "application/json")},
		{"JSN-4 as written", `[7,1,"a" , {"a" :1,"a":1, "\ud800":"\u0041"} ]`, publish(`{"a" :1,"a":1, "\ud800":"\u0041"}`, "application/json")},
		{"JSN-4 deep", `[7,1,"a",` + deep(1000) + `]`, publish(deep(1000), "application/json")},
		{"JSN-4 with no options", `[7,1,"a",1,null]`, publish("1", "application/json")},
		{"JSN-4 with empty options", `[7,1,"a",1,{}]`, publish("1", "application/json")},
		{"JSN-4 with an array for options", `[7,1,"a",1,[]]`, publish("1", "application/json")},
		{"JSN-4 with a type that is null", `[7,1,"a",1,{"type":null,"base64":false}]`, publish("1", "application/json")},
		{"JSN-4 a type of its own", `[7,1,"a",1,{"type":"application/geo+json"}]`, publish("1", "application/geo+json")},
		{"JSN-4 text", `[7,1,"a","\u00e9\n",{"type":"text/csv"}]`, publish("é\n", "text/csv")},
		{"JSN-4 text of another charset is UTF-8", `[7,1,"a","é",{"type":"text/csv; charset=latin1"}]`, publish("é", "text/csv; charset=latin1")},
		{"JSN-4 empty text", `[7,1,"a","",{"type":"text/csv"}]`, "bad_args"},
		{"JSN-4 text that is none", `[7,1,"a","\ud800",{"type":"text/csv"}]`, "bad_args"},
		{"JSN-4 bytes", `[7,1,"a","\/\/8=",{"base64":true}]`, publish("\xff\xff", "")},
		{"JSN-4 bytes of a type", `[7,1,"a","AA==",{"type":"image/png","base64":true}]`, publish("\x00", "image/png")},
		{"JSN-4 bytes that are JSON", `[7,1,"a","MQ==",{"base64":true,"type":"application/json"}]`, publish("1", "application/json")},
		{"JSN-4 MessagePack as JSON", `[7,1,"a",1,{"type":"application/msgpack"}]`, "bad_args"},
		{"JSN-4 the empty type", `[7,1,"a",1,{"type":""}]`, "bad_args"},
		{"JSN-4 base64 of a number", `[7,1,"a",1,{"base64":true}]`, "bad_args"},
		{"JSN-4 base64 with bits left over", `[7,1,"a","AB==",{"base64":true}]`, "bad_args"},
		{"JSN-4 base64 of URLs", `[7,1,"a","__8=",{"base64":true}]`, "bad_args"},
		{"JSN-4 base64 with a line break", `[7,1,"a","AAAA\nAAAA",{"base64":true}]`, "bad_args"},
		{"JSN-4 base64 of padding", `[7,1,"a","====",{"base64":true}]`, "bad_args"},
		{"ENC-12 base64 as a number", `[7,1,"a","",{"base64":1}]`, "bad_packet"},
		{"ENC-8 base64 twice", `[7,1,"a","",{"base64":true,"base64":true}]`, "bad_packet"},
		{"JSN-4 an element behind the options", `[7,1,"a","AA==",{"base64":true},5]`, "9607 01 a161 c40100 80 05"},
		{"JSN-4 no JSON", `[7,1,"a",{"x":},{}]`, "bad_packet"},
		{"JSN-4 cut off", `[7,1,"a",{"x":[1,2`, "bad_packet"},
		{"JSN-4 a number with a zero in front", `[7,1,"a",[01]]`, "bad_packet"},
		{"JSN-4 brackets crossed", `[7,1,"a",[{"a":1]}]`, "bad_packet"},
		{"JSN-4 a comma at its end", `[7,1,"a",{"a":1,}]`, "bad_packet"},
		{"PUB-1 no payload", `[7,1,"a"]`, "93 07 01 a161"},
		{"ENC-9 an unknown packet", `[126,1,"a",{"x":"y"}]`, "947e01a16181a178a179"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out, rest, err := Read([]byte("x"), []byte(tt.text))
			if err != nil {
				if got := protocol.CodeOf(err).String(); got != tt.want {
					t.Errorf("found %v, wanted %s", err, tt.want)
				}
				return
			}
			if got := hex.EncodeToString(out[1:]); got != strings.ReplaceAll(tt.want, " ", "") || len(rest) > 0 {
				t.Errorf("found %s, wanted %s", got, tt.want)
			}
		})
	}
}

// members are n members of an object.
func members(n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(`"` + strconv.Itoa(i) + `":0`)
	}
	return b.String()
}

// [TRA-4]: what is before a fault has been read, and behind a request that failed it goes on.
func TestReadingGoesOnBehindARequestThatFailed(t *testing.T) {
	out, rest, err := Read(nil, []byte(`[16][7,5,"a",9,{"type":"image/png"}] [6,1] [6,`))
	var request *RequestError
	if !errors.As(err, &request) || request.ID != 5 || request.Type != protocol.TypePublish || !bytes.Equal(out, []byte{0x91, 16}) {
		t.Fatalf("found %x and %v", out, err)
	}
	out, rest, err = Read(nil, rest)
	if protocol.CodeOf(err) != protocol.CodeBadPacket || errors.As(err, &request) && request.ID == 0 || !bytes.Equal(out, []byte{0x92, 6, 1}) {
		t.Fatalf("found %x, %q and %v", out, rest, err)
	}
}

// [JSN-5]: what the payload of a message is written as.
func TestWritingMessages(t *testing.T) {
	for _, tt := range []struct {
		name string
		m    protocol.Message
		want string
	}{
		{"MessagePack", protocol.Message{Payload: []byte{0x81, 0xa1, 'a', 0xcb, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0}}, `[9,0,0,"t",{"a":1.5},0]`},
		{"MessagePack by name", protocol.Message{Payload: []byte{7}, ContentType: "application/msgpack"}, `[9,0,0,"t",7,0]`},
		{"MessagePack with bytes in it", protocol.Message{Payload: []byte{0xc4, 1, 7}}, `[9,0,0,"t","xAEH",0,{"base64":true}]`},
		{
			"MessagePack by name with bytes in it",
			protocol.Message{Payload: []byte{0xc4, 1, 7}, ContentType: "application/msgpack"},
			`[9,0,0,"t","xAEH",0,{"type":"application/msgpack","base64":true}]`,
		},
		{"JSON", protocol.Message{Payload: []byte("{ \"a\":\n1.50 }"), ContentType: "application/json"}, `[9,0,0,"t",{"a":1.50},0,{"type":"application/json"}]`},
		{"JSON of its own type", protocol.Message{Payload: []byte("[]"), ContentType: "application/geo+json"}, `[9,0,0,"t",[],0,{"type":"application/geo+json"}]`},
		{"JSON that is none", protocol.Message{Payload: []byte("{"), ContentType: "application/json"}, `[9,0,0,"t","ew==",0,{"type":"application/json","base64":true}]`},
		{"text", protocol.Message{Payload: []byte("a\"\n\x7fé"), ContentType: "text/plain"}, "[9,0,0,\"t\",\"a\\\"\\n\x7fé\",0,{\"type\":\"text/plain\"}]"},
		{"text that is none", protocol.Message{Payload: []byte{0xff}, ContentType: "text/plain"}, `[9,0,0,"t","/w==",0,{"type":"text/plain","base64":true}]`},
		{"bytes", protocol.Message{Payload: []byte{1}, ContentType: "image/png"}, `[9,0,0,"t","AQ==",0,{"type":"image/png","base64":true}]`},
		{"nothing", protocol.Message{Retain: true}, `[9,0,0,"t","",0,{"retain":true,"base64":true}]`},
		{"nothing in JSON", protocol.Message{ContentType: "application/json"}, `[9,0,0,"t","",0,{"type":"application/json","base64":true}]`},
		{
			"compressed",
			protocol.Message{Payload: []byte("1"), ContentType: "application/json", Encoding: protocol.CompressDeflate},
			`[9,0,0,"t","MQ==",0,{"type":"application/json","encoding":"deflate-raw","base64":true}]`,
		},
		{
			"headers",
			protocol.Message{Payload: []byte{7}, Headers: map[string]string{"b": "", "a": "\x01"}, Seq: 3, Offset: 2, Time: 5},
			`[9,3,2,"t",7,5,{"headers":{"a":"\u0001","b":""}}]`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.m.Topic = "t"
			out, err := Append(nil, tt.m.Append(nil))
			if err != nil || string(out) != tt.want+"\n" {
				t.Errorf("found %s (%v), wanted %s", out, err, tt.want)
			}
		})
	}
}

func TestReadingAllocatesNothing(t *testing.T) {
	text := []byte(`[3,1,"orders.>",{"position":"AQECAwQFBgcIrAIREhMUFRYXGAc","retained":false}] [15,null] [7,1,"a",{"price":9.5,"tags":["a","\u00e9"]}]`)
	dst := make([]byte, 0, 1024)
	allocations := testing.AllocsPerRun(1000, func() {
		if _, _, err := Read(dst, text); err != nil {
			t.Fatal(err)
		}
	})
	if allocations >= 0.5 && !require.RaceDetector { // with the race detector a pool drops what it is given now and then
		t.Errorf("found %.1f allocations", allocations)
	}
}

func BenchmarkRead(b *testing.B) {
	text := []byte(`[7,1,"orders.eu.42",{"id":42,"status":"shipped","total":19.99,"items":["a","b"],"by":"alice"},{"retain":true}]`)
	dst := make([]byte, 0, 1024)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := Read(dst, text); err != nil {
			b.Fatal(err)
		}
	}
}
