package ring

import (
	"time"
	"unsafe"
)

// Extra is what few messages have. It is apart from the entry, so that those of the others are small, and does not change once its
// message is in the log.
type Extra struct {
	Receipt Receipt // nil: nobody asked how many received it
	Exclude string  // the origin whose sessions are not sent it ([PUB-14]); "": none
	Expires int64   // from when on nobody is sent it ([PUB-13]), by Ring.Now; 0: it does not end
}

const (
	extraOverhead = int64(unsafe.Sizeof(Extra{}))
	receiptRoom   = 256 // about what a Receipt takes, its timer included
)

// cost is what the log is charged for x.
func (x *Extra) cost() int64 {
	if x == nil {
		return 0
	}
	cost := extraOverhead + int64(len(x.Exclude))
	if x.Expires != 0 {
		cost += endOverhead
	}
	if x.Receipt != nil {
		cost += receiptRoom
	}
	return cost
}

// Excludes reports whether the sessions of origin are not sent e; "" is nobody's.
func (e *Entry) Excludes(origin string) bool {
	return e.Extra != nil && origin != "" && e.Extra.Exclude == origin
}

// Receipt is who is told how e comes to those who are there; nil: nobody.
func (e *Entry) Receipt() Receipt {
	if e.Extra == nil {
		return nil
	}
	return e.Extra.Receipt
}

// Expires is when e expires, by Ring.Now; 0: never.
func (e *Entry) Expires() int64 {
	if e.Extra == nil {
		return 0
	}
	return e.Extra.Expires
}

// Now is the time by which messages expire: Unix milliseconds by a clock that goes on evenly, whatever is done to the machine's.
func (r *Ring) Now() int64 { return r.At(time.Now()) }

// At is t, a time that time.Now has told, by the clock of Now.
func (r *Ring) At(t time.Time) int64 { return r.began.UnixMilli() + t.Sub(r.began).Milliseconds() }

// Expired reports whether e has expired: nobody is sent it any more.
func (r *Ring) Expired(e *Entry) bool {
	expires := e.Expires()
	return expires != 0 && expires <= r.Now()
}

// PacketExpired reports whether the message p has expired.
func (r *Ring) PacketExpired(p *Packet) bool {
	expires := p.Expires()
	return expires != 0 && expires <= r.Now()
}
