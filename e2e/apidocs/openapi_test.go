package apidocs

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/internal/apidoc"
)

// notHere are answers that the document has and this test cannot bring about, and why.
var notHere = map[string]string{
	" 500 internal":                   "it would be a fault of the broker",
	" 504 timeout":                    "a publish that the store does not answer is store_unavailable before: limits.store_timeout is the shorter time",
	" 401 revoked":                    "a token has to be on a list of auth-jwt, or be revoked by a plugin of somebody's own: tests of plugins/auth-jwt and spec/conformance",
	" 503 auth_unavailable":           "a plugin of somebody's own has to decide about rights, and be away: tests of broker/httpapi",
	" 403 kicked":                     "auth-jwt never says so; a plugin of somebody's own may",
	"publishToTopic 503 going_away":   "a publish that the store commits while the broker ends: tests of broker",
	"clearRetained 503 going_away":    "as above",
	"publish 503 going_away":          "as above",
	"connect 503 going_away":          "a request has to arrive before the broker is asked to end, and get this far after it: tests of broker/httpapi and broker/ws",
	"clearRetained 503 not_ready":     "as above: it has no body that could come late",
	"readRetained 503 not_ready":      "it lasts for the moments in which retained messages are loaded: tests of broker/httpapi",
	"readHistory 503 not_ready":       "as above",
	"subscribe 503 not_ready":         "as above",
	"clearRetained 507 quota":         "only the store's limits reach it: tests of plugins/store-bolt",
	"publishToTopic 501 unsupported":  "a lifetime that the store cannot see to, and store-bolt can: tests of broker",
	"publish 501 unsupported":         "as above",
	"subscribe 501 unsupported":       "a connection that cannot be taken over is one of HTTP/2, which is not offered",
	"subscribe 503 store_unavailable": "a stream that has begun tells it as its end",
}

// TestOpenAPI makes every operation succeed and fail in each way that the document has, and finds nothing else.
func TestOpenAPI(t *testing.T) {
	doc := apidoc.Open(t)
	groups := []struct {
		name string
		run  func(*testing.T, *apidoc.Document)
	}{
		{"written down", writtenDown},
		{"before anything else", guarded},
		{"tokens", tokens},
		{"publishing", publishing},
		{"envelopes", envelopes},
		{"retained", retained},
		{"histories", histories},
		{"receiving", receiving},
		{"presence", presence},
		{"upgrades", upgrades},
		{"repetitions", repetitions},
		{"bodies", bodies},
		{"limits", limits},
		{"the store away", storeAway},
		{"the authentication away", authAway},
		{"draining", draining},
		{"operators", operators},
	}
	ran := 0
	for _, g := range groups {
		t.Run(g.name, func(t *testing.T) {
			ran++
			g.run(t, doc)
		})
	}
	if ran < len(groups) || t.Failed() {
		return
	}
	used := map[string]bool{}
	for _, a := range doc.Unseen() {
		reason := ""
		for what := range notHere {
			if a.String() == what || strings.HasPrefix(what, " ") && strings.HasSuffix(a.String(), what) {
				reason = what
			}
		}
		if used[reason] = true; reason == "" {
			t.Errorf("the document has %q, which nobody was answered", a)
		}
	}
	for what := range notHere {
		if !used[what] {
			t.Errorf("%q is said not to be seen, and was", what)
		}
	}
}

// sample is a request of each operation that would succeed.
type sample struct{ id, method, target, body, header string }

func samples() []sample {
	return []sample{
		{"publishToTopic", "POST", "/v1/topics/orders.1", "1", ""},
		{"readRetained", "GET", "/v1/topics/orders.1", "", ""},
		{"clearRetained", "DELETE", "/v1/topics/orders.1", "", ""},
		{"readHistory", "GET", "/v1/topics/kept.a/history", "", ""},
		{"publish", "POST", "/v1/publish", `{"topic":"orders.1","data":1}`, "Content-Type: application/json"},
		{"subscribe", "GET", "/v1/subscribe?mode=poll&filter=orders.1", "", ""},
		{"readPresence", "GET", "/v1/presence?filter=room.7", "", ""},
		{"connect", "GET", "/ws", "", strings.Join(upgrade(), "\r\n")},
	}
}

func (m sample) ask(t *testing.T, s *stand, suffix string, headers ...string) answer {
	t.Helper()
	target := m.target
	if suffix != "" && strings.Contains(target, "?") {
		suffix = strings.Replace(suffix, "?", "&", 1)
	}
	if m.header != "" {
		headers = append([]string{m.header}, headers...)
	}
	return s.ask(t, m.method, target+suffix, m.body, headers...)
}

func (a answer) wants(t *testing.T, what string, status int, code string) {
	t.Helper()
	if a.status != status || a.code != code {
		t.Errorf("%s: found %d %q, wanted %d %q: %.300s", what, a.status, a.code, status, code, a.body)
	}
}

