package webrules

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/carillon-mq/carillon/protocol"
)

func TestHost(t *testing.T) {
	open := Options{Hosts: []string{"push.example.com", "*.push.example.com"}, Listen: []string{":8080"}}
	local := Options{Listen: []string{"127.0.0.1:8080"}}
	for _, tc := range []struct {
		name string
		o    Options
		host string
		want bool
	}{
		{"loopback name", local, "localhost:8080", true},
		{"loopback name below localhost", local, "shop.localhost", true},
		{"loopback address", local, "127.0.0.1:8080", true},
		{"loopback address of IPv6", local, "[::1]:8080", true},
		{"foreign name", local, "evil.test", false},
		{"foreign name with our port", local, "evil.test:8080", false},
		{"address of another machine, listening on loopback", local, "10.0.0.1", false},
		{"address, listening on all", open, "10.0.0.1:8080", true},
		{"address of IPv6, listening on all", open, "[2001:db8::1]:8080", true},
		{"listed", open, "push.example.com", true},
		{"listed, in other letters, with port and dot", open, "PUSH.Example.com.:8080", true},
		{"below a listed one", open, "eu.push.example.com", true},
		{"ends like a listed one", open, "evilpush.example.com", false},
		{"starts like a listed one", open, "push.example.com.evil.test", false},
		{"no host", open, "", false},
		{"looks like an address", open, "127.0.0.1.evil.test", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, err := New(tc.o)
			if err != nil {
				t.Fatal(err)
			}
			req := httptest.NewRequest("GET", "/", nil)
			req.Host = tc.host
			if got := r.CheckHost(req); (got == nil) != tc.want {
				t.Errorf("host %q: %v", tc.host, got)
			}
		})
	}
}

// HTTP/1.0 needs no Host, and the probes of some load balancers come without one: no name can be added to hosts for them.
func TestARequestWithoutHostIsToldSo(t *testing.T) {
	r, err := New(Options{Hosts: []string{"push.example"}})
	if err != nil {
		t.Fatal(err)
	}
	req := httptest.NewRequest("GET", "/readyz", nil)
	req.Host = ""
	if got := r.CheckHost(req); got == nil || got.Code != protocol.CodeBadHost || !strings.Contains(got.Detail, "no Host") || strings.Contains(got.Hint, "[]") {
		t.Errorf("found %v, wanted bad_host that says that there is none", got)
	}
}

func TestOrigin(t *testing.T) {
	o := Options{Origins: []string{"https://app.example", "https://*.shop.example", "http://dev.example:3000"}, Hosts: []string{"push.example"}}
	dev := Options{AnyLoopbackOrigin: true}
	for _, tc := range []struct {
		name   string
		o      Options
		origin string
		want   bool
	}{
		{"allowed", o, "https://app.example", true},
		{"allowed, in other letters (H13)", o, "https://APP.EXAMPLE", true},
		{"allowed, with its default port", o, "https://app.example:443", true},
		{"allowed subdomain", o, "https://a.shop.example", true},
		{"allowed with port", o, "http://dev.example:3000", true},
		{"the broker's own", o, "https://push.example", true},
		{"foreign (H6)", o, "http://evil.test", false},
		{"null (H7)", o, "null", false},
		{"file (H7)", o, "file://", false},
		{"other scheme (H9)", o, "http://app.example", false},
		{"other port", o, "https://app.example:8443", false},
		{"user part (H12)", o, "https://evil.test@app.example", false},
		{"path", o, "https://app.example/", false},
		{"the name that subdomains are of", o, "https://shop.example", false},
		{"ends like an allowed one", o, "https://evilshop.example", false},
		{"empty", o, "", false},
		{"loopback, not in dev", o, "http://localhost:5173", false},
		{"loopback in dev", dev, "http://localhost:5173", true},
		{"loopback address in dev", dev, "http://127.0.0.1:8000", true},
		{"loopback of IPv6 in dev", dev, "http://[::1]:8000", true},
		{"foreign in dev", dev, "http://evil.test", false},
		{"null with any", Options{Origins: []string{"*"}}, "null", false},
		{"foreign with any", Options{Origins: []string{"*"}}, "http://evil.test", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, err := New(tc.o)
			if err != nil {
				t.Fatal(err)
			}
			req := httptest.NewRequest("POST", "/", nil)
			req.Host = "push.example"
			req.Header.Set("Origin", tc.origin)
			if got := r.CheckOrigin(req); (got == nil) != tc.want {
				t.Errorf("origin %q: %v", tc.origin, got)
			}
		})
	}
}

func TestOriginIsNotNeededAndNotRepeated(t *testing.T) {
	r, err := New(Options{Origins: []string{"https://app.example"}})
	if err != nil {
		t.Fatal(err)
	}
	req := httptest.NewRequest("POST", "/", nil)
	if err := r.CheckOrigin(req); err != nil {
		t.Error(err)
	}
	req.Header["Origin"] = []string{"https://app.example", "https://evil.test"}
	if err := r.CheckOrigin(req); err == nil {
		t.Error("two origins were let in")
	}
}

func TestTokenInURL(t *testing.T) {
	const jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI0MiJ9.c2ln"
	for query, want := range map[string]bool{
		"": true, "retain=true": true, "id=eyJabc": true,
		"token=abc": false, "access_token=": false, "Authorization=Bearer%20x": false, "x=" + jwt: false, jwt: false, jwt + "=1": false,
	} {
		err := TokenInURL(httptest.NewRequest("GET", "/ws?"+query, nil))
		if (err == nil) != want {
			t.Errorf("?%s: %v", query, err)
		}
		if err != nil && strings.Contains(err.Error()+err.Hint, "eyJ") {
			t.Errorf("?%s: the answer repeats the token: %v", query, err)
		}
	}
}
