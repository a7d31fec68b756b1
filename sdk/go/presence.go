package carillon

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/carillon-mq/carillon/protocol"
)

// Members is who is there: the users that have joined a topic (Join), each once, however many connections it has.
type Members struct {
	Count int
	Users []string // sorted by their bytes; nil when there are more than 1,000
}

// Presence asks who is there in topic, which needs the right to presence on it. While there is no connection it waits for the next one, until
// ctx ends.
func (c *Client) Presence(ctx context.Context, topic string) (Members, error) {
	r := &presenceRequest{topic: topic, verdict: pending()}
	err := protocol.ValidateTopic(topic)
	if err == nil {
		err = c.ask(ctx, r)
	}
	if err != nil {
		return Members{}, fmt.Errorf("presence of %q: %w", topic, err)
	}
	return r.members, nil
}

// presenceRequest is a question that is being asked. It outlives connections.
type presenceRequest struct {
	topic   string
	members Members // guarded by Client.mu until done is closed
	*verdict
}

func (r *presenceRequest) packet(id uint64) protocol.Packet {
	return &protocol.Presence{ID: id, Topic: r.topic}
}

func (*presenceRequest) restart() {}

func (c *Client) presencesLocked(cn *connection, p *protocol.Presences) {
	if r, ok := c.answeredLocked(cn, p.ID).(*presenceRequest); ok {
		r.members = Members{Count: int(p.Count), Users: p.Users}
		c.endQueryLocked(r, nil)
	}
}

const presencePrefix = "$presence."

// WatchPresence iterates over who is there in topic: first as it is, then whenever it has changed, at most once a second. Each value is whole
// and stands for itself; what was missed while the connection was lost is in the next one. It asks first and applies the changes that it
// has subscribed to, and asks again whenever one of them may have been missed ([PRE-5]). An error is the last step: the broker's refusal, or
// why the client stopped. The iteration ends without an error when ctx ends.
func (c *Client) WatchPresence(ctx context.Context, topic string) iter.Seq2[Members, error] {
	return func(yield func(Members, error) bool) {
		sub := c.Subscribe(presencePrefix+topic, NoRetained())
		defer sub.Close()
		w := watch{c: c, topic: topic}
		err := sub.Ready(ctx)
		if err == nil {
			err = w.ask(ctx)
		}
		if err == nil && !yield(w.members(), nil) {
			return
		}
		if err == nil {
			err = w.follow(ctx, sub, func(m Members) bool { return yield(m, nil) })
		}
		if err != nil && ctx.Err() == nil {
			yield(Members{}, err)
		}
	}
}

// watch is a picture of who is there.
type watch struct {
	c     *Client
	topic string
	count int
	users []string // sorted; none when there are too many
}

// members is the picture as the application's own.
func (w *watch) members() Members { return Members{Count: w.count, Users: slices.Clone(w.users)} }

// follow hands on every change until yield says no. Its error is why the stream ended.
func (w *watch) follow(ctx context.Context, sub *Subscription, yield func(Members) bool) error {
	for e, err := range sub.Events(ctx) {
		before := w.members()
		switch e := e.(type) {
		case *Message:
			err = w.change(ctx, e)
		case *Resumed, *GapError: // changes have no place in the log: those of meanwhile will not come
			err = w.ask(ctx)
		}
		if err != nil {
			return err
		}
		if w.count == before.Count && slices.Equal(w.users, before.Users) {
			continue
		}
		if !yield(w.members()) {
			return nil
		}
	}
	return nil
}

// presenceChange is the payload of a change ([PRE-3]). Without the lists there were too many to be named.
type presenceChange struct {
	Count  int       `msgpack:"count"`
	Joined *[]string `msgpack:"joined"`
	Left   *[]string `msgpack:"left"`
}

// change applies a change, and asks if it does not name the users, or that does not give as many as it says.
func (w *watch) change(ctx context.Context, m *Message) error {
	var p presenceChange
	if err := m.Decode(&p); err != nil {
		return w.ask(ctx)
	}
	if p.Count > protocol.MaxUsers {
		w.count, w.users = p.Count, nil
		return nil
	}
	if p.Joined == nil || p.Left == nil || w.count != len(w.users) {
		return w.ask(ctx)
	}
	for _, u := range *p.Left {
		if i, found := slices.BinarySearch(w.users, u); found {
			w.users = slices.Delete(w.users, i, i+1)
		}
	}
	for _, u := range *p.Joined {
		if i, found := slices.BinarySearch(w.users, u); !found {
			w.users = slices.Insert(w.users, i, u)
		}
	}
	if w.count = len(w.users); w.count != p.Count {
		return w.ask(ctx)
	}
	return nil
}

// ask asks who is there, again when that was too soon after others, or nobody could tell.
func (w *watch) ask(ctx context.Context) error {
	delays := backoff{base: w.c.opt.base, cap: w.c.opt.cap, rand: w.c.opt.rand}
	for {
		m, err := w.c.Presence(ctx, w.topic)
		if err == nil {
			w.count, w.users = m.Count, m.Users
			return nil
		}
		refusal, refused := errors.AsType[*Error](err)
		if !refused || !refusal.Code.Retry() {
			return err
		}
		select {
		case <-time.After(refusal.RetryAfter + delays.next()):
		case <-w.c.done:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
