package bench

import (
	"context"
	"testing"

	"github.com/carillon-mq/carillon/cmd/carillon/internal/bench/floor"
	"github.com/carillon-mq/carillon/protocol"
)

// A subscriber of the floor that reads nothing for a while gets everything all the same, in order, while another is not held up.
func TestTheFloorServesWhoWasSlow(t *testing.T) {
	addr := make(chan string, 1)
	go func() { // a floor ends with its process
		if err := floor.Serve(func(a string) { addr <- a }); err != nil {
			t.Error(err)
		}
	}()
	server := Server{URL: "ws://" + <-addr + "/"}
	conns, err := connectAll(t.Context(), server, Floor{}, 3, func(int) string { return "t" }, 512)
	defer closeAll(conns)
	if err != nil {
		t.Fatal(err)
	}
	publish := func(from, to uint64, size int) func(context.Context) error {
		return func(ctx context.Context) error {
			c, err := dial(ctx, server, Floor{}, 512)
			if err != nil {
				return err
			}
			defer closeAll([]*conn{c})
			for i := from; i < to; i++ {
				if err := c.ask(Floor{}.Publish(nil, &protocol.Publish{ID: 1, Topic: "t", Payload: numbered(i, 0, size)})); err != nil {
					return err
				}
			}
			return nil
		}
	}
	read := func(conns []*conn, n int) func(context.Context) error {
		return (&pump{conns: conns, got: until(n)}).run
	}
	const many = 4000
	if err := together(t.Context(), read(conns[1:], many), publish(0, many, 8<<10)); err != nil { // more than sockets hold
		t.Fatal(err)
	}
	if err := read(conns[:1], many)(t.Context()); err != nil {
		t.Fatal("the slow one:", err)
	}
	if err := together(t.Context(), read(conns, many+10), publish(many, many+10, 64)); err != nil {
		t.Error("all together again:", err)
	}
}
