package badinput

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/carillon-mq/carillon/internal/rawws"
)

// answered is how an HTTP request was answered.
type answered struct {
	*http.Response
	body string
	code string // of the problem document; "" when it is none
}

// exchange sends text and reads one answer; nil: the connection ended without one.
func (w *wire) exchange(text string) *answered {
	w.t.Helper()
	go w.text(text) // an answer may come before it has been taken whole
	resp, err := http.ReadResponse(w.in, nil)
	if err != nil {
		return nil
	}
	body, _ := io.ReadAll(resp.Body) // as much of it as there is
	resp.Body.Close()
	a := &answered{Response: resp, body: string(body)}
	var problem struct {
		Code   string
		Status int
	}
	if resp.Header.Get("Content-Type") == "application/problem+json" && json.Unmarshal(body, &problem) == nil && problem.Status == resp.StatusCode {
		a.code = problem.Code
	}
	return a
}

// refusedBy sends a request that is answered with the status and the code; "": net/http has refused it before anybody could count.
func refusedBy(request string, status int, code string, checks ...func(*testing.T, *answered)) func(*testing.T, *stand) {
	return func(t *testing.T, s *stand) {
		t.Helper()
		w := dial(t, s.listen)
		defer w.nc.Close()
		a := w.exchange(request)
		if a == nil {
			t.Fatal("the connection ended without an answer")
		}
		if a.StatusCode != status || a.code != code {
			t.Errorf("found %d %s %.300q, wanted %d %s", a.StatusCode, a.code, a.body, status, code)
		}
		if a.Header.Get("Access-Control-Allow-Origin") != "" && status >= 400 && status != 401 {
			t.Errorf("a page may read the refusal: %v", a.Header)
		}
		for _, check := range checks {
			check(t, a)
		}
	}
}

// upgradeWith is the usual request with some lines in the place of its own.
func upgradeWith(lines ...string) string {
	head := strings.TrimSuffix(upgradeHead, "\r\n")
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ":")
		kept := strings.Split(head, "\r\n")
		head = ""
		for i, old := range kept {
			if i == 0 || !strings.HasPrefix(strings.ToLower(old), strings.ToLower(name)+":") || strings.HasPrefix(value, "+") {
				head += old + "\r\n"
			}
		}
		head = strings.TrimSuffix(head, "\r\n")
		if value = strings.TrimPrefix(value, "+"); value != "" {
			head += "\r\n" + name + ":" + value
		}
	}
	return head + "\r\n\r\n"
}

func upgradeInputs() []input {
	version := func(t *testing.T, a *answered) {
		if a.Header.Get("Sec-WebSocket-Version") != "13" {
			t.Errorf("the answer does not say which version is spoken: %v", a.Header)
		}
	}
	var all []input
	add := func(id, name, request string, status int, code string, checks ...func(*testing.T, *answered)) {
		in := input{id: id, name: name, send: refusedBy(request, status, code, checks...)}
		if code != "" {
			in.counts = once(code)
		}
		all = append(all, in)
	}
	path := func(p string) string { return strings.Replace(upgradeWith(), "GET /ws ", "GET "+p+" ", 1) }
	const jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI0MiJ9.c2lnbmF0dXJl"

	add("H2", "POST", strings.Replace(upgradeWith(), "GET", "POST", 1), 405, "method_not_allowed")
	add("H2", "HEAD", strings.Replace(upgradeWith("Connection: close"), "GET", "HEAD", 1), 405, "")
	all[1].counts = once("method_not_allowed") // the answer to HEAD has no body
	add("H3", "no key", upgradeWith("Sec-WebSocket-Key:"), 400, "bad_args")
	add("H3", "two keys", upgradeWith("Sec-WebSocket-Key:+ AAAAAAAAAAAAAAAAAAAAAA=="), 400, "bad_args")
	add("H3", "no base64", upgradeWith("Sec-WebSocket-Key: abc"), 400, "bad_args")
	add("H3", "15 bytes", upgradeWith("Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAA"), 400, "bad_args")
	add("H4", "version 8", upgradeWith("Sec-WebSocket-Version: 8"), 426, "upgrade_required", version)
	add("H4", "no version", upgradeWith("Sec-WebSocket-Version:"), 426, "upgrade_required", version)
	add("H4", "two versions", upgradeWith("Sec-WebSocket-Version: 7, 8"), 426, "upgrade_required", version)
	add("H6", "a foreign page", upgradeWith("Origin: http://evil.test"), 403, "bad_origin")
	add("H7", "origin null", upgradeWith("Origin: null"), 403, "bad_origin")
	add("H7", "a file", upgradeWith("Origin: file://"), 403, "bad_origin")
	add("H8", "DNS rebinding", upgradeWith("Host: evil.test", "Origin: http://evil.test"), 421, "bad_host")
	add("H9", "http where https is allowed", upgradeWith("Origin: http://app.example"), 403, "bad_origin")
	add("H12", "a host as user", upgradeWith("Origin: https://evil.test@app.example"), 403, "bad_origin")
	all = append(all,
		input{id: "H13", name: "in capitals", send: upgrades(upgradeWith("Origin: https://APP.EXAMPLE"))},
		input{id: "H13", name: "no origin", send: upgrades(upgradeWith())})
	add("H15", "40 KiB of headers", upgradeWith("X-Large: "+strings.Repeat("x", 40<<10)), 431, "headers_too_large")
	add("H15", "200 KiB of headers", upgradeWith("X-Large: "+strings.Repeat("x", 200<<10)), 431, "")
	add("H15", "a request line of 32 KiB", path("/ws?"+strings.Repeat("x", 32<<10)), 431, "headers_too_large")
	add("H15", "500 headers", upgradeWith("X-Many:+ "+strings.Repeat("x\r\nX-Many: ", 500)+strings.Repeat("x", 16<<10)), 431, "headers_too_large")
	add("H19", "a token in the URL", path("/ws?token="+jwt), 400, "token_in_url")
	add("H19", "a token under another name", path("/ws?x="+jwt), 400, "token_in_url")
	for _, p := range []string{"/ws/../admin", "/ws%00", "//ws", "/WS", "/ws/", "/%77s"} {
		add("H20", p, path(p), 404, "not_found")
	}
	add("H21", "HTTP/2 with prior knowledge", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00", 421, "bad_host")
	return append(all, input{id: "H22", name: "reset before the answer is read", send: func(t *testing.T, s *stand) {
		for range 20 {
			w := dial(t, s.listen)
			w.text(upgradeWith())
			_ = w.nc.SetLinger(0) // the reset is what is tested
			w.nc.Close()
		}
	}})
}

// upgrades sends an upgrade that is granted, and says goodbye.
func upgrades(request string) func(*testing.T, *stand) {
	return func(t *testing.T, s *stand) {
		t.Helper()
		w := dial(t, s.listen)
		if a := w.exchangeHead(request); a.StatusCode != http.StatusSwitchingProtocols || a.Header.Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
			t.Errorf("found %s, %v", a.Status, a.Header)
		}
		w.raw(rawws.Frame(rawws.Close, []byte{0x03, 0xe8}))
		if h := w.end(); h.status != 1000 || !h.ended {
			t.Errorf("found %+v, wanted the close answered", h)
		}
	}
}

// exchangeHead is exchange for an answer without a body.
func (w *wire) exchangeHead(text string) *http.Response {
	w.t.Helper()
	w.text(text)
	resp, err := http.ReadResponse(w.in, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	resp.Body.Close()
	return resp
}
