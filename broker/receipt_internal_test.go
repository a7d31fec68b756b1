package broker

import (
	"runtime"
	"testing"
	"time"
	"weak"

	"github.com/carillon-mq/carillon/protocol"
)

// heard is who is answered.
type heard struct{ told chan protocol.Published }

func (h *heard) reply(_ uint64, ack protocol.Published, _ *protocol.Error) { h.told <- ack }

// A message in the log keeps nothing of who has published it, its session among that, also when it asked for its receivers.
func TestTheLogKeepsNothingOfAPublisher(t *testing.T) {
	b, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	b.Start()
	defer b.Close()
	publish := func() weak.Pointer[heard] {
		h := &heard{told: make(chan protocol.Published, 1)}
		r := PublishRequest{Topic: "a", Receivers: true}
		if _, answered, err := b.publish(Everybody(), &r, time.Now(), reply{to: h}); answered || err != nil {
			t.Fatalf("found it answered at once: %t, %v", answered, err)
		}
		if ack := <-h.told; ack.Seq != 1 || ack.Receivers != 0 {
			t.Fatalf("found %+v", ack)
		}
		return weak.Make(h)
	}
	publisher := publish()
	for range 100 {
		if runtime.GC(); publisher.Value() == nil {
			break
		}
	}
	at, _ := b.ring.Seek(1)
	if e := at.Next(); e == nil || e.Receipt() == nil {
		t.Fatal("found the message not in the log any more")
	}
	if publisher.Value() != nil {
		t.Error("found the publisher kept by its message in the log")
	}
}
