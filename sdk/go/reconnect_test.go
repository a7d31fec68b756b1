package carillon

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/carillon-mq/carillon/protocol"
)

func TestSubscriptionsResumeFromWhereTheyWere(t *testing.T) {
	type packets = []protocol.Packet
	ping := at(90, 9)
	tests := []struct {
		name     string
		starting bool // the subscription is not live yet
		send     func(id uint64) packets
		want     protocol.Position
	}{
		{"nothing came", false, func(uint64) packets { return nil }, at(6, 2)},
		{"a message", false, func(uint64) packets { return packets{msg(7, 0, "a", "")} }, at(7, 2)},
		{"a committed message", false, func(uint64) packets { return packets{msg(7, 3, "a", "")} }, at(7, 3)},
		{"a message for another subscription", false, func(uint64) packets { return packets{msg(7, 3, "b", "")} }, at(7, 3)},
		{"a message without a place", false, func(uint64) packets { return packets{msg(0, 0, "a", "")} }, at(6, 2)},
		{"a ping", false, func(uint64) packets { return packets{&protocol.Ping{Position: &ping}} }, at(90, 9)},
		{"a gap of the session", false, func(uint64) packets {
			return packets{&protocol.Gap{Reason: protocol.GapTrimmed, To: at(20, 5), Count: -1}}
		}, at(20, 5)},
		{"a replay for another", false, func(uint64) packets {
			return packets{&protocol.Replay{Subscription: 99, Count: 2}, msg(30, 8, "a", ""), msg(31, 9, "a", "")}
		}, at(6, 2)},
		{"a replay that is cut, while the session went on", true, func(id uint64) packets {
			return packets{msg(30, 0, "b", ""), &protocol.Replay{Subscription: id, Count: 2}, msg(7, 0, "a", "")}
		}, at(7, 2)},
		{"a replay, while the session went on", true, func(id uint64) packets {
			return packets{&protocol.Replay{Subscription: id, Count: 1}, msg(7, 0, "a", ""), msg(31, 0, "b", "")}
		}, at(7, 2)},
		{"a replay, then Resumed", true, func(id uint64) packets {
			return packets{
				&protocol.Replay{Subscription: id, Count: 1}, msg(7, 0, "a", ""),
				&protocol.Resumed{Subscription: id, Position: at(12, 4)},
			}
		}, at(12, 4)},
		{"Resumed, then the session passes it", true, func(id uint64) packets {
			return packets{&protocol.Resumed{Subscription: id, Position: at(12, 4)}, msg(13, 0, "b", "")}
		}, at(13, 4)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *fakeBroker) {
				c, fc := b.dial(at(5, 2))
				if test.starting {
					c.Subscribe("a")
				} else {
					c.Subscribe("a", NoRetained())
				}
				id := expect[*protocol.Subscribe](fc).ID
				fc.send(&protocol.Subscribed{ID: id, Position: at(6, 2)})
				if test.starting {
					fc.send(&protocol.RetainedEnd{Subscription: id})
				}
				if p := test.send(id); p != nil {
					fc.send(p...)
				}
				synctest.Wait()
				fc.cut()
				b.resume(at(1000, 100)).resumes("a", test.want)
			})
		})
	}
}

func TestNothingIsDeliveredTwice(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		c, fc := b.dial(at(5, 0))
		r := read(t, c.Subscribe("a", NoRetained()))
		fc.live("a", at(5, 0))
		fc.send(msg(6, 0, "a", "6"), msg(7, 0, "a", "7"), msg(7, 0, "a", "7 again"))
		r.next("message a=6", "message a=7")
		fc.cut()

		fc = b.resume(at(9, 0))
		id := fc.resumes("a", at(7, 0))
		fc.send(
			&protocol.Replay{Subscription: id, Count: 3}, msg(6, 0, "a", "6"), msg(7, 0, "a", "7"), msg(8, 0, "a", "8"),
			&protocol.Resumed{Subscription: id, Position: at(9, 0)}, msg(9, 0, "a", "9"), msg(10, 0, "a", "10"),
		)
		r.next("message a=8", "resumed", "message a=10")
		r.quiet()
	})
}

