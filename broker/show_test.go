package broker_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/brokertest"
	"github.com/carillon-mq/carillon/protocol"
)

// A subscriber stops reading for a minute while messages of 1 KiB flow. It is seen lagging, holds no more than its window, is not
// cut, changes nothing for the others, and then gets everything that the ring still holds, and the exact count of the rest.
func TestASubscriberThatStopsReadingForAMinute(t *testing.T) {
	for _, test := range []struct {
		name      string
		messages  uint64
		ringBytes int64
	}{
		{"more than the ring holds", 100_000, 64 << 20},
		{"what the ring holds", 20_000, 64 << 20},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := start(t, broker.Options{RingBytes: test.ringBytes})
				others := gather(t, b, 20, "flow.>")
				quick, slow := brokertest.Dial(t, b, nil), brokertest.Dial(t, b, nil)
				quick.Subscribe(1, "flow.*")
				slow.Subscribe(1, "flow.*")
				slow.Shut()

				payload := []byte(kib(1))
				seen := uint64(0)
				for n := range test.messages {
					publishAs(t, b, broker.PublishRequest{Topic: fmt.Sprintf("flow.%d", n%16), Payload: payload})
					if n%(test.messages/60) == 0 {
						time.Sleep(time.Second) // of the bubble: a minute in all
						seen = readOn(t, quick, seen)
						checkSlow(t, b, slow, n > 1000)
					}
				}
				synctest.Wait()
				if seen = readOn(t, quick, seen); seen != test.messages {
					t.Errorf("found %d messages at a quick subscriber, wanted %d", seen, test.messages)
				}
				if got := others.sink.Packets.Load(); got < int64(20*test.messages) {
					t.Errorf("found %d deliveries to the others, wanted %d", got, 20*test.messages)
				}

				slow.Open()
				synctest.Wait()
				messages, missing := takeStock(t, slow, test.messages)
				if messages+missing != test.messages {
					t.Errorf("found %d messages and %d told missing, together %d, wanted %d", messages, missing, messages+missing, test.messages)
				}
				if (missing > 0) != (test.messages == 100_000) {
					t.Errorf("found %d told missing", missing)
				}
				if got := b.Stats().Lagging; got != 0 {
					t.Errorf("found %d sessions lagging in the end", got)
				}
			})
		})
	}
}

// readOn reads what has come to a client that lags nowhere, behind message seen.
func readOn(t *testing.T, c *brokertest.Client, seen uint64) uint64 {
	t.Helper()
	synctest.Wait()
	for _, p := range c.Packets() {
		switch p := p.(type) {
		case *protocol.Ping:
			c.Send(&protocol.Pong{})
		case *protocol.Message:
			if p.Seq != seen+1 {
				t.Fatalf("found message %d behind %d", p.Seq, seen)
			}
			seen++
		default:
			t.Fatalf("found %s", brokertest.Describe(p))
		}
	}
	return seen
}

func checkSlow(t *testing.T, b *broker.Broker, c *brokertest.Client, lags bool) {
	t.Helper()
	st := b.Stats()
	if lags && st.Lagging != 1 {
		t.Fatalf("found %d sessions lagging, wanted the one", st.Lagging)
	}
	if written, held := c.Waiting(), c.Session.Held(); written > 68<<10 || held > 90<<10 {
		t.Fatalf("found %d bytes written and %d held for a session that takes nothing", written, held)
	}
	if st.RingBytes > 65<<20 {
		t.Fatalf("found %d bytes in the ring", st.RingBytes)
	}
	if d, ended := c.Ended(); ended {
		t.Fatalf("found the session ended: %+v", d)
	}
}

// takeStock counts the messages that have arrived, and those told missing. They are in order and end with the last one.
func takeStock(t *testing.T, c *brokertest.Client, last uint64) (messages, missing uint64) {
	t.Helper()
	seen := uint64(0)
	for _, p := range c.Packets() {
		switch p := p.(type) {
		case *protocol.Gap:
			if p.Count < 0 || p.From.Seq != seen || uint64(p.Count) != p.To.Seq-seen {
				t.Errorf("found %s behind message %d", brokertest.Describe(p), seen)
			}
			missing += uint64(p.Count)
			seen = p.To.Seq
		case *protocol.Message:
			if p.Seq != seen+1 {
				t.Fatalf("found message %d behind %d", p.Seq, seen)
			}
			messages++
			seen++
		}
	}
	if seen != last {
		t.Errorf("found the last message to be %d, wanted %d", seen, last)
	}
	return messages, missing
}
