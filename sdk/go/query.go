package carillon

import (
	"context"
	"slices"
)

// query is a question that outlives connections: it is asked again on the next one.
type query interface {
	request
	restart() // forgets what has come of the answer
	result() *verdict
}

// verdict is what becomes of a query. err is set before done is closed.
type verdict struct {
	done chan struct{}
	err  error
}

func pending() *verdict { return &verdict{done: make(chan struct{})} }

func (o *verdict) result() *verdict { return o }

// ask asks q and waits for its outcome, until ctx ends.
func (c *Client) ask(ctx context.Context, q query) error {
	if err := c.put(q); err != nil {
		return err
	}
	select {
	case <-q.result().done:
	case <-ctx.Done():
		c.mu.Lock()
		c.endQueryLocked(q, ctx.Err())
		c.mu.Unlock()
	}
	return q.result().err
}

// put has q sent, on this connection and those that follow.
func (c *Client) put(q query) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.errLocked(); err != nil {
		return err
	}
	c.asked = append(c.asked, q)
	if c.cn != nil {
		c.cn.requests = append(c.cn.requests, q)
		c.wakeLocked()
	}
	return nil
}

// endQueryLocked gives q its outcome, unless it has one.
func (c *Client) endQueryLocked(q query, err error) {
	i := slices.Index(c.asked, q)
	if i < 0 {
		return
	}
	c.asked = slices.Delete(c.asked, i, i+1)
	if c.cn != nil {
		c.cn.requests = slices.DeleteFunc(c.cn.requests, func(r request) bool { return r == request(q) })
	}
	q.result().err = err
	close(q.result().done)
}
