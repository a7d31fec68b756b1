package config

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/carillon-mq/carillon/protocol"
)

// Check finds what no single value shows: addresses, filters, plugins and whether the broker would be open to everybody.
// The result is nil or KeyErrors.
func (l *Loaded) Check() error {
	c := &checker{Loaded: l}
	c.address("listen", l.Listen)
	if l.Admin.Listen != None {
		c.address("admin.listen", l.Admin.Listen)
	}
	c.tls("tls", l.TLS)
	c.tls("admin.tls", l.Admin.TLS)
	if l.Admin.Listen == None && l.Admin.TLS.On() {
		c.failf("admin.tls.cert", "is set, but admin.listen is none: there is no listener to use it")
	}
	for i, o := range l.Origins {
		if err := CheckOrigin(o); err != nil {
			c.failf("origins", "[%d]: %v", i, err)
		}
	}
	for i, h := range l.Hosts {
		if err := checkHost(h); err != nil {
			c.failf("hosts", "[%d]: %v", i, err)
		}
	}
	c.topics()
	c.plugin("auth", plugin{l.Auth.Plugin, l.Auth.Path, l.Auth.SHA256, l.Auth.Config, l.Auth.Attach})
	c.plugin("store", plugin{l.Store.Plugin, l.Store.Path, l.Store.SHA256, l.Store.Config, l.Store.Attach})
	c.attach("auth", l.Auth.Attach, l.Auth.Rlimit)
	c.attach("store", l.Store.Attach, l.Store.Rlimit)
	c.shadow()
	c.cookie()
	c.authHeaders()
	c.anonymous()
	return c.problems.err()
}

type checker struct {
	*Loaded
	problems KeyErrors
}

func (c *checker) failf(path, format string, args ...any) {
	c.problems = append(c.problems, c.Errorf(path, format, args...))
}

// Errorf is a mistake in the value of the key at path, with the place where that was set.
func (l *Loaded) Errorf(path, format string, args ...any) KeyError {
	at, ok := l.set[path]
	if !ok {
		list, _, _ := strings.Cut(path, "[")
		at = l.set[list]
	}
	p := KeyError{File: at.file, Line: at.line, Column: at.column, Key: path, Text: fmt.Sprintf(format, args...)}
	if at.name != "" {
		p.Key = at.name
	}
	return p
}

// UnknownKeys reports the keys of the object at path, which belongs to a plugin, that are not among known.
func (l *Loaded) UnknownKeys(path string, o Opaque, known []string) KeyErrors {
	var object map[string]json.RawMessage
	if err := json.Unmarshal(o, &object); err != nil {
		return nil // nothing was configured
	}
	var unknown KeyErrors
	for _, name := range slices.Sorted(maps.Keys(object)) {
		if !slices.Contains(known, name) {
			p := l.Errorf(path+"."+name, "unknown key %q%s", path+"."+name, suggest(name, known))
			if p.Line > 0 {
				p.Key = ""
			}
			unknown = append(unknown, p)
		}
	}
	return unknown
}

// address checks HOST:PORT. A host that is a name is looked up only when it is listened on.
func (c *checker) address(path, addr string) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		c.failf(path, "%q is not an address; write HOST:PORT, such as 127.0.0.1:8080 or :8080", addr)
		return
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		c.failf(path, "%q: the port is a number from 0 to 65535", addr)
	}
	if strings.ContainsAny(host, " /@?#") {
		c.failf(path, "%q: %q is not a host", addr, host)
	}
}

// CheckOrigin reports what is wrong with a pattern of `origins`: scheme://host[:port], with `*.` in front of the host for its
// subdomains, or a single `*`.
func CheckOrigin(pattern string) error {
	if pattern == "*" {
		return nil
	}
	u, err := url.Parse(strings.Replace(pattern, "://*.", "://", 1))
	if err != nil || u.Scheme == "" || u.Host == "" {
		return fmt.Errorf("%q is not an origin; write it with its scheme, such as https://app.example.com", pattern)
	}
	if u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" || strings.Contains(u.Host, "*") {
		return fmt.Errorf("%q is more than an origin; write only scheme, host and port, such as https://app.example.com", pattern)
	}
	return nil
}

