package carillon

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/carillon-mq/carillon/protocol"
)

// Ack is the broker's acknowledgement of a publish.
type Ack struct {
	Seq        uint64 // in this run of the broker; 0: the topic keeps no positions
	Offset     uint64 // in the store; 0: it was not committed there
	Durability Durability
	Receivers  int64 // live subscriptions it was handed to; -1 if that was not asked for, or not known in time
	Duplicate  bool  // a publish with the same ID had been applied before

	position protocol.Position
}

// Cursor is a position at or before the message, to subscribe From.
func (a Ack) Cursor() Cursor { return cursorOf(a.position) }

// Durability is what the broker had done with a message when it acknowledged it.
type Durability = protocol.Durability

// The values of Durability.
const (
	Appended  = protocol.Appended  // in the broker's log in memory
	Committed = protocol.Committed // in the store
)

// PublishOption is an option of Client.Publish.
type PublishOption func(*outgoing)

// outgoing is a publish whose options are being applied.
type outgoing struct {
	protocol.Publish
	origin string // the client's own
	err    error  // the first option that makes no sense
}

// Retain makes the message the topic's retained value.
func Retain() PublishOption {
	return func(p *outgoing) { p.Retain = true }
}

// Header adds a header.
func Header(name, value string) PublishOption {
	return func(p *outgoing) {
		if p.Headers == nil {
			p.Headers = make(map[string]string)
		}
		p.Headers[name] = value
	}
}

// ContentType replaces the content type that goes with the value's Go type.
func ContentType(t string) PublishOption {
	return func(p *outgoing) { p.ContentType = t }
}

// ID sets the message id, by which the broker recognizes for 2 minutes a publish that is repeated: one with the same id and content is
// not applied again (Ack.Duplicate). Without ID every publish has a random one. An empty id is none: then the broker keeps nothing
// for it, and the client never repeats it.
func ID(id string) PublishOption {
	return func(p *outgoing) { p.MessageID = id }
}

// WantReceivers asks for Ack.Receivers.
func WantReceivers() PublishOption {
	return func(p *outgoing) { p.Receivers = true }
}

// TTL is for how long from its acceptance the message is worth something, 1 ms to about 31 years, in whole milliseconds. When that is over
// nobody is sent it any more, which is no gap, and a retained value is removed ([PUB-13]). A broker whose store cannot see to that answers
// CodeUnsupported.
func TTL(d time.Duration) PublishOption {
	return func(p *outgoing) {
		ms := (d + time.Millisecond - 1) / time.Millisecond
		if d <= 0 || ms > protocol.MaxTTL {
			p.refuse("found TTL(%v), wanted 1 ms to %d ms", d, int64(protocol.MaxTTL))
			return
		}
		p.TTL = uint64(ms)
	}
}

// ExcludeSelf keeps the message from the client that publishes it, on all its connections: for those that show their own changes before
// anybody else's ([PUB-14]). A retained value and a history have it for everybody.
func ExcludeSelf() PublishOption {
	return func(p *outgoing) { p.Exclude = p.origin }
}

// Exclude keeps the message from the clients of an origin (Client.Origin): for a service that publishes what a client has asked it to.
// For another origin than the client's own that needs a right on the topic.
func Exclude(origin string) PublishOption {
	return func(p *outgoing) {
		if !validOrigin(origin) {
			p.refuse("found an origin of %d bytes, wanted 1 to %d of UTF-8", len(origin), protocol.MaxOrigin)
		}
		p.Exclude = origin
	}
}

func validOrigin(origin string) bool {
	return origin != "" && len(origin) <= protocol.MaxOrigin && utf8.ValidString(origin)
}

func (p *outgoing) refuse(format string, args ...any) {
	if p.err == nil {
		p.err = protocol.Errorf(protocol.CodeBadArgs, format, args...)
	}
}

