package carillon

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/carillon-mq/carillon/protocol"
)

// The headers of requests and replies ([REQ-1]).
const (
	headerReplyTo     = "reply-to"
	headerCorrelation = "correlation-id"
	inboxPrefix       = "$inbox."
)

// ErrNoResponder is returned by a request that was handed to nobody.
var ErrNoResponder = errors.New("carillon: nobody is subscribed to the topic of the request")

var errNoReplyTo = errors.New("carillon: the message asks for no reply")

// Request publishes value to topic, as Publish does, and waits for the reply of whoever is subscribed there: the first one, if several reply.
// Give ctx a deadline; without one a responder that does not answer is waited for as long as the connection lasts.
//
// If nobody is subscribed the error is ErrNoResponder, at once. A request is never sent twice, since the replies come to its session alone:
// when the connection is lost the error is ErrUnknownOutcome, at once, and so it is, with that of ctx, when ctx ends after the request was
// sent. One that waits for a connection is sent on the next one. Any number of goroutines may request at once. The session's first
// request subscribes to its inbox, which counts as one of its subscriptions.
func (c *Client) Request(ctx context.Context, topic string, value any, opts ...PublishOption) (*Message, error) {
	a := &asking{id: rand.Text(), done: make(chan struct{})}
	p := &Publishing{c: c, done: make(chan struct{}), ask: a}
	opts = append(slices.Clip(opts), WantReceivers(), Header(headerCorrelation, a.id), Header(headerReplyTo, longestInbox))
	err := c.compose(&p.out, topic, value, false, append([]PublishOption{ID("")}, opts...))
	if err == nil {
		err = c.enqueue(ctx, p)
	}
	if err != nil {
		return nil, p.wrap(err)
	}
	select {
	case <-a.done:
	case <-ctx.Done():
		c.abandon(p, ctx.Err())
	}
	return a.reply, a.err
}

// ReplyTo is the topic to which the message asks for a reply, "" if it does not.
func (m *Message) ReplyTo() string { return m.Headers[headerReplyTo] }

// Reply answers m, which is a request. Whoever asked may have gone meanwhile: the error is ErrNotFound then. A reply goes to inboxes alone:
// whatever else a message names in its place is refused, for it is not the sender's to choose where this client publishes.
func (c *Client) Reply(ctx context.Context, m *Message, value any, opts ...PublishOption) (Ack, error) {
	to := m.ReplyTo()
	switch {
	case to == "":
		return Ack{}, fmt.Errorf("reply to %q: %w", m.Topic, errNoReplyTo)
	case !strings.HasPrefix(to, inboxPrefix):
		return Ack{}, fmt.Errorf("reply to %q: %w", m.Topic, protocol.Errorf(protocol.CodeBadTopic, "found a reply-to of %q, wanted an inbox", to))
	}
	opts = slices.Clip(opts)
	if id, ok := m.Headers[headerCorrelation]; ok {
		opts = append(opts, Header(headerCorrelation, id))
	}
	return c.Publish(ctx, to, value, opts...)
}

// asking is a request that waits for its reply. Its fields are set before done is closed.
type asking struct {
	id    string // its correlation id
	done  chan struct{}
	reply *Message
	err   error
}

// longestInbox stands for the topic of the replies until that is known.
var longestInbox = repliesTopic(strings.Repeat("s", 64))

func repliesTopic(session string) string { return inboxPrefix + session + ".replies" }

// replies is the inbox of a session, which ends with it ([REQ-4]). Guarded by Client.mu.
type replies struct {
	topic string
	state repliesState
	id    uint64 // of its subscription, when open
}

type repliesState uint8

const (
	repliesClosed repliesState = iota
	repliesAsked
	repliesOpen
)

// openingReplies is the request for the subscription to that inbox.
type openingReplies string

func (o openingReplies) packet(id uint64) protocol.Packet {
	return &protocol.Subscribe{ID: id, Filter: string(o), NoRetained: true}
}

// queueLocked takes p for sending: a request when the session has its inbox, so that it cannot miss the reply.
func (c *Client) queueLocked(p *Publishing) {
	if p.ask == nil {
		c.queue = append(c.queue, p)
		return
	}
	c.held = append(c.held, p)
	if c.cn != nil {
		c.openRepliesLocked(c.cn)
	}
}

// openRepliesLocked lets the requests go that wait for an inbox, or asks for that.
func (c *Client) openRepliesLocked(cn *connection) {
	switch cn.replies.state {
	case repliesClosed:
		cn.replies.state = repliesAsked
		cn.requests = append(cn.requests, openingReplies(cn.replies.topic))
	case repliesAsked:
	case repliesOpen:
		for _, p := range c.held {
			p.out.Headers[headerReplyTo] = cn.replies.topic
			c.waiting[p.ask.id] = p
		}
		c.queue = append(c.queue, c.held...)
		c.held = nil
	}
	signal(cn.wake)
}

// repliesOpenedLocked takes the answer to openingReplies.
func (c *Client) repliesOpenedLocked(cn *connection, id uint64) {
	cn.replies.state, cn.replies.id = repliesOpen, id
	c.openRepliesLocked(cn)
}

// repliesRefusedLocked takes the refusal of an inbox: what waits for it ends, unless it may be had later.
func (c *Client) repliesRefusedLocked(cn *connection, r openingReplies, e *Error) {
	if e.Code.Retry() {
		c.laterLocked(cn, r, e)
		return
	}
	cn.replies.state = repliesClosed
	for _, p := range c.held {
		c.settleLocked(p, Ack{}, p.wrap(e))
	}
	c.held = nil
}

// repliesLostLocked ends every request that has been sent: its reply will not come. Those that have not wait for another inbox.
func (c *Client) repliesLostLocked(cn *connection, why error) {
	cn.replies.state, cn.replies.id = repliesClosed, 0
	c.queue = slices.DeleteFunc(c.queue, func(p *Publishing) bool {
		if p.ask != nil {
			delete(c.waiting, p.ask.id)
			c.held = append(c.held, p)
		}
		return p.ask != nil
	})
	for _, p := range c.waiting {
		c.answerLocked(p, nil, p.wrap(unknown(why)))
	}
}

// replyLocked takes a message of the inbox. One that nobody waits for, or not any more, is ignored.
func (c *Client) replyLocked(m *protocol.Message) {
	if p := c.waiting[m.Headers[headerCorrelation]]; p != nil {
		c.answerLocked(p, deliverable(m, false, protocol.Position{}), nil)
	}
}

// acknowledgedLocked takes what has become of the publish of a request.
func (c *Client) acknowledgedLocked(p *Publishing) {
	switch {
	case p.err != nil:
		c.answerLocked(p, nil, p.err)
	case p.ack.Receivers == 0:
		c.answerLocked(p, nil, p.wrap(ErrNoResponder))
	}
}

// answerLocked gives a request its outcome, unless it has one.
func (c *Client) answerLocked(p *Publishing, reply *Message, err error) {
	delete(c.waiting, p.ask.id)
	select {
	case <-p.ask.done:
	default:
		p.ask.reply, p.ask.err = reply, err
		close(p.ask.done)
	}
}

// abandon ends a request because of err, that of its context.
func (c *Client) abandon(p *Publishing, err error) {
	c.takeBack(p, err)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answerLocked(p, nil, p.wrap(unknown(err)))
}

// unknown is ErrUnknownOutcome because of err.
func unknown(err error) error { return fmt.Errorf("%w (%w)", ErrUnknownOutcome, err) }
