package protocol

// Subscribe asks for the messages of the topics that a filter matches ([SUB-1]).
type Subscribe struct {
	ID     uint64 // of the request, and of the subscription in this session ([SUB-2])
	Filter string // not yet checked: see ValidateFilter
	// Position is the token after which to resume; nil: start with the retained messages and then live. Decode does not parse it and
	// lets it alias the packet.
	Position   []byte
	NoRetained bool // do not send the retained messages first
	Snapshot   bool // with Position: send the retained messages too ([SUB-15])

	Last    uint64 // begin with so many of the newest messages, instead of the retained ones ([SUB-9]); 0: with none
	Latest  bool   // when behind, only the newest message of each topic ([SUB-10])
	MaxRate uint64 // at most so many messages a second ([SUB-11]); 0: all of them
	Join    bool   // makes the user a member of the topic, which Filter is ([PRE-1])
}

// Conflated reports whether messages may be left out for newer ones of their topics; such a subscription never becomes live.
func (p *Subscribe) Conflated() bool { return p.Latest || p.MaxRate > 0 }

// WantsRetained reports whether retained messages are wanted, first and after gaps ([SUB-1], [SUB-9]).
func (p *Subscribe) WantsRetained() bool { return !p.NoRetained && p.Last == 0 }

// Type is TypeSubscribe.
func (*Subscribe) Type() Type { return TypeSubscribe }

// Append implements Packet.
func (p *Subscribe) Append(b []byte) []byte {
	opts := p.options()
	e := begin(b, TypeSubscribe, 2, opts)
	e.uint(p.ID)
	e.str(p.Filter)
	e.options(opts)
	p.appendOptions(&e)
	return e.end()
}

// options is how many differ from their default.
func (p *Subscribe) options() int {
	return count(p.Position != nil, p.NoRetained, p.Snapshot, p.Last > 0, p.Latest, p.MaxRate > 0, p.Join)
}

func (p *Subscribe) appendOptions(e *encoder) {
	if p.Position != nil {
		e.key("position")
		e.bin(p.Position)
	}
	if p.NoRetained {
		e.key("retained")
		e.bool(false)
	}
	e.flag("snapshot", p.Snapshot)
	e.number("last", p.Last)
	e.flag("latest", p.Latest)
	e.number("max_rate", p.MaxRate)
	e.flag("join", p.Join)
}

// Decode reads r into p.
func (p *Subscribe) Decode(r Raw) error {
	*p = Subscribe{}
	d := r.open(TypeSubscribe)
	p.ID = d.id("id")
	p.Filter = d.str("filter")
	p.decodeOptions(&d)
	return d.finish()
}

func (p *Subscribe) decodeOptions(d *decoder) {
	for o := d.options(); o.next(); {
		switch string(o.key) {
		case "position":
			p.Position = d.bin("position")
		case "retained":
			p.NoRetained = !d.bool("retained")
		case "snapshot":
			p.Snapshot = d.bool("snapshot")
		case "last":
			p.Last = d.upTo("last", MaxLast)
		case "latest":
			p.Latest = d.bool("latest")
		case "max_rate":
			p.MaxRate = d.upTo("max_rate", MaxRate)
		case "join":
			p.Join = d.bool("join")
		default:
			d.skip()
		}
	}
	if p.Last > 0 && p.Position != nil {
		d.fail(CodeBadArgs, "last", "last and position", "one of them")
	}
}

// Subscribed is the answer to Subscribe: everything after Position that matches will come, or a Gap ([SUB-4]).
type Subscribed struct {
	ID       uint64
	Position Position
}

// Type is TypeSubscribed.
func (*Subscribed) Type() Type { return TypeSubscribed }

// Append implements Packet.
func (p *Subscribed) Append(b []byte) []byte {
	e := begin(b, TypeSubscribed, 2, 0)
	e.uint(p.ID)
	e.position(p.Position)
	return e.end()
}

// Decode reads r into p.
func (p *Subscribed) Decode(r Raw) error {
	*p = Subscribed{}
	d := r.open(TypeSubscribed)
	p.ID = d.id("id")
	p.Position = d.position("position")
	d.noOptions()
	return d.finish()
}

// Unsubscribe ends a subscription ([SUB-8]).
type Unsubscribe struct {
	ID           uint64
	Subscription uint64 // the ID of its Subscribe
}

// Type is TypeUnsubscribe.
func (*Unsubscribe) Type() Type { return TypeUnsubscribe }

// Append implements Packet.
func (p *Unsubscribe) Append(b []byte) []byte {
	e := begin(b, TypeUnsubscribe, 2, 0)
	e.uint(p.ID)
	e.uint(p.Subscription)
	return e.end()
}

// Decode reads r into p.
func (p *Unsubscribe) Decode(r Raw) error {
	*p = Unsubscribe{}
	d := r.open(TypeUnsubscribe)
	p.ID = d.id("id")
	p.Subscription = d.id("subscription")
	d.noOptions()
	return d.finish()
}

// Unsubscribed is the answer to Unsubscribe: nothing more comes for that subscription alone ([SUB-8]).
type Unsubscribed struct {
	ID uint64
}

// Type is TypeUnsubscribed.
func (*Unsubscribed) Type() Type { return TypeUnsubscribed }

// Append implements Packet.
func (p *Unsubscribed) Append(b []byte) []byte {
	e := begin(b, TypeUnsubscribed, 1, 0)
	e.uint(p.ID)
	return e.end()
}

// Decode reads r into p.
func (p *Unsubscribed) Decode(r Raw) error {
	*p = Unsubscribed{}
	d := r.open(TypeUnsubscribed)
	p.ID = d.id("id")
	d.noOptions()
	return d.finish()
}
