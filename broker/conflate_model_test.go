package broker_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/brokertest"
	"github.com/carillon-mq/carillon/protocol"
)

// R5, [SUB-9] to [SUB-12]: whatever the socket does, however often it is cut and whatever the log has passed, a conflated subscription
// ends with the newest message of each topic, in the order of the log, or is told a gap.
func TestConflatedSubscriptionsEndWithTheNewest(t *testing.T) {
	for seed := range uint64(60) {
		synctest.Test(t, func(t *testing.T) { conflatedRun(t, rand.New(rand.NewPCG(seed, 1)), seed) })
	}
}

type conflatedClient struct {
	*brokertest.Client
	tracker brokertest.Tracker
	sub     *protocol.Subscribe
	tracked *brokertest.Tracked
	newest  map[string]string
	gaps    map[protocol.GapReason]int
	order   uint64
}

func conflatedRun(t *testing.T, r *rand.Rand, seed uint64) {
	rules := []broker.TopicRule{{Match: "t.live.*", Class: broker.ClassLive}, {Match: "t.kept.*", Class: broker.ClassStored, History: broker.History{Count: 100_000}}}
	store := brokertest.NewStore()
	opt := broker.Options{Topics: rules, RingBytes: 64 << 10}
	if r.IntN(2) == 0 {
		opt.RingBytes = 0
	}
	b := run(t, store, opt)
	filter := []string{"t.>", "t.kept.*", "t.plain.*", "t.live.*"}[r.IntN(4)]
	k := &conflatedClient{newest: map[string]string{}, gaps: map[protocol.GapReason]int{}}
	published := map[string]string{}
	k.dial(t, b, &protocol.Subscribe{ID: 1, Filter: filter, NoRetained: r.IntN(2) == 0, Latest: r.IntN(2) == 0, MaxRate: uint64(r.IntN(3)) * 400})
	if !k.sub.Conflated() {
		k.sub.Latest = true
	}
	k.begin(t)
	cuts := 0
	for i := range 400 {
		switch n := r.IntN(40); {
		case n == 0:
			k.Shut()
		case n == 1:
			k.Open()
		case n < 4:
			k.Allow(int64(r.IntN(20 << 10)))
		case n == 4 && filter != "t.live.*":
			k.take(t, seed)
			k.Leave()
			cuts++
			sub := *k.sub
			sub.Position, sub.Snapshot = k.tracker.Token(k.tracked), k.tracked.Waits()
			if sub.Position == nil { // the client begins afresh
				clear(k.newest)
				for topic := range published {
					delete(published, topic)
				}
			}
			k.dial(t, b, &sub)
			k.begin(t)
		case n == 5:
			synctest.Wait()
			k.take(t, seed)
		case n == 6:
			time.Sleep(time.Duration(r.IntN(300)) * time.Millisecond)
		default:
			topic := fmt.Sprintf("t.%s.%d", []string{"live", "kept", "plain"}[r.IntN(3)], r.IntN(6))
			payload := fmt.Sprintf("%d ", i) + kib(r.IntN(3))
			publish(t, b, topic, payload)
			if protocol.Match(filter, topic) {
				published[topic] = payload
			}
		}
	}
	k.Open()
	time.Sleep(time.Minute)
	k.take(t, seed)
	for topic, payload := range published {
		if k.newest[topic] == payload {
			continue
		}
		live := topic[2] == 'l'
		if live && (k.gaps[protocol.GapLive]+k.gaps[protocol.GapTrimmed]+k.gaps[protocol.GapNotStored]+cuts > 0) || topic[2] == 'p' && k.gaps[protocol.GapTrimmed]+k.gaps[protocol.GapNotStored] > 0 {
			continue
		}
		t.Fatalf("seed %d, %q: found %.10q of %s last, wanted %.10q; gaps %v, cuts %d", seed, filter, k.newest[topic], topic, payload, k.gaps, cuts)
	}
}

func (k *conflatedClient) dial(t *testing.T, b *broker.Broker, sub *protocol.Subscribe) {
	k.Client, k.sub, k.order = brokertest.Dial(t, b, nil), sub, 0
	k.tracker = brokertest.Tracker{Session: k.Connected.Position}
}

func (k *conflatedClient) begin(t *testing.T) {
	k.tracked = k.tracker.Subscribe(k.sub)
	k.tracker.On = func(_ *brokertest.Tracked, e brokertest.Event) {
		switch {
		case e.Gap != nil:
			k.gaps[e.Gap.Reason]++
		case e.Message != nil && !e.Retained:
			if seq := e.Message.Seq; seq > 0 && seq <= k.order {
				t.Errorf("found message %d behind %d", seq, k.order)
			} else if seq > 0 {
				k.order = seq
			}
			k.newest[e.Message.Topic] = string(e.Message.Payload)
		}
	}
	k.Send(k.sub)
	synctest.Wait()
}

func (k *conflatedClient) take(t *testing.T, seed uint64) {
	synctest.Wait()
	for _, p := range k.Packets() {
		if err := k.tracker.Handle(p); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}
