package apidocs

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/carillon-mq/carillon/internal/apidoc"
	"github.com/carillon-mq/carillon/internal/rawws"
	"github.com/carillon-mq/carillon/protocol"
)

func retained(t *testing.T, doc *apidoc.Document) {
	s := open(t, doc)
	s.ask(t, "POST", "/v1/topics/a?retain=true", "\x81\xa1a\x01", s.auth, "Content-Type: application/msgpack").wants(t, "msgpack", 200, "")
	for _, method := range []string{"GET", "HEAD"} {
		a := s.ask(t, method, "/v1/topics/a", "", s.auth)
		a.wants(t, method, 200, "")
		s.ask(t, method, "/v1/topics/a", "", s.auth, "If-None-Match: "+a.header.Get("ETag")).wants(t, "the same tag", 304, "")
		s.ask(t, method, "/v1/topics/a", "", s.auth, "Accept: application/json").wants(t, "as JSON", 200, "")
	}
	s.ask(t, "GET", "/v1/topics/b", "", s.auth).wants(t, "none", 404, "not_found")
	s.ask(t, "HEAD", "/v1/topics/b", "", s.auth).wants(t, "none", 404, "")
	s.ask(t, "GET", "/v1/topics/a?x=1", "", s.auth).wants(t, "a query", 400, "bad_args")
	s.ask(t, "GET", "/v1/topics/a.*", "", s.auth).wants(t, "a filter", 400, "bad_topic")
}

func histories(t *testing.T, doc *apidoc.Document) {
	s := open(t, doc)
	for i, body := range []string{`{"n":1}`, "text", "\xff\x00", ""} {
		s.ask(t, "POST", "/v1/topics/kept.a", body, s.auth, "Content-Type: "+[]string{"application/json", "text/plain", "image/png", "application/geo+json"}[i]).wants(t, body, 200, "")
	}
	s.ask(t, "POST", "/v1/publish", `{"topic":"kept.b","data":1,"headers":{"a":"b"},"retain":true}`, s.auth, asJSON).wants(t, "headers", 200, "")
	page := s.ask(t, "GET", "/v1/topics/kept.%3E/history?limit=2", "", s.auth)
	page.wants(t, "a page", 200, "")
	cursor, _ := page.decoded(t)["cursor"].(string)
	s.ask(t, "GET", "/v1/topics/kept.%3E/history?after="+cursor, "", s.auth).wants(t, "the next", 200, "")
	s.ask(t, "GET", "/v1/topics/kept.*/history?last=3", "", s.auth).wants(t, "the last", 200, "")
	s.ask(t, "HEAD", "/v1/topics/kept.*/history", "", s.auth).wants(t, "HEAD", 200, "")
	at, err := protocol.ParseCursor(cursor)
	if err != nil {
		t.Fatal(err)
	}
	at.Offset += 1000
	ahead := s.ask(t, "GET", "/v1/topics/kept.a/history?after="+at.Cursor(), "", s.auth)
	if ahead.wants(t, "ahead", 200, ""); ahead.decoded(t)["gap"] == nil {
		t.Errorf("found no gap: %s", ahead.body)
	}
	for query, code := range map[string]string{"limit=0": "bad_args", "last=1&after=" + cursor: "bad_args", "last=1&limit=1": "bad_args", "after=x": "bad_position", "n=1": "bad_args"} {
		s.ask(t, "GET", "/v1/topics/kept.a/history?"+query, "", s.auth).wants(t, query, 400, code)
	}
	s.ask(t, "GET", "/v1/topics/kept.%3E.a/history", "", s.auth).wants(t, "a bad filter", 400, "bad_filter")
	s.ask(t, "GET", "/v1/topics/orders.1/history", "", s.auth).wants(t, "not stored", 501, "unsupported")
}

// stream is a stream of events that is read as it comes.
type stream struct {
	*wire
	target string
	text   strings.Builder
	head   *http.Response
}

func (s *stand) stream(t *testing.T, target string, headers ...string) *stream {
	t.Helper()
	w := &stream{wire: s.dial(t, s.listen), target: target}
	if _, err := io.WriteString(w.nc, request("GET", target, "", headers...)); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(w.in, &http.Request{Method: "GET"})
	if err != nil {
		t.Fatal(err)
	}
	w.head = resp
	return w
}