// A position of another run of the broker moves only by its offset until Resumed; what has been delivered is remembered beside it.
func TestCatchUpAfterARestartThatIsCutGoesOnFromTheOffset(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		c, fc := b.dial(at(50, 7))
		r := read(t, c.Subscribe("a", NoRetained()))
		fc.live("a", at(50, 7))
		synctest.Wait()
		fc.cut()

		restarted := protocol.Position{Epoch: epoch2, Seq: 3, Term: term2, Offset: 12}
		fc = b.resume(restarted)
		id := fc.resumes("a", at(50, 7))
		fc.send(
			&protocol.Replay{Subscription: id, Count: 4},
			msg(0, 8, "a", "stored 8"), msg(0, 9, "a", "stored 9"), msg(1, 11, "a", "ring 11"), msg(2, 0, "a", "ring plain"),
		)
		r.next("message a=stored 8", "message a=stored 9", "message a=ring 11", "message a=ring plain")
		fc.cut()

		fc = b.resume(restarted)
		id = fc.resumes("a", protocol.Position{Epoch: epoch1, Seq: 50, Term: term2, Offset: 11})
		fc.send(
			&protocol.Replay{Subscription: id, Count: 2}, msg(2, 0, "a", "ring plain"), msg(3, 12, "a", "ring 12"),
			&protocol.Gap{Subscription: id, Reason: protocol.GapEpoch, To: restarted, Count: -1},
			&protocol.Resumed{Subscription: id, Position: restarted},
		)
		r.next("message a=ring 12", "gap a epoch -1", "resumed")
		r.quiet()
		fc.cut()
		b.resume(restarted).resumes("a", restarted)
	})
}

// SUB-15, POS-8: after a gap the retained messages are sent again; who is cut before their end asks for them again, and misses nothing.
func TestGapThatIsCutBeforeItsSnapshotIsResumedWithOne(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		c, fc := b.dial(at(5, 0))
		r := read(t, c.Subscribe("a"))
		fc.live("a", at(5, 0))
		fc.send(&protocol.Gap{Reason: protocol.GapTrimmed, To: at(20, 0), Count: 15})
		r.next("snapshot end, reset false", "resumed", "gap a trimmed 15")
		fc.cut()

		fc = b.resume(at(30, 0))
		id := fc.resumesWith("a", at(20, 0), true)
		fc.send(&protocol.RetainedEnd{Subscription: id, Reset: true}, &protocol.Replay{Subscription: id, Count: 1}, msg(25, 0, "a", "25"),
			&protocol.Resumed{Subscription: id, Position: at(30, 0)})
		r.next("snapshot end, reset true", "message a=25", "resumed")
		fc.cut()
		b.resume(at(30, 0)).resumes("a", at(30, 0))
	})
}

// A store that was put back to an older state counts on from there. What it says again under the same offsets is not a repetition.
func TestOffsetsOfAnotherTermAreNotTakenForRepetitions(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		c, fc := b.dial(at(50, 100))
		r := read(t, c.Subscribe("a", NoRetained()))
		fc.live("a", at(50, 100))
		synctest.Wait()
		fc.cut()
		now := protocol.Position{Epoch: epoch2, Seq: 3, Term: term2, Offset: 80}
		fc = b.resume(now)
		id := fc.resumes("a", at(50, 100))
		fc.send(
			&protocol.Replay{Subscription: id, Count: 3}, msg(0, 51, "a", "51"), msg(0, 51, "a", "51"), msg(0, 52, "a", "52"),
			&protocol.Gap{Subscription: id, Reason: protocol.GapAhead, To: now, Count: -1},
			&protocol.Resumed{Subscription: id, Position: now},
		)
		r.next("message a=51", "message a=52", "gap a ahead -1", "resumed")
	})
}

