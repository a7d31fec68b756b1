package protocol

import (
	"maps"
	"slices"
	"time"
)

// Connect is a client's first packet ([CON-1]).
type Connect struct {
	Version int    // Version; Decode refuses another one with bad_version
	Token   string // "" is none
	Client  string // name and version of the client's software, for the server's logs; at most MaxClientBytes
	// Origin names the client over all its connections, so that a publish can exclude it ([CON-11]); "" is none, at most MaxOrigin.
	Origin string
	// Compress is how the client takes payloads compressed, CompressDeflate or one that this version does not know ([CON-12]); "" is not at all.
	Compress string
}

// Type is TypeConnect.
func (*Connect) Type() Type { return TypeConnect }

// Append implements Packet.
func (p *Connect) Append(b []byte) []byte {
	opts := count(p.Client != "", p.Origin != "", p.Compress != "")
	e := begin(b, TypeConnect, 2, opts)
	e.int(int64(p.Version))
	if p.Token == "" {
		e.null()
	} else {
		e.str(p.Token)
	}
	e.options(opts)
	e.text("client", p.Client)
	e.text("origin", p.Origin)
	e.text("compress", p.Compress)
	return e.end()
}

// Decode reads r into p. The version is read first, so that another version's Connect is told bad_version whatever its form ([CON-2]).
func (p *Connect) Decode(r Raw) error {
	*p = Connect{}
	d := r.open(TypeConnect)
	v := d.uint("version")
	if d.err == nil && v != Version {
		return Errorf(CodeBadVersion, "found version %d, wanted %d", v, Version)
	}
	p.Version = int(v)
	if !d.null() {
		p.Token = d.strMax("token", MaxTokenBytes, CodeTokenMalformed)
	}
	for o := d.options(); o.next(); {
		switch string(o.key) {
		case "client":
			p.Client = d.strMax("client", MaxClientBytes, CodeBadPacket)
		case "origin":
			p.Origin = d.strMax("origin", MaxOrigin, CodeBadPacket)
		case "compress":
			p.Compress = d.strMax("compress", MaxOrigin, CodeBadPacket)
		default:
			d.skip()
		}
	}
	return d.finish()
}

// Connected is the answer to Connect: the session has begun ([CON-6]).
type Connected struct {
	Session  string
	Position Position      // where the session starts
	Ping     time.Duration // interval of the server's pings; whole milliseconds; 0: it does not ping
	User     string        // "" is anonymous
	Expires  int64         // Unix milliseconds at which the token expires; 0: never
	Server   string        // name and version of the server's software
	// Limits of the session by name: packet and payload (bytes), subscriptions, publish_rate (per second), inflight, …
	Limits   map[string]int64
	Compress string // how payloads of messages may be compressed, as the client asked for; "": they are not ([CON-12])
}

// Type is TypeConnected.
func (*Connected) Type() Type { return TypeConnected }

// Append implements Packet.
func (p *Connected) Append(b []byte) []byte {
	opts := count(p.User != "", p.Expires > 0, p.Server != "", len(p.Limits) > 0, p.Compress != "")
	e := begin(b, TypeConnected, 3, opts)
	e.str(p.Session)
	e.position(p.Position)
	e.millis(p.Ping)
	e.options(opts)
	e.text("user", p.User)
	e.number("expires", uint64(max(p.Expires, 0)))
	e.text("server", p.Server)
	e.limits(p.Limits)
	e.text("compress", p.Compress)
	return e.end()
}

func (e *encoder) limits(limits map[string]int64) {
	if len(limits) == 0 {
		return
	}
	e.key("limits")
	e.pairs(len(limits))
	for _, name := range slices.Sorted(maps.Keys(limits)) {
		e.str(name)
		e.int(limits[name])
	}
}

// Decode reads r into p.
func (p *Connected) Decode(r Raw) error {
	*p = Connected{}
	d := r.open(TypeConnected)
	p.Session = d.str("session")
	p.Position = d.position("position")
	p.Ping = d.millis("ping")
	for o := d.options(); o.next(); {
		switch string(o.key) {
		case "user":
			p.User = d.str("user")
		case "expires":
			p.Expires = int64(d.uint("expires"))
		case "server":
			p.Server = d.str("server")
		case "limits":
			p.Limits = d.limits("limits")
		case "compress":
			p.Compress = d.str("compress")
		default:
			d.skip()
		}
	}
	return d.finish()
}

func (d *decoder) limits(field string) map[string]int64 {
	n := d.pairs(field)
	if n == 0 || d.err != nil {
		return nil
	}
	m := make(map[string]int64, n)
	for range n {
		name := d.str(field)
		m[name] = int64(d.uint(field))
	}
	if d.err == nil && len(m) < n {
		d.fail(CodeBadPacket, field, "the same key twice", "each once")
	}
	return m
}
