package carillon_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	carillon "github.com/carillon-mq/carillon/sdk/go"
)

type Order struct {
	ID    int `msgpack:"id"`
	Total int `msgpack:"total"`
}

func ExampleDial() {
	ctx := context.Background()
	fetch := func(context.Context, carillon.TokenRequest) (string, error) { return "a token of your issuer", nil }
	c, err := carillon.Dial(ctx, "wss://broker.example/ws", carillon.WithTokenFunc(fetch))
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close(ctx)
}

func ExampleClient_Publish() {
	ctx := context.Background()
	c, err := carillon.Dial(ctx, "ws://127.0.0.1:8080/ws")
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close(ctx)

	ack, err := c.Publish(ctx, "orders.42", Order{ID: 42, Total: 5}, carillon.Retain())
	switch {
	case errors.Is(err, carillon.ErrForbidden):
		log.Print("this token may not publish there")
	case errors.Is(err, carillon.ErrUnknownOutcome):
		log.Print("it may have been published, or not")
	case err != nil:
		log.Print(err)
	default:
		fmt.Println(ack.Durability)
	}
}

func ExampleSubscription_Messages() {
	ctx := context.Background()
	c, err := carillon.Dial(ctx, "ws://127.0.0.1:8080/ws")
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close(ctx)

	for m, err := range c.Subscribe("orders.*").Messages(ctx) {
		if gap, ok := errors.AsType[*carillon.GapError](err); ok {
			fmt.Println("missing:", gap.Count, gap.Reason)
			continue
		}
		if err != nil {
			log.Fatal(err) // refused, or the client has ended
		}
		var o Order
		if err := m.Decode(&o); err != nil {
			log.Print(err)
		}
		fmt.Println(m.Topic, o.Total, m.Retained)
	}
}

// A publish that got no answer is repeated with its id: the broker applies it once.
func ExampleID() {
	ctx := context.Background()
	c, err := carillon.Dial(ctx, "ws://127.0.0.1:8080/ws")
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close(ctx)

	for {
		ack, err := c.Publish(ctx, "orders.42", Order{ID: 42, Total: 5}, carillon.ID("order-42-paid"))
		if err == nil {
			fmt.Println(ack.Duplicate) // it had been applied before
			return
		}
		if !carillon.Retryable(err) {
			log.Fatal(err)
		}
	}
}

// A service that replies, and who asks it.
func ExampleClient_Request() {
	ctx := context.Background()
	c, err := carillon.Dial(ctx, "ws://127.0.0.1:8080/ws")
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close(ctx)

	go func() {
		for m, err := range c.Subscribe("rpc.double", carillon.NoRetained()).Messages(ctx) {
			if err != nil {
				return
			}
			var n int
			if err := m.Decode(&n); err != nil || m.ReplyTo() == "" {
				continue
			}
			if _, err := c.Reply(ctx, m, 2*n); err != nil && !errors.Is(err, carillon.ErrNotFound) {
				log.Print(err)
			}
		}
	}()

	asking, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	reply, err := c.Request(asking, "rpc.double", 21)
	switch {
	case errors.Is(err, carillon.ErrNoResponder):
		log.Print("the service is not there")
	case errors.Is(err, carillon.ErrUnknownOutcome):
		log.Print("it may have been done, or not")
	case err != nil:
		log.Print(err)
	default:
		var n int
		if err := reply.Decode(&n); err != nil {
			log.Print(err)
		}
		fmt.Println(n)
	}
}

// A change that the page shows already goes to everybody but the page itself, and is worth nothing after a minute.
func ExampleExcludeSelf() {
	ctx := context.Background()
	c, err := carillon.Dial(ctx, "ws://127.0.0.1:8080/ws")
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close(ctx)

	if _, err := c.Publish(ctx, "doc.7.cursor", 42, carillon.ExcludeSelf(), carillon.TTL(time.Minute)); err != nil {
		log.Print(err)
	}
}

// Who is in a room, as it changes, while being there.
func ExampleClient_WatchPresence() {
	ctx := context.Background()
	c, err := carillon.Dial(ctx, "ws://127.0.0.1:8080/ws", carillon.WithToken("a token of a user"))
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close(ctx)

	there := c.Subscribe("room.7", carillon.Join())
	defer there.Close()
	for who, err := range c.WatchPresence(ctx, "room.7") {
		if err != nil {
			log.Fatal(err) // refused, or the client has ended
		}
		fmt.Println(who.Count, who.Users)
	}
}

// Everything that is kept, page by page, and then what follows, without a hole between.
func ExampleClient_History() {
	ctx := context.Background()
	c, err := carillon.Dial(ctx, "ws://127.0.0.1:8080/ws")
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close(ctx)

	var cursor carillon.Cursor
	for more := true; more; {
		page, err := c.History(ctx, "orders.*", carillon.After(cursor))
		if err != nil {
			log.Fatal(err)
		}
		for _, m := range page.Messages {
			fmt.Println(m.Topic, m.Time)
		}
		cursor, more = page.Cursor, page.More
	}
	for m, err := range c.Subscribe("orders.*", carillon.From(cursor), carillon.NoRetained()).Messages(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(m.Topic, m.Time)
	}
}

// A page of figures needs no value that is old already.
func ExampleLatest() {
	ctx := context.Background()
	c, err := carillon.Dial(ctx, "ws://127.0.0.1:8080/ws")
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close(ctx)

	for m, err := range c.Subscribe("sensors.>", carillon.Latest(), carillon.MaxRate(20)).Messages(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(m.Topic, string(m.Payload))
	}
}

// A program that keeps the cursor goes on where it was after it was started again.
func ExampleFrom() {
	ctx := context.Background()
	c, err := carillon.Dial(ctx, "ws://127.0.0.1:8080/ws")
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close(ctx)

	var cursor carillon.Cursor // from where it was kept
	for e, err := range c.Subscribe("orders.*", carillon.From(cursor)).Events(ctx) {
		switch e := e.(type) {
		case *carillon.Message:
			fmt.Println(e.Topic)
			if next := e.Cursor(); next != "" { // none from the middle of a snapshot
				cursor = next
			}
		case *carillon.SnapshotEnd:
			cursor = e.Cursor // everything retained is known now
		case *carillon.GapError:
			fmt.Println("missing:", e.Count, e.Reason)
		case nil:
			log.Fatal(err)
		}
	}
}
