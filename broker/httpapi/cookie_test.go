package httpapi

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/protocol"
)

// onlyTok knows one token.
func onlyTok(c broker.Credentials) (*broker.Identity, error) {
	switch c.Token {
	case "tok":
		return broker.Everybody(), nil
	case "":
		return nil, protocol.Errorf(protocol.CodeTokenMissing, "there is no token")
	}
	return nil, protocol.Errorf(protocol.CodeTokenBadSignature, "the signature does not fit")
}

func TestTheCookieIsATokenForPagesThatMayUseIt(t *testing.T) {
	d := newDoor(t, Options{Cookie: "session", Origins: []string{"https://app.example"}})
	d.authenticate = onlyTok
	for _, tc := range []struct {
		name    string
		headers []string
		status  int
		code    string
	}{
		{"a program", []string{"Cookie: session=tok"}, 200, ""},
		{"a listed page", []string{"Cookie: session=tok", "Origin: https://app.example"}, 200, ""},
		{"a foreign page", []string{"Cookie: session=tok", "Origin: https://evil.test"}, 403, "bad_origin"},
		{"a foreign page's form without an Origin", []string{"Cookie: session=tok", "Sec-Fetch-Site: cross-site"}, 403, "bad_origin"},
		{"a foreign page with a token that is refused anyway", []string{"Cookie: session=bad", "Sec-Fetch-Site: cross-site"}, 403, "bad_origin"},
		{"a bad token", []string{"Cookie: session=bad"}, 401, "token_bad_signature"},
		{"another cookie", []string{"Cookie: other=tok"}, 401, "token_missing"},
		{"a header that goes before the cookie", []string{"Cookie: session=tok", "Authorization: Bearer bad"}, 401, "token_bad_signature"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, typed := range []string{form, asJSON, "Content-Type: text/plain"} {
				got := d.do("POST", "/v1/topics/a", "1", append([]string{typed}, tc.headers...)...)
				if got.status != tc.status {
					t.Fatalf("%s: status %d, want %d: %s", typed, got.status, tc.status, got.body)
				}
				if tc.code != "" && got.code(t) != tc.code {
					t.Errorf("%s: %s, want %s", typed, got.body, tc.code)
				}
			}
		})
	}
	if log := d.log.String(); strings.Contains(log, "tok ") || strings.Contains(log, "session=") {
		t.Errorf("the log holds the cookie: %s", log)
	}
}

func TestAPageIsLetInWithItsCookiesOnlyByName(t *testing.T) {
	d := newDoor(t, Options{Origins: []string{"*", "https://app.example"}, AnyLoopbackOrigin: true})
	for origin, want := range map[string]string{
		"https://app.example": "true", "http://localhost:5173": "true", "https://elsewhere.example": "",
	} {
		for _, method := range []string{"POST", "OPTIONS"} {
			got := d.do(method, "/v1/topics/a", "1", form, "Origin: "+origin)
			if got.header.Get("Access-Control-Allow-Origin") != origin || got.header.Get("Access-Control-Allow-Credentials") != want {
				t.Errorf("%s from %s: %v", method, origin, got.header)
			}
		}
	}
}

func TestAnAnswerThatDependsOnTheCookieSaysSo(t *testing.T) {
	d := newDoor(t, Options{Cookie: "session"})
	d.do("POST", "/v1/topics/a?retain=true", "1", form)
	got := d.do("GET", "/v1/topics/a", "")
	if vary := strings.Join(got.header.Values("Vary"), ", "); got.status != 200 || !strings.Contains(vary, "Cookie") || !strings.Contains(vary, "Authorization") {
		t.Errorf("status %d, Vary: %s", got.status, vary)
	}
}

func TestTheAuthenticatorIsToldTheClientsAddressBehindAProxy(t *testing.T) {
	for name, tc := range map[string]struct {
		trusted []string
		want    string
	}{
		"trusted": {[]string{"127.0.0.0/8"}, "198.51.100.1"},
		"not":     {nil, "127.0.0.1"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDoor(t, Options{TrustedProxies: tc.trusted})
			var asked string
			d.authenticate = func(c broker.Credentials) (*broker.Identity, error) {
				asked = c.Remote
				return nil, protocol.Errorf(protocol.CodeTokenBadSignature, "the signature does not fit")
			}
			d.do("POST", "/v1/topics/a", "1", form, "X-Forwarded-For: 192.0.2.66, 198.51.100.1", "Authorization: Bearer x")
			if asked != tc.want {
				t.Errorf("the authenticator was asked for %s, want %s", asked, tc.want)
			}
			if log := d.log.String(); !strings.Contains(log, "remote="+tc.want) {
				t.Errorf("the log does not name %s: %s", tc.want, log)
			}
		})
	}
}

func TestAProxyThatIsNotConfiguredIsToldOnce(t *testing.T) {
	var told log
	d := newDoor(t, Options{Logger: slog.New(slog.NewTextHandler(&told, nil))})
	for range 3 {
		d.do("POST", "/v1/topics/a", "1", form, "X-Forwarded-For: 198.51.100.1")
	}
	if text := told.String(); strings.Count(text, "trusted_proxies: [127.0.0.1]") != 1 {
		t.Errorf("told %q", text)
	}
}

func TestHeadersThatAreHandedOnAreCredentials(t *testing.T) {
	d := newDoor(t, Options{AuthHeaders: []string{"Cookie"}, Origins: []string{"https://app.example"}})
	asked := map[string]int{}
	d.authenticate = func(c broker.Credentials) (*broker.Identity, error) {
		cookie := strings.Join(c.Header["Cookie"], "; ")
		asked[cookie]++
		switch {
		case c.Header.Get("User-Agent") != "":
			t.Error("a header that is not configured was handed on")
		case cookie == "sid=ada" && c.Token == "":
			return broker.Everybody(), nil
		}
		return nil, protocol.Errorf(protocol.CodeTokenMissing, "nobody is logged in")
	}
	for _, tc := range []struct {
		name    string
		headers []string
		status  int
		code    string
	}{
		{"a session", []string{"Cookie: sid=ada"}, 200, ""},
		{"the same session", []string{"Cookie: sid=ada", "Origin: https://app.example"}, 200, ""},
		{"another session", []string{"Cookie: sid=zoe"}, 401, "token_missing"},
		{"the session and a token", []string{"Cookie: sid=ada", "Authorization: Bearer x"}, 401, "token_missing"},
		{"no session", nil, 401, "token_missing"},
		{"a foreign page", []string{"Cookie: sid=ada", "Origin: https://evil.test"}, 403, "bad_origin"},
		{"a foreign page's picture", []string{"Cookie: sid=ada", "Sec-Fetch-Site: cross-site"}, 403, "bad_origin"},
	} {
		got := d.do("POST", "/v1/topics/a?retain=true", "1", append([]string{form, "User-Agent: x"}, tc.headers...)...)
		if got.status != tc.status || tc.code != "" && got.code(t) != tc.code {
			t.Errorf("%s: status %d %s, want %d %s", tc.name, got.status, got.body, tc.status, tc.code)
		}
	}
	if asked["sid=ada"] != 2 { // alone, and with a token
		t.Errorf("the authenticator was asked %d times about one session, want once for each pair of credentials", asked["sid=ada"])
	}
	got := d.do("GET", "/v1/topics/a", "", "Cookie: sid=ada")
	if vary := strings.Join(got.header.Values("Vary"), ", "); got.status != 200 || !strings.Contains(vary, "Authorization, Cookie") {
		t.Errorf("status %d, Vary: %s", got.status, vary)
	}
}
