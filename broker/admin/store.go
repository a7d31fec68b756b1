package admin

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/carillon-mq/carillon/broker"
)

// The figures of a store that tells them (broker.StatisticsReader).
var (
	storeHead          = desc("store_offset", "Highest offset that the store has committed.")
	storeOldest        = desc("store_oldest_offset", "Lowest offset from which the log of the store can be read.")
	storeRecords       = desc("store_records", "Records in the store.")
	storeRecordBytes   = desc("store_record_bytes", "Bytes of these records.")
	storeHistory       = desc("store_history_records", "Records that the history of a topic has.")
	storeHistoryBytes  = desc("store_history_bytes", "Bytes of these records.")
	storeHistoryTopics = desc("store_history_topics", "Topics with a history.")
	storeRetained      = desc("store_retained_topics", "Topics with a retained message in the store.")
	storeRetainedBytes = desc("store_retained_bytes", "Bytes of the retained messages in the store.")
	storeIDs           = desc("store_message_ids", "Message ids that the store remembers.")
	storeTerms         = desc("store_terms", "Times that the store was opened for writing and remembers.")
	storeFile          = desc("store_file_bytes", "Size of the store's file.")
	storeFree          = desc("store_free_bytes", "Part of the file that can be used again.")
	storeMaxFile       = desc("store_max_file_bytes", "Size that the file may have.")
	storeCommitted     = desc("store_committed_records_total", "Records that the store's process has committed.")
	storeWriteSeconds  = desc("store_write_seconds", "One commit of the store: writing and fsync.")
)

var storeDescs = []*prometheus.Desc{
	storeHead, storeOldest, storeRecords, storeRecordBytes, storeHistory, storeHistoryBytes, storeHistoryTopics, storeRetained,
	storeRetainedBytes, storeIDs, storeTerms, storeFile, storeFree, storeMaxFile, storeCommitted, storeWriteSeconds,
}

const (
	statisticsTime = time.Second     // what the store has to answer; a scrape waits as long
	statisticsFor  = 2 * time.Second // how long an answer is good
)

// statistics asks a store for its figures, not more often than statisticsFor however many scrape.
type statistics struct {
	store broker.StatisticsReader // nil: none

	mu    sync.Mutex
	last  broker.StoreStatistics
	known bool // last is an answer
	until time.Time
}

// read reports false when the store has no figures, or is away.
func (s *statistics) read() (broker.StoreStatistics, bool) {
	if s.store == nil {
		return broker.StoreStatistics{}, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Now().Before(s.until) {
		return s.last, s.known
	}
	ctx, cancel := context.WithTimeout(context.Background(), statisticsTime)
	defer cancel()
	last, err := s.store.ReadStatistics(ctx)
	s.last, s.known, s.until = last, err == nil, time.Now().Add(statisticsFor)
	return s.last, s.known
}

// collectStore adds the store's figures. Without an answer the series are left out: an old figure would look like a present one.
func (c *collector) collectStore(ch chan<- prometheus.Metric) {
	s, ok := c.statistics.read()
	if !ok {
		return
	}
	for d, v := range map[*prometheus.Desc]uint64{
		storeHead: s.Head, storeOldest: s.Oldest, storeRecords: s.Records, storeRecordBytes: s.RecordBytes, storeHistory: s.HistoryRecords,
		storeHistoryBytes: s.HistoryBytes, storeHistoryTopics: s.HistoryTopics, storeRetained: s.RetainedTopics,
		storeRetainedBytes: s.RetainedBytes, storeIDs: s.Keys, storeTerms: s.Terms,
		storeFile: s.FileBytes, storeFree: s.FreeBytes, storeMaxFile: s.MaxFileBytes,
	} {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v))
	}
	ch <- prometheus.MustNewConstMetric(storeCommitted, prometheus.CounterValue, float64(s.CommittedRecords))
	ch <- prometheus.MustNewConstHistogram(storeWriteSeconds, s.Commits, s.CommitTime.Seconds(), writeBuckets(s.CommitBuckets))
}

// writeBuckets are the buckets of a store, whose bounds double from 1 ms on and whose last one has none, as a histogram has them:
// each with what is in those below.
func writeBuckets(counts []uint64) map[float64]uint64 {
	buckets := map[float64]uint64{}
	var sum uint64
	bound := 0.001
	for i := range max(len(counts)-1, 0) {
		sum += counts[i]
		buckets[bound] = sum
		bound *= 2
	}
	return buckets
}
