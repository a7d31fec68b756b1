package ws

import "time"

// farewell looks for the close frame of a client to whom one was sent. What comes before that is passed over.
type farewell struct {
	head []byte // of a frame whose header is not all there
	skip uint64 // bytes of a frame's payload that are still to come
	lost bool   // what comes are no frames
}

// in reports whether b, which follows what it was given before, holds the close frame.
func (f *farewell) in(b []byte) bool {
	if len(f.head) > 0 {
		b = append(f.head, b...)
		f.head = nil
	}
	for !f.lost && len(b) > 0 {
		if f.skip > 0 {
			n := min(f.skip, uint64(len(b)))
			b, f.skip = b[n:], f.skip-n
			continue
		}
		h, ok, err := readHeader(b)
		switch {
		case err != nil:
			f.lost = true
		case !ok:
			f.head = append(f.head, b...)
			return false
		case h.op == opClose:
			return true
		}
		b, f.skip = b[h.bytes:], h.size
	}
	return false
}

// awaitClose reads on, in bounded time, until the client has answered the close frame: closing a socket with unread bytes would
// throw away what it has not yet read of ours.
func (c *conn) awaitClose() {
	c.nc.SetReadDeadline(time.Now().Add(c.h.opt.CloseTime))
	var f farewell
	for b := c.in.unread(); !f.in(b); {
		var err error
		if b, err = c.out.Read(); err != nil {
			return
		}
	}
}