// guarded is what is judged before anything else, of every operation.
func guarded(t *testing.T, doc *apidoc.Document) {
	s := open(t, doc)
	all := samples()
	if n := len(doc.Operations()) - 6; n != len(all) {
		t.Errorf("found %d operations on the public listener, and samples of %d", n, len(all))
	}
	for _, m := range all {
		m.ask(t, s, "", "Host: rebound.example", s.auth).wants(t, m.id, 421, "bad_host")
		m.ask(t, s, "", "Origin: https://elsewhere.example", s.auth).wants(t, m.id, 403, "bad_origin")
		m.ask(t, s, "", "Cookie: session="+token(t, nil), "Sec-Fetch-Site: cross-site").wants(t, m.id, 403, "bad_origin")
		m.ask(t, s, "", "X-Large: "+strings.Repeat("x", 17<<10), s.auth).wants(t, m.id, 431, "headers_too_large")
		m.ask(t, s, "?access_token=abc").wants(t, m.id, 400, "token_in_url")
		a := m.ask(t, s, "", "Origin: https://app.example", s.auth)
		if a.status != 200 && a.status != 404 && a.status != 101 {
			t.Errorf("%s from a page that is let in: found %d: %s", m.id, a.status, a.body)
		}
		if a.status != 101 && a.header.Get("Access-Control-Allow-Origin") != "https://app.example" {
			t.Errorf("%s: the page may not read the answer", m.id)
		}
	}
	for _, m := range all[:len(all)-1] {
		path, _, _ := strings.Cut(m.target, "?")
		s.ask(t, "PATCH", path, "", s.auth).wants(t, path, 405, "method_not_allowed")
	}
	s.ask(t, "PATCH", "/ws", "", s.auth).wants(t, "PATCH /ws", 405, "method_not_allowed")
	for _, path := range []string{"/v1/topics", "/v1/topics/", "/v1/topics/a/b", "/v1/publish/", "//v1/publish", "/v2/publish"} {
		s.ask(t, "GET", path, "", s.auth).wants(t, path, 404, "not_found")
	}
}

// tokens are those that are refused, and rights that are not there.
func tokens(t *testing.T, doc *apidoc.Document) {
	s := open(t, doc)
	now := time.Now()
	with := func(name string, value any) string { return token(t, map[string]any{name: value}) }
	for _, m := range samples() {
		for code, tok := range map[string]string{
			"token_malformed": "abc", "token_expired": with("exp", now.Add(-time.Hour).Unix()), "token_not_yet_valid": with("nbf", now.Add(time.Hour).Unix()),
			"token_bad_signature": tokenOf(t, "main", strings.Repeat("x", 32), nil), "token_unknown_key": tokenOf(t, "other", secret, nil),
			"token_wrong_issuer": with("iss", "https://else.example"), "token_wrong_audience": with("aud", "other"),
			"token_bad_claims": with("carillon", map[string]any{"publish": "x"}),
		} {
			m.ask(t, s, "", bearer(tok)).wants(t, m.id, 401, code)
		}
		if m.id == "connect" {
			m.ask(t, s, "").wants(t, m.id, 101, "") // Connect may bring one yet
			continue
		}
		m.ask(t, s, "").wants(t, m.id, 401, "token_missing")
		m.ask(t, s, "", bearer(with("carillon", map[string]any{}))).wants(t, m.id, 403, "forbidden")
	}
}

// operators is the admin listener.
func operators(t *testing.T, doc *apidoc.Document) {
	s := open(t, doc)
	ask := func(method, path string, headers ...string) answer {
		w := s.dial(t, s.admin)
		defer w.nc.Close()
		return w.ask(t, method, path, request(method, path, "", headers...))
	}
	for _, o := range doc.Operations() {
		if !o.Admin {
			continue
		}
		if o.Method == "POST" {
			reload := strings.ReplaceAll(o.Path, "{name}", "auth")
			ask("POST", reload).wants(t, reload, 200, "")
			ask("GET", reload).wants(t, reload, 405, "method_not_allowed")
			ask("POST", reload, "Origin: https://app.example").wants(t, reload, 403, "bad_origin")
			ask("POST", reload, "Host: rebound.example").wants(t, reload, 421, "bad_host")
			ask("POST", strings.ReplaceAll(o.Path, "{name}", "nobody")).wants(t, "no such plugin", 404, "not_found")
			if err := os.WriteFile(s.file, []byte("auth: {plugin: [}"), 0o600); err != nil {
				t.Fatal(err)
			}
			ask("POST", reload).wants(t, "a configuration that cannot be read", 503, "unavailable")
			continue
		}
		path := strings.ReplaceAll(o.Path, "{name}", "auth")
		ask("GET", path).wants(t, path, 200, "")
		ask("HEAD", path).wants(t, path, 200, "")
		ask("GET", path, "Host: rebound.example").wants(t, path, 421, "bad_host")
		ask("GET", path, "Origin: https://app.example").wants(t, path, 403, "bad_origin")
		ask("POST", path).wants(t, path, 405, "method_not_allowed")
		if path != o.Path {
			ask("GET", strings.ReplaceAll(o.Path, "{name}", "nobody")).wants(t, "no such plugin", 404, "not_found")
		}
	}
	ask("GET", "/metrics", "Accept: application/openmetrics-text;version=1.0.0").wants(t, "OpenMetrics", 200, "")
	ask("GET", "/v1/admin/nothing").wants(t, "nothing", 404, "not_found")
}

// decoded is the JSON object in an answer.
func (a answer) decoded(t *testing.T) (v map[string]any) {
	t.Helper()
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		t.Errorf("%v: %.300s", err, a.body)
	}
	return v
}
