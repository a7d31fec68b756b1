package protocol

// Ping asks for a Pong. The server's carries the session's position ([PNG-1]).
type Ping struct {
	Position *Position // nil in a client's
}

// Type is TypePing.
func (*Ping) Type() Type { return TypePing }

// Append implements Packet.
func (p *Ping) Append(b []byte) []byte {
	e := begin(b, TypePing, 1, 0)
	e.positionOrNil(p.Position)
	return e.end()
}

// Decode reads r into p.
func (p *Ping) Decode(r Raw) error {
	*p = Ping{}
	d := r.open(TypePing)
	p.Position = d.positionOrNil("position")
	d.noOptions()
	return d.finish()
}

// Pong is the answer to Ping ([PNG-2]).
type Pong struct{}

// Type is TypePong.
func (*Pong) Type() Type { return TypePong }

// Append implements Packet.
func (p *Pong) Append(b []byte) []byte { return begin(b, TypePong, 0, 0).end() }

// Decode reads r into p.
func (p *Pong) Decode(r Raw) error {
	d := r.open(TypePong)
	d.noOptions()
	return d.finish()
}
