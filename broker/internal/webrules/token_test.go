package webrules

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/carillon-mq/carillon/protocol"
)

func TestCookiesAreHandedOnOnlyOfPagesThatMayUseThem(t *testing.T) {
	listed := Options{Headers: []string{"cookie", "X-Device"}, Origins: []string{"https://app.example"}, Hosts: []string{"push.example"}}
	everybody := Options{Headers: []string{"Cookie"}, Origins: []string{"*"}}
	for _, tc := range []struct {
		name    string
		o       Options
		headers []string
		want    string // what is handed on, or the code
	}{
		{"nothing is configured", Options{}, []string{"Cookie: a=b"}, ""},
		{"nothing is there", listed, nil, ""},
		{"no page at all", listed, []string{"Cookie: a=b", "Cookie: c=d", "X-Device: 7", "X-Other: 8", "User-Agent: x"}, "Cookie: a=b|c=d X-Device: 7"},
		{"the broker's own page", listed, []string{"Cookie: a=b", "Origin: https://push.example"}, "Cookie: a=b"},
		{"a listed page", listed, []string{"Cookie: a=b", "Origin: https://app.example", "Sec-Fetch-Site: cross-site"}, "Cookie: a=b"},
		{"J28 a foreign page", listed, []string{"Cookie: a=b", "Origin: https://evil.test"}, "bad_origin"},
		{"J28 a foreign page where all may use the broker", everybody, []string{"Cookie: a=b", "Origin: https://evil.test"}, "bad_origin"},
		{"J28 a page without an origin of its own", everybody, []string{"Cookie: a=b", "Origin: null"}, "bad_origin"},
		{"J28 a picture in a foreign page", listed, []string{"Cookie: a=b", "Sec-Fetch-Site: cross-site"}, "bad_origin"},
		{"a foreign page without cookies", everybody, []string{"Origin: https://evil.test"}, ""},
		{"a foreign page with a token of its own", listed, []string{"Cookie: a=b", "X-Device: 7", "Origin: https://evil.test", "Authorization: Bearer x"}, "X-Device: 7"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, err := New(tc.o)
			if err != nil {
				t.Fatal(err)
			}
			req := httptest.NewRequest("GET", "/", nil)
			req.Host = "push.example"
			for _, line := range tc.headers {
				name, value, _ := strings.Cut(line, ": ")
				req.Header.Add(name, value)
			}
			header, refusal := r.Headers(req)
			var got []string
			for _, name := range slices.Sorted(maps.Keys(header)) {
				got = append(got, name+": "+strings.Join(header[name], "|"))
			}
			if refusal != nil {
				got = []string{refusal.Code.String()}
			}
			if text := strings.Join(got, " "); text != tc.want {
				t.Errorf("%s, want %s (%v)", text, tc.want, refusal)
			}
		})
	}
}

