package badinput

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/protocol"
)

const jsonType = "Content-Type: application/json"

func httpInputs(t testing.TB) []input {
	t.Helper()
	wide, small := bearer(token(t, "42", everything)), bearer(token(t, "43", narrow))
	var all []input
	add := func(id, name, request string, status int, code string) {
		in := input{id: id, name: name, send: refusedBy(request, status, code)}
		switch {
		case code != "":
			in.counts = once(code)
		case status == 200:
			in.accepted = 1
		}
		all = append(all, in)
	}
	envelope := func(id, name, body string, status int, code string, headers ...string) {
		add(id, name, request("POST", "/v1/publish", body, append([]string{wide, jsonType}, headers...)...), status, code)
	}
	add("A1", "no token", post("orders.1", marker), 401, "token_missing")
	add("A1", "no JWT", post("orders.1", marker, bearer("abc")), 401, "token_malformed")
	add("A1", "of another tenant", post("tenant9.x", marker, small), 403, "forbidden")
	for name, body := range map[string]string{
		"a brace": `{`, "trailing data": `{"topic":"a","data":1}{}`, "a key twice": `{"topic":"a","topic":"b","data":1}`, "NaN": `{"topic":"a","data":NaN}`,
		"depth": `{"topic":"a","data":` + strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000) + `}`, "UTF-16": "\xff\xfe{\x00}\x00",
		"BOM": "\ufeff" + `{"topic":"a","data":1}`, "not UTF-8": "{\"topic\":\"a\",\"data\":\"\xc3\x28\"}", "nothing": "",
	} {
		envelope("A4", name, body, 400, "bad_body")
	}
	envelope("A5", "gzip", "\x1f\x8b"+strings.Repeat("\x00", 1000), 415, "unsupported_media_type", "Content-Encoding: gzip")
	add("A6", "text/plain", request("POST", "/v1/publish", `{"topic":"a","data":1}`, wide, "Content-Type: text/plain"), 415, "unsupported_media_type")
	add("A6", "a foreign page's form with the cookie", request("POST", "/v1/publish", "topic=a&data=1",
		"Cookie: session="+strings.TrimPrefix(wide, "Authorization: Bearer "), "Content-Type: application/x-www-form-urlencoded", "Origin: https://evil.test"), 403, "bad_origin")
	add("A8", "GET", request("GET", "/v1/publish", "", wide), 405, "method_not_allowed")
	add("A8", "PUT", request("PUT", "/v1/topics/a", marker, wide), 405, "method_not_allowed")
	add("A8", "OPTIONS from a foreign page", request("OPTIONS", "/v1/publish", "", "Origin: https://evil.test"), 403, "bad_origin")
	for _, p := range []string{"/v1/topics/a/b", "/v1/topics/../admin", "//v1/publish", "/v1/publish;jsessionid=1", "/v1/topics/"} {
		add("A20", p, request("POST", p, marker, wide), 404, "not_found")
	}
	add("A20", "an escaped slash", post("..%2fadmin", marker, wide), 400, "bad_topic")
	for _, p := range []string{"/metrics", "/v1/admin/plugins", "/livez", "/readyz", "/debug/pprof/"} {
		add("A23", p, request("GET", p, "", wide), 404, "not_found")
	}
	for topic, status := range map[string]int{"t23%2Eb": 200, "t23%252Eb": 200, "t23+b": 200, "t23%00": 400, "t23%ff": 400} {
		add("T23", topic, post(topic, "1", wide), status, map[int]string{400: "bad_topic"}[status])
	}
	add("T23", "t23%zz", post("t23%zz", "1", wide), 400, "") // net/http refuses it before anybody could count
	for _, wait := range []string{"0", "-1", "1e9", "NaN", "61", ""} {
		add("A16", "wait "+wait, request("GET", "/v1/subscribe?filter=a&mode=poll&wait="+wait, "", wide), 400, "bad_args")
	}
	for name, id := range map[string]string{"-1": "-1", "not UTF-8": "\xff\xfe", "1 KiB": strings.Repeat("A", 1024)} {
		add("A13", name, request("GET", "/v1/subscribe?filter=a", "", wide, "Last-Event-ID: "+id), 400, "bad_position")
	}
	add("A13", "64 KiB", request("GET", "/v1/subscribe?filter=a", "", wide, "Last-Event-ID: "+strings.Repeat("A", 60<<10)), 431, "headers_too_large")
	all = append(all, framingInputs(wide)...)
	return append(all,
		input{id: "A10", name: "a key used again", accepted: 1, counts: once("duplicate_id"), send: idempotent},
		input{id: "A12", name: "an event inside an event", accepted: 1, send: eventInside},
		input{id: "A13", name: "of another run", send: gapEvent},
		input{id: "A21", name: "10,000 streams of HTTP/2", counts: once("bad_host"), send: rapidReset},
		input{id: "C18", name: "100 SIGHUPs", lines: 110, send: func(t *testing.T, s *stand) {
			for range 100 {
				if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
					t.Fatal(err)
				}
				s.canary.pass(t, 1)
			}
		}},
	)
}

