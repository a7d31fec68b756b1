package webrules

import (
	"crypto/tls"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestTheClientIsWhoTheTrustedProxiesSay(t *testing.T) {
	proxied := []string{"10.0.0.0/8", "127.0.0.1", "2001:db8:ffff::/48"}
	for _, tc := range []struct {
		name    string
		trusted []string
		header  string
		peer    string
		headers []string
		want    string
	}{
		{"nobody is trusted", nil, "", "203.0.113.9:4711", []string{"X-Forwarded-For: 198.51.100.1", "Forwarded: for=198.51.100.1"}, "203.0.113.9"},
		{"a loopback peer is not trusted unless listed", []string{"10.0.0.0/8"}, "", "127.0.0.1:4711", []string{"X-Forwarded-For: 198.51.100.1"}, "127.0.0.1"},
		{"a peer of a Unix socket is never trusted", []string{"0.0.0.0/0", "::/0"}, "", "@", []string{"X-Forwarded-For: 198.51.100.1"}, "@"},
		{"a stranger says he is somebody else", proxied, "", "203.0.113.9:4711", []string{"X-Forwarded-For: 198.51.100.1"}, "203.0.113.9"},
		{"a stranger says he comes from a proxy", proxied, "", "203.0.113.9:4711", []string{"X-Forwarded-For: 198.51.100.1, 10.0.0.1"}, "203.0.113.9"},
		{"by one proxy", proxied, "", "10.0.0.1:4711", []string{"X-Forwarded-For: 198.51.100.1"}, "198.51.100.1"},
		{"by a proxy on the same machine", proxied, "", "127.0.0.1:4711", []string{"X-Forwarded-For: 198.51.100.1"}, "198.51.100.1"},
		{"by two proxies", proxied, "", "127.0.0.1:4711", []string{"X-Forwarded-For: 198.51.100.1, 10.0.0.1"}, "198.51.100.1"},
		{"what the client wrote in front is not believed", proxied, "", "10.0.0.1:4711", []string{"X-Forwarded-For: 192.0.2.66, 198.51.100.1"}, "198.51.100.1"},
		{"even if it names a proxy", proxied, "", "10.0.0.1:4711", []string{"X-Forwarded-For: 10.0.0.9, 198.51.100.1"}, "198.51.100.1"},
		{"or loopback, which no limit counts", proxied, "", "10.0.0.1:4711", []string{"X-Forwarded-For: 127.0.0.1, 198.51.100.1"}, "198.51.100.1"},
		{"or comes in a line of its own", proxied, "", "10.0.0.1:4711", []string{"X-Forwarded-For: 192.0.2.66", "X-Forwarded-For: 198.51.100.1"}, "198.51.100.1"},
		{"or is broken", proxied, "", "10.0.0.1:4711", []string{"X-Forwarded-For: ,,\x00 ;, 198.51.100.1"}, "198.51.100.1"},
		{"only proxies on the way: the farthest", proxied, "", "127.0.0.1:4711", []string{"X-Forwarded-For: 10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
		{"the proxy says nothing", proxied, "", "10.0.0.1:4711", nil, "10.0.0.1"},
		{"the proxy says something else than an address", proxied, "", "10.0.0.1:4711", []string{"X-Forwarded-For: 198.51.100.1, unknown"}, "10.0.0.1"},
		{"the proxy before it says something else", proxied, "", "127.0.0.1:4711", []string{"X-Forwarded-For: 198.51.100.1, _hidden, 10.0.0.1"}, "10.0.0.1"},
		{"an empty header", proxied, "", "10.0.0.1:4711", []string{"X-Forwarded-For: "}, "10.0.0.1"},
		{"with ports", proxied, "", "10.0.0.1:4711", []string{"X-Forwarded-For: 192.0.2.66:1, 198.51.100.1:50123"}, "198.51.100.1"},
		{"IPv6", proxied, "", "[2001:db8:ffff::1]:4711", []string{"X-Forwarded-For: 2001:db8::7"}, "2001:db8::7"},
		{"IPv6 in brackets with a port", proxied, "", "10.0.0.1:4711", []string{"X-Forwarded-For: [2001:db8::7]:443"}, "2001:db8::7"},
		{"IPv4 in IPv6", proxied, "", "[::ffff:10.0.0.1]:4711", []string{"X-Forwarded-For: ::ffff:198.51.100.1"}, "198.51.100.1"},

		{"Forwarded", proxied, "", "10.0.0.1:4711", []string{"Forwarded: for=198.51.100.1;proto=https"}, "198.51.100.1"},
		{"Forwarded with a port", proxied, "", "10.0.0.1:4711", []string{`Forwarded: For="198.51.100.1:4711"`}, "198.51.100.1"},
		{"Forwarded with IPv6", proxied, "", "10.0.0.1:4711", []string{`Forwarded: for="[2001:db8::7]:4711"`}, "2001:db8::7"},
		{"Forwarded with an address that should stand in quotes", proxied, "", "10.0.0.1:4711", []string{`Forwarded: for=[2001:db8::7]:4711;by=10.0.0.1:80`}, "2001:db8::7"},
		{"Forwarded by two proxies", proxied, "", "127.0.0.1:4711", []string{"Forwarded: for=192.0.2.66, for=198.51.100.1;by=10.0.0.1, for=10.0.0.1"}, "198.51.100.1"},
		{"Forwarded in two lines", proxied, "", "127.0.0.1:4711", []string{"Forwarded: for=192.0.2.66, for=198.51.100.1", "Forwarded: for=10.0.0.1"}, "198.51.100.1"},
		{"Forwarded with a comma in quotes", proxied, "", "10.0.0.1:4711", []string{`Forwarded: for=198.51.100.1;host="a, for=192.0.2.66"`}, "198.51.100.1"},
		{"Forwarded whose quotes the client left open", proxied, "", "10.0.0.1:4711", []string{`Forwarded: for="192.0.2.66, for=198.51.100.1`}, "198.51.100.1"},
		{"Forwarded whose last element is broken", proxied, "", "10.0.0.1:4711", []string{`Forwarded: for=192.0.2.66, for="198.51.100.1`}, "10.0.0.1"},
		{"Forwarded that hides the client", proxied, "", "10.0.0.1:4711", []string{"Forwarded: for=192.0.2.66, for=_gazonk"}, "10.0.0.1"},
		{"Forwarded without for", proxied, "", "10.0.0.1:4711", []string{"Forwarded: for=192.0.2.66, proto=https"}, "10.0.0.1"},
		{"Forwarded with for twice", proxied, "", "10.0.0.1:4711", []string{"Forwarded: for=198.51.100.1;for=192.0.2.66"}, "10.0.0.1"},

		{"X-Forwarded-For goes before Forwarded", proxied, "", "10.0.0.1:4711", []string{"Forwarded: for=192.0.2.66", "X-Forwarded-For: 198.51.100.1"}, "198.51.100.1"},
		{"the proxy writes Forwarded, the client the other", proxied, "forwarded", "10.0.0.1:4711", []string{"Forwarded: for=198.51.100.1", "X-Forwarded-For: 192.0.2.66"}, "198.51.100.1"},
		{"the proxy writes X-Forwarded-For alone", proxied, "x-forwarded-for", "10.0.0.1:4711", []string{"Forwarded: for=192.0.2.66"}, "10.0.0.1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p, err := NewProxies(tc.trusted, tc.header)
			if err != nil {
				t.Fatal(err)
			}
			req := httptest.NewRequest("GET", "/", nil)
			req.RemoteAddr = tc.peer
			for _, line := range tc.headers {
				name, value, _ := strings.Cut(line, ": ")
				req.Header.Add(name, value)
			}
			if got := p.Remote(req); got != tc.want {
				t.Errorf("the client is %s, want %s", got, tc.want)
			}
		})
	}
}

func TestMoreHopsThanAnyRequestTakesAreNotRead(t *testing.T) {
	p, err := NewProxies([]string{"10.0.0.0/8"}, "")
	if err != nil {
		t.Fatal(err)
	}
	req := httptest.NewRequest("GET", "/", nil)
	req.RemoteAddr = "10.0.0.1:1"
	req.Header.Set("X-Forwarded-For", "198.51.100.1"+strings.Repeat(",10.0.0.2", maxHops))
	if got := p.Remote(req); got != "10.0.0.2" {
		t.Errorf("the client is %s, want the last proxy that was read", got)
	}
}

func TestProxiesAreListedAsAddressesOrRanges(t *testing.T) {
	for text, want := range map[string]string{
		"10.0.0.7": "10.0.0.7/32", "10.0.0.0/8": "10.0.0.0/8", "::1": "::1/128", "2001:db8::/32": "2001:db8::/32", "0.0.0.0/0": "0.0.0.0/0",
		"::ffff:10.0.0.7": "10.0.0.7/32", "::ffff:10.0.0.0/104": "10.0.0.0/8",
		"10.0.0.1/8": "", "10.0.0": "", "proxy.example": "", "10.0.0.0/33": "", "": "", "fe80::1%eth0": "", "10.0.0.1:80": "", "::ffff:0:0/90": "",
	} {
		got, err := ParseProxy(text)
		if (err == nil) != (want != "") || err == nil && got.String() != want {
			t.Errorf("%q: %v, %v; want %q", text, got, err, want)
		}
	}
	if _, err := NewProxies([]string{"10.0.0.0/8", "x"}, ""); err == nil {
		t.Error("a list with a mistake was taken")
	}
	if _, err := NewProxies(nil, "x-real-ip"); err == nil {
		t.Error("a header that proxies do not agree on was taken")
	}
}

func TestAConnectionIsSecureByItselfOrByATrustedProxysWord(t *testing.T) {
	p, err := NewProxies([]string{"10.0.0.1"}, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, peer, proto string
		tls, want         bool
	}{
		{"TLS", "203.0.113.9:1", "", true, true},
		{"plain", "203.0.113.9:1", "", false, false},
		{"a stranger's word", "203.0.113.9:1", "https", false, false},
		{"a proxy's word", "10.0.0.1:1", "https", false, true},
		{"a proxy's word for plain", "10.0.0.1:1", "http", false, false},
		{"no proxy's word", "10.0.0.1:1", "", false, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			req := httptest.NewRequest("GET", "/", nil)
			req.RemoteAddr = tc.peer
			if tc.tls {
				req.TLS = &tls.ConnectionState{}
			}
			if tc.proto != "" {
				req.Header.Set("X-Forwarded-Proto", tc.proto)
			}
			if got := p.Secure(req); got != tc.want {
				t.Errorf("secure: %v, want %v", got, tc.want)
			}
		})
	}
}

func TestAProxyThatIsNotConfiguredIsNoticed(t *testing.T) {
	for _, tc := range []struct {
		name, header, peer, sent, want string
	}{
		{"on this machine", "", "127.0.0.1:1", "X-Forwarded-For", "trusted_proxies: [127.0.0.1]"},
		{"on our network", "", "10.0.0.7:1", "Forwarded", "trusted_proxies: [10.0.0.7]"},
		{"listed", "", "10.0.0.1:1", "X-Forwarded-For", ""},
		{"a stranger", "", "203.0.113.9:1", "X-Forwarded-For", ""},
		{"nothing sent", "", "127.0.0.1:1", "X-Other", ""},
		{"the other header", "x-forwarded-for", "10.0.0.1:1", "Forwarded", "set it to forwarded"},
		{"the other header", "forwarded", "10.0.0.1:1", "X-Forwarded-For", "set it to x-forwarded-for"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p, err := NewProxies([]string{"10.0.0.1"}, tc.header)
			if err != nil {
				t.Fatal(err)
			}
			req := httptest.NewRequest("GET", "/", nil)
			req.RemoteAddr = tc.peer
			req.Header.Set(tc.sent, "198.51.100.1")
			if got := p.Advice(req); (got == "") != (tc.want == "") || !strings.Contains(got, tc.want) {
				t.Errorf("%q, want %q", got, tc.want)
			}
		})
	}
}