func TestTheTokenIsTakenFromTheCookieOnlyForPagesThatMayUseIt(t *testing.T) {
	listed := Options{Cookie: "session", Origins: []string{"https://app.example", "https://*.shop.example"}, Hosts: []string{"push.example"}}
	everybody := Options{Cookie: "session", Origins: []string{"*"}, Hosts: []string{"push.example"}}
	dev := Options{Cookie: "session", AnyLoopbackOrigin: true}
	behind := listed
	behind.Proxies, _ = NewProxies([]string{"192.0.2.1"}, "") // httptest's peer
	for _, tc := range []struct {
		name    string
		o       Options
		headers []string
		want    string // token or code
	}{
		{"no page at all", listed, nil, "tok"},
		{"the broker's own page", listed, []string{"Origin: https://push.example"}, "tok"},
		{"a listed page", listed, []string{"Origin: https://app.example"}, "tok"},
		{"a listed page below a name", listed, []string{"Origin: https://eu.shop.example"}, "tok"},
		{"a foreign page", listed, []string{"Origin: https://evil.test"}, "bad_origin"},
		{"a foreign page where all may use the broker", everybody, []string{"Origin: https://evil.test"}, "bad_origin"},
		{"the broker's own page where all may", everybody, []string{"Origin: https://push.example"}, "tok"},
		{"a page without an origin of its own", everybody, []string{"Origin: null"}, "bad_origin"},
		{"two origins", listed, []string{"Origin: https://app.example", "Origin: https://evil.test"}, "bad_origin"},
		{"a page of this machine in dev", dev, []string{"Origin: http://localhost:5173"}, "tok"},
		{"a foreign page in dev", dev, []string{"Origin: http://evil.test"}, "bad_origin"},
		{"a request from the broker's own page that has no Origin", listed, []string{"Sec-Fetch-Site: same-origin"}, "tok"},
		{"an address that somebody typed", listed, []string{"Sec-Fetch-Site: none"}, "tok"},
		{"a picture in a foreign page", listed, []string{"Sec-Fetch-Site: cross-site"}, "bad_origin"},
		{"a picture in a page of a neighbour", listed, []string{"Sec-Fetch-Site: same-site"}, "bad_origin"},
		{"a listed page, which is another site", listed, []string{"Origin: https://app.example", "Sec-Fetch-Site: cross-site"}, "tok"},
		{"the broker's name without encryption, behind a proxy with it", behind, []string{"Origin: http://push.example", "X-Forwarded-Proto: https"}, "bad_origin"},
		{"the broker's name with encryption, behind a proxy with it", behind, []string{"Origin: https://push.example", "X-Forwarded-Proto: https"}, "tok"},
		{"the header goes before the cookie", listed, []string{"Authorization: Bearer other", "Origin: https://evil.test"}, "other"},
		{"a broken header is not covered up by the cookie", listed, []string{"Authorization: Basic eDp5"}, "token_malformed"},
		{"the cookie twice", listed, []string{"Cookie: session=another"}, "token_malformed"},
		{"no cookie is configured", Options{Hosts: []string{"push.example"}}, nil, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, err := New(tc.o)
			if err != nil {
				t.Fatal(err)
			}
			req := httptest.NewRequest("GET", "/", nil)
			req.Host = "push.example"
			req.Header.Add("Cookie", "theme=dark; session=tok")
			for _, line := range tc.headers {
				name, value, _ := strings.Cut(line, ": ")
				req.Header.Add(name, value)
			}
			got, refusal := r.Token(req)
			if refusal != nil {
				got = refusal.Code.String()
				if strings.Contains(refusal.Detail+refusal.Hint, "tok ") {
					t.Errorf("the answer repeats the token: %v", refusal)
				}
			}
			if got != tc.want {
				t.Errorf("%q, want %q (%v)", got, tc.want, refusal)
			}
		})
	}
}

func TestACookieThatWasEmptiedIsNone(t *testing.T) {
	r, err := New(Options{Cookie: "session"})
	if err != nil {
		t.Fatal(err)
	}
	req := httptest.NewRequest("GET", "/", nil)
	req.AddCookie(&http.Cookie{Name: "session"})
	req.Header.Set("Origin", "https://evil.test")
	if token, refusal := r.Token(req); token != "" || refusal != nil {
		t.Errorf("%q, %v", token, refusal)
	}
}

func TestATokenIsNoLongerThanItMayBe(t *testing.T) {
	r, err := New(Options{Cookie: "session"})
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("x", protocol.MaxTokenBytes+1)
	cookie := httptest.NewRequest("GET", "/", nil)
	cookie.AddCookie(&http.Cookie{Name: "session", Value: long})
	header := httptest.NewRequest("GET", "/", nil)
	header.Header.Set("Authorization", "Bearer "+long)
	for name, req := range map[string]*http.Request{"cookie": cookie, "header": header} {
		if token, refusal := r.Token(req); refusal == nil || refusal.Code != protocol.CodeTokenMalformed || token != "" && name == "cookie" {
			t.Errorf("%s: %d bytes, %v", name, len(token), refusal)
		}
	}
}

func TestCredentialsAreForNamedPages(t *testing.T) {
	r, err := New(Options{Origins: []string{"*", "https://app.example"}, Hosts: []string{"push.example"}})
	if err != nil {
		t.Fatal(err)
	}
	for origin, want := range map[string]bool{"https://app.example": true, "https://push.example": true, "https://evil.test": false, "null": false} {
		req := httptest.NewRequest("GET", "/", nil)
		req.Host = "push.example"
		req.Header.Set("Origin", origin)
		if got := r.Credentials(req); got != want {
			t.Errorf("%s: %v", origin, got)
		}
	}
	if r.Credentials(httptest.NewRequest("GET", "/", nil)) {
		t.Error("a request without a page")
	}
}
