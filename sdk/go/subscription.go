package carillon

import (
	"context"
	"iter"
	"sync"
	"sync/atomic"

	"github.com/carillon-mq/carillon/protocol"
)

// Subscription is a stream of the messages that match a filter. It outlives connections: after a reconnect it goes on from where
// it was. Messages wait for the application in a bounded buffer (WithBuffer). When the application is so slow that it is full, the
// subscription leaves the live stream and resumes from its position once the buffer has been drained: the broker's log keeps
// what comes meanwhile, other subscriptions do not wait, and what the log no longer has is told by a GapError. Only the snapshot
// of retained values is held whole, however large it is.
type Subscription struct {
	c          *Client
	filter     string
	noRetained bool
	last       uint64
	latest     bool
	maxRate    uint64
	join       bool
	in         *inbox
	iterating  atomic.Bool

	ready     chan struct{} // closed when the broker has confirmed it, or it has ended
	readyOnce sync.Once

	stream // guarded by c.mu
}

// SubscribeOption is an option of Client.Subscribe.
type SubscribeOption func(*Subscription) error

// From resumes after cursor: what came since is sent first, or a GapError says what is missing. An empty cursor is none.
func From(cursor Cursor) SubscribeOption {
	return func(s *Subscription) error {
		if cursor == "" {
			return nil
		}
		p, err := protocol.ParseCursor(string(cursor))
		s.own, s.placed = p, err == nil
		return err
	}
}

// NoRetained leaves out the snapshot of retained values.
func NoRetained() SubscribeOption {
	return func(s *Subscription) error {
		s.noRetained = true
		return nil
	}
}

// Last begins with the newest n messages that match, 1 to 1,024, of the broker's log and of what its store keeps, instead of the
// retained values. It needs the right to history. Where From has a cursor, that counts.
func Last(n int) SubscribeOption {
	return func(s *Subscription) error {
		if n < 1 || n > protocol.MaxLast {
			return protocol.Errorf(protocol.CodeBadArgs, "found Last(%d), wanted 1 to %d", n, protocol.MaxLast)
		}
		s.last, s.noRetained = uint64(n), true
		return nil
	}
}

// Latest lets the broker leave out messages while the subscription is behind: of each topic it sends the newest. What is left out for
// something newer is not told. It is for values of which only the present one counts.
func Latest() SubscribeOption {
	return func(s *Subscription) error {
		s.latest = true
		return nil
	}
}

// MaxRate bounds how many messages a second come, 1 to 1,000: of each topic that waits, the newest is kept, as with Latest.
func MaxRate(n int) SubscribeOption {
	return func(s *Subscription) error {
		if n < 1 || n > protocol.MaxRate {
			return protocol.Errorf(protocol.CodeBadArgs, "found MaxRate(%d), wanted 1 to %d", n, protocol.MaxRate)
		}
		s.maxRate = uint64(n)
		return nil
	}
}

// Join makes the client's user a member of the topic, for as long as the subscription lasts, and 10 s longer when the connection is lost
// ([PRE-1], [PRE-2]): who is back by then has never left. The filter has to be a topic. It needs the right to presence there, and a user.
func Join() SubscribeOption {
	return func(s *Subscription) error {
		s.join = true
		if err := protocol.ValidateTopic(s.filter); err != nil {
			return protocol.Errorf(protocol.CodeBadArgs, "found %q to join, wanted a topic", s.filter)
		}
		return nil
	}
}

// Subscribe starts a subscription to filter and returns at once. What goes wrong is told by Ready and ends the iteration. It lasts
// until its iteration ends, or Close.
func (c *Client) Subscribe(filter string, opts ...SubscribeOption) *Subscription {
	s := &Subscription{
		c: c, filter: filter, in: newInbox(c.opt.bufferCount, c.opt.bufferBytes), ready: make(chan struct{}),
	}
	err := protocol.ValidateFilter(filter)
	for _, o := range opts {
		if e := o(s); err == nil {
			err = e
		}
	}
	if err != nil {
		s.phase = phaseEnded
		s.end(err, false)
		return s
	}
	c.addSubscription(s)
	return s
}

// Filter is what was subscribed to.
func (s *Subscription) Filter() string { return s.filter }

// Ready waits until the broker has confirmed the subscription: from then on nothing that is published is missed. Its error is the
// one that ended the subscription, or that of ctx.
func (s *Subscription) Ready(ctx context.Context) error {
	select {
	case <-s.ready:
	case <-ctx.Done():
		return ctx.Err()
	}
	s.in.mu.Lock()
	defer s.in.mu.Unlock()
	return s.in.err
}

// Messages iterates over the messages. An error that is a *GapError says what is missing at that point, and the iteration goes
// on; any other error is the last: the broker's refusal, ErrUnsubscribed, ErrClosed, or why the client stopped. The iteration ends
// without an error when ctx ends. However it ends, the subscription is closed. There can be only one iteration of a subscription.
func (s *Subscription) Messages(ctx context.Context) iter.Seq2[*Message, error] {
	return func(yield func(*Message, error) bool) {
		for e, err := range s.Events(ctx) {
			on := true
			switch e := e.(type) {
			case *Message:
				on = yield(e, nil)
			case *GapError:
				on = yield(nil, e)
			case nil:
				on = yield(nil, err)
			}
			if !on {
				return
			}
		}
	}
}

// Events iterates like Messages over everything that happens in the stream, in order: *Message, *GapError, *SnapshotEnd and
// *Resumed. The error is nil but for the last step.
func (s *Subscription) Events(ctx context.Context) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		if s.iterating.Swap(true) {
			yield(nil, errIterate)
			return
		}
		defer s.Close()
		for {
			e, unpark, err := s.in.take(ctx)
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				yield(nil, err)
				return
			}
			if unpark {
				s.c.unpark()
			}
			if !yield(e, nil) {
				return
			}
		}
	}
}

// Close ends the subscription and unsubscribes without waiting for the broker. An iteration that is under way ends with
// ErrUnsubscribed.
func (s *Subscription) Close() {
	s.c.dropSubscription(s)
	s.end(ErrUnsubscribed, true)
}

// end ends the stream with err after what the inbox still holds, or at once if drop is set.
func (s *Subscription) end(err error, drop bool) {
	s.in.finish(err, drop)
	s.confirm()
}

// confirm lets Ready go.
func (s *Subscription) confirm() { s.readyOnce.Do(func() { close(s.ready) }) }
