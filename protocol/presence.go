package protocol

// Presence asks who is a member of a topic ([PRE-4]).
type Presence struct {
	ID    uint64
	Topic string // not yet checked: see ValidateTopic
}

// Type is TypePresence.
func (*Presence) Type() Type { return TypePresence }

// Append implements Packet.
func (p *Presence) Append(b []byte) []byte {
	e := begin(b, TypePresence, 2, 0)
	e.uint(p.ID)
	e.str(p.Topic)
	return e.end()
}

// Decode reads r into p.
func (p *Presence) Decode(r Raw) error {
	*p = Presence{}
	d := r.open(TypePresence)
	p.ID = d.id("id")
	p.Topic = d.str("topic")
	d.noOptions()
	return d.finish()
}

// Presences is the answer to Presence ([PRE-4]).
type Presences struct {
	ID    uint64
	Count uint64   // members there are
	Users []string // their ids, in the order of their bytes; none when there are more than MaxUsers
}

// Type is TypePresences.
func (*Presences) Type() Type { return TypePresences }

// Append implements Packet.
func (p *Presences) Append(b []byte) []byte {
	opts := count(len(p.Users) > 0)
	e := begin(b, TypePresences, 2, opts)
	e.uint(p.ID)
	e.uint(p.Count)
	e.options(opts)
	if opts > 0 {
		e.strs("users", p.Users)
	}
	return e.end()
}

// Decode reads r into p.
func (p *Presences) Decode(r Raw) error {
	*p = Presences{}
	d := r.open(TypePresences)
	p.ID = d.id("id")
	p.Count = d.uint("count")
	for o := d.options(); o.next(); {
		switch string(o.key) {
		case "users":
			p.Users = d.strs("users")
		default:
			d.skip()
		}
	}
	return d.finish()
}

// strs is an array of str.
func (d *decoder) strs(field string) []string {
	if !d.ready() || heads[d.b[0]].kind != kindArray {
		d.mismatch(field, "array of str")
		return nil
	}
	_, n, size := readHead(d.b)
	d.take(size)
	d.left += int(n)
	out := make([]string, 0, n)
	for range n {
		out = append(out, d.str(field))
	}
	if d.err != nil {
		return nil
	}
	return out
}