// framingInputs are requests whose end two servers could find in different places. What is smuggled behind must not be read.
func framingInputs(auth string) []input {
	const smuggled = "POST /v1/topics/smuggled HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n"
	behind := smuggled + auth + "\r\n\r\nx"
	head := "POST /v1/topics/a HTTP/1.1\r\nHost: localhost\r\n" + auth + "\r\n"
	var all []input
	for _, row := range []struct {
		name, request string
		status        int
		counts        map[string]int
	}{
		{"two lengths", head + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nx", 400, nil},
		{"an unknown coding", head + "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", 501, nil},
		{"a length and chunks", head + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", 200, nil},
		{"a bare line feed behind the size of a chunk", head + "Transfer-Encoding: chunked\r\n\r\n1\nx\r\n0\r\n\r\n", 400, once("bad_body")},
		{"a bare line feed behind the last chunk", head + "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\n\r\n", 400, once("bad_body")},
		{"a bare carriage return in a header", head + "X-A: a\rContent-Length: 1\r\n\r\nx", 400, nil},
		// RFC 9112, 2.2: a line feed alone may be taken for the end of a line of the head. Each of them is, so there is one way to read it.
		{"line feeds alone in the head", strings.ReplaceAll(head, "\r", "") + "Connection: close\nContent-Length: 1\n\nx", 200, nil},
		{"a length below zero", head + "Content-Length: -1\r\n\r\n", 400, nil},
		{"a blank before the colon", head + "Content-Length : 1\r\n\r\nx", 400, nil},
	} {
		accepted := 0
		if row.status == 200 { // RFC 9112, 6.3: the chunks count, and the connection ends
			accepted = 1
		}
		all = append(all, input{id: "A9", name: row.name, accepted: accepted, counts: row.counts, send: func(t *testing.T, s *stand) {
			w := dial(t, s.listen)
			a := w.exchange(row.request + behind)
			if a == nil || a.StatusCode != row.status {
				t.Fatalf("found %+v, wanted %d", a, row.status)
			}
			if another := w.exchange(""); another != nil {
				t.Errorf("the bytes behind were answered: %s", another.Status)
			}
			w.nc.Close()
		}})
	}
	return all
}

func idempotent(t *testing.T, s *stand) {
	wide, key := bearer(token(t, "42", everything)), "Idempotency-Key: "+fmt.Sprint(time.Now().UnixNano())
	var seqs []float64
	for _, body := range []string{"1", "1", "2"} {
		w := dial(t, s.listen)
		a := w.exchange(post("orders.1", body, wide, key))
		w.nc.Close()
		var got struct{ Seq float64 }
		if body == "2" {
			if a == nil || a.StatusCode != 409 || a.code != "duplicate_id" {
				t.Errorf("found %+v for another body", a)
			}
			continue
		}
		if a == nil || a.StatusCode != 200 || json.Unmarshal([]byte(a.body), &got) != nil {
			t.Fatalf("found %+v", a)
		}
		seqs = append(seqs, got.Seq)
	}
	if seqs[0] != seqs[1] || seqs[0] == 0 {
		t.Errorf("found places %v", seqs)
	}
}

// events begins a stream and returns what it says, line by line.
func events(t *testing.T, s *stand, filter string, headers ...string) (w *wire, line func() string) {
	t.Helper()
	w = dial(t, s.listen)
	w.text(request("GET", "/v1/subscribe?filter="+url.QueryEscape(filter), "", append(headers, bearer(token(t, "42", everything)))...))
	line = func() string {
		text, err := w.in.ReadString('\n')
		if err != nil {
			t.Fatalf("the stream ended: %v", err)
		}
		return strings.TrimRight(text, "\r\n")
	}
	if head := line(); !strings.Contains(head, " 200 ") {
		t.Fatalf("found %q", head)
	}
	skip(line, func(text string) bool { return text == "" })
	return w, line
}

// skip reads lines up to the first that is last.
func skip(line func() string, last func(string) bool) {
	for text := line(); !last(text); {
		text = line()
	}
}

func eventInside(t *testing.T, s *stand) {
	const payload = "x\n\nevent: y\nid: 9\ndata: z"
	w, line := events(t, s, "inside")
	skip(line, func(text string) bool { return strings.HasPrefix(text, "id: ") }) // it has begun
	p := dial(t, s.listen)
	if a := p.exchange(post("inside", payload, bearer(token(t, "42", everything)), "Content-Type: text/plain")); a == nil || a.StatusCode != 200 {
		t.Fatalf("found %+v", a)
	}
	p.nc.Close()
	var data string
	for text := line(); ; text = line() {
		if text == "event: y" || text == "id: 9" || text == "data: z" {
			t.Fatalf("the payload has become %q", text)
		}
		if d, ok := strings.CutPrefix(text, "data: "); ok && strings.Contains(d, `"topic":"inside"`) {
			data = d
			break
		}
	}
	var message struct{ Data any }
	if err := json.Unmarshal([]byte(data), &message); err != nil || message.Data != payload {
		t.Errorf("found %s: %v", data, err)
	}
	w.nc.Close()
}

func gapEvent(t *testing.T, s *stand) {
	p, err := protocol.ParsePosition(position(t, s))
	if err != nil {
		t.Fatal(err)
	}
	p.Epoch[0] ^= 1
	w, line := events(t, s, "resumed.a", "Last-Event-ID: "+p.Cursor())
	var seen []string
	for !slices.Contains(seen, "event: gap") {
		if seen = append(seen, line()); len(seen) > 50 {
			t.Fatalf("found no gap: %q", seen)
		}
	}
	w.nc.Close()
}

// rapidReset is CVE-2023-44487, to a port that speaks no HTTP/2.
func rapidReset(t *testing.T, s *stand) {
	w := dial(t, s.listen)
	var b strings.Builder
	b.WriteString("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")
	for i := range 10_000 {
		id := string([]byte{0, byte((2*i + 1) >> 16), byte((2*i + 1) >> 8), byte(2*i + 1)})
		b.WriteString("\x00\x00\x01\x01\x05" + id + "\x82" + "\x00\x00\x04\x03\x00" + id + "\x00\x00\x00\x08")
	}
	a := w.exchange(b.String())
	if a == nil || a.StatusCode != 421 {
		t.Errorf("found %+v", a)
	}
	if another := w.exchange(""); another != nil {
		t.Errorf("the streams were answered: %s", another.Status)
	}
	w.nc.Close()
}
