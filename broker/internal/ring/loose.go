package ring

// loose is a form of a message that is not in the log, or not any more: the value of a topic that was retained long ago.
type loose struct {
	p    *Packet
	kind FormKind
	cost int64 // the packet included: nobody else may have it any more
}

// looseShare is the part of the ring that loose forms may take: those that were made first are given up first.
const looseShare = 8

// keepLooseLocked keeps f as a form of p for as long as there is room.
func (r *Ring) keepLooseLocked(p *Packet, f *form) {
	l := loose{p, f.kind, f.cost + int64(cap(p.data))}
	if l.cost > r.limit/looseShare {
		return
	}
	p.forms.Store(f)
	r.loose = append(r.loose, l)
	r.chargeLooseLocked(l.cost)
	for r.looseBytes > r.limit/looseShare {
		old := r.loose[0]
		r.loose[0] = loose{}
		r.loose = r.loose[1:]
		old.p.dropForm(old.kind)
		r.chargeLooseLocked(-old.cost)
	}
	r.fitFormsLocked()
}

func (r *Ring) chargeLooseLocked(cost int64) {
	r.looseBytes += cost
	r.formed += cost
	r.bytes += cost
}

// dropForm takes the form of a kind from those of p.
func (p *Packet) dropForm(kind FormKind) {
	compressed := p.form(FormCompressed)
	left := p.without(kind == FormCompressed || compressed != nil && compressed.cost == 0)
	for f := p.forms.Load(); f != nil; f = f.next {
		if f.kind != kind && f.kind != formEnd && f.cost > 0 {
			left = &form{body: f.body, cost: f.cost, kind: f.kind, next: left}
		}
	}
	p.forms.Store(left)
}
