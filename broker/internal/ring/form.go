package ring

import (
	"encoding/binary"
	"sort"
	"unsafe"
)

// FormKind says into which encoding a message is made. A kind has one encoding.
type FormKind uint8

// The kinds.
const (
	FormEvent      FormKind = iota // an event of a stream, for the doors of HTTP
	FormJSON                       // a packet in JSON
	FormCompressed                 // a packet with its payload compressed; made once only
	formEnd                        // no encoding: when the message expires. It stays as long as the packet, and is the last of its list
)

// form is a message in another encoding than that of its publish. A packet has a list of them, one of a kind; a form never changes.
type form struct {
	body []byte
	cost int64 // charged to the ring
	next *form
	kind FormKind
}

const (
	formOverhead = int64(unsafe.Sizeof(form{}))
	endOverhead  = formOverhead + 8 // of a formEnd, which the entry is charged for
)

// Expires is when the message p expires, by Ring.Now; 0: never.
func (p *Packet) Expires() int64 {
	if f := p.form(formEnd); f != nil {
		return int64(binary.LittleEndian.Uint64(f.body))
	}
	return 0
}

// setExtra gives a new packet what it has to know of x.
func (p *Packet) setExtra(x *Extra) {
	if x != nil && x.Expires != 0 {
		p.forms.Store(&form{body: binary.LittleEndian.AppendUint64(nil, uint64(x.Expires)), kind: formEnd})
	}
}

// givenUp is the form of a message that had a compressed one: to make it again for each who reads what lies far back would be a compression for
// each session.
var givenUp = &form{kind: FormCompressed}

// without is p's list without its forms, but for that a compressed one was given up.
func (p *Packet) without(compressed bool) *form {
	end := p.form(formEnd)
	switch {
	case !compressed:
		return end
	case end == nil:
		return givenUp
	}
	return &form{kind: FormCompressed, next: end}
}

// formShare is the part of the ring that forms may take: the oldest are given up first, and made again when they are needed.
const formShare = 4

// form is p's of the given kind, nil if it has none.
func (p *Packet) form(kind FormKind) *form {
	for f := p.forms.Load(); f != nil; f = f.next {
		if f.kind == kind {
			return f
		}
	}
	return nil
}

// formCost is what the ring is charged for p's forms.
func (p *Packet) formCost() (cost int64) {
	for f := p.forms.Load(); f != nil; f = f.next {
		cost += f.cost
	}
	return cost
}

// Form is p in another encoding, which encode makes. It is made once, for as long as p is in the log, and a value that is retained beyond
// that for some time; what else comes from the store is made each time. What encode returns is kept, nil too, if it says so.
func (r *Ring) Form(p *Packet, kind FormKind, encode func(*Packet) (body []byte, keep bool)) []byte {
	if f := p.form(kind); f != nil {
		return f.body
	}
	mu := &r.forming[p.seq%uint64(len(r.forming))] // the shards come to a message at the same time
	if p.seq > 0 {
		mu.Lock()
		defer mu.Unlock()
		if f := p.form(kind); f != nil {
			return f.body
		}
	}
	body, keep := encode(p)
	if keep && p.held() {
		r.keepForm(p, kind, body)
	}
	return body
}

// keepForm keeps body as a form of p.
func (r *Ring) keepForm(p *Packet, kind FormKind, body []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p.form(kind) != nil {
		return
	}
	f := &form{body: body, cost: int64(cap(body)) + formOverhead, kind: kind, next: p.forms.Load()}
	c := r.chunkOfLocked(p)
	if c == nil {
		r.keepLooseLocked(p, f)
		return
	}
	p.forms.Store(f)
	r.chargeFormLocked(c, f.cost)
	r.fitFormsLocked()
}

// fitFormsLocked gives up the oldest forms until they take their share. Loose ones alone take less.
func (r *Ring) fitFormsLocked() {
	for i := 0; r.formed > r.limit/formShare; i++ {
		r.dropFormsLocked(r.chunks[i], true)
	}
}

// chunkOfLocked is the chunk that has p, nil when it is not in the log, or not any more.
func (r *Ring) chunkOfLocked(p *Packet) *chunk {
	if p.seq < r.chunks[0].first {
		return nil
	}
	c := r.chunks[sort.Search(len(r.chunks), func(i int) bool { return r.chunks[i].first > p.seq })-1]
	if c.entries[p.seq-c.first].body.Load() != p {
		return nil // released
	}
	return c
}

func (r *Ring) chargeFormLocked(c *chunk, cost int64) {
	c.formed += cost
	c.held += cost
	r.formed += cost
	r.bytes += cost
}

// dropFormsLocked gives up the forms of a chunk's messages, which stay in the log or go, too.
func (r *Ring) dropFormsLocked(c *chunk, stay bool) {
	for i := 0; c.formed > 0; i++ {
		r.dropFormLocked(c, c.entries[i].body.Load(), stay)
	}
}

func (r *Ring) dropFormLocked(c *chunk, p *Packet, stays bool) {
	if p == nil {
		return
	}
	if cost := p.formCost(); cost > 0 {
		p.forms.Store(p.without(stays && p.form(FormCompressed) != nil))
		r.chargeFormLocked(c, -cost)
	}
}
