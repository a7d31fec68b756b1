package protocol

// History asks for a page of the stored messages of the topics that a filter matches ([HIS-1]).
type History struct {
	ID     uint64
	Filter string // not yet checked: see ValidateFilter
	// After is the token behind which the page begins; nil: with the oldest message that is kept. Decode does not parse it and lets it
	// alias the packet.
	After []byte
	Limit uint64 // messages of the page, at most; Decode sets DefaultHistory where there is none, and so does Append for 0
	Last  uint64 // the newest so many instead; 0: not asked for
}

// Type is TypeHistory.
func (*History) Type() Type { return TypeHistory }

// Append implements Packet.
func (p *History) Append(b []byte) []byte {
	limited := p.Limit > 0 && p.Limit != DefaultHistory
	opts := count(p.After != nil, limited, p.Last > 0)
	e := begin(b, TypeHistory, 2, opts)
	e.uint(p.ID)
	e.str(p.Filter)
	e.options(opts)
	if p.After != nil {
		e.key("after")
		e.bin(p.After)
	}
	if limited {
		e.number("limit", p.Limit)
	}
	e.number("last", p.Last)
	return e.end()
}

// Decode reads r into p.
func (p *History) Decode(r Raw) error {
	*p = History{Limit: DefaultHistory}
	d := r.open(TypeHistory)
	p.ID = d.id("id")
	p.Filter = d.str("filter")
	for o := d.options(); o.next(); {
		switch string(o.key) {
		case "after":
			p.After = d.bin("after")
		case "limit":
			p.Limit = d.upTo("limit", MaxLast)
		case "last":
			p.Last = d.upTo("last", MaxLast)
		default:
			d.skip()
		}
	}
	if p.Last > 0 && p.After != nil {
		d.fail(CodeBadArgs, "last", "last and after", "one of them")
	}
	return d.finish()
}

// Histories ends the answer to History: the messages have come before it ([HIS-3]).
type Histories struct {
	ID       uint64
	Position Position  // where to go on: After of the next page
	More     bool      // there was more behind Position
	Gap      GapReason // why messages behind After are missing; empty: none are
}

// Type is TypeHistories.
func (*Histories) Type() Type { return TypeHistories }

// Append implements Packet.
func (p *Histories) Append(b []byte) []byte {
	opts := count(p.More, p.Gap != "")
	e := begin(b, TypeHistories, 2, opts)
	e.uint(p.ID)
	e.position(p.Position)
	e.options(opts)
	e.flag("more", p.More)
	e.text("gap", string(p.Gap))
	return e.end()
}

// Decode reads r into p.
func (p *Histories) Decode(r Raw) error {
	*p = Histories{}
	d := r.open(TypeHistories)
	p.ID = d.id("id")
	p.Position = d.position("position")
	for o := d.options(); o.next(); {
		switch string(o.key) {
		case "more":
			p.More = d.bool("more")
		case "gap":
			p.Gap = GapReason(d.str("gap"))
		default:
			d.skip()
		}
	}
	return d.finish()
}
