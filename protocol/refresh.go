package protocol

// Refresh gives a session a fresh token ([REF-1]).
type Refresh struct {
	ID    uint64
	Token string
}

// Type is TypeRefresh.
func (*Refresh) Type() Type { return TypeRefresh }

// Append implements Packet.
func (p *Refresh) Append(b []byte) []byte {
	e := begin(b, TypeRefresh, 2, 0)
	e.uint(p.ID)
	e.str(p.Token)
	return e.end()
}

// Decode reads r into p.
func (p *Refresh) Decode(r Raw) error {
	*p = Refresh{}
	d := r.open(TypeRefresh)
	p.ID = d.id("id")
	p.Token = d.strMax("token", MaxTokenBytes, CodeTokenMalformed)
	d.noOptions()
	return d.finish()
}

// Refreshed is the answer to Refresh ([REF-1]).
type Refreshed struct {
	ID      uint64
	Expires int64            // Unix milliseconds at which the fresh token expires; 0: never
	Limits  map[string]int64 // of the session from now on, by name, as in Connected
}

// Type is TypeRefreshed.
func (*Refreshed) Type() Type { return TypeRefreshed }

// Append implements Packet.
func (p *Refreshed) Append(b []byte) []byte {
	opts := count(p.Expires > 0, len(p.Limits) > 0)
	e := begin(b, TypeRefreshed, 1, opts)
	e.uint(p.ID)
	e.options(opts)
	e.number("expires", uint64(max(p.Expires, 0)))
	e.limits(p.Limits)
	return e.end()
}

// Decode reads r into p.
func (p *Refreshed) Decode(r Raw) error {
	*p = Refreshed{}
	d := r.open(TypeRefreshed)
	p.ID = d.id("id")
	for o := d.options(); o.next(); {
		switch string(o.key) {
		case "expires":
			p.Expires = int64(d.uint("expires"))
		case "limits":
			p.Limits = d.limits("limits")
		default:
			d.skip()
		}
	}
	return d.finish()
}
