package broker_test

import (
	"testing"
	"testing/synctest"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/brokertest"
	"github.com/carillon-mq/carillon/protocol"
)

// PUB-14, R7, H1: what comes from the store honours it as the log does, after a restart too; a history is the same for everybody.
func TestReplaysOfTheStoreLeaveOutWhatExcludesTheSession(t *testing.T) {
	inAndOverARestart(t, func(t *testing.T, b *broker.Broker, goOn func() *broker.Broker) {
		at := b.Position()
		for i := range 600 {
			if i%3 == 0 || i >= 100 && i < 200 {
				publishPast(t, b, "kept.a", kib(1))
			} else {
				publish(t, b, "kept.a", kib(1))
			}
		}
		b = goOn()
		wanted := func(offset uint64) bool { return (offset-1)%3 != 0 && (offset <= 100 || offset > 200) }
		for name, sub := range map[string]*protocol.Subscribe{
			"resume": {ID: 1, Filter: "kept.*", Position: at.Append(nil)}, "last": {ID: 1, Filter: "kept.a", Last: 310},
			"all": {ID: 1, Filter: "kept.a", Last: 1024},
		} {
			c := dialFrom(t, b, nil, "tab-1")
			c.Send(sub)
			synctest.Wait()
			found := 0
			for _, p := range c.Packets() {
				switch p := p.(type) {
				case *protocol.Message:
					if found++; !wanted(p.Offset) {
						t.Fatalf("%s: found the record at %d", name, p.Offset)
					}
				case *protocol.Gap:
					t.Errorf("%s: found %+v, wanted no gap", name, p)
				}
			}
			if want := map[string]int{"resume": 333, "last": 310, "all": 333}[name]; found != want {
				t.Errorf("%s: found %d messages, wanted %d", name, found, want)
			}
		}
		c := dialFrom(t, b, nil, "tab-1")
		c.Send(&protocol.Subscribe{ID: 1, Filter: "kept.a", Position: at.Append(nil), Latest: true})
		synctest.Wait()
		for _, p := range c.Packets() {
			if m, ok := p.(*protocol.Message); ok && !wanted(m.Offset) {
				t.Errorf("conflated: found the record at %d", m.Offset)
			}
		}
		page, err := b.History(t.Context(), broker.Everybody(), broker.HistoryRequest{Filter: "kept.a", Limit: 3})
		if err != nil || len(page.Messages) != 3 || page.Messages[0].Offset != 1 {
			t.Errorf("found the history %+v, %v, wanted all of it", page, err)
		}
	})
}

// PUB-14, RES-8: a session that the log has passed goes on from the store without what excludes it.
func TestALaggingSessionThatReadsTheStoreIsNotSentWhatExcludesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := run(t, brokertest.NewStore(), broker.Options{RingBytes: 64 << 10})
		c := dialFrom(t, b, nil, "tab-1")
		c.Subscribe(1, "kept.a")
		c.Shut()
		for i := range 900 {
			if i%3 == 0 {
				publishPast(t, b, "kept.a", kib(1))
			} else {
				publish(t, b, "kept.a", kib(1))
			}
		}
		c.Open()
		synctest.Wait()
		found, fromStore := 0, 0
		for _, p := range c.Packets() {
			switch p := p.(type) {
			case *protocol.Message:
				if found++; (p.Offset-1)%3 == 0 {
					t.Fatalf("found the record at %d", p.Offset)
				}
				if p.Seq == 0 {
					fromStore++
				}
			case *protocol.Gap:
				t.Errorf("found %+v, wanted no gap", p)
			}
		}
		if found != 600 || fromStore < 100 {
			t.Errorf("found %d messages, %d of the store, wanted 600", found, fromStore)
		}
	})
}
