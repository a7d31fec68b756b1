package webrules

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// The headers in which proxies tell who they ask for.
const (
	HeaderAuto          = "auto"            // X-Forwarded-For, or Forwarded in a request without it
	HeaderXForwardedFor = "x-forwarded-for" // and never the other
	HeaderForwarded     = "forwarded"       // RFC 7239, and never the other
)

// maxHops is how many addresses are read of what proxies wrote. A request that came by more is not believed beyond them.
const maxHops = 32

// Proxies are the proxies in front of the broker, whose word about a client's address is taken. The zero value trusts none. It is
// safe for concurrent use.
type Proxies struct {
	trusted []netip.Prefix
	header  string
}

// NewProxies trusts peers in one of list, each an address or a CIDR range, about what they say in header ("" is HeaderAuto).
func NewProxies(list []string, header string) (*Proxies, error) {
	switch header {
	case "":
		header = HeaderAuto
	case HeaderAuto, HeaderXForwardedFor, HeaderForwarded:
	default:
		return nil, fmt.Errorf("%q is no header of proxies; want %s, %s or %s", header, HeaderAuto, HeaderXForwardedFor, HeaderForwarded)
	}
	p := &Proxies{header: header}
	for _, text := range list {
		prefix, err := ParseProxy(text)
		if err != nil {
			return nil, err
		}
		p.trusted = append(p.trusted, prefix)
	}
	return p, nil
}

// ParseProxy reads an address or a CIDR range.
func ParseProxy(text string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(text); err == nil && addr.Zone() == "" {
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q is neither an address nor a range; write it like 10.0.0.7 or 10.0.0.0/8", text)
	}
	if prefix != prefix.Masked() {
		return netip.Prefix{}, fmt.Errorf("%q has bits set beyond its length; write %s for the range, or the address alone", text, prefix.Masked())
	}
	if addr := prefix.Addr(); addr.Is4In6() {
		if prefix.Bits() < 96 {
			return netip.Prefix{}, fmt.Errorf("%q mixes IPv4 and IPv6; write one range for each", text)
		}
		return netip.PrefixFrom(addr.Unmap(), prefix.Bits()-96), nil
	}
	return prefix, nil
}

func (p *Proxies) trusts(addr netip.Addr) bool {
	for _, t := range p.trusted {
		if t.Contains(addr) {
			return true
		}
	}
	return false
}

// Remote is the address of the client that r comes from, without port. It is the peer's, unless that is a trusted proxy: then it
// is the last address on the way here that is not one, as the proxies told it. What an untrusted peer tells is not looked at, and
// neither is what stands in front of an address that nobody trusted wrote.
func (p *Proxies) Remote(r *http.Request) string {
	host := r.RemoteAddr
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	peer, err := netip.ParseAddr(host)
	if err != nil {
		return host // not TCP: nothing can have listed it
	}
	return p.client(peer.WithZone("").Unmap(), r.Header).String()
}

// Advice is what to do about a request that a proxy seems to have passed on which is not configured, or not to the end; "" for any
// other. A proxy is expected on this machine or on a network of its own kind: strangers from elsewhere send such headers too.
func (p *Proxies) Advice(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return ""
	}
	peer, err := netip.ParseAddr(host)
	if err != nil {
		return ""
	}
	peer = peer.WithZone("").Unmap()
	x, forwarded := len(r.Header.Values("X-Forwarded-For")) > 0, len(r.Header.Values("Forwarded")) > 0
	switch {
	case p.trusts(peer) && p.header == HeaderXForwardedFor && !x && forwarded:
		return "the proxy writes Forwarded, and trusted_header is x-forwarded-for: set it to forwarded"
	case p.trusts(peer) && p.header == HeaderForwarded && !forwarded && x:
		return "the proxy writes X-Forwarded-For, and trusted_header is forwarded: set it to x-forwarded-for"
	case !p.trusts(peer) && (x || forwarded) && (peer.IsLoopback() || peer.IsPrivate()):
		return fmt.Sprintf("if %s is your proxy, add it to the configuration, or all its clients count as one address: trusted_proxies: [%[1]s]", peer)
	}
	return ""
}

func (p *Proxies) client(peer netip.Addr, header http.Header) netip.Addr {
	if !p.trusts(peer) {
		return peer
	}
	for hop, told := range p.hops(header) {
		addr, err := parseNode(told)
		if err != nil || hop == maxHops {
			return peer // the last one that is known
		}
		if peer = addr; !p.trusts(addr) {
			return addr
		}
	}
	return peer
}

// hops yields what the proxies wrote, the nearest first.
func (p *Proxies) hops(header http.Header) func(yield func(int, string) bool) {
	if p.header == HeaderForwarded || p.header == HeaderAuto && len(header.Values("X-Forwarded-For")) == 0 {
		return forwardedFor(header.Values("Forwarded"))
	}
	return listBackwards(header.Values("X-Forwarded-For"))
}

// listBackwards yields the elements of a header that is a list with commas, the last first. The header may come in several lines.
func listBackwards(lines []string) func(yield func(int, string) bool) {
	return func(yield func(int, string) bool) {
		n := 0
		for _, line := range slices.Backward(lines) {
			for rest, more := line, true; more; n++ {
				var last string
				if at := strings.LastIndexByte(rest, ','); at >= 0 {
					rest, last = rest[:at], rest[at+1:]
				} else {
					last, more = rest, false
				}
				if !yield(n, strings.Trim(last, " \t")) {
					return
				}
			}
		}
	}
}

// Secure reports whether the client's own connection is known to be encrypted: this one is, or a trusted proxy says that the
// client's is.
func (p *Proxies) Secure(r *http.Request) bool {
	if r.TLS != nil {
		return true
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return false
	}
	peer, err := netip.ParseAddr(host)
	if err != nil || !p.trusts(peer.WithZone("").Unmap()) {
		return false
	}
	proto := r.Header.Values("X-Forwarded-Proto")
	return len(proto) == 1 && strings.EqualFold(strings.TrimSpace(proto[0]), "https")
}

var errNode = errors.New("no address")

// parseNode reads an address as proxies write it: 192.0.2.1, 192.0.2.1:4711, 2001:db8::1, [2001:db8::1] or [2001:db8::1]:4711.
func parseNode(text string) (netip.Addr, error) {
	if addr, err := netip.ParseAddr(text); err == nil {
		return addr.WithZone("").Unmap(), nil
	}
	host := text
	if inside, bracketed := strings.CutPrefix(text, "["); bracketed {
		inside, port, closed := strings.Cut(inside, "]")
		if !closed || port != "" && port[0] != ':' || !strings.Contains(inside, ":") {
			return netip.Addr{}, errNode
		}
		host = inside
	} else if at := strings.LastIndexByte(text, ':'); at >= 0 && strings.IndexByte(text, ':') == at {
		host = text[:at]
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Addr{}, errNode
	}
	return addr.WithZone("").Unmap(), nil
}
