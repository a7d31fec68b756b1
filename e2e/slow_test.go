package e2e

import (
	"bufio"
	"encoding/binary"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/broker/brokertest/faultproxy"
	carillon "github.com/carillon-mq/carillon/sdk/go"
)

// G8: a subscriber that stops reading is seen lagging, is not cut, holds no more than its window, changes nothing for the
// others, and then gets everything that is still in the ring, or is told the gap.
func TestASubscriberThatStopsReadingHurtsNobody(t *testing.T) {
	messages, stall, others := count(8_000, 100_000), time.Duration(count(2, 60))*time.Second, 100
	b := newBroker(t)
	b.start()
	proxy, err := faultproxy.New(b.listen)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { proxy.Close() })
	slow := clientAt(t, "ws://"+proxy.Addr()+"/ws", carillon.WithMaxSilence(5*time.Minute))
	events := make(chan carillon.Event, messages+16)
	var readers sync.WaitGroup
	readers.Go(func() {
		for e, err := range slow.Subscribe("slow.topic").Events(t.Context()) {
			if err != nil {
				return
			}
			events <- e
		}
	})
	defer readers.Wait()
	var received atomic.Int64
	for range others {
		c := client(t, b)
		live := make(chan struct{})
		readers.Go(func() {
			next := uint32(0)
			for e, err := range c.Subscribe("slow.topic").Events(t.Context()) {
				switch e := e.(type) {
				case *carillon.Resumed:
					close(live)
				case *carillon.Message:
					if n := binary.BigEndian.Uint32(e.Payload); n != next {
						t.Errorf("another subscriber found message %d, wanted %d", n, next)
						return
					}
					next++
					received.Add(1)
				case *carillon.GapError:
					t.Errorf("another subscriber was told of a gap: %v", e)
				}
				if err != nil || next == uint32(messages) {
					return
				}
			}
		})
		<-live
	}
	began := time.Now()
	proxy.Freeze()
	pub := client(t, b)
	fill := make([]byte, 1020)                    // that does not compress
	_, _ = rand.NewChaCha8([32]byte{}).Read(fill) // never fails
	window := make([]*carillon.Publishing, 32)
	for i := range messages + len(window) {
		if p := window[i%len(window)]; p != nil {
			if _, err := p.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			window[i%len(window)] = nil
		}
		if i >= messages {
			continue
		}
		payload := append(binary.BigEndian.AppendUint32(nil, uint32(i)), fill...)
		p, err := pub.PublishAsync(t.Context(), "slow.topic", payload)
		if err != nil {
			t.Fatal(err)
		}
		window[i%len(window)] = p
	}
	eventually(t, 30*time.Second, "the others have everything", func() bool { return received.Load() == int64(messages*others) })
	if lagging := b.metric("carillon_sessions_lagging"); lagging != 1 {
		t.Errorf("found %v lagging sessions, wanted 1", lagging)
	}
	wait(t, stall-time.Since(began))
	proxy.Thaw()
	told, gaps := int64(0), 0
	for got := int64(0); got+told < int64(messages); {
		select {
		case e := <-events:
			switch e := e.(type) {
			case *carillon.Message:
				if n := int64(binary.BigEndian.Uint32(e.Payload)); n != got+told {
					t.Fatalf("found message %d after %d messages and %d told missing", n, got, told)
				}
				got++
			case *carillon.GapError:
				if e.Count < 0 {
					t.Fatalf("the gap does not say how much is missing: %v", e)
				}
				gaps++
				told += e.Count
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("after the stall only %d messages came and %d were told missing, of %d", got, told, messages)
		}
	}
	t.Logf("%d messages, %d told missing in %d gaps, connections made through the proxy: %d", messages, told, gaps, proxy.Accepted())
	if n := proxy.Accepted(); n != 1 {
		t.Errorf("the slow subscriber connected %d times, wanted 1: it must not be cut", n)
	}
	slow.Close(t.Context())
}

// metric reads one figure of the broker's metrics; -1 when it is not there.
func (b *broker) metric(name string) float64 {
	if v, ok := b.metrics()[name]; ok {
		return v
	}
	return -1
}

// metrics are the broker's figures by name, those with labels left out.
func (b *broker) metrics() map[string]float64 {
	req, err := http.NewRequestWithContext(b.t.Context(), http.MethodGet, "http://"+b.admin+"/metrics", nil)
	if err != nil {
		return nil
	}
	req.Header.Set("Accept-Encoding", "identity") // to compress takes a megabyte, for a while
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil
	}
	defer resp.Body.Close()
	out := map[string]float64{}
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), " ")
		if v, err := strconv.ParseFloat(value, 64); err == nil {
			out[name] = v
		}
	}
	return out
}
