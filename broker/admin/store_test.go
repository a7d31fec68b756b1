package admin

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/carillon-mq/carillon/broker"
)

// store answers with its figures, or not.
type store struct {
	figures broker.StoreStatistics
	err     error
	asked   int
	hangs   bool
}

func (s *store) ReadStatistics(ctx context.Context) (broker.StoreStatistics, error) {
	s.asked++
	if s.hangs {
		<-ctx.Done()
		return broker.StoreStatistics{}, ctx.Err()
	}
	return s.figures, s.err
}

func TestTheFiguresOfTheStoreAreAmongTheMetrics(t *testing.T) {
	s := &store{figures: broker.StoreStatistics{
		Head: 1, Oldest: 2, Records: 3, RecordBytes: 4, HistoryRecords: 5, HistoryBytes: 6, HistoryTopics: 7, RetainedTopics: 8,
		RetainedBytes: 9, Keys: 10, Terms: 11, FileBytes: 12, FreeBytes: 13, MaxFileBytes: 14, CommittedRecords: 15,
		Commits: 6, CommitTime: 250 * time.Millisecond, CommitBuckets: []uint64{1, 2, 0, 3},
	}}
	_, body := get(t, newHandler(t, &fake{}, Options{Store: s}), "GET", "/metrics")
	for _, line := range []string{
		"offset 1", "oldest_offset 2", "records 3", "record_bytes 4", "history_records 5", "history_bytes 6", "history_topics 7",
		"retained_topics 8", "retained_bytes 9", "message_ids 10", "terms 11", "file_bytes 12", "free_bytes 13", "max_file_bytes 14",
		"committed_records_total 15", `write_seconds_bucket{le="0.001"} 1`, `write_seconds_bucket{le="0.002"} 3`,
		`write_seconds_bucket{le="0.004"} 3`, `write_seconds_bucket{le="+Inf"} 6`, "write_seconds_count 6", "write_seconds_sum 0.25",
	} {
		if !strings.Contains(body, "\ncarillon_store_"+line+"\n") {
			t.Errorf("missing carillon_store_%s", line)
		}
	}
}

// A store that has no figures, is away or hangs leaves its series out, and nothing else.
func TestAStoreThatDoesNotAnswerLeavesItsSeriesOut(t *testing.T) {
	for name, s := range map[string]*store{"no power": {err: broker.ErrNoPower}, "away": {err: errors.New("away")}, "hangs": {hangs: true}} {
		synctest.Test(t, func(t *testing.T) {
			h := newHandler(t, &fake{}, Options{Store: s})
			began := time.Now()
			for range 3 {
				status, body := get(t, h, "GET", "/metrics")
				if status != 200 || strings.Contains(body, "carillon_store_records") || !strings.Contains(body, "carillon_store_up") {
					t.Errorf("%s: %d %s", name, status, body)
				}
			}
			if took := time.Since(began); s.asked != 1 || took > statisticsTime {
				t.Errorf("%s: asked %d times in %v", name, s.asked, took)
			}
		})
	}
}

func TestTheStoreIsAskedAgainWhenItsAnswerIsOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{figures: broker.StoreStatistics{Records: 1}}
		h := newHandler(t, &fake{}, Options{Store: s})
		for _, want := range []string{"1", "1", "2"} {
			if _, body := get(t, h, "GET", "/metrics"); !strings.Contains(body, "\ncarillon_store_records "+want+"\n") {
				t.Errorf("wanted %s records", want)
			}
			s.figures.Records = 2
			time.Sleep(statisticsFor/2 + time.Millisecond) // of the bubble's clock
		}
	})
}
