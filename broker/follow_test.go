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

func at(p protocol.Position, seq uint64) *protocol.Position {
	p.Seq = seq
	return &p
}

// K2, R1: what is retained comes first, once for all the filters that match it, then that this was all, then what follows.
func TestAStreamBeginsWithWhatIsRetained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{})
		retain(t, b, "a.x", "1")
		retain(t, b, "b.x", "2")
		c := brokertest.Follow(t, b, broker.Everybody(), broker.FollowRequest{Filters: []string{"a.*", "*.x", "c"}})
		wantArrived(t, c,
			"replay 1 retained 1", `message 1 a.x "1"`, "end 1", "replay 2 retained 1", `message 2 b.x "2"`, "end 2", "end 3",
			"resumed 1 @2", "resumed 2 @2", "resumed 3 @2")
		publish(t, b, "a.x", "3")
		publish(t, b, "d", "4")
		publish(t, b, "c", "5")
		wantArrived(t, c, `message 3 a.x "3"`, `message 5 c "5"`)
		c.Session.Locate()
		wantArrived(t, c, "ping @5")
	})
}

// P3, P4: all filters share one position, so what was missed is one stretch of the log.
func TestAStreamResumesInTheOrderOfTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{})
		retain(t, b, "c.x", "kept")
		for i := range 6 {
			publish(t, b, []string{"a.x", "b.x", "a.y"}[i%3], fmt.Sprint(i+2))
		}
		r := broker.FollowRequest{Filters: []string{"a.*", "*.x", "c.x"}, After: at(b.Position(), 2), Fresh: []string{"c.x"}}
		c := brokertest.Follow(t, b, broker.Everybody(), r)
		wantArrived(t, c,
			"ping @2", `message 3 b.x "3"`, `message 4 a.y "4"`, `message 5 a.x "5"`, `message 6 b.x "6"`, `message 7 a.y "7"`,
			"replay 3 retained 1", `message 1 c.x "kept"`, "end 3", "resumed 1 @7", "resumed 2 @7", "resumed 3 @7")
	})
}

// P6: a filter that begins now gets nothing from before, also when the stream it is a part of goes back.
func TestAFreshFilterOfAStreamGetsNothingFromBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{})
		for i := range 4 {
			publish(t, b, []string{"a", "b"}[i%2], fmt.Sprint(i+1))
		}
		r := broker.FollowRequest{Filters: []string{"a", "b"}, After: at(b.Position(), 0), Fresh: []string{"b"}, NoRetained: true}
		c := brokertest.Follow(t, b, broker.Everybody(), r)
		publish(t, b, "b", "5")
		wantArrived(t, c, "ping @0", `message 1 a "1"`, `message 3 a "3"`, "resumed 1 @4", "resumed 2 @4", `message 5 b "5"`)
	})
}

// P3, K3: a position of another run is told by one gap, and then what is retained, all of it anew.
func TestAStreamFromAnotherRunIsToldOneGap(t *testing.T) {
	for name, tt := range map[string]struct {
		position func(protocol.Position) protocol.Position
		want     []string
	}{
		"of another run": {
			func(p protocol.Position) protocol.Position { p.Epoch, p.Seq = protocol.RunID{1}, 7; return p },
			[]string{"ping @7", "gap 0 epoch 7..0", "end 1 reset", "ping @0", `message 1 a.x "1"`},
		},
		"ahead": {
			func(p protocol.Position) protocol.Position { p.Seq = 9; return p },
			[]string{"ping @9", "gap 0 ahead 9..2", "replay 1 retained 1", `message 1 a.x "1"`, "end 1 reset"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := start(t, broker.Options{})
				retain(t, b, "a.x", "1")
				retain(t, b, "b", "2")
				after := tt.position(b.Position())
				c := brokertest.Follow(t, b, broker.Everybody(), broker.FollowRequest{Filters: []string{"a.*", ">"}, After: &after, Fresh: []string{">"}})
				wantArrived(t, c, append(tt.want, "replay 2 retained 2", `message 1 a.x "1"`, `message 2 b "2"`, "end 2", "resumed 1 @2", "resumed 2 @2")...)
			})
		})
	}
}

