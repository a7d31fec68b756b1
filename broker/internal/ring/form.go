package ring

import (
	"sort"
	"unsafe"
)

// form is a message in another encoding than msgpack.
type form struct {
	body []byte
	cost int64 // charged to the ring
}

const formOverhead = int64(unsafe.Sizeof(form{}))

// formShare is the part of the ring that forms may take: the oldest are given up first, and made again when they are needed.
const formShare = 4

// Form is p in another encoding, which encode makes. It is made once, for as long as p is in the log.
func (r *Ring) Form(p *Packet, encode func(*Packet) []byte) []byte {
	if f := p.form.Load(); f != nil {
		return f.body
	}
	if p.seq == 0 {
		return encode(p)
	}
	mu := &r.forming[p.seq%uint64(len(r.forming))] // the shards come to a message at the same time
	mu.Lock()
	defer mu.Unlock()
	if f := p.form.Load(); f != nil {
		return f.body
	}
	body := encode(p)
	r.keepForm(p, body)
	return body
}

// keepForm keeps body as the form of p if p is still in the log.
func (r *Ring) keepForm(p *Packet, body []byte) {
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

func (r *Ring) chargeFormLocked(c *chunk, cost int64) {
	c.formed += cost
	c.held += cost
	r.formed += cost
	r.bytes += cost
}

// dropFormsLocked gives up the forms of a chunk's messages.
func (r *Ring) dropFormsLocked(c *chunk) {
	for i := 0; c.formed > 0; i++ {
		r.dropFormLocked(c, c.entries[i].body.Load())
	}
}

func (r *Ring) dropFormLocked(c *chunk, p *Packet) {
	if p == nil {
		return
	}
	if f := p.form.Swap(nil); f != nil {
		r.chargeFormLocked(c, -f.cost)
	}
}
