package carillon

import (
	"context"
	"time"

	"github.com/carillon-mq/carillon/protocol"
)

const (
	refreshAhead = 10 * time.Second // before the end, if there is so much time
	refreshAgain = 5 * time.Second  // between two requests, at least
)

// refreshing is the request to go on with a fresh token. Its answer is nil, or why not.
type refreshing struct {
	token  string
	answer chan *Error // of one
}

func (r *refreshing) packet(id uint64) protocol.Packet {
	return &protocol.Refresh{ID: id, Token: r.token}
}

// refreshIn is when a token that has left so much time is to be replaced ([REF-6]).
func refreshIn(left time.Duration) time.Duration {
	at := left * 4 / 5
	if left > refreshAhead {
		at = min(at, left-refreshAhead)
	}
	return max(at, refreshAgain)
}

// refresh keeps the session of cn going with fresh tokens. It ends with the connection, or when it has nothing to do.
func (c *Client) refresh(ctx context.Context, cn *connection) {
	wait, goesOn := c.tokens.lasts()
	for goesOn {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
		if wait, goesOn = c.refreshOnce(ctx, cn); ctx.Err() != nil {
			return
		}
	}
}

// refreshOnce asks the application for a token and gives it to the broker. It returns when to do so again, if that is to be.
func (c *Client) refreshOnce(ctx context.Context, cn *connection) (wait time.Duration, again bool) {
	token, failed := c.tokens.early(ctx)
	if failed != nil {
		c.opt.logger.Warn("no fresh token", "err", failed)
		return refreshAgain, true
	}
	r := &refreshing{token: token, answer: make(chan *Error, 1)}
	c.mu.Lock()
	cn.requests = append(cn.requests, r)
	signal(cn.wake)
	c.mu.Unlock()
	var err *Error
	select {
	case err = <-r.answer:
	case <-ctx.Done():
		return 0, false
	}
	if err == nil {
		return c.tokens.lasts()
	}
	c.opt.logger.Warn("the session does not go on with the fresh token", "err", err)
	switch {
	case err.Code == protocol.CodeForbidden:
		c.tokens.refused()
		return 0, false // it has what it has
	case !err.Code.Retry():
		return 0, false // nothing is wrong with the token, the next connection has it
	}
	return max(err.RetryAfter, refreshAgain), true
}

// refreshedLocked takes the answer to a refreshing.
func (c *Client) refreshedLocked(cn *connection, p *protocol.Refreshed) {
	r, ok := c.answeredLocked(cn, p.ID).(*refreshing)
	if !ok {
		return
	}
	if p.Limits != nil {
		cn.announce(p.Limits)
	}
	c.tokens.replaced(r.token, p.Expires)
	r.answer <- nil
}