// R6: rights hold for the stream as a whole; without the history action it reaches back as far as the window.
func TestAStreamGoesBackAsFarAsItMay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{ResumeWindow: time.Minute})
		publish(t, b, "a", "1")
		time.Sleep(2 * time.Minute)
		publish(t, b, "a", "2")
		id := &broker.Identity{User: "u", Grants: []broker.Grant{{Actions: broker.ActionSubscribe, Filter: "a"}}}
		r := broker.FollowRequest{Filters: []string{"a"}, After: at(b.Position(), 0), NoRetained: true}
		c := brokertest.Follow(t, b, id, r)
		wantArrived(t, c, "ping @0", "gap 0 forbidden 0..1", `message 2 a "2"`, "resumed 1 @2")
		id.Grants[0].Actions |= broker.ActionHistory
		c = brokertest.Follow(t, b, id, r)
		wantArrived(t, c, "ping @0", `message 1 a "1"`, `message 2 a "2"`, "resumed 1 @2")
	})
}

// R2, R4: a stream whose socket is full reads the log at its own pace; when the log has passed it, it is told exactly what it missed, and
// then what is retained.
func TestAStreamThatIsPassedIsToldExactlyWhatItMissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{RingBytes: 64 << 10, Limits: broker.Limits{Pending: 4 << 10}})
		c := brokertest.Follow(t, b, broker.Everybody(), broker.FollowRequest{Filters: []string{"a", "kept"}})
		wantArrived(t, c, "end 1", "end 2", "resumed 1 @0", "resumed 2 @0")
		c.Shut()
		retain(t, b, "kept", "x")
		for range 300 {
			publish(t, b, "a", kib(1))
			synctest.Wait()
		}
		c.Open()
		synctest.Wait()
		got, missed, lines := 0, int64(0), []string(nil)
		for _, p := range c.Packets() {
			switch p := p.(type) {
			case *protocol.Message:
				if p.Topic == "a" {
					got++
					continue
				}
				lines = append(lines, brokertest.Describe(p)...)
			case *protocol.Gap:
				missed = p.Count
			default:
				lines = append(lines, brokertest.Describe(p)...)
			}
		}
		if missed <= 0 || got+int(missed) != 300 {
			t.Errorf("found %d messages and %d told missing, wanted 300 in all", got, missed)
		}
		if len(lines) != 6 || lines[0] != `message 1 kept "x"` || lines[1] != "end 1 reset" || lines[4] != "end 2 reset" {
			t.Errorf("found %q, wanted what is retained behind the gap and then the position", lines)
		}
		publish(t, b, "a", "live again")
		if lines := arrived(c); len(lines) != 1 {
			t.Errorf("found %q", lines)
		}
	})
}

// A stream whose client is told a position can always go on from it: nothing is owed up to there.
func TestAStreamTellsNoPositionWhileASnapshotIsMissing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{PingEvery: time.Second, PongWait: time.Second})
		for i := range 100 {
			retain(t, b, fmt.Sprintf("a.%03d", i), kib(1))
		}
		c := brokertest.Open(t, b, broker.ConnInfo{Identity: broker.Everybody()})
		c.OneWay()
		c.Shut()
		r := broker.FollowRequest{Filters: []string{"a.*"}}
		if err := c.Session.Follow(r); err != nil {
			t.Fatal(err)
		}
		stream := brokertest.NewStream(r, b.Position)
		for range 60 {
			time.Sleep(500 * time.Millisecond)
			c.Allow(2 << 10)
			synctest.Wait()
			for _, p := range c.Packets() {
				if err := stream.Handle(p); err != nil {
					t.Fatal(err)
				}
			}
		}
		if !stream.Live() {
			t.Error("found the stream not live")
		}
	})
}

// A stream that asks for its position while it is being handed back to its shard is told it.
func TestAStreamIsToldItsPositionWhileItIsHandedBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{Shards: 1})
		c := brokertest.Follow(t, b, broker.Everybody(), broker.FollowRequest{Filters: []string{"a"}, NoRetained: true})
		wantArrived(t, c, "resumed 1 @0")
		c.Shut()
		for range 200 {
			publish(t, b, "a", kib(1))
			synctest.Wait()
		}
		free, free2 := b.HoldShards(), b.HoldShards()
		c.Session.Locate() // behind the second hold, and before what is urgent when that ends
		free()
		c.Allow(200<<10 - 8<<10) // its drainer has read all, and waits for the socket
		synctest.Wait()
		free2()
		synctest.Wait()
		c.Open()
		lines := arrived(c)
		if last := lines[len(lines)-1]; last != "ping @200" {
			t.Errorf("found %s in the end, wanted the position", last)
		}
	})
}

