package webrules

import (
	"net/http"
	"strings"
	"testing"

	"github.com/carillon-mq/carillon/protocol"
)

// A token is one that the request shows, of a length that tokens may have, and a cookie is taken and handed on only of pages that are
// listed or of none. No refusal quotes what was shown.
func FuzzToken(f *testing.F) {
	r, err := New(Options{Origins: []string{"https://app.example", "https://*.shop.example"}, Cookie: "session", Headers: []string{"cookie"}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add("Bearer abc", "", "", "")
	f.Add("Basic YWxhZGRpbjpvcGVuc2VzYW1l", "session=abc", "https://app.example", "")
	f.Add("", "session=abc; other=x", "https://app.example", "same-origin")
	f.Add("", "session=abc", "https://evil.test", "cross-site")
	f.Add("", "session=abc; session=def", "null", "")
	f.Add("", `session="a b"`, "https://x.shop.example:443", "")
	f.Add("", "session=", "https://EVIL.test@app.example", "")
	f.Add("bearer  "+strings.Repeat("x", protocol.MaxTokenBytes+1), "", "", "")
	f.Fuzz(func(t *testing.T, authorization, cookie, origin, site string) {
		req := &http.Request{Method: http.MethodGet, Host: "app.example", Header: http.Header{}}
		for name, value := range map[string]string{"Authorization": authorization, "Cookie": cookie, "Origin": origin, "Sec-Fetch-Site": site} {
			if value != "" {
				req.Header.Set(name, value)
			}
		}
		token, refusal := r.Token(req)
		if len(token) > protocol.MaxTokenBytes && refusal == nil || token != "" && !strings.Contains(authorization+cookie, token) {
			t.Errorf("found the token %q", token)
		}
		handed, other := r.Headers(req)
		for _, e := range []*protocol.Error{refusal, other} {
			if e == nil {
				continue
			}
			if secret := strings.TrimSpace(authorization); len(secret) > 8 && !strings.Contains(origin+site, secret) && strings.Contains(e.Detail, secret) {
				t.Errorf("it is told %q", e.Detail)
			}
		}
		foreign := origin != "" && !r.named(origin, req)
		if foreign && (len(handed["Cookie"]) > 0 || authorization == "" && token != "" && refusal == nil) {
			t.Errorf("the page %q uses the cookie: token %q, handed on %q", origin, token, handed)
		}
	})
}
