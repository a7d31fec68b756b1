package carillon

import (
	"slices"
	"time"

	"github.com/carillon-mq/carillon/protocol"
)

// fill appends to b as many packets as go into one message: answers to pings, then requests, then publishes.
func (c *Client) fill(cn *connection, b []byte) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cn != cn {
		return b // it has ended: what waits is for the next one
	}
	b = append(b, cn.control...)
	cn.control = cn.control[:0]
	b, sent := c.fillRequestsLocked(cn, b)
	cn.requests = slices.Delete(cn.requests, 0, sent)
	if len(cn.requests) > 0 {
		return b
	}
	b, sent = c.fillPublishesLocked(cn, b)
	c.queue = slices.Delete(c.queue, 0, sent)
	return b
}

// fillRequestsLocked appends requests as long as they fit, subscriptions that follow one another in one packet. It reports how many are
// dealt with.
func (c *Client) fillRequestsLocked(cn *connection, b []byte) (_ []byte, sent int) {
	for sent < len(cn.requests) {
		if together := cn.together(cn.requests[sent:], cn.maxMessage-len(b)); len(together) > 1 {
			b = c.appendManyLocked(cn, b, together)
			sent += len(together)
			continue
		}
		var fits bool
		if b, fits = c.appendLocked(cn, b, cn.requests[sent]); !fits {
			break
		}
		sent++
	}
	return b, sent
}

// fillPublishesLocked appends publishes as long as they fit and reports how many are dealt with.
func (c *Client) fillPublishesLocked(cn *connection, b []byte) (_ []byte, sent int) {
	now := time.Now()
	for _, p := range c.queue {
		if !p.sent.repeatable(cn.with, now) {
			c.settleLocked(p, Ack{}, p.wrap(ErrUnknownOutcome))
			sent++
			continue
		}
		var fits bool
		if b, fits = c.appendLocked(cn, b, p); !fits {
			break
		}
		if cn.inflight[c.nextID] == request(p) { // it was not too large
			p.sent.note(cn.with, c.pos, now)
		}
		sent++
	}
	return b, sent
}

// appendLocked appends the packet of r, unless it has to wait. What is too large for any message is refused.
func (c *Client) appendLocked(cn *connection, b []byte, r request) (_ []byte, done bool) {
	if len(cn.inflight) >= cn.maxInflight {
		return b, false
	}
	id := c.nextID + 1
	next := r.packet(id).Append(b)
	if len(next) > cn.maxMessage && len(b) > 0 {
		return b, false
	}
	if len(next) > cn.maxMessage && c.tooLargeLocked(cn, r, len(next)) {
		return b, true
	}
	c.sentLocked(cn, r)
	return next, true
}

// sentLocked gives r the next id and takes it for sent.
func (c *Client) sentLocked(cn *connection, r request) {
	c.nextID++
	cn.inflight[c.nextID] = r
	if s, ok := r.(*Subscription); ok {
		s.id = c.nextID
		cn.byID[s.id] = s
	}
}

// tooLargeLocked refuses a publish, or a token, of n bytes that would make the broker close the connection.
func (c *Client) tooLargeLocked(cn *connection, r request, n int) bool {
	err := protocol.Errorf(protocol.CodeTooLarge, "found a packet of %d bytes, wanted at most %d", n, cn.maxMessage)
	switch r := r.(type) {
	case *Publishing:
		c.settleLocked(r, Ack{}, r.wrap(err))
	case *refreshing:
		r.answer <- err
	default:
		return false
	}
	return true
}
