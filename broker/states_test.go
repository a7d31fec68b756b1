package broker_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/brokertest"
	"github.com/carillon-mq/carillon/protocol"
)

// connectionStates are the columns of the table of section 5.3.
var connectionStates = []string{"opened", "connecting", "connected", "draining", "ending"}

// packetsOfRow are what is sent for each row of that table, one at a time.
func packetsOfRow() map[string][][]byte {
	one := func(packets ...protocol.Packet) (all [][]byte) {
		for _, p := range packets {
			all = append(all, p.Append(nil))
		}
		return all
	}
	return map[string][][]byte{
		"`Connect`": one(&protocol.Connect{Version: 1, Token: "x"}),
		"`Subscribe`, `Subscribes`, `Unsubscribe`, `History`, `Presence`, `Refresh`": one(
			&protocol.Subscribe{ID: 1, Filter: "a"}, &protocol.Subscribes{Subscriptions: []protocol.Subscribe{{ID: 1, Filter: "a"}}},
			&protocol.Unsubscribe{ID: 1, Subscription: 2}, &protocol.History{ID: 1, Filter: "a"}, &protocol.Presence{ID: 1, Topic: "a"}, &protocol.Refresh{ID: 1, Token: "y"},
		),
		"`Publish`": one(&protocol.Publish{ID: 1, Topic: "a"}),
		"`Ping`":    one(&protocol.Ping{}),
		"`Pong`":    one(&protocol.Pong{}),
		"one that only a server sends ([ENC-11])": one(
			&protocol.Connected{Session: "s"}, &protocol.Subscribed{ID: 1}, &protocol.Unsubscribed{ID: 1}, &protocol.Published{ID: 1}, &protocol.Message{Topic: "a"},
			&protocol.Replay{Subscription: 1}, &protocol.RetainedEnd{Subscription: 1}, &protocol.Resumed{Subscription: 1}, &protocol.Gap{Reason: protocol.GapLive},
			&protocol.Histories{ID: 1}, &protocol.Presences{ID: 1}, &protocol.Refreshed{ID: 1}, &protocol.ErrorPacket{ID: 1, Code: protocol.CodeForbidden},
			&protocol.Disconnect{Code: protocol.CodeGoingAway},
		),
		"one of a type that is not known ([ENC-9])": {{0x92, 127, 1}, {0x92, 14, 1}},
		"one that cannot be read ([ERR-2])":         {{0xc1}, {0x93, 3, 1}},
	}
}

// TestTheTableOfConnectionStatesIsTrue sends every packet in every state and compares what becomes of it with the spec.
func TestTheTableOfConnectionStatesIsTrue(t *testing.T) {
	_, table, _ := strings.Cut(specText(t), "| packet | "+strings.Join(connectionStates, " | ")+" |\n|---|---|---|---|---|---|\n")
	rows := packetsOfRow()
	for line := range strings.Lines(table) {
		cells := strings.Split(strings.TrimSpace(line), " | ")
		if len(cells) != 1+len(connectionStates) {
			break
		}
		row := strings.TrimPrefix(cells[0], "| ")
		packets, known := rows[row]
		if !known {
			t.Fatalf("found the row %q", row)
		}
		delete(rows, row)
		for i, state := range connectionStates {
			want := strings.TrimSuffix(cells[i+1], " |")
			for _, packet := range packets {
				found := ""
				synctest.Test(t, func(t *testing.T) { found = becomes(t, state, packet) })
				if state == "connecting" { // and then it is as behind Connected
					if behind, waited := strings.CutPrefix(found, "waits, then "); waited && behind == strings.TrimSuffix(cells[3], " |") {
						found = "waits"
					}
				}
				if found != want {
					t.Errorf("%x while %s: found %q, wanted %q", packet, state, found, want)
				}
			}
		}
	}
	for row := range rows {
		t.Errorf("the table has no row %q", row)
	}
}

// becomes is what becomes of a packet in a state, in the words of the table.
func becomes(t *testing.T, state string, packet []byte) string {
	t.Helper()
	answer := make(chan struct{})
	b, store := startStored(t, broker.Options{Authenticator: decide(func(context.Context, broker.Credentials) (*broker.Identity, error) {
		<-answer
		return broker.Everybody(), nil
	})})
	if state != "connecting" {
		close(answer)
	}
	c := brokertest.Open(t, b, broker.ConnInfo{})
	hello := (&protocol.Connect{Version: 1, Token: "x"}).Append(nil)
	switch state {
	case "opened":
		_ = c.SendBytes(packet) // it may be the last one: what came says so
		return inWords(arrived(c))
	case "connecting":
		return waitsFor(c, answer, slices.Concat(hello, packet))
	}
	if err := c.SendBytes(hello); err != nil {
		t.Fatal(err)
	}
	wantArrived(t, c, "connected")
	switch state {
	case "draining":
		store.Hold()
		x := brokertest.Dial(t, b, broker.Everybody())
		x.Send(&protocol.Publish{ID: 1, Topic: "b", Retain: true})
		drained := make(chan error, 1)
		go func() { drained <- b.Drain(t.Context()) }()
		defer func() {
			store.Release()
			if err := <-drained; err != nil {
				t.Errorf("the drain: %v", err)
			}
		}()
		synctest.Wait()
	case "ending":
		c.Session.Disconnect(protocol.Errorf(protocol.CodeKicked, "enough"))
		wantArrived(t, c, "disconnect kicked")
		if err := c.Session.Receive(packet, false); err == nil {
			t.Error("found the session going on")
		}
		return inWords(arrived(c))
	}
	_ = c.SendBytes(packet)
	return inWords(arrived(c))
}

// waitsFor sends a message and lets the authenticator answer when nothing has come of it.
func waitsFor(c *brokertest.Client, answer chan struct{}, message []byte) string {
	var sends sync.WaitGroup
	sends.Go(func() { _ = c.SendBytes(message) }) // it may be the last one
	early := arrived(c)
	close(answer)
	sends.Wait()
	if lines := arrived(c); len(early) == 0 && len(lines) > 0 && lines[0] == "connected" {
		return "waits, then " + inWords(lines[1:])
	}
	return inWords(early)
}

// inWords is what has come of a packet.
func inWords(lines []string) string {
	if len(lines) == 0 {
		return "nothing"
	}
	words := strings.Fields(lines[0])
	switch last := words[len(words)-1]; {
	case words[0] == "connected":
		return "taken"
	case words[0] == "disconnect":
		return "`" + last + "`, ends"
	case words[0] == "pong":
		return "`Pong`"
	case last == "unknown_type" || last == "not_ready":
		return "`" + last + "`"
	}
	return "answered"
}
