// Package webrules decides which web requests a door lets in before anybody is asked for a token: the Host it was sent to, the
// Origin it came from, and that no token stands in its URL; and it reads what every door has to know of a request: the token, and
// the client's address behind trusted proxies. Every door of the broker uses the same Rules.
//
// A Host that is not ours means a foreign page whose name was made to resolve to this machine (DNS rebinding): its Origin and
// Host agree, so only the list of names shows it. An Origin that is not allowed is a foreign page that uses the visitor's browser.
package webrules

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/carillon-mq/carillon/protocol"
)

// Options say what is let in. The zero value lets in loopback names and no foreign origin.
type Options struct {
	Origins           []string // scheme://host[:port], `*.` in front of the host for its subdomains, or a single `*`
	Hosts             []string // names, `*.` in front for subdomains; a port is not compared
	Listen            []string // HOST:PORT of our listeners; with one beyond loopback every IP address is accepted as Host
	AnyLoopbackOrigin bool     // pages of any port of this machine are let in

	Cookie  string   // name of the cookie that may hold the token; "" is none
	Headers []string // names of headers that the authenticator gets beside the token
	Proxies *Proxies // nil: none are trusted
}

// Rules are compiled Options. They are safe for concurrent use.
type Rules struct {
	origins     []origin
	anyOrigin   bool
	hosts       []string
	anyAddress  bool
	anyLoopback bool
	cookie      string
	headers     []string // canonical
	proxies     *Proxies
}

type origin struct {
	scheme, host string // host with its port unless that is the scheme's; in lower case
	subdomains   bool
}

// New compiles o.
func New(o Options) (*Rules, error) {
	r := &Rules{anyLoopback: o.AnyLoopbackOrigin, cookie: o.Cookie, proxies: o.Proxies}
	if r.proxies == nil {
		r.proxies = &Proxies{}
	}
	for _, name := range o.Headers {
		r.headers = append(r.headers, http.CanonicalHeaderKey(name))
	}
	for _, text := range o.Origins {
		if text == "*" {
			r.anyOrigin = true
			continue
		}
		bare := strings.Replace(text, "://*.", "://", 1)
		parsed, ok := parseOrigin(bare)
		if !ok {
			return nil, fmt.Errorf("origin %q: want scheme://host, such as https://app.example.com", text)
		}
		parsed.subdomains = bare != text
		r.origins = append(r.origins, parsed)
	}
	for _, h := range o.Hosts {
		r.hosts = append(r.hosts, canonicalHost(h))
	}
	for _, addr := range o.Listen {
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, fmt.Errorf("listen address %q: %w", addr, err)
		}
		ip, err := netip.ParseAddr(host)
		switch {
		case host == "":
			r.anyAddress = true
		case err != nil:
			r.hosts = append(r.hosts, canonicalHost(host))
		case !ip.Unmap().IsLoopback():
			r.anyAddress = true
		}
	}
	return r, nil
}

// CheckHost refuses a request that was sent to a name that is not ours.
func (r *Rules) CheckHost(req *http.Request) *protocol.Error {
	host := req.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = canonicalHost(host)
	if isLoopbackName(host) || r.listed(host) {
		return nil
	}
	if _, err := netip.ParseAddr(host); err == nil && r.anyAddress {
		return nil
	}
	if host == "" { // HTTP/1.0 needs none, and the probes of some load balancers send none
		return protocol.Errorf(protocol.CodeBadHost, "the request has no Host").
			WithHint("have it say Host: and a name of this broker; of a load balancer's check that is a setting")
	}
	return protocol.Errorf(protocol.CodeBadHost, "the request was sent to host %q, which is not one of this broker's names", clip(host)).
		WithHint(fmt.Sprintf("if clients use this name, add it to the configuration: hosts: [%s]", clip(host)))
}

func (r *Rules) listed(host string) bool {
	for _, h := range r.hosts {
		if suffix, ok := strings.CutPrefix(h, "*"); h == host || ok && strings.HasSuffix(host, suffix) && host != suffix[1:] {
			return true
		}
	}
	return false
}

// CheckOrigin refuses a request of a page that is not allowed. A request without Origin is not a page's: it is let in. So is
// one from the origin that it was sent to, which CheckHost has found to be ours.
func (r *Rules) CheckOrigin(req *http.Request) *protocol.Error {
	values := req.Header.Values("Origin")
	if len(values) == 0 {
		return nil
	}
	if len(values) == 1 && r.allows(values[0], req) {
		return nil
	}
	text := clip(strings.Join(values, ", "))
	e := protocol.Errorf(protocol.CodeBadOrigin, "pages of origin %q may not use this broker", text)
	if _, ok := parseOrigin(values[0]); ok && len(values) == 1 {
		return e.WithHint(fmt.Sprintf("if that page is yours, add it to the configuration: origins: [%q]", text))
	}
	return e
}

