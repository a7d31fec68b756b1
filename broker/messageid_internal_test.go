package broker

import (
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/protocol"
)

// BenchmarkMessageID is what a message id costs the publish: one that is new, by several publishers at once.
func BenchmarkMessageID(b *testing.B) {
	t := newMessageIDs(Unlimited)
	var n atomic.Uint64
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		r := PublishRequest{Topic: "orders.eu.42", Payload: make([]byte, 128)}
		p := &publication{message: message{seq: 7}}
		id := []byte("01J9ZK3V7Q8M2N4P5R6S00000000000000000000")
		for pb.Next() {
			r.MessageID = string(strconv.AppendUint(id[:20], n.Add(1), 16))
			key, _, _, err := t.begin("ann", &r, time.Now(), nil)
			if err != nil {
				b.Fatal(err)
			}
			p.messageKey = key
			t.answered(p, protocol.Published{}, nil)
		}
	})
}

// A publish with a message id allocates nothing for it but the table.
func TestAMessageIDAllocatesNothing(t *testing.T) {
	b, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	b.Start()
	defer b.Close()
	perPublish := func(ids func() string) float64 {
		r := PublishRequest{Topic: "a.b", Payload: make([]byte, 128)}
		return testing.AllocsPerRun(2000, func() {
			r.MessageID = ids()
			if _, _, err := b.publish(Everybody(), &r, nil); err != nil {
				t.Fatal(err)
			}
		})
	}
	ids := make([]string, 3000)
	for i := range ids {
		ids[i] = strconv.Itoa(i)
	}
	next := func() string {
		id := ids[0]
		ids = ids[1:]
		return id
	}
	for range 100 { // the first ones grow what is kept
		if _, _, _, err := b.messageIDs.begin("", &PublishRequest{MessageID: next()}, time.Now(), nil); err != nil {
			t.Fatal(err)
		}
	}
	without, with := perPublish(func() string { return "" }), perPublish(next)
	t.Logf("%v allocations without an id, %v with one", without, with)
	if with > without {
		t.Errorf("found %v allocations for a publish with an id, %v without", with, without)
	}
}
