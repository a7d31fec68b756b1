package carillon_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/brokertest/faultproxy"
	"github.com/carillon-mq/carillon/broker/ws"
	"github.com/carillon-mq/carillon/protocol"
	carillon "github.com/carillon-mq/carillon/sdk/go"
)

// realBroker is a broker on a port, and a proxy in front of it that can break connections.
type realBroker struct {
	broker *broker.Broker
	url    string // past the proxy
	proxy  *faultproxy.Proxy
}

func startBroker(t *testing.T, opt broker.Options) *realBroker {
	t.Helper()
	b, err := broker.New(opt)
	if err != nil {
		t.Fatal(err)
	}
	b.Start()
	h := ws.New(b, ws.Options{})
	srv := httptest.NewServer(h)
	p, err := faultproxy.New(srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Close()
		b.Close()
		srv.Close()
		h.Wait()
	})
	return &realBroker{broker: b, url: strings.Replace(srv.URL, "http", "ws", 1), proxy: p}
}

// throughProxy dials a client that comes back quickly.
func (b *realBroker) throughProxy(t *testing.T, opts ...carillon.Option) *carillon.Client {
	t.Helper()
	return dial(t, "ws://"+b.proxy.Addr(), append([]carillon.Option{carillon.WithBackoff(time.Millisecond, 20*time.Millisecond)}, opts...)...)
}

func dial(t *testing.T, url string, opts ...carillon.Option) *carillon.Client {
	t.Helper()
	c, err := carillon.Dial(t.Context(), url, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		c.Close(ctx)
	})
	return c
}

func subscribe(t *testing.T, c *carillon.Client, filter string, opts ...carillon.SubscribeOption) *carillon.Subscription {
	t.Helper()
	s := c.Subscribe(filter, opts...)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := s.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	return s
}

// publishNumbers publishes from..to to the topic a, in order, many at a time.
func publishNumbers(t *testing.T, c *carillon.Client, from, to, pad int) {
	t.Helper()
	var last *carillon.Publishing
	for i := from; i <= to; i++ {
		p, err := c.PublishAsync(t.Context(), "a", fmt.Sprint(i)+strings.Repeat(" ", pad))
		if err != nil {
			t.Fatal(err)
		}
		last = p
	}
	if _, err := last.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// publishNumbers publishes from..to to the topic a without a connection, which a loaded machine could make the broker give up.
func (b *realBroker) publishNumbers(t *testing.T, from, to, pad int) {
	t.Helper()
	for i := from; i <= to; i++ {
		r := broker.PublishRequest{Topic: "a", Payload: []byte(fmt.Sprint(i) + strings.Repeat(" ", pad)), ContentType: "text/plain"}
		if _, err := b.broker.Publish(t.Context(), broker.Everybody(), r); err != nil {
			t.Fatal(err)
		}
	}
}

// received is what a subscription was given: numbers and gaps, in order.
type received struct {
	numbers []int
	gaps    []*carillon.GapError
}

// receiveUntil takes messages until the number last.
func receiveUntil(t *testing.T, s *carillon.Subscription, last int) (r received) {
	t.Helper()
	return receive(t, s, last, func() {})
}

// receive is receiveUntil that calls live whenever the subscription is.
func receive(t *testing.T, s *carillon.Subscription, last int, live func()) (r received) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for e, err := range s.Events(ctx) {
		switch e := e.(type) {
		case *carillon.Resumed:
			live()
		case *carillon.GapError:
			r.gaps = append(r.gaps, e)
		case *carillon.Message:
			n, err := strconv.Atoi(strings.TrimSpace(string(e.Payload)))
			if err != nil {
				t.Error(err)
				return r
			}
			if r.numbers = append(r.numbers, n); n == last {
				return r
			}
		case nil:
			t.Error(err)
			return r
		}
	}
	t.Errorf("the iteration ended after %d messages", len(r.numbers))
	return r
}

// exactly fails the test unless r is 1..to, each once, in order, and no gap.
func (r received) exactly(t *testing.T, to int) {
	t.Helper()
	if len(r.gaps) > 0 {
		t.Errorf("%d gaps, the first: %v", len(r.gaps), r.gaps[0])
	}
	for i, n := range r.numbers {
		if n != i+1 {
			t.Fatalf("message %d is %d, want %d", i, n, i+1)
		}
	}
	if len(r.numbers) != to {
		t.Errorf("%d messages, want %d", len(r.numbers), to)
	}
}