// Publish publishes value to topic and waits for the acknowledgement. A []byte is sent as it is, a string as text, Raw as it says,
// JSON(v) as JSON, and any other value as msgpack.
//
// While there is no connection it waits for the next one, until ctx ends; it fails with ErrQueueFull when too many do
// (WithPendingLimit). If the connection is lost after it was sent and before it was acknowledged, it is sent again with its id, which
// cannot apply it twice, as long as the broker is in the same run and ctx has not ended. Otherwise the error is ErrUnknownOutcome.
// Any number of goroutines may publish at once; their publishes travel together. The publishes of one goroutine are applied in order.
func (c *Client) Publish(ctx context.Context, topic string, value any, opts ...PublishOption) (Ack, error) {
	p, err := c.publish(ctx, topic, value, false, opts)
	if err != nil {
		return Ack{}, err
	}
	return p.Wait(ctx)
}

// PublishAsync is Publish without waiting for the acknowledgement, which the returned Publishing stands for. It waits only
// while WithPendingLimit publishes are not acknowledged yet. Publishes are applied in the order of the calls.
func (c *Client) PublishAsync(ctx context.Context, topic string, value any, opts ...PublishOption) (*Publishing, error) {
	return c.publish(ctx, topic, value, true, opts)
}

// Clear removes the retained value of topic.
func (c *Client) Clear(ctx context.Context, topic string, opts ...PublishOption) (Ack, error) {
	return c.Publish(ctx, topic, Raw{}, append(slices.Clip(opts), Retain())...)
}

// Publishing is a publish that is under way.
type Publishing struct {
	c    *Client
	out  outgoing
	ask  *asking // if it is a request
	sent sending // guarded by c.mu
	done chan struct{}
	ack  Ack // with err set before done is closed
	err  error
}

// sending is what is known of the first time that a publish was sent.
type sending struct {
	at    time.Time // zero: not yet
	date  time.Time // the same by the time of day
	to    peer
	base  protocol.Position // the session's then
	again bool              // it has been sent more than once
}

// peer is whom a connection is with. A broker knows the message ids of the same user in the same run.
type peer struct {
	run  protocol.RunID
	user string
}

// repeatWithin is how long after the first time a publish is sent again ([REC-5]). The broker knows its id for 2 minutes.
const repeatWithin = 90 * time.Second

// repeatable reports whether a publish may be sent to the broker: for the first time, or again because that knows its id.
func (s *sending) repeatable(to peer, now time.Time) bool {
	// the clock that nobody sets stands still in most machines that sleep, and the broker forgets meanwhile
	return s.at.IsZero() || s.to == to && max(now.Sub(s.at), now.Round(0).Sub(s.date)) < repeatWithin
}

// note takes down that a publish is sent. What counts is the first time.
func (s *sending) note(to peer, session protocol.Position, now time.Time) {
	if s.at.IsZero() {
		*s = sending{at: now, date: now.Round(0), to: to, base: session}
		return
	}
	s.again = true
}

// ID is the message id: a publish with the same ID, topic and content is a repetition of this one.
func (p *Publishing) ID() string { return p.out.MessageID }

// Done is closed when the outcome is known.
func (p *Publishing) Done() <-chan struct{} { return p.done }

// Wait waits for the acknowledgement. When ctx ends first, the publish is taken back if it was not sent yet; if it was, the
// error is ErrUnknownOutcome with that of ctx.
func (p *Publishing) Wait(ctx context.Context) (Ack, error) {
	select {
	case <-p.done:
	case <-ctx.Done():
		if !p.c.takeBack(p, ctx.Err()) {
			return Ack{}, p.wrap(unknown(ctx.Err()))
		}
	}
	return p.ack, p.err
}

func (c *Client) publish(ctx context.Context, topic string, value any, async bool, opts []PublishOption) (*Publishing, error) {
	p := &Publishing{c: c, done: make(chan struct{})}
	err := c.compose(&p.out, topic, value, async, opts)
	if err == nil {
		err = c.enqueue(ctx, p)
	}
	if err != nil {
		return nil, p.wrap(err)
	}
	return p, nil
}

// wrap says what err has become of.
func (p *Publishing) wrap(err error) error {
	if p.ask != nil {
		return fmt.Errorf("request %q: %w", p.out.Topic, err)
	}
	return fmt.Errorf("publish %q: %w", p.out.Topic, err)
}