// A message of class live is not replayed to a stream that opens behind it; it is told as missed.
func TestAStreamIsToldOfLiveMessagesItMissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{Topics: []broker.TopicRule{{Match: "live.>", Class: broker.ClassLive}}})
		publish(t, b, "live.a", "1")
		publish(t, b, "b", "2")
		c := brokertest.Follow(t, b, broker.Everybody(), broker.FollowRequest{Filters: []string{">"}, After: at(b.Position(), 0), NoRetained: true})
		wantArrived(t, c, "ping @0", `message 2 b "2"`, "gap 0 live 0..2 =1", "resumed 1 @2")
		publish(t, b, "live.a", "3")
		wantArrived(t, c, `message 0 live.a "3"`)
	})
}

// What cannot be followed is refused whole, and leaves nothing behind.
func TestAStreamIsRefusedWhole(t *testing.T) {
	id := &broker.Identity{User: "u", Grants: []broker.Grant{{Actions: broker.ActionSubscribe, Filter: "a.>"}}}
	for name, tt := range map[string]struct {
		r    broker.FollowRequest
		code protocol.Code
	}{
		"nothing":             {broker.FollowRequest{}, protocol.CodeBadArgs},
		"a bad filter":        {broker.FollowRequest{Filters: []string{"a.b", "a..b"}}, protocol.CodeBadFilter},
		"no grant":            {broker.FollowRequest{Filters: []string{"a.b", "b"}}, protocol.CodeForbidden},
		"a wider filter":      {broker.FollowRequest{Filters: []string{">"}}, protocol.CodeForbidden},
		"twice":               {broker.FollowRequest{Filters: []string{"a.b", "a.b"}}, protocol.CodeBadArgs},
		"fresh, not a filter": {broker.FollowRequest{Filters: []string{"a.b"}, Fresh: []string{"a.c"}}, protocol.CodeBadArgs},
		"too many":            {broker.FollowRequest{Filters: []string{"a.a", "a.b", "a.c"}}, protocol.CodeSubscriptionLimit},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := start(t, broker.Options{Limits: broker.Limits{Subscriptions: 2, SessionsOfUser: 1}})
				c := brokertest.Open(t, b, broker.ConnInfo{Identity: id})
				if err := c.Session.Follow(tt.r); code(err) != tt.code {
					t.Errorf("found %v, wanted %s", err, tt.code)
				}
				wantArrived(t, c)
				c.Leave()
				synctest.Wait()
				if st := b.Stats(); st.Sessions != 0 || st.Subscriptions != 0 {
					t.Errorf("found %d sessions and %d subscriptions left", st.Sessions, st.Subscriptions)
				}
				brokertest.Follow(t, b, id, broker.FollowRequest{Filters: []string{"a.b"}})
				second := brokertest.Open(t, b, broker.ConnInfo{Identity: id})
				if err := second.Session.Follow(broker.FollowRequest{Filters: []string{"a.b"}}); code(err) != protocol.CodeSessionLimit {
					t.Errorf("found %v, wanted the user's limit of sessions to hold for streams", err)
				}
			})
		})
	}
}

// G7, G15: a stream ends as any session does.
func TestAStreamEndsAsAnySessionDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{ExpiryLeeway: time.Second, DrainSpread: time.Second})
		follow := func(id *broker.Identity) *brokertest.Client {
			c := brokertest.Follow(t, b, id, broker.FollowRequest{Filters: []string{"a"}, NoRetained: true})
			synctest.Wait()
			return c
		}
		all := broker.Everybody().Grants
		expired := follow(&broker.Identity{User: "u", Grants: all, Expires: time.Now().Add(time.Minute)})
		revoked := follow(&broker.Identity{User: "v", Grants: all})
		drained := follow(&broker.Identity{User: "w", Grants: all})
		revoked.Session.Revoke(protocol.Errorf(protocol.CodeRevoked, ""))
		if d, ended := revoked.Ended(); !ended || d != nil {
			t.Errorf("found the revoked one ended %v with %v", ended, d)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if d, ended := expired.Ended(); !ended || d == nil || d.Code != protocol.CodeTokenExpired {
			t.Errorf("found the expired one ended %v with %v", ended, d)
		}
		if _, ended := drained.Ended(); ended {
			t.Fatal("found a stream without pongs ended")
		}
		if err := b.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		if d, ended := drained.Ended(); !ended || d == nil || d.Code != protocol.CodeGoingAway || !d.Reconnect {
			t.Errorf("found the drained one ended %v with %v", ended, d)
		}
	})
}