func TestPublishSubscribeAndRetainWithARealBroker(t *testing.T) {
	b := startBroker(t, broker.Options{})
	c := dial(t, b.url)
	ack, err := c.Publish(t.Context(), "orders.1", order{5}, carillon.Retain(), carillon.Header("k", "v"))
	if err != nil || ack.Seq == 0 {
		t.Fatalf("%+v, %v", ack, err)
	}
	orders(t, c.Subscribe("orders.*"), 1) // as a retained message or from the log: the broker has passed it now
	live := subscribe(t, c, "orders.2", carillon.NoRetained())
	sub := subscribe(t, c, "orders.*")
	ack, err = c.Publish(t.Context(), "orders.2", carillon.JSON(order{6}), carillon.WantReceivers())
	if err != nil || ack.Receivers < 1 {
		t.Fatalf("%+v, %v, want a receiver", ack, err)
	}
	if got, want := orders(t, live, 1)[0], "orders.2 6"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := orders(t, sub, 2), []string{"orders.1 5 retained", "orders.2 6"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if _, err := c.Publish(t.Context(), "$sys.x", 1); !errors.Is(err, carillon.ErrForbidden) {
		t.Errorf("got %v, want forbidden", err)
	}
}

type order struct{ Total int }

// orders takes n orders.
func orders(t *testing.T, s *carillon.Subscription, n int) (got []string) {
	t.Helper()
	for m, err := range s.Messages(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		var o order
		if err := m.Decode(&o); err != nil {
			t.Fatal(err)
		}
		text := fmt.Sprint(m.Topic, " ", o.Total)
		if m.Retained {
			text += " retained"
		}
		if got = append(got, text); len(got) == n {
			break
		}
	}
	return got
}

// A consumer that is much slower than the stream gets all of it, and holds nobody up.
func TestSlowConsumerGetsEverythingAndHoldsNobodyUp(t *testing.T) {
	const total = 5000
	b := startBroker(t, broker.Options{})
	c := dial(t, b.url, carillon.WithBuffer(100, 1<<20))
	slow := subscribe(t, c, "a", carillon.NoRetained())
	fast := subscribe(t, c, "a", carillon.NoRetained())
	var reading sync.WaitGroup
	reading.Go(func() { receiveUntil(t, fast, total).exactly(t, total) })
	publishNumbers(t, c, 1, total, 0)
	reading.Wait()
	receiveUntil(t, slow, total).exactly(t, total)
}

func TestExpiredTokenLosesNothing(t *testing.T) {
	b := startBroker(t, broker.Options{
		Authenticator: shortLived{}, ExpiryLeeway: time.Nanosecond, PingEvery: 50 * time.Millisecond,
	})
	var tokens sync.Mutex
	asked := 0
	c := b.throughProxy(t, carillon.WithTokenFunc(func(context.Context, carillon.TokenRequest) (string, error) {
		tokens.Lock()
		defer tokens.Unlock()
		asked++
		return fmt.Sprint("token", asked), nil
	}))
	sub := subscribe(t, c, "a", carillon.NoRetained())
	pub := dial(t, b.url, carillon.WithToken("long"))
	done := make(chan received, 1)
	go func() { done <- receiveUntil(t, sub, 1000) }()
	for n := 0; ; n++ {
		tokens.Lock()
		enough := asked > 3
		tokens.Unlock()
		if enough {
			publishNumbers(t, pub, n+1, 1000, 0)
			break
		}
		publishNumbers(t, pub, n+1, n+1, 0)
		select {
		case <-time.After(5 * time.Millisecond):
		case <-t.Context().Done():
			t.Fatal("the token was not asked for again")
		}
	}
	r := <-done
	r.exactly(t, 1000)
}

// shortLived takes any token; those that do not say long are good for 100 ms.
type shortLived struct{}

func (shortLived) Authenticate(_ context.Context, c broker.Credentials) (*broker.Identity, error) {
	id := broker.Everybody()
	if c.Token != "long" {
		id.Expires = time.Now().Add(100 * time.Millisecond)
	}
	return id, nil
}

func TestRefusedTokenIsDialsError(t *testing.T) {
	b := startBroker(t, broker.Options{Authenticator: refusing{}})
	_, err := carillon.Dial(t.Context(), b.url, carillon.WithToken("x"), carillon.WithDialRetry())
	if e, ok := errors.AsType[*carillon.Error](err); !ok || e.Code != protocol.CodeTokenBadSignature {
		t.Errorf("got %v, want token_bad_signature", err)
	}
}

type refusing struct{}

func (refusing) Authenticate(context.Context, broker.Credentials) (*broker.Identity, error) {
	return nil, protocol.Errorf(protocol.CodeTokenBadSignature, "found another key")
}

func TestManyGoroutinesPublishAtOnce(t *testing.T) {
	b := startBroker(t, broker.Options{})
	c := dial(t, b.url)
	sub := subscribe(t, c, "n.*", carillon.NoRetained())
	var publishing sync.WaitGroup
	for g := range 20 {
		publishing.Go(func() {
			for i := range 50 {
				if _, err := c.Publish(t.Context(), fmt.Sprintf("n.%d", g), i); err != nil {
					t.Error(err)
				}
			}
		})
	}
	next := make(map[string]int)
	n := 0
	for m, err := range sub.Messages(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		var i int
		if err := m.Decode(&i); err != nil || i != next[m.Topic] {
			t.Fatalf("%s: got %d (%v), want %d", m.Topic, i, err, next[m.Topic])
		}
		next[m.Topic]++
		if n++; n == 1000 {
			break
		}
	}
	publishing.Wait()
}