// RET-4, SUB-15
func TestSnapshotThatIsCutComesAgainAndNothingIsMissing(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		c, fc := b.dial(at(5, 0))
		r := read(t, c.Subscribe("a.*"))
		id := expect[*protocol.Subscribe](fc).ID
		fc.send(&protocol.Subscribed{ID: id, Position: at(5, 0)},
			&protocol.Replay{Subscription: id, Count: 2, Kind: protocol.ReplayRetained}, msg(2, 1, "a.x", "x"))
		r.next("retained a.x=x")
		fc.cut()

		fc = b.resume(at(9, 0)) // the rest of the Replay is forgotten with the connection
		id = fc.resumesWith("a.*", at(5, 0), true)
		fc.send(&protocol.Replay{Subscription: id, Count: 1, Kind: protocol.ReplayRetained}, msg(2, 1, "a.x", "x"))
		r.next("retained a.x=x")
		fc.cut() // once more

		fc = b.resume(at(9, 0))
		id = fc.resumesWith("a.*", at(5, 0), true)
		fc.send(&protocol.Replay{Subscription: id, Count: 1, Kind: protocol.ReplayRetained}, msg(3, 2, "a.y", "y"),
			&protocol.RetainedEnd{Subscription: id, Reset: true}, &protocol.Replay{Subscription: id, Count: 1}, msg(8, 0, "a.x", "8"),
			&protocol.Resumed{Subscription: id, Position: at(9, 0)})
		r.next("retained a.y=y", "snapshot end, reset true", "message a.x=8", "resumed")
	})
}

// A server from before SUB-15 passes the option over: the subscription goes on, without the retained messages.
func TestAServerWithoutSnapshotsOnResumeLeavesNothingWaiting(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		c, fc := b.dial(at(5, 0))
		r := read(t, c.Subscribe("a"))
		id := expect[*protocol.Subscribe](fc).ID
		fc.send(&protocol.Subscribed{ID: id, Position: at(5, 0)})
		fc.cut()
		fc = b.resume(at(9, 0))
		id = fc.resumesWith("a", at(5, 0), true)
		fc.send(&protocol.Resumed{Subscription: id, Position: at(9, 0)})
		r.next("resumed")
		fc.cut()
		b.resume(at(9, 0)).resumes("a", at(9, 0))
	})
}

func TestPlaceIsKeptWhenTheConnectionFailsAgainAndAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		c, fc := b.dial(at(5, 0))
		c.Subscribe("a", NoRetained())
		fc.live("a", at(6, 0))
		synctest.Wait()
		for range 5 {
			fc.cut()
			fc = b.resume(at(100, 0))
			if p := expect[*protocol.Subscribe](fc); p.Position == nil {
				t.Fatal("subscribed afresh, wanted to resume")
			}
		}
		fc.cut()
		b.resume(at(100, 0)).resumes("a", at(6, 0))
	})
}

func TestBackoffIsFullJitterUnderAGrowingCeiling(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		_, fc := b.dial(at(5, 0), WithBackoff(500*time.Millisecond, 3*time.Second))
		time.Sleep(stableAfter)
		lost := time.Now()
		var tries []time.Duration // half of 0.5, 1, 2, 3, 3 s
		b.refuseWith(func(w http.ResponseWriter) bool {
			tries = append(tries, time.Since(lost))
			if len(tries) == 5 {
				return false
			}
			w.WriteHeader(http.StatusBadGateway)
			return true
		})
		fc.cut()
		b.resume(at(5, 0))
		want := []time.Duration{250, 750, 1750, 3250, 4750}
		for i := range want {
			want[i] *= time.Millisecond
		}
		if diff := cmp.Diff(want, tries); diff != "" {
			t.Errorf("attempts after the loss (-want +got):\n%s", diff)
		}
	})
}