func (r *Rules) allows(text string, req *http.Request) bool {
	_, ok := parseOrigin(text)
	return ok && r.anyOrigin || r.named(text, req)
}

// Credentials reports whether the page that sent r may do so with cookies: it is the broker's own or listed by name.
func (r *Rules) Credentials(req *http.Request) bool {
	values := req.Header.Values("Origin")
	return len(values) == 1 && r.named(values[0], req)
}

// named reports whether the origin is the broker's own, or listed other than by `*`. A page of the broker's own name that came
// without encryption is another page than the broker's when that is known to be reached with it.
func (r *Rules) named(text string, req *http.Request) bool {
	o, ok := parseOrigin(text)
	if !ok {
		return false
	}
	if o.host == stripDefaultPort(o.scheme, strings.ToLower(req.Host)) && (o.scheme == "https" || !r.proxies.Secure(req)) {
		return true
	}
	for _, allowed := range r.origins {
		if o.scheme != allowed.scheme {
			continue
		}
		if o.host == allowed.host && !allowed.subdomains || allowed.subdomains && strings.HasSuffix(o.host, "."+allowed.host) {
			return true
		}
	}
	return r.anyLoopback && isLoopbackName(hostOf(o.host))
}

// ProxyAdvice is Proxies.Advice.
func (r *Rules) ProxyAdvice(req *http.Request) string { return r.proxies.Advice(req) }

// Remote is the address of the request's client: see Proxies.Remote. Without rules it is the peer's.
func (r *Rules) Remote(req *http.Request) string {
	if r == nil {
		return (&Proxies{}).Remote(req)
	}
	return r.proxies.Remote(req)
}

// parseOrigin reads a serialised origin (RFC 6454 section 6.2). "null" and whatever has more than scheme, host and port is none.
func parseOrigin(text string) (origin, bool) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Hostname() == "" || u.User != nil || u.Path != "" || u.RawQuery != "" || u.ForceQuery ||
		u.Fragment != "" || strings.HasSuffix(text, "#") {
		return origin{}, false
	}
	scheme := strings.ToLower(u.Scheme)
	return origin{scheme: scheme, host: stripDefaultPort(scheme, strings.ToLower(u.Host))}, true
}

func stripDefaultPort(scheme, host string) string {
	switch scheme {
	case "http":
		return strings.TrimSuffix(host, ":80")
	case "https":
		return strings.TrimSuffix(host, ":443")
	}
	return host
}

func hostOf(hostport string) string {
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		return h
	}
	return canonicalHost(hostport)
}

// canonicalHost is host in lower case without brackets and without the final dot.
func canonicalHost(host string) string {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
}

func isLoopbackName(host string) bool {
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// tokenParameters are the names under which people put tokens into URLs.
var tokenParameters = []string{"token", "access_token", "id_token", "auth", "authorization", "bearer", "jwt", "api_key", "apikey"}

// TokenInURL refuses a request whose URL carries a token: URLs end up in the logs of every proxy on the way.
func TokenInURL(req *http.Request) *protocol.Error {
	if req.URL.RawQuery == "" {
		return nil
	}
	for name, values := range req.URL.Query() {
		if isTokenParameter(name) || anyJWT(values) || isJWT(name) {
			if isJWT(name) {
				name = "…"
			}
			return protocol.Errorf(protocol.CodeTokenInURL, "the URL carries a token in parameter %q; it was not looked at", name).
				WithHint("send the header Authorization: Bearer <token>, or over WebSocket the token in Connect; treat this token as leaked, URLs are logged on their way")
		}
	}
	return nil
}

func isTokenParameter(name string) bool {
	return slices.ContainsFunc(tokenParameters, func(p string) bool { return strings.EqualFold(name, p) })
}

func anyJWT(values []string) bool { return slices.ContainsFunc(values, isJWT) }

// isJWT reports whether s looks like a JWT: three parts, the first the start of a JSON object in base64url.
func isJWT(s string) bool { return strings.HasPrefix(s, "eyJ") && strings.Count(s, ".") == 2 }

// clip bounds what of a stranger's text is repeated to it and to the log.
func clip(s string) string {
	if len(s) > 200 {
		return s[:200] + "…"
	}
	return s
}
