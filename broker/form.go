package broker

import (
	"sort"
	"unsafe"

	"github.com/carillon-mq/carillon/protocol"
)

// form is a message in another encoding than msgpack.
type form struct {
	body []byte
	cost int64 // charged to the ring
}

const formOverhead = int64(unsafe.Sizeof(form{}))

// formShare is the part of the ring that forms may take: the oldest are given up first, and made again when they are needed.
const formShare = 4

// Form is p, a Message packet, in another encoding: encode makes it of the message and the position right behind it, the zero
// Position if it has none. It is made once, however many sessions get it, and shared by all of them, for as long as the log holds the
// message; so every caller has to give the same encode, which must not call the broker. Nobody may change the result.
func (b *Broker) Form(p *Packet, encode func(*protocol.Message, protocol.Position) []byte) []byte {
	if f := p.form.Load(); f != nil {
		return f.body
	}
	if p.seq == 0 {
		return b.encodeForm(p, encode)
	}
	mu := &b.forming[p.seq%uint64(len(b.forming))] // the shards come to a message at the same time
	mu.Lock()
	defer mu.Unlock()
	if f := p.form.Load(); f != nil {
		return f.body
	}
	body := b.encodeForm(p, encode)
	b.ring.keepForm(p, body)
	return body
}

func (b *Broker) encodeForm(p *Packet, encode func(*protocol.Message, protocol.Position) []byte) []byte {
	var m protocol.Message
	raw, _, err := protocol.Next(p.data)
	if err == nil {
		err = m.Decode(raw)
	}
	if err != nil {
		return nil // not from here: the broker has encoded it
	}
	var at protocol.Position
	if m.Seq > 0 {
		at = b.positionAt(m.Seq, p.mark)
	}
	return encode(&m, at)
}

// keepForm keeps body as the form of p if p is still in the log.
func (r *ring) keepForm(p *Packet, body []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p.seq < r.chunks[0].first {
		return
	}
	c := r.chunks[sort.Search(len(r.chunks), func(i int) bool { return r.chunks[i].first > p.seq })-1]
	if c.entries[p.seq-c.first].body.Load() != p {
		return // released
	}
	f := &form{body: body, cost: int64(cap(body)) + formOverhead}
	p.form.Store(f)
	r.chargeFormLocked(c, f.cost)
	for i := 0; r.formed > r.limit/formShare; i++ {
		r.dropFormsLocked(r.chunks[i])
	}
}

func (r *ring) chargeFormLocked(c *chunk, cost int64) {
	c.formed += cost
	c.held += cost
	r.formed += cost
	r.bytes += cost
}

// dropFormsLocked gives up the forms of a chunk's messages.
func (r *ring) dropFormsLocked(c *chunk) {
	for i := 0; c.formed > 0; i++ {
		r.dropFormLocked(c, c.entries[i].body.Load())
	}
}

func (r *ring) dropFormLocked(c *chunk, p *Packet) {
	if p == nil {
		return
	}
	if f := p.form.Swap(nil); f != nil {
		r.chargeFormLocked(c, -f.cost)
	}
}