// until reads up to the end of the event in which line stands, and holds what has come so far against the document.
func (w *stream) until(t *testing.T, line string) {
	t.Helper()
	found := false
	buf := make([]byte, 1)
	for !found || !strings.HasSuffix(w.text.String(), "\n\n") {
		n, err := w.head.Body.Read(buf)
		w.text.Write(buf[:n])
		if err != nil {
			t.Fatalf("%s: %v behind %q, wanted %s", w.target, err, w.text.String(), line)
		}
		found = found || strings.HasSuffix(w.text.String(), "\n"+line)
	}
	if err := w.s.doc.Check("GET", w.target, w.head, []byte(w.text.String())); err != nil {
		t.Errorf("%s: %v", w.target, err)
	}
}

func receiving(t *testing.T, doc *apidoc.Document) {
	s := open(t, doc)
	for _, topic := range []string{"orders.1", "kept.1"} {
		s.ask(t, "POST", "/v1/topics/"+topic+"?retain=true", `{"n":1}`, s.auth).wants(t, topic, 200, "")
	}
	w := s.stream(t, "/v1/subscribe?filter=%3E&filter=orders.*", s.auth)
	w.until(t, "event: live")
	s.ask(t, "POST", "/v1/topics/live.1", "text", s.auth, "Content-Type: text/plain").wants(t, "live", 200, "")
	s.ask(t, "POST", "/v1/publish", `{"topic":"orders.1","data_base64":"AAEC","headers":{"a":"b"},"retain":true}`, s.auth, asJSON).wants(t, "bytes", 200, "")
	w.until(t, `data: {"topic":"live.1"`)
	w.until(t, `data: {"topic":"orders.1","data_base64":"AAEC"`)
	w.nc.Close()

	first := s.ask(t, "GET", "/v1/subscribe?mode=poll&filter=%3E", "", s.auth)
	first.wants(t, "the first poll", 200, "")
	cursor, _ := first.decoded(t)["cursor"].(string)
	at, err := protocol.ParseCursor(cursor)
	if err != nil {
		t.Fatal(err)
	}
	at.Epoch[0] ^= 1
	gap := s.stream(t, "/v1/subscribe?filter=orders.%3E", s.auth, "Last-Event-ID: "+at.Cursor())
	gap.until(t, "event: gap")
	gap.until(t, "event: live")
	gap.nc.Close()
	again := s.ask(t, "GET", "/v1/subscribe?mode=poll&filter=orders.%3E&wait=1&after="+at.Cursor(), "", s.auth)
	if again.wants(t, "a poll behind a gap", 200, ""); again.decoded(t)["gap"] == nil {
		t.Errorf("found no gap: %s", again.body)
	}
	s.ask(t, "GET", "/v1/subscribe?mode=poll&filter=orders.%3E&filter=kept.*&fresh=kept.*&origin=tab&retained=true&wait=1&after="+cursor, "", s.auth).wants(t, "fresh", 200, "")
	s.ask(t, "HEAD", "/v1/subscribe?filter=a", "", s.auth).wants(t, "HEAD", 200, "")
	s.ask(t, "HEAD", "/v1/subscribe?filter=a&mode=poll", "", s.auth).wants(t, "HEAD", 200, "")
	for query, code := range map[string]string{
		"": "bad_args", "filter=a.%3E.b": "bad_filter", "filter=a&filter=a": "bad_args", "filter=a&wait=5": "bad_args", "filter=a&mode=poll&wait=0": "bad_args",
		"filter=a&after=x": "bad_position", "filter=a&mode=x": "bad_args", "filter=a&fresh=b": "bad_args", "filter=a&last=1": "bad_args", "filter=a&origin=": "bad_args",
	} {
		s.ask(t, "GET", "/v1/subscribe?"+query, "", s.auth).wants(t, query, 400, code)
	}
}

