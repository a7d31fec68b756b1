package carillon

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/carillon-mq/carillon/protocol"
)

// Client is a connection to a broker that is made again when it is lost. All methods may be called concurrently.
type Client struct {
	url    string
	opt    options
	tokens tokens

	idPrefix string // of message ids
	ids      atomic.Uint64

	slots   chan struct{} // one per publish that is not settled: WithPendingLimit
	first   chan error    // outcome of Dial
	flushed chan struct{} // closed when closing and nothing is unsettled
	noted   chan struct{} // notes is not empty
	done    chan struct{} // run has ended
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu        sync.Mutex
	status    Status
	notes     []Status
	cn        *connection       // nil: none
	pos       protocol.Position // the session's
	subs      []*Subscription   // in the order of Subscribe
	live      index
	joining   []*Subscription        // live, but with a position of their own still
	queue     []*Publishing          // to be sent, or sent again
	held      []*Publishing          // requests that wait for the session's inbox
	waiting   map[string]*Publishing // requests that were let go and have no reply, by their correlation id
	asked     []query                // not answered yet
	unsettled int                    // queued or in flight
	nextID    uint64                 // last request id; never used twice
	closing   bool
	stopped   error // why the client has ended

	connectedOnce bool
}

// State is where a client stands.
type State uint8

// The states of a client.
const (
	StateConnecting   State = iota // the first connection is being made
	StateConnected                 // the broker has accepted the session
	StateReconnecting              // the connection was lost, or an attempt failed; the next one follows
	StateClosed                    // for good: by Close, or by a refusal that makes reconnecting useless
)

// String is the state's name in lower case.
func (s State) String() string {
	return [...]string{"connecting", "connected", "reconnecting", "closed"}[s]
}

// Status is a client's state and what led to it.
type Status struct {
	State   State
	Session string        // when connected
	User    string        // when connected: who the broker takes the client for
	Err     error         // when reconnecting: why; when closed: the refusal, nil after Close
	RetryIn time.Duration // when reconnecting: from the change to the next attempt
}

// Dial connects to the broker at url (ws, wss, http or https) and waits until it has accepted the session. A refusal is an *Error. ctx bounds
// only Dial itself; the client lives until Close, or until a refusal that makes reconnecting useless.
func Dial(ctx context.Context, url string, opts ...Option) (*Client, error) {
	c := &Client{
		url: url, opt: defaultOptions(), idPrefix: rand.Text()[:16],
		waiting: make(map[string]*Publishing),
		first:   make(chan error, 1), flushed: make(chan struct{}), noted: make(chan struct{}, 1), done: make(chan struct{}),
	}
	for _, o := range opts {
		o(&c.opt)
	}
	if !validOrigin(c.opt.origin) {
		return nil, protocol.Errorf(protocol.CodeBadArgs, "found an origin of %d bytes, wanted 1 to %d of UTF-8", len(c.opt.origin), protocol.MaxOrigin)
	}
	c.slots = make(chan struct{}, c.opt.pendingLimit)
	c.tokens = tokens{source: c.opt.token, static: c.opt.staticToken}

	var running context.Context
	running, c.cancel = context.WithCancel(context.WithoutCancel(ctx))
	c.note(Status{State: StateConnecting})
	c.running.Go(func() { c.run(running) })
	if c.opt.status != nil {
		c.running.Go(c.tellStatus)
	}
	var err error
	select {
	case err = <-c.first:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		c.cancel()
		c.running.Wait()
		return nil, err
	}
	return c, nil
}

// Status is the client's present status.
func (c *Client) Status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.status
}

// Limits are the limits of the session that the broker has announced, by name: "publish_rate" a second, "payload" and "packet" in
// bytes, "inflight", "subscriptions"; one that is missing does not bound the session. nil while there is no connection.
func (c *Client) Limits() map[string]int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cn == nil {
		return nil
	}
	return maps.Clone(c.cn.limits)
}

// Origin names the client over all its connections (WithOrigin). To hand it to a service lets that keep from the client what it publishes on
// its behalf (Exclude). It is nobody else's business.
func (c *Client) Origin() string { return c.opt.origin }

// Done is closed when the client has ended: after Close, or by a refusal, which Status tells.
func (c *Client) Done() <-chan struct{} { return c.done }

