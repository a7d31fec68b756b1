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

// R4: the count of a very large ring is given up before the bound of what a session holds, and told as unknown only where it is.
func TestTheCountsOfALaggingSessionAreBounded(t *testing.T) {
	filled := func() *lag {
		l := &lag{next: 1}
		for chunk := range uint64(2*maxCounts + 10) {
			for i := range uint64(3) {
				l.count(&ring.Entry{Seq: 256*chunk + i + 1, Chunk: 256*chunk + 1})
			}
		}
		return l
	}
	if l := filled(); len(l.counts) > maxCounts {
		t.Fatalf("found %d counts, the bound is %d", len(l.counts), maxCounts)
	}
	if got := filled().lost(256*100+1, 0).count(); got != -1 {
		t.Errorf("found %d lost inside what was merged, wanted it unknown", got)
	}
	l := filled()
	merged := l.merged
	l.dropBefore(merged + 1) // read
	if got := l.lost(merged+256*10+1, 0).count(); got != 3*9 && got != 3*10 {
		t.Errorf("found %d lost behind what was merged, wanted it exact", got)
	}
	if got := l.lost(1, 0).count(); got != 0 {
		t.Errorf("found %d lost twice", got)
	}
}