func presence(t *testing.T, doc *apidoc.Document) {
	s := open(t, doc)
	s.ask(t, "GET", "/v1/presence?filter=room.7", "", s.auth).wants(t, "nobody", 200, "")
	w := s.dial(t, s.listen)
	defer w.nc.Close()
	w.ask(t, "GET", "/ws", request("GET", "/ws", "", upgrade()...)).wants(t, "an upgrade", 101, "")
	join := (&protocol.Connect{Version: protocol.Version, Token: token(t, nil)}).Append(nil)
	join = (&protocol.Subscribe{ID: 1, Filter: "room.7", Join: true}).Append(join)
	if _, err := w.nc.Write(rawws.Frame(rawws.Binary, join)); err != nil {
		t.Fatal(err)
	}
	s.until(t, "42 is in the room", func() bool {
		return strings.Contains(s.ask(t, "GET", "/v1/presence?filter=room.7", "", s.auth).body, `"count":1,"users":["42"]`)
	})
	s.ask(t, "HEAD", "/v1/presence?filter=room.7", "", s.auth).wants(t, "HEAD", 200, "")
	s.ask(t, "GET", "/v1/presence?filter=room.*", "", s.auth).wants(t, "a filter", 400, "bad_topic")
	s.ask(t, "GET", "/v1/presence", "", s.auth).wants(t, "no filter", 400, "bad_args")
}

func upgrades(t *testing.T, doc *apidoc.Document) {
	s := open(t, doc)
	ask := func(replaced, by string) answer {
		return s.ask(t, "GET", "/ws", "", strings.Split(strings.Replace(strings.Join(upgrade(), "\n"), replaced, by, 1), "\n")...)
	}
	s.ask(t, "GET", "/ws", "").wants(t, "no upgrade", 426, "upgrade_required")
	ask("Version: 13", "Version: 8").wants(t, "an old version", 426, "upgrade_required")
	ask(protocol.Subprotocol, "other").wants(t, "another subprotocol", 400, "bad_subprotocol")
	ask("dGhlIHNhbXBsZSBub25jZQ==", "short").wants(t, "a short key", 400, "bad_args")
	ask("", "").wants(t, "an upgrade", 101, "")
	ask(protocol.Subprotocol, protocol.SubprotocolJSON).wants(t, "an upgrade to JSON", 101, "")
}

func storeAway(t *testing.T, doc *apidoc.Document) {
	s := open(t, doc, "CARILLON_LIMITS_STORE_TIMEOUT=300ms")
	s.ask(t, "POST", "/v1/topics/kept.a", "1", s.auth).wants(t, "stored", 200, "")
	s.stops(t, "store-bolt")
	s.ask(t, "POST", "/v1/topics/kept.a", "1", s.auth).wants(t, "stored", 503, "store_unavailable")
	s.ask(t, "DELETE", "/v1/topics/orders.1", "", s.auth).wants(t, "cleared", 503, "store_unavailable")
	s.ask(t, "POST", "/v1/publish", `{"topic":"kept.a","data":1}`, s.auth, asJSON).wants(t, "stored", 503, "store_unavailable")
	several := s.ask(t, "POST", "/v1/publish", `{"topics":["orders.1","kept.a"],"data":1}`, s.auth, asJSON)
	if several.wants(t, "several", 503, "store_unavailable"); several.decoded(t)["results"] == nil {
		t.Errorf("found no results: %s", several.body)
	}
	s.ask(t, "GET", "/v1/topics/kept.a/history", "", s.auth).wants(t, "a history", 503, "store_unavailable")
}

func authAway(t *testing.T, doc *apidoc.Document) {
	s := open(t, doc, "CARILLON_LIMITS_AUTH_TIMEOUT=200ms")
	s.stops(t, "auth-jwt")
	for _, m := range samples() {
		m.ask(t, s, "", s.auth).wants(t, m.id, 503, "unavailable")
	}
	s.ask(t, "GET", "/v1/subscribe?filter=a", "", s.auth, "Accept: text/event-stream").wants(t, "an EventSource", 200, "")
}

