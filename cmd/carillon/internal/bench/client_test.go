package bench

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/cmd/carillon/internal/bench/floor"
	"github.com/carillon-mq/carillon/protocol"
)

func TestNumbersAreReadBack(t *testing.T) {
	for _, size := range []int{0, minNumbered, minNumbered + 1, 128, 64 << 10} {
		b := numbered(7, 12345, size)
		if len(b) != max(size, minNumbered) {
			t.Errorf("found %d bytes, wanted %d", len(b), size)
		}
		if n, due, ok := numberAt(b); n != 7 || due != 12345 || !ok {
			t.Errorf("%d bytes: found %d, %d, %v", size, n, due, ok)
		}
		if _, _, ok := numberAt(b[:minNumbered-1]); ok {
			t.Errorf("%d bytes: found a number in too little", size)
		}
	}
}

// messages are packets as the broker sends them, numbered from from to to, from sequence number seq on.
func messages(from, to int, seq uint64) (b []byte) {
	for n := from; n < to; n++ {
		b = (&protocol.Message{Seq: seq, Topic: "a.b", Payload: numbered(uint64(n), 5, 128), Time: 1767225600000}).Append(b)
		seq++
	}
	return b
}

func TestMessagesAreCountedWhateverTheirSequenceNumbers(t *testing.T) {
	o := &order{times: &times{now: 2_000_005, each: newHistogram(), last: make([]int64, 10)}}
	const seq = 1<<16 - 500 // it gets longer on the way
	msg := append((&protocol.Published{ID: 2, Seq: 1, Receivers: -1}).Append(nil), messages(0, 1000, seq)...)
	got, err := Carillon{}.Count(append(msg, (&protocol.Ping{}).Append(nil)...), o)
	if err != nil || got != (Counts{Messages: 1000, Answers: 1}) || o.next != 1000 {
		t.Errorf("found %+v, %v, next %d", got, err, o.next)
	}
	if n := o.times.each.TotalCount(); n != 1000 || o.times.each.Min() < 1999 || o.times.each.Max() > 2001 || o.times.last[9] != 2_000_000 {
		t.Errorf("found %d times from %d to %d µs, last %d", n, o.times.each.Min(), o.times.each.Max(), o.times.last[9])
	}
}

func TestARunThatLosesOrRepeatsIsInvalid(t *testing.T) {
	for name, numbers := range map[string][]int{"lost": {0, 1, 3}, "lost at first": {1}, "repeated": {0, 1, 1}, "out of order": {0, 2, 1}} {
		for _, d := range []Dialect{Carillon{}, Floor{}} {
			var msg []byte
			for _, n := range numbers {
				if d == (Floor{}) {
					msg = append(append(msg, byte(floor.Message), 0, 128), numbered(uint64(n), 0, 128)...)
				} else {
					msg = append(msg, messages(n, n+1, 9)...)
				}
			}
			if _, err := d.Count(msg, &order{}); err == nil || !strings.Contains(err.Error(), "the run is invalid") {
				t.Errorf("%s, %T: found %v", name, d, err)
			}
		}
	}
	gap := (&protocol.Gap{Reason: protocol.GapTrimmed, Count: -1}).Append(nil)
	if _, err := (Carillon{}).Count(gap, &order{}); err == nil {
		t.Error("found nothing wrong with a gap")
	}
}

// serve accepts a connection, sends bytes over it in pieces of a size, and closes it.
func serve(t *testing.T, bytes []byte, piece int) *conn {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		nc, err := l.Accept()
		if err != nil {
			return
		}
		defer nc.Close()
		for len(bytes) > 0 {
			n := min(piece, len(bytes))
			if _, err := nc.Write(bytes[:n]); err != nil {
				return
			}
			bytes = bytes[n:]
		}
	}()
	nc, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c := &conn{nc: nc, d: Carillon{}, buf: make([]byte, 16)}
	t.Cleanup(func() {
		c.nc.Close()
		l.Close()
		<-ended
	})
	return c
}

// frames are messages in WebSocket frames, so many in each.
func frames(n, each int) (b []byte) {
	for from := 0; from < n; from += each {
		msg := messages(from, min(from+each, n), uint64(from+1))
		switch l := len(msg); {
		case l < 126:
			b = append(b, 0x82, byte(l))
		case l < 1<<16:
			b = append(b, 0x82, 126, byte(l>>8), byte(l))
		default:
			b = append(b, 0x82, 127, 0, 0, 0, 0, byte(l>>24), byte(l>>16), byte(l>>8), byte(l))
		}
		b = append(b, msg...)
	}
	return b
}

func TestAPumpReadsFramesInWhateverPieces(t *testing.T) {
	for _, c := range []struct{ n, each, piece int }{{30, 1, 1}, {30, 7, 3}, {3000, 1, 1000}, {6000, 3000, 64 << 10}} {
		conns := []*conn{serve(t, frames(c.n, c.each), c.piece), serve(t, frames(c.n, c.each), c.piece)}
		p := &pump{conns: conns, got: until(c.n), timed: true}
		if err := p.run(t.Context()); err != nil {
			t.Errorf("%+v: %v", c, err)
		}
		if n := p.latencies().each.TotalCount(); n != int64(2*c.n) {
			t.Errorf("%+v: found %d times, wanted %d", c, n, 2*c.n)
		}
	}
}

func TestAPumpTellsOfAConnectionThatEnds(t *testing.T) {
	p := &pump{conns: []*conn{serve(t, frames(10, 1), 100), serve(t, frames(11, 1), 100)}, got: until(11)}
	if err := p.run(t.Context()); err == nil || !strings.Contains(err.Error(), "after 10 messages") {
		t.Errorf("found %v", err)
	}
}

func TestAPumpEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	nc, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c := &conn{nc: nc, d: Carillon{}, buf: make([]byte, 16)}
	defer func() { c.nc.Close() }()
	time.AfterFunc(10*time.Millisecond, func() { cancel(why) })
	if err := (&pump{conns: []*conn{c}, got: until(1)}).run(ctx); !errors.Is(err, why) {
		t.Errorf("found %v, wanted %v", err, why)
	}
}

func TestPacedMessagesAreAsManyOfEachTopic(t *testing.T) {
	o := PacedOptions{Topics: 3, Rate: 100, Warmup: 50 * time.Millisecond, Duration: time.Second}.withDefaults()
	if o.warm() != 3 || o.measured() != 99 {
		t.Errorf("found %d and %d messages", o.warm(), o.measured())
	}
	if o.Name() != "topics" || (PacedOptions{}).withDefaults().Name() != "latency" {
		t.Error("found another name")
	}
}

func TestTopicsOfAMatchReachNobody(t *testing.T) {
	o := MatchOptions{Subscriptions: 400}
	seen := map[string]bool{}
	for i := range o.Subscriptions {
		f := o.filter(i)
		if err := protocol.ValidateFilter(f); err != nil || seen[f] {
			t.Errorf("filter %q: %v, seen before: %v", f, err, seen[f])
		}
		seen[f] = true
		for n := range uint64(200) {
			if topic := o.topic(int(n%16), n); protocol.Match(f, topic) || protocol.ValidateTopic(topic) != nil {
				t.Fatalf("%s reaches %s", topic, f)
			}
		}
	}
}
