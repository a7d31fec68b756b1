package broker

import (
	"testing"

	"github.com/carillon-mq/carillon/broker/internal/ring"
	"github.com/carillon-mq/carillon/protocol"
)

// P6, R2: a request takes effect at its place in the log; a reader that is near is taken back before the shard moves on.
func TestARequestWaitsForItsPlaceAndAReaderDoesNot(t *testing.T) {
	b, err := New(Options{Shards: 1})
	if err != nil {
		t.Fatal(err)
	}
	publish := func(n int) {
		for range n {
			m := ring.NewMessage(&protocol.Message{Topic: "a"})
			b.append(&m)
		}
	}
	sh := b.shards[0]
	var ran []string
	publish(300)
	head := b.ring.Last()
	sh.post(func() { ran = append(ran, "request") })
	publish(300)
	sh.urge(func() { ran = append(ran, "reader") })
	if upTo := sh.runPosts(head); upTo != 300 || len(ran) != 1 || ran[0] != "reader" {
		t.Fatalf("found %v run, and the way free up to %d; wanted the reader, and 300", ran, upTo)
	}
	sh.tail(300)
	sh.tail(300)
	sh.urge(func() { ran = append(ran, "reader") })
	if upTo := sh.runPosts(b.ring.Last()); upTo != 600 || sh.next != 301 || len(ran) != 3 || ran[2] != "request" {
		t.Fatalf("found %v run at %d, and the way free up to %d; wanted the request at 301, and 600", ran, sh.next, upTo)
	}
	sh.urge(func() {})
	if sh.tail(600); sh.next != 301 {
		t.Errorf("found the shard at %d, wanted it to look at the reader first", sh.next)
	}
}