// compose makes the packet of a publish. Unless copied is set its payload may alias the value.
func (c *Client) compose(p *outgoing, topic string, value any, copied bool, opts []PublishOption) error {
	payload, contentType, err := encode(value)
	if err != nil {
		return fmt.Errorf("encode %T: %w", value, err)
	}
	if copied {
		payload = bytes.Clone(payload)
	}
	p.Topic, p.Payload, p.ContentType, p.MessageID = topic, payload, contentType, c.newMessageID()
	p.origin = c.opt.origin
	for _, o := range opts {
		o(p)
	}
	if p.err != nil {
		return p.err
	}
	return validate(&p.Publish)
}

// newMessageID returns an id that no other publish has: a random text of the client's and a number.
func (c *Client) newMessageID() string {
	return c.idPrefix + strconv.FormatUint(c.ids.Add(1), 36)
}

// validate refuses what would make the broker close the connection.
func validate(p *protocol.Publish) error {
	if err := protocol.ValidateTopic(p.Topic); err != nil {
		return err
	}
	if len(p.MessageID) > protocol.MaxMessageID || !utf8.ValidString(p.MessageID) {
		return protocol.Errorf(protocol.CodeBadArgs, "found a message id of %d bytes, wanted at most %d of UTF-8", len(p.MessageID), protocol.MaxMessageID)
	}
	if len(p.ContentType) > protocol.MaxContentType || !utf8.ValidString(p.ContentType) {
		return protocol.Errorf(protocol.CodeBadArgs, "found a content type of %d bytes, wanted at most %d of UTF-8", len(p.ContentType), protocol.MaxContentType)
	}
	n := 0
	for k, v := range p.Headers {
		n += len(k) + len(v)
		if k == "" || !utf8.ValidString(k) || !utf8.ValidString(v) {
			return protocol.Errorf(protocol.CodeBadArgs, "found header %q, wanted a name and UTF-8", k)
		}
	}
	if len(p.Headers) > protocol.MaxHeaders || n > protocol.MaxHeaderBytes {
		return protocol.Errorf(protocol.CodeBadArgs, "found %d headers of %d bytes, wanted at most %d of %d",
			len(p.Headers), n, protocol.MaxHeaders, protocol.MaxHeaderBytes)
	}
	return nil
}

// enqueue takes p for sending. The queue outlives connections.
func (c *Client) enqueue(ctx context.Context, p *Publishing) error {
	if err := c.acquire(ctx); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.errLocked(); err != nil {
		<-c.slots
		return err
	}
	c.queueLocked(p)
	c.unsettled++
	c.wakeLocked()
	return nil
}

// acquire takes one of the WithPendingLimit slots.
func (c *Client) acquire(ctx context.Context) error {
	select {
	case c.slots <- struct{}{}:
		return nil
	default:
	}
	if c.Status().State != StateConnected {
		return ErrQueueFull
	}
	select {
	case c.slots <- struct{}{}:
		return nil
	case <-c.done:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// takeBack ends p with err if it is not in flight, and reports whether it has ended.
func (c *Client) takeBack(p *Publishing, err error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, queue := range []*[]*Publishing{&c.queue, &c.held} {
		if i := slices.Index(*queue, p); i >= 0 {
			*queue = slices.Delete(*queue, i, i+1)
			c.giveUpLocked(p, err)
		}
	}
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// giveUpLocked ends p, which is not in flight, because of err. If it has been sent, its outcome is unknown.
func (c *Client) giveUpLocked(p *Publishing, err error) {
	if !p.sent.at.IsZero() {
		err = unknown(err)
	}
	c.settleLocked(p, Ack{}, p.wrap(err))
}

// settleLocked gives p its outcome. p is in no queue any more.
func (c *Client) settleLocked(p *Publishing, ack Ack, err error) {
	p.ack, p.err = ack, err
	close(p.done)
	<-c.slots
	c.unsettled--
	if p.ask != nil {
		c.acknowledgedLocked(p)
	}
	c.checkFlushedLocked()
}
