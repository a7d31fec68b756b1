package protocol

import "bytes"

// Subscribes asks for many subscriptions at once ([SUB-13]). Each is answered as the Subscribe that it stands for.
type Subscribes struct {
	Subscriptions []Subscribe // 1 to MaxArray; whole: what the packet's options say of all of them is in each
}

// Type is TypeSubscribes.
func (*Subscribes) Type() Type { return TypeSubscribes }

// Append implements Packet. What all subscriptions have alike is written once, as options of the packet.
func (p *Subscribes) Append(b []byte) []byte {
	common := p.common()
	opts := common.options()
	e := begin(b, TypeSubscribes, 1, opts)
	e.head(0x90, 0xdc, len(p.Subscriptions))
	for i := range p.Subscriptions {
		p.Subscriptions[i].without(&common).appendElement(&e)
	}
	e.options(opts)
	common.appendOptions(&e)
	return e.end()
}

func (p *Subscribe) appendElement(e *encoder) {
	opts := p.options()
	e.head(0x90, 0xdc, 2+min(opts, 1))
	e.uint(p.ID)
	e.str(p.Filter)
	e.options(opts)
	p.appendOptions(e)
}

// common is what all subscriptions have alike.
func (p *Subscribes) common() Subscribe {
	if len(p.Subscriptions) == 0 {
		return Subscribe{}
	}
	c := p.Subscriptions[0]
	c.ID, c.Filter = 0, ""
	for i := range p.Subscriptions {
		s := &p.Subscriptions[i]
		if s.Position == nil || !bytes.Equal(s.Position, c.Position) {
			c.Position = nil
		}
		if s.Last != c.Last {
			c.Last = 0
		}
		if s.MaxRate != c.MaxRate {
			c.MaxRate = 0
		}
		c.NoRetained = c.NoRetained && s.NoRetained
		c.Snapshot = c.Snapshot && s.Snapshot
		c.Latest = c.Latest && s.Latest
		c.Join = c.Join && s.Join
	}
	return c
}

// without is s but for what c has already.
func (p *Subscribe) without(c *Subscribe) *Subscribe {
	s := *p
	if c.Position != nil {
		s.Position = nil
	}
	if c.Last > 0 {
		s.Last = 0
	}
	if c.MaxRate > 0 {
		s.MaxRate = 0
	}
	s.NoRetained = s.NoRetained && !c.NoRetained
	s.Snapshot = s.Snapshot && !c.Snapshot
	s.Latest = s.Latest && !c.Latest
	s.Join = s.Join && !c.Join
	return &s
}

// Decode reads r into p. The positions alias the packet.
func (p *Subscribes) Decode(r Raw) error {
	*p = Subscribes{}
	d := r.open(TypeSubscribes)
	elements := d.elements("subscriptions")
	if d.err == nil && len(elements) == 0 {
		d.fail(CodeBadArgs, "subscriptions", "none", "1 to 1,024")
	}
	var common Subscribe
	common.decodeOptions(&d)
	if d.err != nil {
		return d.err
	}
	p.Subscriptions = make([]Subscribe, len(elements))
	for i, b := range elements {
		if err := p.Subscriptions[i].decodeElement(b, common); err != nil {
			*p = Subscribes{}
			return err
		}
	}
	return nil
}

// decodeElement reads one subscription, for which common holds where it has nothing of its own. Of position and last its own one
// takes the place of either.
func (p *Subscribe) decodeElement(b []byte, common Subscribe) error {
	h, n, size := readHead(b)
	d := decoder{t: TypeSubscribes, b: b[size:], left: int(n)}
	if h.kind != kindArray {
		return Errorf(CodeBadPacket, "%s.subscriptions: found %s, wanted an array of id, filter and options", d.t, h.kind)
	}
	p.ID = d.id("id")
	p.Filter = d.str("filter")
	own := Subscribe{
		NoRetained: common.NoRetained, Snapshot: common.Snapshot, Latest: common.Latest, MaxRate: common.MaxRate, Join: common.Join,
	}
	own.decodeOptions(&d)
	if own.Position == nil && own.Last == 0 {
		own.Position, own.Last = common.Position, common.Last
	}
	own.ID, own.Filter = p.ID, p.Filter
	*p = own
	return d.finish()
}

// elements takes an array and returns the bytes of each of its elements.
func (d *decoder) elements(field string) [][]byte {
	if !d.ready() || heads[d.b[0]].kind != kindArray {
		d.mismatch(field, "array")
		return nil
	}
	_, n, size := readHead(d.b)
	d.b = d.b[size:]
	d.left += int(n)
	out := make([][]byte, 0, n)
	for range n {
		before := d.b
		d.skip()
		if d.err != nil {
			return nil
		}
		out = append(out, before[:len(before)-len(d.b)])
	}
	d.left-- // the array itself
	return out
}