// Close waits until every publish that was accepted is acknowledged, or ctx ends, then closes the connection, ends the
// subscriptions with ErrClosed, and waits, 2 s at most, for the end of everything the client has started. Its error is that of ctx.
func (c *Client) Close(ctx context.Context) error {
	c.mu.Lock()
	if !c.closing {
		c.closing = true
		c.checkFlushedLocked()
	}
	c.mu.Unlock()
	var err error
	select {
	case <-c.flushed:
	case <-c.done:
	case <-ctx.Done():
		err = ctx.Err()
	}
	c.cancel()
	c.running.Wait()
	return err
}

func (c *Client) checkFlushedLocked() {
	if !c.closing || c.unsettled > 0 {
		return
	}
	select {
	case <-c.flushed:
	default:
		close(c.flushed)
	}
}

// run makes connections until ctx ends or one is refused for good.
func (c *Client) run(ctx context.Context) {
	defer close(c.done)
	defer c.cancel()
	delays := backoff{base: c.opt.base, cap: c.opt.cap, rand: c.opt.rand}
	for {
		stood, lasted, err := c.session(ctx)
		if ctx.Err() != nil {
			c.stop(ErrClosed)
			return
		}
		if lasted >= stableAfter {
			delays.reset()
		}
		delay, again := c.judge(err, stood, &delays)
		if !again || (!c.everConnected() && !c.opt.retryDial) {
			c.stop(err)
			return
		}
		c.opt.logger.Info("connection lost", "err", err, "wait", delay)
		c.note(Status{State: StateReconnecting, Err: err, RetryIn: delay})
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			c.stop(ErrClosed)
			return
		}
	}
}

// judge decides what follows the end of a session, or of an attempt to make one, which never stood. The broker's advice wins over the
// backoff. Who cannot ask for a fresh token comes back with what it has when a session ends for want of one: a cookie, a certificate or a
// fixed token may be good for another session. When they are refused, it is over ([REC-3]).
func (c *Client) judge(err error, stood bool, delays *backoff) (delay time.Duration, again bool) {
	delay = delays.next()
	r, ok := errors.AsType[*refused](err)
	switch {
	case !ok:
		return delay, true
	case !r.reconnect:
		return 0, false
	case r.why.Code.NeedsToken():
		if !c.tokens.renew(r.why.Code.String()) && !stood {
			return 0, false
		}
		if delays.attempt == 1 { // the first time in a row
			delay = 0
		}
	}
	if r.why.RetryAfter > 0 {
		delay = r.why.RetryAfter
	}
	return delay, true
}

func (c *Client) everConnected() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.connectedOnce
}

// stop ends everything with err.
func (c *Client) stop(err error) {
	if r, ok := errors.AsType[*refused](err); ok {
		err = r.why
	}
	told := err
	if errors.Is(err, ErrClosed) {
		told = nil
	}
	c.opt.logger.Info("client stopped", "err", err)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = err
	for _, p := range slices.Concat(c.queue, c.held) {
		c.giveUpLocked(p, err)
	}
	c.queue, c.held = nil, nil
	for _, q := range slices.Clone(c.asked) {
		c.endQueryLocked(q, err)
	}
	for _, s := range c.subs {
		s.phase = phaseEnded
		s.end(err, false)
	}
	c.subs = nil
	c.noteLocked(Status{State: StateClosed, Err: told})
	select {
	case c.first <- err:
	default:
	}
}

func (c *Client) note(s Status) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.noteLocked(s)
}

func (c *Client) noteLocked(s Status) {
	c.status = s
	if c.opt.status != nil {
		c.notes = append(c.notes, s)
		signal(c.noted)
	}
}

// tellStatus hands the changes of the status to the application. It ends after StateClosed.
func (c *Client) tellStatus() {
	for range c.noted {
		c.mu.Lock()
		notes := c.notes
		c.notes = nil
		c.mu.Unlock()
		for _, s := range notes {
			c.opt.status(s)
			if s.State == StateClosed {
				return
			}
		}
	}
}

// errLocked is why nothing more is accepted.
func (c *Client) errLocked() error {
	if c.closing {
		return cmp.Or(c.stopped, ErrClosed)
	}
	return c.stopped
}