// FuzzRemote looks for headers by which a client could choose its own address: whatever it sends ahead of what its proxy writes,
// it stays itself.
func FuzzRemote(f *testing.F) {
	for _, s := range []string{"", "192.0.2.66", "10.0.0.9", `for="`, `for="\`, "for=192.0.2.66;", "[", "[::1", "a,b,,", "for=[::1]:1, ", `"`, "\\", "::ffff:10.0.0.1%x"} {
		f.Add(s)
	}
	peer := netip.MustParseAddr("10.0.0.1")
	list := []string{"10.0.0.0/8"}
	auto, err := NewProxies(list, "")
	if err != nil {
		f.Fatal(err)
	}
	forwarded, err := NewProxies(list, HeaderForwarded)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, sent string) {
		const me = "198.51.100.1"
		for name, h := range map[string]map[string][]string{
			"appended":           {"X-Forwarded-For": {sent + ", " + me}},
			"appended as a line": {"X-Forwarded-For": {sent, me}},
		} {
			if got := auto.client(peer, h); got.String() != me {
				t.Errorf("X-Forwarded-For %s: %q is taken for %s", name, sent, got)
			}
		}
		for name, lines := range map[string][]string{"appended": {sent + ", for=" + me}, "appended as a line": {sent, "for=" + me}} {
			if got := forwarded.client(peer, map[string][]string{"Forwarded": lines}); got.String() != me {
				t.Errorf("Forwarded %s: %q is taken for %s", name, sent, got)
			}
		}
	})
}

// FuzzForwarded compares with what was put in: elements that are written by the rules are read back, whatever their values.
func FuzzForwarded(f *testing.F) {
	f.Add("198.51.100.1", `a"b\c`)
	f.Add("", ",;=")
	f.Fuzz(func(t *testing.T, a, b string) {
		if strings.ContainsAny(a+b, "\r\n\x00") {
			return
		}
		quote := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace
		line := `for="` + quote(a) + `";proto=https, by=_x;FOR="` + quote(b) + `"`
		got, ok := parseForwarded(line)
		if want := []string{a, b}; !ok || !slices.Equal(got, want) {
			t.Errorf("%s: %q, %v; want %q", line, got, ok, want)
		}
	})
}