var hostName = regexp.MustCompile(`^(\*\.)?[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*\.?$`)

func checkHost(host string) error {
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil || hostName.MatchString(host) {
		return nil
	}
	return fmt.Errorf("%q is not a host name; write it without scheme, port and path, such as push.example.com", host)
}

// tls wants both files or none. What is in them is looked at when they are loaded.
func (c *checker) tls(path string, t TLS) {
	switch {
	case t.Cert != "" && t.Key == "":
		c.failf(path+".cert", "is set without %s.key, the file with the certificate's key", path)
	case t.Cert == "" && t.Key != "":
		c.failf(path+".key", "is set without %s.cert, the file with the key's certificate", path)
	}
}

// cookieName is a token of RFC 9110, as RFC 6265 wants a cookie's name.
var cookieName = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")

func (c *checker) cookie() {
	switch name := c.Auth.Cookie; {
	case name == "":
	case !cookieName.MatchString(name):
		c.failf("auth.cookie", "%q is not the name of a cookie; write letters, digits and - or _, such as __Host-carillon", name)
	case !c.HasAuth():
		c.failf("auth.cookie", "is set, but there is no authentication plugin to read the token in it; write auth.plugin")
	case slices.Contains(c.Origins, "*"):
		c.failf("auth.cookie", `does not go together with origins: ["*"]: every page that a user visits could act in the user's name; `+
			"name the origins of your own pages")
	}
}

// maxAuthHeaders bounds what is handed on of a request.
const maxAuthHeaders = 16

func (c *checker) authHeaders() {
	names := c.Auth.Headers
	if len(names) > 0 && !c.HasAuth() {
		c.failf("auth.headers", "is set, but there is no authentication plugin to hand them to; write auth.plugin")
	}
	if len(names) > maxAuthHeaders {
		c.failf("auth.headers", "has %d names, the limit is %d", len(names), maxAuthHeaders)
	}
	for i, name := range names {
		path := fmt.Sprintf("auth.headers[%d]", i)
		switch canonical := http.CanonicalHeaderKey(name); {
		case !cookieName.MatchString(name):
			c.failf(path, "%q is not the name of a header; write one such as Cookie", name)
		case canonical == "Authorization":
			c.failf(path, "Authorization is read for its token already; leave it out")
		case canonical == "Cookie" && slices.Contains(c.Origins, "*"):
			c.failf(path, `Cookie does not go together with origins: ["*"]: every page that a user visits could act in the user's name; `+
				"name the origins of your own pages")
		}
	}
}

func (c *checker) filter(path, filter string) {
	if err := protocol.ValidateFilter(filter); err != nil {
		c.failf(path, "%q: %v", filter, err)
	}
}

type plugin struct {
	name, path, sha256 string
	config             Opaque
	attach             string
}

var hexSHA256 = regexp.MustCompile(`^[0-9a-fA-F]{64}$`)

// shadow checks the candidate for the auth plugin.
func (c *checker) shadow() {
	s := c.Auth.Shadow
	c.plugin("auth.shadow", plugin{s.Plugin, s.Path, s.SHA256, s.Config, ""})
	if c.HasShadow() && !c.HasAuth() {
		c.failf("auth.shadow", "is set, but there is no authentication plugin to compare it with; write auth.plugin")
	}
}

func (c *checker) plugin(kind string, p plugin) {
	if p.attach != "" {
		return // it is asked in the place of what is named here, which may still have to be built
	}
	of, _, _ := strings.Cut(kind, ".")
	known := append(slices.Clone(Bundled[of]), None)
	_, named := c.set[kind+".plugin"]
	switch {
	case p.path != "" && named:
		c.failf(kind+".path", "is set, and so is %s.plugin; a plugin is either bundled or an executable", kind)
	case p.path != "" && !filepath.IsAbs(p.path):
		c.failf(kind+".path", "%q is relative; write the whole path", p.path)
	case p.path != "" && p.sha256 == "":
		c.failf(kind+".path", "needs %s.sha256, the checksum of the executable (sha256sum %s)", kind, p.path)
	case p.path == "" && !slices.Contains(known, p.name):
		c.failf(kind+".plugin", "%q is not bundled%s; want %s, or path and sha256 for another", p.name, suggest(p.name, known),
			strings.Join(known, " or "))
	case p.path == "" && p.name == None && p.config != nil:
		c.failf(kind+".config", "is set, but there is no plugin to hand it to; write %s.plugin", kind)
	}
	switch {
	case p.sha256 != "" && p.path == "":
		c.failf(kind+".sha256", "is set without %s.path; a bundled plugin needs none", kind)
	case p.sha256 != "" && !hexSHA256.MatchString(p.sha256):
		c.failf(kind+".sha256", "%q is not a checksum; want 64 hexadecimal digits", p.sha256)
	}
}

