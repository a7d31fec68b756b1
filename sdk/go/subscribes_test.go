package carillon

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/carillon-mq/carillon/protocol"
)

// cutWithThree is a client that has lost its connection with three live subscriptions at 7, and the broker's next end of one.
func cutWithThree(t *testing.T, b *fakeBroker) (readers map[string]*reader, fc *fakeConn) {
	t.Helper()
	c, fc := b.dial(at(5, 2))
	readers = make(map[string]*reader)
	for _, f := range []string{"a", "b", "c.>"} {
		readers[f] = read(t, c.Subscribe(f, NoRetained()))
		fc.live(f, at(5, 2))
	}
	fc.send(msg(7, 0, "z", ""))
	synctest.Wait()
	fc.cut()
	b.whole.Store(true)
	return readers, b.resume(at(9, 2))
}

// filters are those of a packet, and their ids.
func filters(p *protocol.Subscribes) (filters []string, ids []uint64) {
	for _, s := range p.Subscriptions {
		filters, ids = append(filters, s.Filter), append(ids, s.ID)
	}
	return filters, ids
}

// [REC-4], [SUB-13]: after a cut one packet asks for everything again, with the position that all have alike written once.
func TestAfterACutOnePacketSubscribesToEverything(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		readers, fc := cutWithThree(t, b)
		p := expect[*protocol.Subscribes](fc)
		got, ids := filters(p)
		if diff := cmp.Diff([]string{"a", "b", "c.>"}, got); diff != "" {
			t.Fatalf("filters (-want +got):\n%s", diff)
		}
		for _, s := range p.Subscriptions {
			if at7 := at(7, 2).Append(nil); !slices.Equal(s.Position, at7) || !s.NoRetained {
				t.Errorf("%q resumes at %x, want %x, and without retained messages", s.Filter, s.Position, at7)
			}
		}
		expect[*protocol.Ping](fc) // tells apart a broker that does not know the packet
		var answer []protocol.Packet
		for _, id := range ids {
			answer = append(answer, &protocol.Subscribed{ID: id, Position: at(7, 2)})
		}
		answer = append(answer, &protocol.Pong{}, &protocol.Replay{Subscription: ids[1], Count: 1}, msg(8, 0, "b", "missed"))
		for _, id := range ids {
			answer = append(answer, &protocol.Resumed{Subscription: id, Position: at(9, 2)})
		}
		fc.send(append(answer, msg(10, 0, "a", "live"), msg(11, 0, "c.d", "live"))...)
		readers["a"].next("resumed", "message a=live")
		readers["b"].next("message b=missed", "resumed")
		readers["c.>"].next("resumed", "message c.d=live")
		time.Sleep(2 * doubtFor)
		fc.quiet()
	})
}

// [SUB-14]: one that is refused is nothing to the others, and a broker that has answered knows the packet.
func TestOneRefusalOfManyIsNothingToTheOthers(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		readers, fc := cutWithThree(t, b)
		_, ids := filters(expect[*protocol.Subscribes](fc))
		expect[*protocol.Ping](fc)
		limited := &protocol.ErrorPacket{ID: ids[0], Code: protocol.CodeRateLimited, RetryAfter: time.Second}
		fc.send(limited, &protocol.ErrorPacket{ID: ids[1], Code: protocol.CodeForbidden},
			&protocol.Subscribed{ID: ids[2], Position: at(7, 2)}, &protocol.Pong{}, &protocol.Resumed{Subscription: ids[2], Position: at(9, 2)})
		readers["b"].next("error forbidden", "end")
		readers["c.>"].next("resumed")
		fc.resumes("a", at(7, 2))
		fc.quiet()
	})
}

