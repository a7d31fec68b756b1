package protocol

// ReplayKind says where the messages of a Replay come from, and with it whether they move a position ([POS-8]).
type ReplayKind uint8

// The kinds of Replay.
const (
	ReplayLog      ReplayKind = 0 // the log: they move the subscription's position
	ReplayRetained ReplayKind = 1 // the retained snapshot: they move nothing
	ReplayHistory  ReplayKind = 2 // the answer to a History, whose id is in Subscription: they move nothing ([HIS-2])
)

// Replay says that the next Count messages are for one subscription, or one History, only ([SUB-6]).
type Replay struct {
	Subscription uint64
	Count        uint64
	Kind         ReplayKind
}

// Type is TypeReplay.
func (*Replay) Type() Type { return TypeReplay }

// Append implements Packet.
func (p *Replay) Append(b []byte) []byte {
	e := begin(b, TypeReplay, 3, 0)
	e.uint(p.Subscription)
	e.uint(p.Count)
	e.uint(uint64(p.Kind))
	return e.end()
}

// Decode reads r into p.
func (p *Replay) Decode(r Raw) error {
	*p = Replay{}
	d := r.open(TypeReplay)
	p.Subscription = d.id("subscription")
	p.Count = d.uint("count")
	p.Kind = ReplayKind(d.small("kind"))
	d.noOptions()
	return d.finish()
}

// RetainedEnd closes the retained snapshot of a subscription ([SUB-7]).
type RetainedEnd struct {
	Subscription uint64
	Reset        bool // a retained topic that the snapshot did not name has been cleared
}

// Type is TypeRetainedEnd.
func (*RetainedEnd) Type() Type { return TypeRetainedEnd }

// Append implements Packet.
func (p *RetainedEnd) Append(b []byte) []byte {
	opts := count(p.Reset)
	e := begin(b, TypeRetainedEnd, 1, opts)
	e.uint(p.Subscription)
	e.options(opts)
	e.flag("reset", p.Reset)
	return e.end()
}

// Decode reads r into p.
func (p *RetainedEnd) Decode(r Raw) error {
	*p = RetainedEnd{}
	d := r.open(TypeRetainedEnd)
	p.Subscription = d.id("subscription")
	for o := d.options(); o.next(); {
		switch string(o.key) {
		case "reset":
			p.Reset = d.bool("reset")
		default:
			d.skip()
		}
	}
	return d.finish()
}

// Resumed says that a subscription has caught up and where it joined the log ([POS-9]).
type Resumed struct {
	Subscription uint64
	Position     Position
}

// Type is TypeResumed.
func (*Resumed) Type() Type { return TypeResumed }

// Append implements Packet.
func (p *Resumed) Append(b []byte) []byte {
	e := begin(b, TypeResumed, 2, 0)
	e.uint(p.Subscription)
	e.position(p.Position)
	return e.end()
}

// Decode reads r into p.
func (p *Resumed) Decode(r Raw) error {
	*p = Resumed{}
	d := r.open(TypeResumed)
	p.Subscription = d.id("subscription")
	p.Position = d.position("position")
	d.noOptions()
	return d.finish()
}

// GapReason says why messages are missing ([GAP-2]).
type GapReason string

// The reasons of a Gap. A client treats one that it does not know like any other.
const (
	GapEpoch     GapReason = "epoch"      // the position is of another broker run
	GapTrimmed   GapReason = "trimmed"    // no longer held: the log, or the history, has moved on
	GapAhead     GapReason = "ahead"      // the position is of a store that had more than this one
	GapForbidden GapReason = "forbidden"  // further back than the session may read
	GapNotStored GapReason = "not_stored" // topics whose messages are not stored
	GapLive      GapReason = "live"       // messages without a place that a slow session missed
)

// Gap says exactly what is missing ([GAP-1]).
type Gap struct {
	Subscription uint64 // 0: every live subscription of the session
	Reason       GapReason
	From         *Position // nil: not known
	To           Position
	Count        int64 // missing messages; -1: not known
}

// Type is TypeGap.
func (*Gap) Type() Type { return TypeGap }

// Append implements Packet.
func (p *Gap) Append(b []byte) []byte {
	opts := count(p.Count >= 0)
	e := begin(b, TypeGap, 4, opts)
	e.uint(p.Subscription)
	e.str(string(p.Reason))
	e.positionOrNil(p.From)
	e.position(p.To)
	e.options(opts)
	if p.Count >= 0 {
		e.key("count")
		e.int(p.Count)
	}
	return e.end()
}

// Decode reads r into p.
func (p *Gap) Decode(r Raw) error {
	*p = Gap{Count: -1}
	d := r.open(TypeGap)
	p.Subscription = d.uint("subscription")
	p.Reason = GapReason(d.str("reason"))
	p.From = d.positionOrNil("from")
	p.To = d.position("to")
	for o := d.options(); o.next(); {
		switch string(o.key) {
		case "count":
			p.Count = int64(d.uint("count"))
		default:
			d.skip()
		}
	}
	return d.finish()
}