// attach checks where a plugin is said to listen that somebody else starts. What plugin and path name waits meanwhile.
func (c *checker) attach(kind, address string, limits Rlimit) {
	path, ok := strings.CutPrefix(address, "unix:")
	switch {
	case address == "":
	case !ok || !filepath.IsAbs(path):
		c.failf(kind+".attach", "%q is no address; write unix: and the whole path of the socket, as the plugin prints it when it is started with --debug", address)
	case c.Unsupervised != Allow:
		c.failf(kind+".attach", "names a plugin that nobody watches over: it is for carillon dev; to have it in carillon serve, too, say unsupervised: allow")
	case limits != noRlimit:
		c.failf(kind+".attach", "goes with no %s.rlimit: the process is not the broker's to limit", kind)
	}
}

// HasAuth reports whether an authentication plugin decides.
func (c *Config) HasAuth() bool {
	return c.Auth.Attach != "" || c.Auth.Path != "" || c.Auth.Plugin != None
}

// HasShadow reports whether a candidate is asked beside it.
func (c *Config) HasShadow() bool { return c.Auth.Shadow.Path != "" || c.Auth.Shadow.Plugin != None }

// HasStore reports whether a storage plugin keeps retained values.
func (c *Config) HasStore() bool {
	return c.Store.Attach != "" || c.Store.Path != "" || c.Store.Plugin != None
}

// Attaches reports whether a plugin is one that somebody else starts.
func (c *Config) Attaches() bool { return c.Auth.Attach != "" || c.Store.Attach != "" }

// anonymous refuses a broker that would let everybody do everything from other machines without the configuration saying so.
func (c *checker) anonymous() {
	for i, f := range c.Auth.AnonymousPublish {
		c.filter(fmt.Sprintf("auth.anonymous_publish[%d]", i), f)
	}
	for i, f := range c.Auth.AnonymousSubscribe {
		c.filter(fmt.Sprintf("auth.anonymous_subscribe[%d]", i), f)
	}
	allow := c.Auth.Anonymous == "allow"
	lists := len(c.Auth.AnonymousPublish)+len(c.Auth.AnonymousSubscribe) > 0
	switch {
	case c.HasAuth() && allow && !lists:
		c.failf("auth.anonymous", "allow beside a plugin needs to say what an anonymous client may do: "+
			"auth.anonymous_publish and auth.anonymous_subscribe, lists of filters")
	case lists && (!allow || !c.HasAuth()):
		path := "auth.anonymous_publish"
		if len(c.Auth.AnonymousPublish) == 0 {
			path = "auth.anonymous_subscribe"
		}
		c.failf(path, "takes effect only with auth.anonymous: allow and an authentication plugin")
	case !c.HasAuth() && !allow && isAddress(c.Listen) && !IsLoopback(c.Listen):
		c.failf("listen", "%s can be reached from other machines and no authentication is configured, so everybody could publish "+
			"and read everything. Add authentication:", c.Listen)
		c.problems[len(c.problems)-1].Fix = openFix
	}
}

const openFix = `
auth:
  plugin: auth-jwt
  config:
    issuer: https://app.example.com
    audience: carillon
    keys:
      - {kid: main, alg: HS256, secret: AT-LEAST-32-RANDOM-CHARACTERS}

or say that everybody is welcome:

auth:
  anonymous: allow

or listen on this machine only:

listen: 127.0.0.1:8080
`

func isAddress(addr string) bool {
	_, _, err := net.SplitHostPort(addr)
	return err == nil
}

// IsLoopback reports whether addr, HOST:PORT, is reachable from this machine only.
func IsLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}