func TestBrokersAdviceOnWhenToComeBackWins(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		_, fc := b.dial(at(5, 0))
		told := time.Now()
		fc.send(&protocol.Disconnect{Code: protocol.CodeGoingAway, Reconnect: true, After: 7 * time.Second})
		b.accept()
		if got := time.Since(told); got != 7*time.Second {
			t.Errorf("came back after %v, want 7s", got)
		}
	})
}

func TestCodesThatForbidComingBackEndTheClient(t *testing.T) {
	source := func(context.Context, TokenRequest) (string, error) { return "token", nil }
	ends := map[string]protocol.Disconnect{
		"though a fresh token could be had": {Code: protocol.CodeTokenExpired}, // [DIS-1]
		"by the table":                      {Code: protocol.CodeRevoked, Reconnect: true},
		"by the packet":                     {Code: protocol.CodeGoingAway},
		"by an unknown one":                 {Code: 4299, Reconnect: true},
	}
	for name, d := range ends {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *fakeBroker) {
				c, fc := b.dial(at(5, 0), WithTokenFunc(source))
				r := read(t, c.Subscribe("a", NoRetained()))
				fc.live("a", at(5, 0))
				fc.send(&d)
				select {
				case <-c.Done():
				case <-b.conns:
					t.Fatal("it came back")
				}
				r.next("error "+d.Code.String(), "end")
				want := &Error{Code: d.Code}
				if s := c.Status(); s.State != StateClosed || !errors.Is(s.Err, want) {
					t.Errorf("status %+v, want closed by %v", s, want)
				}
				if _, err := c.Publish(t.Context(), "a", 1); !errors.Is(err, want) {
					t.Errorf("publish: %v, want %v", err, want)
				}
				if sub := c.Subscribe("b"); !errors.Is(sub.Ready(t.Context()), want) {
					t.Errorf("subscribe: wanted %v", want)
				}
			})
		})
	}
}

func TestCloseCodeOfTheWebSocketIsAsGoodAsDisconnect(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		c, fc := b.dial(at(5, 0))
		fc.ws.Close(4214, "kicked")
		<-c.Done()
		if s := c.Status(); !errors.Is(s.Err, &Error{Code: protocol.CodeKicked}) {
			t.Errorf("status %+v, want kicked", s)
		}
	})
}

func TestSilentConnectionIsGivenUp(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		c, fc := b.dial(at(5, 0))
		c.Subscribe("a", NoRetained())
		fc.live("a", at(5, 0))
		for range 3 {
			time.Sleep(25 * time.Second)
			fc.send(&protocol.Ping{})
			expect[*protocol.Pong](fc)
		}
		silent := time.Now()
		<-fc.over
		if got := time.Since(silent); got != 35*time.Second {
			t.Errorf("given up after %v, want the ping interval and 10s", got)
		}
		synctest.Wait()
		if s := c.Status(); s.State != StateReconnecting || !errors.Is(s.Err, errSilent) {
			t.Errorf("status %+v, want reconnecting because of silence", s)
		}
		b.resume(at(5, 0)).resumes("a", at(5, 0))
	})
}

func TestMaxSilenceReplacesThePingInterval(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		_, fc := b.dial(at(5, 0), WithMaxSilence(3*time.Second))
		start := time.Now()
		<-fc.over
		if got := time.Since(start); got != 3*time.Second {
			t.Errorf("given up after %v, want 3s", got)
		}
	})
}

func TestGarbageFromTheBrokerEndsTheConnectionAndNotTheClient(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		_, fc := b.dial(at(5, 0))
		fc.write([]byte{0xdd, 0xff, 0xff, 0xff, 0xff})
		<-fc.over
		b.resume(at(5, 0))
	})
}

func TestPacketsOfALaterVersionAreIgnored(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		c, fc := b.dial(at(5, 0))
		r := read(t, c.Subscribe("a", NoRetained()))
		fc.live("a", at(5, 0))
		fc.write(append([]byte{0x92, 0x1e, 0x01, 0x92, 0x60, 0xa1, 'x'}, msg(6, 0, "a", "6").Append(nil)...))
		r.next("message a=6")
	})
}
