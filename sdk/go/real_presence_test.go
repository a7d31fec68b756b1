package carillon_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/broker"
	carillon "github.com/carillon-mq/carillon/sdk/go"
)

// asUser takes a token for the name of a user, who may do everything.
type asUser struct{}

func (asUser) Authenticate(_ context.Context, c broker.Credentials) (*broker.Identity, error) {
	id := broker.Everybody()
	id.User = c.Token
	return id, nil
}

// [PRE-1] to [PRE-5]: who is there, asked for once and watched, while users come, go, and are cut.
func TestPresenceWithARealBroker(t *testing.T) {
	b := startBroker(t, broker.Options{Authenticator: asUser{}})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	watching := b.throughProxy(t, carillon.WithToken("watcher"))
	pictures := make(chan string, 100)
	watched := make(chan error, 1)
	go func() {
		for m, err := range watching.WatchPresence(ctx, "room.7") {
			if err != nil {
				watched <- err
				return
			}
			pictures <- fmt.Sprint(m.Count, m.Users)
		}
		watched <- nil
	}()
	until := func(want string) {
		t.Helper()
		for {
			select {
			case got := <-pictures:
				if got == want {
					return
				}
			case err := <-watched:
				t.Fatalf("the watch ended (%v) before %q", err, want)
			}
		}
	}
	until("0 []")
	join := func(user string) *carillon.Client {
		c := dial(t, b.url, carillon.WithToken(user))
		subscribe(t, c, "room.7", carillon.Join(), carillon.NoRetained())
		return c
	}
	ann, _ := join("ann"), join("ann")
	bob := join("bob")
	until("2 [ann bob]")
	if m, err := bob.Presence(ctx, "room.7"); err != nil || fmt.Sprint(m) != "{2 [ann bob]}" {
		t.Errorf("got %v, %v, want ann and bob", m, err)
	}
	if err := ann.Close(ctx); err != nil { // she is there a second time
		t.Error(err)
	}
	b.proxy.Cut() // what happens meanwhile is in the next picture
	if err := bob.Close(ctx); err != nil {
		t.Error(err)
	}
	join("cid")
	until("2 [ann cid]")
	cancel()
	if err := <-watched; err != nil {
		t.Error(err)
	}
}

func TestPresenceThatIsRefusedByARealBroker(t *testing.T) {
	b := startBroker(t, broker.Options{})
	c := dial(t, b.url)
	err := c.Subscribe("room.7", carillon.Join()).Ready(t.Context())
	if !errors.Is(err, carillon.ErrForbidden) {
		t.Errorf("got %v, want forbidden: nobody is nobody", err)
	}
}

// [PUB-14]: what a client publishes can be kept from it, on all its connections, by itself and by its service.
func TestExcludedOriginsWithARealBroker(t *testing.T) {
	b := startBroker(t, broker.Options{})
	me, service := b.throughProxy(t), dial(t, b.url)
	mine, others := subscribe(t, me, "a", carillon.NoRetained()), subscribe(t, service, "a", carillon.NoRetained())
	for i := 1; i <= 6; i++ {
		var err error
		switch i % 3 {
		case 1:
			_, err = me.Publish(t.Context(), "a", fmt.Sprint(i), carillon.ExcludeSelf())
		case 2:
			_, err = service.Publish(t.Context(), "a", fmt.Sprint(i), carillon.Exclude(me.Origin()))
		default:
			_, err = service.Publish(t.Context(), "a", fmt.Sprint(i))
			b.proxy.Cut() // the next ones are replayed, to the same origin
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if got := receiveUntil(t, mine, 6); len(got.gaps) > 0 || fmt.Sprint(got.numbers) != "[3 6]" {
		t.Errorf("the client got %v and %d gaps, want 3 and 6", got.numbers, len(got.gaps))
	}
	receiveUntil(t, others, 6).exactly(t, 6)
}

// [REC-4], [SUB-13]: many subscriptions over cuts, each of them with everything.
func TestManySubscriptionsOverCutsWithARealBroker(t *testing.T) {
	b := startBroker(t, broker.Options{})
	c := b.throughProxy(t)
	var subs []*carillon.Subscription
	for range 50 {
		subs = append(subs, c.Subscribe("a", carillon.NoRetained()))
	}
	for _, s := range subs {
		if err := s.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 5 {
		b.proxy.Cut()
		b.publishNumbers(t, 10*i+1, 10*i+10, 0)
	}
	for _, s := range subs {
		receiveUntil(t, s, 50).exactly(t, 50)
	}
}