// draining has bodies arrive while the broker ends. Requests that come later are not answered at all.
func draining(t *testing.T, doc *apidoc.Document) {
	s := open(t, doc)
	wires := map[*wire]sample{}
	for _, m := range []sample{samples()[0], samples()[4]} {
		w := s.dial(t, s.listen)
		head := strings.TrimSuffix(request(m.method, m.target, m.body, append(m.headers(), s.auth, "Expect: 100-continue")...), m.body)
		if _, err := io.WriteString(w.nc, head); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"HTTP/1.1 100 Continue\r\n", "\r\n"} { // the body is being read
			if line, err := w.in.ReadString('\n'); err != nil || line != want {
				t.Fatalf("found %q: %v", line, err)
			}
		}
		wires[w] = m
	}
	first := s.ask(t, "GET", "/v1/subscribe?mode=poll&filter=a", "", s.auth)
	cursor, _ := first.decoded(t)["cursor"].(string)
	poll, target := s.dial(t, s.listen), "/v1/subscribe?mode=poll&filter=a&after="+cursor
	if _, err := io.WriteString(poll.nc, request("GET", target, "", s.auth)); err != nil {
		t.Fatal(err)
	}
	s.until(t, "the poll waits", func() bool {
		w := s.dial(t, s.admin)
		defer w.nc.Close()
		return strings.Contains(w.ask(t, "GET", "/metrics", request("GET", "/metrics", "")).body, "\ncarillon_sessions 1\n")
	})
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	poll.answer(t, "GET", target).wants(t, "a poll that waits", 503, "going_away")
	s.until(t, "the broker drains", func() bool {
		w := s.dial(t, s.admin)
		defer w.nc.Close()
		return w.ask(t, "GET", "/readyz", request("GET", "/readyz", "")).code == "not_ready"
	})
	for w, m := range wires {
		w.ask(t, m.method, m.target, m.body).wants(t, m.id, 503, "not_ready")
	}
}

func (m sample) headers() []string {
	if m.header == "" {
		return nil
	}
	return []string{m.header}
}

// writtenDown compares what the handlers say that they know with the document.
func writtenDown(t *testing.T, doc *apidoc.Document) {
	s := open(t, doc)
	ops := doc.Operations()
	allowed := map[string]string{}
	for _, o := range ops {
		if !o.Admin {
			allowed[o.Path] += " " + o.Method
		}
	}
	for path, methods := range allowed {
		target := strings.ReplaceAll(path, "{topic}", "orders.1")
		if path == "/ws" { // which has no OPTIONS
			continue
		}
		w := s.dial(t, s.listen)
		if _, err := io.WriteString(w.nc, request("OPTIONS", target, "")); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(w.in, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		w.nc.Close()
		found := strings.Split(resp.Header.Get("Allow"), ", ")
		want := strings.Fields(methods + " OPTIONS")
		if strings.Contains(methods, "GET") {
			want = append(want, "HEAD")
		}
		if !sameNames(found, want) || resp.StatusCode != 204 {
			t.Errorf("%s takes %q, wanted %q", path, found, want)
		}
	}
	for _, o := range ops {
		if o.Admin || o.Path == "/ws" {
			continue
		}
		a := s.ask(t, o.Method, strings.ReplaceAll(o.Path, "{topic}", "orders.1")+"?nonsense=1", "", s.auth)
		a.wants(t, o.ID, 400, "bad_args")
		detail, _ := a.decoded(t)["detail"].(string)
		if found := named(detail); !sameNames(found, o.Query) {
			t.Errorf("%s knows the parameters %q, the document %q: %s", o.ID, found, o.Query, detail)
		}
	}
	for what, body := range map[string]string{"Envelope": `{"nonsense":1}`, "Form": "nonsense=1"} {
		kind := map[string]string{"Envelope": asJSON, "Form": "Content-Type: application/x-www-form-urlencoded"}[what]
		detail, _ := s.ask(t, "POST", "/v1/publish", body, s.auth, kind).decoded(t)["detail"].(string)
		if found, want := named(detail), doc.Properties(what); !sameNames(found, want) {
			t.Errorf("%s has %q, the document %q: %s", what, found, want, detail)
		}
	}
}

// named are the names that a detail says are known.
func named(detail string) (all []string) {
	_, list, _ := strings.Cut(detail, `"nonsense" is not known`)
	list = strings.TrimPrefix(list, " here")
	for _, name := range strings.FieldsFunc(list, func(c rune) bool { return c == ' ' || c == ',' || c == ';' }) {
		if name != "and" && name != "are" && name != "is" {
			all = append(all, name)
		}
	}
	return all
}

func sameNames(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}
