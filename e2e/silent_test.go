package e2e

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/broker/brokertest/faultproxy"
	"github.com/carillon-mq/carillon/protocol"
	carillon "github.com/carillon-mq/carillon/sdk/go"
)

// G4: a connection that goes silent without anybody being told loses nothing that the ring still holds, and what it no longer
// holds is told exactly.
func TestASilentlyCutConnectionResumes(t *testing.T) {
	tests := []struct {
		name     string
		ring     string
		messages int
		gap      bool
	}{
		{"everything is still held", "64MiB", 1000, false},
		{"a ring of 4 MiB has passed", "4MiB", 8000, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBroker(t)
			b.env = []string{"CARILLON_LIMITS_RING=" + tt.ring, "CARILLON_LIMITS_PING_EVERY=1s"}
			b.start()
			proxy, err := faultproxy.New(b.listen)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { proxy.Close() })
			c := clientAt(t, "ws://"+proxy.Addr()+"/ws", carillon.WithMaxSilence(2500*time.Millisecond))
			events := make(chan carillon.Event, tt.messages+64)
			live := make(chan struct{})
			go func() { // ends with the test's context
				for e, err := range c.Subscribe("silent.topic").Events(t.Context()) {
					if r, ok := e.(*carillon.Resumed); ok && r != nil {
						select {
						case <-live:
						default:
							close(live)
						}
					}
					if err == nil {
						events <- e
					}
				}
			}()
			<-live
			publishNumbered(t, b, 0, 10)

			began := time.Now()
			proxy.Silence()
			publishNumbered(t, b, 10, 10+tt.messages)
			wait(t, time.Duration(count(2, 5))*time.Second-time.Since(began))
			proxy.Restore()

			gaps, next := 0, uint32(0)
			for int(next) < 10+tt.messages {
				select {
				case e := <-events:
					switch e := e.(type) {
					case *carillon.Message:
						if n := binary.BigEndian.Uint32(e.Payload); n != next {
							t.Fatalf("found message %d, wanted %d", n, next)
						}
						next++
					case *carillon.GapError:
						gaps++
						next = checkGap(t, e, next)
					}
				case <-time.After(20 * time.Second):
					t.Fatalf("only %d of %d messages came, with %d gaps", next, 10+tt.messages, gaps)
				}
			}
			if want := map[bool]int{true: 1}[tt.gap]; gaps != want {
				t.Errorf("found %d gaps, wanted %d", gaps, want)
			}
			if n := proxy.Accepted(); n < 2 {
				t.Errorf("found %d connections, wanted a second one after the silence", n)
			}
			t.Logf("%d messages, %d gaps", tt.messages, gaps)
		})
	}
}

// checkGap holds a gap's range against the number that would have come next and returns the one that has to come now. Messages
// are numbered from 0 and are the only ones in the log, so that seq is number + 1.
func checkGap(t *testing.T, gap *carillon.GapError, expected uint32) (next uint32) {
	t.Helper()
	from, err := protocol.ParseCursor(string(gap.From))
	if err != nil {
		t.Fatal(err)
	}
	to, err := protocol.ParseCursor(string(gap.To))
	if err != nil {
		t.Fatal(err)
	}
	if gap.Reason != protocol.GapTrimmed || from.Seq != uint64(expected) || to.Seq <= from.Seq {
		t.Errorf("found a gap %s from %d to %d, wanted trimmed from %d", gap.Reason, from.Seq, to.Seq, expected)
	}
	return uint32(to.Seq)
}

// publishNumbered publishes 1 KiB messages with the numbers [from, to).
func publishNumbered(t *testing.T, b *broker, from, to int) {
	t.Helper()
	pub := client(t, b)
	for i := from; i < to; i++ {
		_, err := pub.Publish(t.Context(), "silent.topic", append(binary.BigEndian.AppendUint32(nil, uint32(i)), make([]byte, 1020)...))
		if err != nil {
			t.Fatal(err)
		}
	}
}
