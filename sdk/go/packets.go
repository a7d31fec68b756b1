package carillon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/carillon-mq/carillon/protocol"
)

// handle takes the packets of one message of the broker.
func (c *Client) handle(ctx context.Context, cn *connection, b []byte) error {
	for len(b) > 0 {
		raw, rest, err := protocol.Next(b)
		if err != nil {
			return fmt.Errorf("read: %w", plainError(err))
		}
		b = rest
		if raw.Type == protocol.TypeMessage {
			err = c.message(ctx, cn, raw)
		} else {
			c.mu.Lock()
			err = c.dispatchLocked(ctx, cn, raw)
			c.mu.Unlock()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// message takes a Message. What can be long, a payload that is compressed, is done before the lock is taken.
func (c *Client) message(ctx context.Context, cn *connection, raw protocol.Raw) error {
	var m protocol.Message
	err := m.Decode(raw)
	if err == nil && m.Encoding != "" {
		err = cn.inflate(&m)
	}
	if err != nil {
		return fmt.Errorf("read: %w", plainError(err))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.messageLocked(ctx, cn, &m)
	return nil
}

// dispatchLocked takes one packet that is no Message. Types that a later version may add are ignored.
func (c *Client) dispatchLocked(ctx context.Context, cn *connection, raw protocol.Raw) error {
	if !raw.Type.FromServer() {
		return nil
	}
	p, err := protocol.DecodePacket(raw)
	if err != nil {
		return fmt.Errorf("read: %w", plainError(err))
	}
	switch p := p.(type) {
	case *protocol.Subscribed:
		c.subscribedLocked(cn, p)
	case *protocol.Unsubscribed:
		c.answeredLocked(cn, p.ID)
	case *protocol.Published:
		c.publishedLocked(cn, p)
	case *protocol.Refreshed:
		c.refreshedLocked(cn, p)
	case *protocol.Replay:
		cn.replay = replay{left: p.Count, kind: p.Kind, id: p.Subscription}
	case *protocol.RetainedEnd:
		if s := cn.byID[p.Subscription]; s.serving() {
			c.forceLocked(s, s.retainedEnd(p, c.pos))
		}
	case *protocol.Resumed:
		c.resumedLocked(ctx, cn, p)
	case *protocol.Histories:
		c.historiesLocked(cn, p)
	case *protocol.Presences:
		c.presencesLocked(cn, p)
	case *protocol.Gap:
		c.gapLocked(ctx, cn, p)
	case *protocol.Ping:
		if p.Position != nil {
			c.pos = *p.Position
			c.joinLocked()
		}
		cn.control = (&protocol.Pong{}).Append(cn.control)
		signal(cn.wake)
	case *protocol.Pong:
		c.pongLocked(cn)
	case *protocol.ErrorPacket:
		c.refusedLocked(cn, p)
	case *protocol.Disconnect:
		return disconnected(p)
	}
	return nil
}

// answeredLocked takes the request of that id out of flight, which may let another one go.
func (c *Client) answeredLocked(cn *connection, id uint64) request {
	r := cn.inflight[id]
	delete(cn.inflight, id)
	cn.trial.answered(r)
	if len(cn.requests)+len(c.queue) > 0 {
		signal(cn.wake)
	}
	return r
}

func (c *Client) publishedLocked(cn *connection, p *protocol.Published) {
	pub, ok := c.answeredLocked(cn, p.ID).(*Publishing)
	if !ok {
		return
	}
	c.settleLocked(pub, Ack{
		Seq: p.Seq, Offset: p.Offset, Durability: p.Durability, Receivers: p.Receivers, Duplicate: p.Duplicate,
		position: placeOf(p, pub.sent.base),
	}, nil)
}

// placeOf is a position at or before a message that has been acknowledged. base is the session's when it was sent. The message of a
// repetition may be from long before that: its position has its own places and nothing else.
func placeOf(p *protocol.Published, base protocol.Position) protocol.Position {
	at := base
	if p.Duplicate {
		at = protocol.Position{}
	}
	if p.Seq > 0 {
		at.Epoch, at.Seq = base.Epoch, p.Seq
	}
	if p.Offset > 0 {
		at.Term, at.Offset = base.Term, p.Offset
	}
	return at
}

func (c *Client) subscribedLocked(cn *connection, p *protocol.Subscribed) {
	r := c.answeredLocked(cn, p.ID)
	if _, ok := r.(openingReplies); ok {
		c.repliesOpenedLocked(cn, p.ID)
	}
	s, ok := r.(*Subscription)
	if !ok || s.id != p.ID {
		return // closed meanwhile
	}
	if s.subscribed(p, c.pos) {
		c.liveLocked(s)
	}
	s.confirm()
}

func (c *Client) resumedLocked(ctx context.Context, cn *connection, p *protocol.Resumed) {
	s := cn.byID[p.Subscription]
	if !s.serving() {
		return
	}
	e, told := s.resumed(p), s.caughtUp
	s.caughtUp = true
	if !s.conflated() {
		c.liveLocked(s)
	}
	if !told {
		c.acceptLocked(ctx, s, e, p.Position)
	}
}

// gapLocked tells a subscription, or all live ones, what is missing. One that has no room for it leaves; it is told when it resumes.
func (c *Client) gapLocked(ctx context.Context, cn *connection, p *protocol.Gap) {
	if p.Subscription != 0 {
		if s := cn.byID[p.Subscription]; s.serving() {
			c.tellGapLocked(ctx, s, p, c.pos)
		}
		return
	}
	before := c.pos
	c.pos = p.To
	c.joinLocked()
	for _, s := range slices.Clone(c.subs) {
		if s.phase == phaseLive {
			c.tellGapLocked(ctx, s, p, before)
		}
	}
}

func (c *Client) tellGapLocked(ctx context.Context, s *Subscription, p *protocol.Gap, session protocol.Position) {
	if !c.acceptLocked(ctx, s, s.gap(p.Reason, p.From, p.To, p.Count), s.position(session)) {
		return
	}
	if s.gapped(p); s.phase == phaseLive {
		c.liveLocked(s)
	}
}

// messageLocked hands a message to the subscriptions it is for: the one of the Replay it is in, or all live ones that match.
func (c *Client) messageLocked(ctx context.Context, cn *connection, m *protocol.Message) {
	if cn.replay.left > 0 {
		cn.replay.left--
		if cn.replay.kind == protocol.ReplayHistory {
			cn.historyLocked(m)
			return
		}
		if s := cn.byID[cn.replay.id]; s.serving() {
			c.replayedLocked(ctx, s, m, cn.replay.kind != protocol.ReplayLog)
		}
		return
	}
	if cn.replies.id != 0 && m.Topic == cn.replies.topic {
		c.replyLocked(m)
	}
	cn.targets = c.live.match(m.Topic, cn.targets[:0])
	cn.before = cn.before[:0]
	for _, s := range cn.targets {
		cn.before = append(cn.before, s.position(c.pos))
	}
	if m.Seq > 0 {
		c.pos.Seq = m.Seq
	}
	if m.Offset > 0 {
		c.pos.Offset = m.Offset
	}
	c.joinLocked()
	for i, s := range cn.targets {
		if s.phase != phaseLive || s.had(m, c.pos) {
			continue
		}
		s.moveInStore(m, c.pos)
		if c.acceptLocked(ctx, s, deliverable(m, false, s.resumeAt(s.position(c.pos))), cn.before[i]) {
			s.markDelivered(m, c.pos)
		}
	}
	clear(cn.targets)
	for _, s := range c.joining {
		if s.phase == phaseLive {
			s.moveInStore(m, c.pos)
		}
	}
}

// replayedLocked hands a message of a Replay to its subscription. Those of a snapshot are held whatever room there is: from the
// middle of a snapshot nothing can be resumed.
func (c *Client) replayedLocked(ctx context.Context, s *Subscription, m *protocol.Message, retained bool) {
	if retained {
		s.awaiting = true
		c.forceLocked(s, deliverable(m, true, protocol.Position{}))
		return
	}
	if s.repeated(m, c.pos) || !s.back && s.had(m, c.pos) {
		return
	}
	after := s.position(c.pos)
	if !s.shared {
		after = s.after(m, c.pos)
	}
	if c.acceptLocked(ctx, s, deliverable(m, false, s.resumeAt(after)), s.position(c.pos)) {
		if !s.shared {
			s.own = after
		}
		s.back = false
		s.markDelivered(m, c.pos)
	}
}

// acceptLocked puts e into the inbox of s and reports whether it is there. It lets go of the lock while it waits for room. A
// subscription that has none leaves the stream, served up to the position at, and gets e when it resumes.
func (c *Client) acceptLocked(ctx context.Context, s *Subscription, e Event, at protocol.Position) bool {
	id := s.id
	for {
		switch s.in.offer(e, false) {
		case offerTaken:
			return true
		case offerParked:
			c.leaveAtLocked(s, at)
			return false
		case offerWait:
			c.mu.Unlock()
			s.in.wait(ctx)
			c.mu.Lock()
			if s.id != id || ctx.Err() != nil {
				return false // closed meanwhile
			}
		}
	}
}

// forceLocked puts e into the inbox of s whatever room there is.
func (c *Client) forceLocked(s *Subscription, e Event) { s.in.offer(e, true) }

// refusedLocked takes an Error: the answer to a request, or the end of a subscription.
func (c *Client) refusedLocked(cn *connection, p *protocol.ErrorPacket) {
	if c.notTogetherLocked(cn, p) {
		return
	}
	switch r := c.answeredLocked(cn, p.ID).(type) {
	case *Publishing:
		err := error(p.Err())
		if r.sent.again { // that it is refused now says nothing of the first time
			err = unknown(err)
		}
		c.settleLocked(r, Ack{}, r.wrap(err))
	case query:
		c.endQueryLocked(r, p.Err())
	case *Subscription:
		if r.id == p.ID {
			c.refuseLocked(cn, r, p.Err())
		}
	case *refreshing:
		r.answer <- p.Err()
	case unsubscribing:
		if p.Code.Retry() {
			c.laterLocked(cn, r, p.Err())
		}
	case openingReplies:
		c.repliesRefusedLocked(cn, r, p.Err())
	case nil:
		if p.ID != 0 && p.ID == cn.replies.id {
			c.repliesLostLocked(cn, p.Err())
			return
		}
		if s := cn.byID[p.ID]; p.ID != 0 && s.serving() {
			c.refuseLocked(cn, s, p.Err())
			return
		}
		c.opt.logger.Warn("the broker refused something", "code", p.Code.String(), "err", p.Detail)
	}
}

// laterLocked asks for r again when e, which has refused it, allows it.
func (c *Client) laterLocked(cn *connection, r request, e *Error) {
	cn.later = append(cn.later, r)
	cn.laterAt = time.Now().Add(max(e.RetryAfter, time.Second))
	c.askLocked(cn)
}

// refuseLocked ends a subscription with e, or asks for it again later if that may help. The broker has it no more, so there is nothing to
// unsubscribe ([RGT-4]).
func (c *Client) refuseLocked(cn *connection, s *Subscription, e *Error) {
	delete(cn.byID, s.id)
	s.id = 0
	c.leaveLocked(s)
	if !e.Code.Retry() {
		s.phase = phaseEnded
		c.subs = slices.DeleteFunc(c.subs, func(o *Subscription) bool { return o == s })
		s.end(fmt.Errorf("subscribe %q: %w", s.filter, e), false)
		return
	}
	delays := backoff{base: c.opt.base, cap: c.opt.cap, rand: c.opt.rand, attempt: s.refusals}
	s.refusals++
	s.notBefore = time.Now().Add(e.RetryAfter + delays.next())
	c.askLocked(cn)
}

// plainError is err without its code: what the broker got wrong is not a refusal by it.
func plainError(err error) error { return errors.New(err.Error()) }
