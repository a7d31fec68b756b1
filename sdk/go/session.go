package carillon

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/carillon-mq/carillon/protocol"
)

// session makes a connection and serves it until it ends. It reports whether the broker has accepted it, and how long it then lasted. err is
// never nil.
func (c *Client) session(ctx context.Context) (stood bool, lasted time.Duration, err error) {
	cn, hello, rest, err := c.connect(ctx)
	if err != nil {
		return false, 0, err
	}
	began := time.Now()
	cn.watch, cn.retry = time.NewTimer(time.Hour), time.NewTimer(time.Hour)
	cn.retry.Stop()
	if cn.alive(); cn.silence == 0 {
		cn.watch.Stop()
	}
	c.attach(cn, hello)

	var parts sync.WaitGroup
	parts.Go(func() {
		if err := cn.write(func(b []byte) []byte { return c.fill(cn, b) }); err != nil {
			c.giveUp(cn, fmt.Errorf("write: %w", err))
		}
	})
	parts.Go(func() { c.guard(ctx, cn) })
	living, over := context.WithCancel(ctx)
	defer over()
	parts.Go(func() { c.refresh(living, cn) })
	err = c.handle(ctx, cn, rest)
	for err == nil {
		var b []byte
		if b, err = cn.read(context.Background()); err == nil {
			err = c.handle(ctx, cn, b)
		}
	}
	close(cn.over)
	over()
	err = c.detach(cn, err)
	cn.abort()
	parts.Wait()
	return true, time.Since(began), err
}

// guard keeps the time of a connection and closes it when ctx ends.
func (c *Client) guard(ctx context.Context, cn *connection) {
	defer cn.watch.Stop()
	defer cn.retry.Stop()
	for {
		select {
		case <-cn.over:
			return
		case <-ctx.Done():
			cn.shut()
			return
		case <-cn.watch.C:
			c.giveUp(cn, errSilent)
			return
		case <-cn.retry.C:
			c.askAgain(cn)
		}
	}
}

// askAgain asks on cn for what was refused for a while, unless cn has ended meanwhile: then nobody would send it, nor ask for it on the
// next connection.
func (c *Client) askAgain(cn *connection) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cn == cn {
		c.doubtLocked(cn)
		c.askLocked(cn)
	}
}

// giveUp ends a connection because of err. Reading it then fails, which ends the session.
func (c *Client) giveUp(cn *connection, err error) {
	c.mu.Lock()
	if cn.cause == nil {
		cn.cause = err
	}
	c.mu.Unlock()
	cn.abort()
}

// attach begins a session: what is subscribed is asked for again, what waits is sent.
func (c *Client) attach(cn *connection, hello *protocol.Connected) {
	c.opt.logger.Info("connected", "session", hello.Session, "user", hello.User)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cn = cn
	c.pos = hello.Position
	c.connectedOnce = true
	c.askLocked(cn)
	cn.replies.topic = repliesTopic(hello.Session)
	if len(c.held) > 0 {
		c.openRepliesLocked(cn)
	}
	for _, q := range c.asked {
		q.restart()
		cn.requests = append(cn.requests, q)
	}
	c.wakeLocked()
	c.noteLocked(Status{State: StateConnected, Session: hello.Session, User: hello.User})
	select {
	case c.first <- nil:
	default:
	}
}

// detach ends a session: what is in flight is to be sent again or has an unknown outcome, the subscriptions keep their places. It
// returns why the session ended.
func (c *Client) detach(cn *connection, err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cn = nil
	var again []*Publishing
	for _, id := range slices.Sorted(maps.Keys(cn.inflight)) { // in the order in which they were sent
		if p, ok := cn.inflight[id].(*Publishing); ok && p.out.MessageID != "" && p.ask == nil {
			again = append(again, p)
		} else if ok {
			c.settleLocked(p, Ack{}, p.wrap(ErrUnknownOutcome))
		}
	}
	c.queue = append(again, c.queue...)
	c.repliesLostLocked(cn, errLost)
	for _, s := range c.subs {
		if s.phase == phaseLive {
			c.live.remove(s)
		}
		s.idle(c.pos)
	}
	c.joining = nil
	if cn.cause != nil {
		return cn.cause
	}
	return err
}

func (c *Client) wakeLocked() {
	if c.cn != nil {
		signal(c.cn.wake)
	}
}

// askLocked queues a Subscribe for every subscription that is idle and may be asked for now, and what was put off till now.
func (c *Client) askLocked(cn *connection) {
	soonest := time.Duration(-1)
	if !cn.trial.doubtAt.IsZero() {
		soonest = max(time.Until(cn.trial.doubtAt), 0)
	}
	if wait := time.Until(cn.laterAt); wait > 0 {
		soonest = sooner(soonest, wait)
	} else if len(cn.later) > 0 {
		cn.requests = append(cn.requests, cn.later...)
		cn.later = nil
		signal(cn.wake)
	}
	for _, s := range c.subs {
		if s.phase != phaseIdle || s.in.isParked() {
			continue
		}
		if wait := time.Until(s.notBefore); wait > 0 {
			soonest = sooner(soonest, wait)
			continue
		}
		s.phase = phaseAsked
		cn.requests = append(cn.requests, s)
		signal(cn.wake)
	}
	if soonest >= 0 {
		cn.retry.Reset(soonest)
	}
}

// sooner is the smaller of two waits, of which the first may be negative: none.
func sooner(wait, other time.Duration) time.Duration {
	if wait < 0 {
		return other
	}
	return min(wait, other)
}

// addSubscription takes s in and asks for it.
func (c *Client) addSubscription(s *Subscription) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.errLocked(); err != nil {
		s.phase = phaseEnded
		s.end(err, false)
		return
	}
	c.subs = append(c.subs, s)
	if c.cn != nil {
		s.phase = phaseAsked
		c.cn.requests = append(c.cn.requests, s)
		c.wakeLocked()
	}
}

// dropSubscription ends s on the wire.
func (c *Client) dropSubscription(s *Subscription) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.phase == phaseEnded {
		return
	}
	c.leaveLocked(s)
	s.phase = phaseEnded
	c.subs = slices.DeleteFunc(c.subs, func(o *Subscription) bool { return o == s })
}

// leaveLocked takes s off the wire, if there is one: it gets nothing any more, and keeps its place.
func (c *Client) leaveLocked(s *Subscription) {
	if s.phase == phaseLive {
		c.live.remove(s)
	}
	if cn := c.cn; cn != nil {
		cn.requests = slices.DeleteFunc(cn.requests, func(r request) bool { return r == request(s) })
		if s.id != 0 {
			delete(cn.byID, s.id)
			cn.requests = append(cn.requests, unsubscribing(s.id))
			signal(cn.wake)
		}
	}
	s.idle(c.pos)
}

// leaveAtLocked is leaveLocked for a subscription that has been served up to at.
func (c *Client) leaveAtLocked(s *Subscription, at protocol.Position) {
	c.leaveLocked(s)
	s.own = at
}

// unpark lets the subscriptions go on whose application has caught up.
func (c *Client) unpark() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cn != nil {
		c.askLocked(c.cn)
	}
}
