package storebolt

import (
	"encoding/binary"
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

// BenchmarkCommitHistory is the same for stored messages with an id: a history by count, and keys.
func BenchmarkCommitHistory(b *testing.B) {
	for _, inFlight := range []int{1, 16} {
		for _, keep := range []uint64{10, 1 << 40} {
			b.Run(fmt.Sprintf("publishers=64/inflight=%d/count=%d", inFlight, keep), func(b *testing.B) {
				benchmarkHistory(b, 64, inFlight, keep)
			})
		}
	}
}

func benchmarkCommit(b *testing.B, publishers, inFlight int, retain bool) {
	s := open(b, Config{Dir: b.TempDir()})
	defer s.Close()
	benchmarkAppend(b, s, publishers, inFlight, func(r *broker.Record) { r.Retain = retain })
}

func benchmarkHistory(b *testing.B, publishers, inFlight int, keep uint64) {
	s := open(b, Config{Dir: b.TempDir()})
	defer s.Close()
	setRules(b, s, broker.RetentionRule{Match: ">", Count: keep})
	benchmarkAppend(b, s, publishers, inFlight, func(r *broker.Record) {
		r.Key, r.Digest = binary.BigEndian.AppendUint64(make([]byte, 8, 16), r.Ref), make([]byte, 16)
	})
}

func benchmarkAppend(b *testing.B, s *Store, publishers, inFlight int, change func(*broker.Record)) {
	payload := make([]byte, 200)
	answered := make(chan struct{}, publishers*inFlight)
	latency := make([]time.Duration, b.N)
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		if i >= publishers*inFlight {
			<-answered
		}
		start := time.Now()
		r := broker.Record{Origin: protocol.RunID{1}, Ref: uint64(i + 1), Topic: fmt.Sprintf("orders.%d", i%1000), Payload: payload}
		change(&r)
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
