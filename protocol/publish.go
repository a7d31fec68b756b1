package protocol

// Publish sends a message to a topic ([PUB-1]).
type Publish struct {
	ID          uint64 // 0: nil, no acknowledgement is wanted
	Topic       string // not yet checked: see ValidateTopic
	Payload     []byte // opaque; aliases the packet after Decode
	Retain      bool   // becomes the topic's retained message; with an empty payload it clears it
	ContentType string // "" is msgpack
	Headers     map[string]string
	Receivers   bool   // ask how many subscriptions it was handed to
	MessageID   string // makes a repetition safe; "" is none
	TTL         uint64 // milliseconds from its acceptance after which nobody is sent it any more ([PUB-13]); 0: it does not end
	Exclude     string // the origin whose sessions are not sent it ([PUB-14]); "" is none
}

// Type is TypePublish.
func (*Publish) Type() Type { return TypePublish }

// Append implements Packet.
func (p *Publish) Append(b []byte) []byte {
	opts := count(p.Retain, p.ContentType != "", len(p.Headers) > 0, p.Receivers, p.MessageID != "", p.TTL > 0, p.Exclude != "")
	e := begin(b, TypePublish, 3, opts)
	e.uintOrNil(p.ID)
	e.str(p.Topic)
	e.bin(p.Payload)
	e.options(opts)
	e.flag("retain", p.Retain)
	e.text("type", p.ContentType)
	e.headers("headers", p.Headers)
	e.flag("receivers", p.Receivers)
	e.text("mid", p.MessageID)
	e.number("ttl", p.TTL)
	e.text("exclude", p.Exclude)
	return e.end()
}

// Decode reads r into p. The topic is copied, unless it is the one that p had, and the payload aliases the packet; nothing else is
// allocated unless there are options that need it.
func (p *Publish) Decode(r Raw) error {
	before := p.Topic
	*p = Publish{}
	d := r.open(TypePublish)
	if !d.null() {
		p.ID = d.id("id")
	}
	p.Topic = d.again("topic", before)
	p.Payload = d.payload("payload")
	if d.left > 0 && d.err == nil {
		p.decodeOptions(&d)
	}
	return d.finish()
}

func (p *Publish) decodeOptions(d *decoder) {
	for o := d.options(); o.next(); {
		switch string(o.key) {
		case "retain":
			p.Retain = d.bool("retain")
		case "type":
			p.ContentType = d.strMax("type", MaxContentType, CodeBadArgs)
		case "headers":
			p.Headers = d.headers("headers", true)
		case "receivers":
			p.Receivers = d.bool("receivers")
		case "mid":
			p.MessageID = d.strMax("mid", MaxMessageID, CodeBadArgs)
		case "ttl":
			p.TTL = d.upTo("ttl", MaxTTL)
		case "exclude":
			p.Exclude = d.strMax("exclude", MaxOrigin, CodeBadArgs)
		default:
			d.skip()
		}
	}
}

// Durability says what has become of a message when its publish is acknowledged ([PUB-3]).
type Durability uint8

// The durabilities. A client takes one that it does not know for the highest that it knows.
const (
	Appended  Durability = 0 // in the server's memory
	Committed Durability = 1 // and committed by the store
)

// String is the durability's name in JSON.
func (d Durability) String() string {
	if d == Appended {
		return "appended"
	}
	return "committed"
}

// Published is the acknowledgement of a Publish ([PUB-3]).
type Published struct {
	ID         uint64
	Seq        uint64 // 0: the message has no place in the log
	Offset     uint64 // 0: not committed
	Durability Durability
	Receivers  int64 // subscriptions it was handed to; -1: not asked for, or not known in time
	Duplicate  bool  // the message had been accepted before; these are its places then
}

// Type is TypePublished.
func (*Published) Type() Type { return TypePublished }

// Append implements Packet.
func (p *Published) Append(b []byte) []byte {
	opts := count(p.Receivers >= 0, p.Duplicate)
	e := begin(b, TypePublished, 4, opts)
	e.uint(p.ID)
	e.uint(p.Seq)
	e.uint(p.Offset)
	e.uint(uint64(p.Durability))
	e.options(opts)
	if p.Receivers >= 0 {
		e.key("receivers")
		e.int(p.Receivers)
	}
	e.flag("duplicate", p.Duplicate)
	return e.end()
}

// Decode reads r into p.
func (p *Published) Decode(r Raw) error {
	*p = Published{Receivers: -1}
	d := r.open(TypePublished)
	p.ID = d.id("id")
	p.Seq = d.uint("seq")
	p.Offset = d.uint("offset")
	p.Durability = Durability(d.small("durability"))
	for o := d.options(); o.next(); {
		switch string(o.key) {
		case "receivers":
			p.Receivers = int64(d.uint("receivers"))
		case "duplicate":
			p.Duplicate = d.bool("duplicate")
		default:
			d.skip()
		}
	}
	return d.finish()
}
