package carillon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/carillon-mq/carillon/protocol"
)

// [PRE-1]: joining is an option of a subscription, over all connections.
func TestJoin(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		c, fc := b.dial(at(5, 0))
		c.Subscribe("room.7", Join(), NoRetained())
		p := expect[*protocol.Subscribe](fc)
		fc.send(&protocol.Subscribed{ID: p.ID, Position: at(5, 0)})
		synctest.Wait()
		fc.cut()
		again := expect[*protocol.Subscribe](b.resume(at(5, 0)))
		if !p.Join || !again.Join {
			t.Errorf("joined %v, and after a cut %v, want both", p.Join, again.Join)
		}
		if err := c.Subscribe("room.*", Join()).Ready(t.Context()); !errors.Is(err, &Error{Code: protocol.CodeBadArgs}) {
			t.Errorf("joining a filter: got %v, want bad_args", err)
		}
	})
}

// [PRE-4]
func TestPresence(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		c, fc := b.dial(at(5, 0))
		type result struct {
			m   Members
			err error
		}
		ask := func(topic string) chan result {
			done := make(chan result, 1)
			go func() {
				m, err := c.Presence(t.Context(), topic)
				done <- result{m, err}
			}()
			return done
		}
		done := ask("room.7")
		if p := expect[*protocol.Presence](fc); p.Topic != "room.7" {
			t.Errorf("asked for %q, want room.7", p.Topic)
		}
		fc.cut() // it is asked again
		fc = b.resume(at(5, 0))
		fc.send(&protocol.Presences{ID: expect[*protocol.Presence](fc).ID, Count: 2, Users: []string{"ann", "bob"}})
		if r := <-done; r.err != nil || r.m.Count != 2 || !slices.Equal(r.m.Users, []string{"ann", "bob"}) {
			t.Errorf("got %+v, want ann and bob", r)
		}
		done = ask("room.7")
		fc.send(&protocol.Presences{ID: expect[*protocol.Presence](fc).ID, Count: 1001})
		if r := <-done; r.err != nil || r.m.Count != 1001 || r.m.Users != nil {
			t.Errorf("got %+v, want a number alone", r)
		}
		done = ask("room.8")
		fc.send(&protocol.ErrorPacket{ID: expect[*protocol.Presence](fc).ID, Code: protocol.CodeForbidden})
		if r := <-done; !errors.Is(r.err, ErrForbidden) {
			t.Errorf("got %v, want forbidden", r.err)
		}
		if _, err := c.Presence(t.Context(), "room.*"); !errors.Is(err, ErrBadTopic) {
			t.Errorf("got %v, want bad_topic", err)
		}
	})
}

// watcher iterates over who is in room.7 and keeps every picture as text.
func watcher(t *testing.T, c *Client) *reader {
	ctx, cancel := context.WithCancel(t.Context())
	r := &reader{t: t, steps: make(chan string, 100), stop: cancel}
	var done sync.WaitGroup
	done.Go(func() {
		for m, err := range c.WatchPresence(ctx, "room.7") {
			if err != nil {
				r.steps <- describe(nil, err)
				continue
			}
			r.steps <- fmt.Sprint(m.Count, m.Users)
		}
		r.steps <- "end"
	})
	t.Cleanup(func() {
		cancel()
		done.Wait()
	})
	return r
}

// present answers the next question with these users.
func (fc *fakeConn) present(users ...string) {
	fc.t.Helper()
	fc.send(&protocol.Presences{ID: expect[*protocol.Presence](fc).ID, Count: uint64(len(users)), Users: users})
}

// change is a message of who came and went.
func change(t *testing.T, v map[string]any) *protocol.Message {
	t.Helper()
	b, err := msgpack.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return &protocol.Message{Topic: "$presence.room.7", Payload: b, Time: 1000}
}

type who = []string

