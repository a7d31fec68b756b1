package e2e

import (
	"context"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/broker/brokertest/faultproxy"
	"github.com/carillon-mq/carillon/internal/workload"
	carillon "github.com/carillon-mq/carillon/sdk/go"
)

// networkCut is done to every connection of a proxy.
type networkCut struct {
	name string // of the fault; "" is none
	odds int    // of all
	slow bool   // it takes seconds until everybody has found out
	do   func(t *testing.T, p *faultproxy.Proxy)
}

// cuts are the ways in which a network breaks connections, and one in which it holds them up.
var cuts = []networkCut{
	{"reset", 8, false, func(_ *testing.T, p *faultproxy.Proxy) { p.Reset() }},
	{"close", 4, false, func(_ *testing.T, p *faultproxy.Proxy) { p.Cut() }},
	{"mid-frame", 8, false, func(t *testing.T, p *faultproxy.Proxy) {
		p.CutAfter(1+rand.Int64N(2000), rand.IntN(2) == 0)
		wait(t, 20*time.Millisecond)
		p.Reset() // those that the one byte too many was not for
	}},
	{"refused for a while", 2, false, func(t *testing.T, p *faultproxy.Proxy) {
		p.Refuse()
		p.Reset()
		wait(t, time.Duration(rand.Int64N(int64(200*time.Millisecond))))
		p.Restore()
	}},
	{"half-open", 1, true, func(_ *testing.T, p *faultproxy.Proxy) {
		p.Silence()
		p.Restore() // for those that come anew
	}},
	{"", 2, true, func(t *testing.T, p *faultproxy.Proxy) {
		p.Freeze()
		wait(t, time.Second)
		p.Thaw()
	}},
	{"blackhole", 1, true, func(t *testing.T, p *faultproxy.Proxy) {
		p.Silence()
		wait(t, time.Duration(rand.Int64N(int64(400*time.Millisecond))))
		p.Restore()
	}},
}

// cut does one of cuts, by their odds, to p, and notes a fault for each connection.
func cut(t *testing.T, p *faultproxy.Proxy, l *workload.Load, quick bool) {
	t.Helper()
	sum := 0
	for _, c := range cuts {
		sum += c.odds
	}
	for {
		at := rand.IntN(sum)
		i := slices.IndexFunc(cuts, func(c networkCut) bool {
			at -= c.odds
			return at < 0
		})
		c := cuts[i]
		if quick && c.slow {
			continue
		}
		for range p.Connections() {
			if c.name != "" {
				fault(l, c.name)
			}
		}
		c.do(t, p)
		return
	}
}

// impatient clients find out soon that a connection is dead. The broker of these tests sends a ping every second.
var impatient = []carillon.Option{
	carillon.WithMaxSilence(2500 * time.Millisecond), carillon.WithDialTimeout(500 * time.Millisecond), carillon.WithBuffer(1<<16, 64<<20),
}

// G1, G4, G5, G9, G10: connections that break in every way, of subscribers and of publishers, with a log so small that it is passed
// again and again, a reader that does not keep up, and now and then a broker that is killed.
func TestCutsLoseNothing(t *testing.T) {
	fresh := func() *broker {
		return newLoadBroker(t, "CARILLON_LIMITS_RING=1MiB", "CARILLON_LIMITS_PING_EVERY=1s", "CARILLON_LIMITS_PONG_WAIT=500ms")
	}
	rounds(t, 10*time.Second, 20_000, fresh, func(b *broker, name string) workload.Report {
		toReaders, toWriters := faultProxy(t, b), faultProxy(t, b)
		defer toReaders.Close()
		defer toWriters.Close()
		subscriptions := slices.Repeat(everyKind(name), 3)
		for i := range subscriptions {
			subscriptions[i].URL = "ws://" + toReaders.Addr() + "/ws"
		}
		subscriptions = append(subscriptions,
			workload.Subscription{Filter: name + ".>", NoRetained: true, Slow: 2 * time.Millisecond, Buffer: 64},
			workload.Subscription{Filter: name + ".memory.>", NoRetained: true, Slow: 8 * time.Millisecond, Buffer: 16},
		)
		opt := workload.Options{
			URL: b.url(), PublishURL: "ws://" + toWriters.Addr() + "/ws", Name: name, Pause: 3 * time.Millisecond, Bytes: 2000,
			Subscriptions: subscriptions, Readers: 1, Client: impatient,
		}
		const faults = 20
		return load(t, b, opt, workload.Floor{Acked: 1000, Shown: 5000, Kept: 200, Faults: 5 * faults}, func(ctx context.Context, l *workload.Load) {
			for i := range faults {
				await(ctx, t, l, 60)
				switch {
				case i == faults/2:
					fault(l, "kill broker")
					kill(t, b, "broker")
					cutCatchUps(t, toReaders, l)
				case i%4 == 3:
					cut(t, toWriters, l, true)
				default:
					cut(t, toReaders, l, false)
				}
			}
			await(ctx, t, l, 200)
		})
	})
}

// cutCatchUps cuts connections within the first kilobytes that come over them, one after the other: where gaps are told, and retained
// messages sent.
func cutCatchUps(t *testing.T, p *faultproxy.Proxy, l *workload.Load) {
	t.Helper()
	for range 15 {
		fault(l, "cut while catching up")
		p.CutAfter(1+rand.Int64N(8<<10), rand.IntN(2) == 0)
		wait(t, time.Duration(rand.Int64N(int64(30*time.Millisecond))))
	}
}

// faultProxy is a proxy in front of b.
func faultProxy(t *testing.T, b *broker) *faultproxy.Proxy {
	t.Helper()
	p, err := faultproxy.New(b.listen)
	if err != nil {
		t.Fatal(err)
	}
	return p
}
