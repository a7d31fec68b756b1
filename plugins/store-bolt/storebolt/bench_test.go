package storebolt

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/protocol"
)

// BenchmarkCommit is the group commit as a broker sees it: so many publishers, each with so many records in flight, each
// waiting for the oldest of them before it sends the next.
func BenchmarkCommit(b *testing.B) {
	for _, retain := range []bool{false, true} {
		for _, inFlight := range []int{1, 16} {
			b.Run(fmt.Sprintf("publishers=64/inflight=%d/retain=%v", inFlight, retain), func(b *testing.B) {
				benchmarkCommit(b, 64, inFlight, retain)
			})
		}
	}
}

func benchmarkCommit(b *testing.B, publishers, inFlight int, retain bool) {
	s := open(b, Config{Dir: b.TempDir()})
	defer s.Close()
	payload := make([]byte, 200)
	answered := make(chan struct{}, publishers*inFlight)
	latency := make([]time.Duration, b.N)
	b.ResetTimer()
	for i := range b.N {
		if i >= publishers*inFlight {
			<-answered
		}
		start := time.Now()
		r := broker.Record{Origin: protocol.RunID{1}, Ref: uint64(i + 1), Topic: fmt.Sprintf("orders.%d", i%1000), Payload: payload, Retain: retain}
		s.Append([]broker.Record{r}, func(_ []broker.AppendResult, err error) {
			if err != nil {
				b.Error(err)
			}
			latency[i] = time.Since(start)
			answered <- struct{}{}
		})
	}
	for range min(b.N, publishers*inFlight) {
		<-answered
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
	b.ReportMetric(float64(median(latency).Microseconds()), "p50-µs")
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}