// [PRE-3], [PRE-5]: the picture is asked for behind the subscription, and changes are applied to it.
func TestWatchPresenceAppliesChanges(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		c, fc := b.dial(at(5, 0))
		r := watcher(t, c)
		p := expect[*protocol.Subscribe](fc)
		if p.Filter != "$presence.room.7" || !p.NoRetained {
			t.Errorf("subscribed with %+v, want the changes", p)
		}
		fc.quiet() // it asks when the changes come
		// A change that is in the answer already changes nothing.
		fc.send(&protocol.Subscribed{ID: p.ID, Position: at(5, 0)}, change(t, map[string]any{"count": 2, "joined": who{"ann"}, "left": who{}}))
		fc.present("ann", "bob")
		r.next("2 [ann bob]")
		fc.send(change(t, map[string]any{"count": 2, "joined": who{"al", "zoe"}, "left": who{"ann", "bob"}}))
		r.next("2 [al zoe]")
		fc.send(change(t, map[string]any{"count": 0, "joined": who{}, "left": who{"al", "zoe"}, "later": 1}))
		r.next("0 []")
		fc.send(change(t, map[string]any{"count": 1, "joined": who{"ann"}, "left": who{}}))
		r.next("1 [ann]")
		fc.quiet()
		r.stop()
		r.next("end")
		expect[*protocol.Unsubscribe](fc)
	})
}

// What does not add up, is not told by name, or may have been missed is asked for again.
func TestWatchPresenceAsksAgain(t *testing.T) {
	gap := &protocol.Gap{Reason: protocol.GapLive, To: at(6, 0), Count: -1}
	tests := []struct {
		name string
		send protocol.Packet
	}{
		{"one that came before it is missing", change(t, map[string]any{"count": 4, "joined": who{"dan"}, "left": who{}})},
		{"without names, with another number", change(t, map[string]any{"count": 3})},
		{"without names, with the same number", change(t, map[string]any{"count": 2})},
		{"not readable", &protocol.Message{Topic: "$presence.room.7", Payload: []byte{0xc1}, Time: 1}},
		{"a gap", gap},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *fakeBroker) {
				c, fc := b.dial(at(5, 0))
				r := watcher(t, c)
				fc.live("$presence.room.7", at(5, 0))
				fc.present("ann", "bob")
				r.next("2 [ann bob]")
				fc.send(test.send)
				fc.present("ann", "cid", "dan")
				r.next("3 [ann cid dan]")
				fc.quiet()
			})
		})
	}
}

// More than 1,000 are known by their number alone, until there are fewer.
func TestWatchPresenceOfManyMembers(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		c, fc := b.dial(at(5, 0))
		r := watcher(t, c)
		fc.live("$presence.room.7", at(5, 0))
		fc.present("ann", "bob")
		r.next("2 [ann bob]")
		fc.send(change(t, map[string]any{"count": 1001}), change(t, map[string]any{"count": 1002}))
		r.next("1001 []", "1002 []")
		fc.quiet()
		fc.send(change(t, map[string]any{"count": 1000}))
		fc.present("cid")
		r.next("1 [cid]")
	})
}

// [PRE-5]: after a cut the picture is a new one, and refusals that may pass are waited for.
func TestWatchPresenceOverACut(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		c, fc := b.dial(at(5, 0))
		r := watcher(t, c)
		fc.live("$presence.room.7", at(5, 0))
		fc.present("ann")
		r.next("1 [ann]")
		fc.cut()
		fc = b.resume(at(9, 0))
		id := fc.resumes("$presence.room.7", at(5, 0))
		fc.send(&protocol.Resumed{Subscription: id, Position: at(9, 0)})
		began := time.Now()
		fc.send(&protocol.ErrorPacket{ID: expect[*protocol.Presence](fc).ID, Code: protocol.CodeRateLimited, RetryAfter: time.Second})
		fc.present("bob")
		r.next("1 [bob]")
		if waited := time.Since(began); waited < time.Second {
			t.Errorf("asked again after %v, want a second", waited)
		}
		fc.send(change(t, map[string]any{"count": 7}))
		fc.send(&protocol.ErrorPacket{ID: expect[*protocol.Presence](fc).ID, Code: protocol.CodeForbidden})
		r.next("error forbidden", "end")
	})
}

func TestWatchPresenceThatIsRefused(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		c, fc := b.dial(at(5, 0))
		r := watcher(t, c)
		fc.send(&protocol.ErrorPacket{ID: expect[*protocol.Subscribe](fc).ID, Code: protocol.CodeForbidden})
		r.next("error forbidden", "end")
		fc.quiet()
	})
}