// A broker that does not know Subscribes says so in one way or another, or says nothing, since the packet has no id ([ENC-9]). It gets one
// Subscribe for each, on this connection, and nothing is lost.
func TestABrokerWithoutSubscribesGetsThemOneByOne(t *testing.T) {
	tests := []struct {
		name   string
		answer func(ids []uint64) []protocol.Packet
		wait   time.Duration
	}{
		{"an error without an id", func([]uint64) []protocol.Packet {
			return []protocol.Packet{&protocol.ErrorPacket{Code: protocol.CodeUnknownType}, &protocol.Pong{}}
		}, 0},
		{"an error with the id of one", func(ids []uint64) []protocol.Packet {
			return []protocol.Packet{&protocol.ErrorPacket{ID: ids[0], Code: protocol.CodeUnknownType}, &protocol.Pong{}}
		}, 0},
		{"silence", func([]uint64) []protocol.Packet { return []protocol.Packet{&protocol.Pong{}} }, doubtFor},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *fakeBroker) {
				readers, fc := cutWithThree(t, b)
				_, ids := filters(expect[*protocol.Subscribes](fc))
				expect[*protocol.Ping](fc)
				fc.send(test.answer(ids)...)
				began := time.Now()
				for _, id := range ids { // in case that the broker was merely slow
					if p := expect[*protocol.Unsubscribe](fc); p.Subscription != id {
						t.Errorf("unsubscribed %d, want %d", p.Subscription, id)
					}
				}
				if waited := time.Since(began); waited != test.wait {
					t.Errorf("waited %v, want %v", waited, test.wait)
				}
				for _, f := range []string{"a", "b", "c.>"} {
					id := fc.resumes(f, at(7, 2))
					fc.send(&protocol.Subscribed{ID: ids[0], Position: at(8, 2)}, // late, and of no use any more
						&protocol.Resumed{Subscription: id, Position: at(9, 2)})
					readers[f].next("resumed")
				}
				fc.quiet()
				fc.cut()
				fc = b.resume(at(9, 2)) // another one may know it
				if got, _ := filters(expect[*protocol.Subscribes](fc)); len(got) != 3 {
					t.Errorf("got %q, want three filters", got)
				}
			})
		})
	}
}

// What is asked for before there is an answer is on trial too, and goes as the rest does.
func TestSubscriptionsBehindTheTrialShareItsFate(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		c, fc := b.dial(at(5, 0))
		fc.cut()
		for _, f := range []string{"a", "b"} {
			c.Subscribe(f, NoRetained())
		}
		b.whole.Store(true)
		fc = b.resume(at(5, 0))
		expect[*protocol.Subscribes](fc)
		expect[*protocol.Ping](fc)
		gone := c.Subscribe("c", NoRetained())
		id := expect[*protocol.Subscribe](fc).ID
		gone.Close()
		if p := expect[*protocol.Unsubscribe](fc); p.Subscription != id {
			t.Errorf("unsubscribed %d, want %d", p.Subscription, id)
		}
		fc.send(&protocol.Pong{}, &protocol.Unsubscribed{ID: id + 1})
		for range 2 {
			expect[*protocol.Unsubscribe](fc)
		}
		fc.live("a", at(5, 0))
		fc.live("b", at(5, 0))
		fc.quiet()
	})
}

// Many subscriptions go in as few packets as the limits allow, each of them once and in their order.
func TestManySubscriptionsKeepToTheLimits(t *testing.T) {
	tests := []struct {
		name                 string
		subscriptions        int
		inflight, message    int
		wantPackets, wantNow int
	}{
		{"one", 1, 1000, 1 << 16, 1, 1},
		{"two", 2, 1000, 1 << 16, 1, 2},
		{"as many as one packet takes", protocol.MaxArray, 5000, 1 << 20, 1, protocol.MaxArray},
		{"more than that", 2*protocol.MaxArray + 1, 5000, 1 << 20, 3, 2*protocol.MaxArray + 1},
		{"more than may be in flight", 100, 64, 1 << 16, 1, 64},
		{"none may be in flight", 2, 0, 1 << 16, 0, 0},
		{"more than a message takes", 100, 1000, 200, 4, 8}, // a position is reckoned for each, and written once
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c, cn := unconnected()
			for i := range test.subscriptions {
				c.Subscribe(fmt.Sprintf("%d.*", i), From(Cursor(at(1, 1).Cursor())))
			}
			c.attach(cn, connected(at(5, 0)))
			cn.maxInflight, cn.maxMessage = test.inflight, test.message
			b := c.fill(cn, nil)
			if len(b) > test.message {
				t.Errorf("got %d bytes, want at most %d", len(b), test.message)
			}
			packets, asked := 0, 0
			take := func(s *protocol.Subscribe) {
				if want := fmt.Sprintf("%d.*", asked); s.Filter != want || cn.byID[s.ID].filter != want {
					t.Fatalf("got %+v, want %q", s, want)
				}
				asked++
			}
			for len(b) > 0 {
				raw, rest, err := protocol.Next(b)
				if err != nil {
					t.Fatal(err)
				}
				b = rest
				p, err := protocol.DecodePacket(raw)
				if err != nil {
					t.Fatal(err)
				}
				switch p := p.(type) {
				case *protocol.Subscribe:
					take(p)
				case *protocol.Subscribes:
					for i := range p.Subscriptions {
						take(&p.Subscriptions[i])
					}
				case *protocol.Ping:
					continue
				}
				packets++
			}
			if packets != test.wantPackets || asked != test.wantNow {
				t.Errorf("got %d packets with %d subscriptions, want %d with %d", packets, asked, test.wantPackets, test.wantNow)
			}
			if left := len(cn.requests); left != test.subscriptions-asked {
				t.Errorf("%d subscriptions wait, want %d", left, test.subscriptions-asked)
			}
		})
	}
}
