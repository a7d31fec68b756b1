package storebolt

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/broker"
)

// A history of a million records is read in pages of at most 1 MiB, in read transactions that are short: pages of the file that somebody may
// read can't be used again.
func TestALongHistoryIsReadInShortPages(t *testing.T) {
	records := campaign(40_000, 1_000_000)
	s := open(t, Config{Dir: t.TempDir(), MaxFileBytes: 4 << 30})
	setRules(t, s, broker.RetentionRule{Match: ">", Count: 1 << 40})
	payload := strings.Repeat("x", 500)
	for first := 0; first < records; first += 2000 {
		batch := make([]broker.Record, 2000)
		for i := range batch {
			batch[i] = record(fmt.Sprintf("t.%d", i%7), payload)
		}
		appendAll(t, s, batch...)
	}
	found, pages, last := 0, 0, uint64(0)
	var slowest time.Duration
	q := broker.HistoryQuery{Filters: []string{"t.>"}}
	for {
		began := time.Now()
		p := readHistory(t, s, q)
		slowest = max(slowest, time.Since(began))
		size := 0
		for i := range p.Records {
			if p.Records[i].Offset <= last {
				t.Fatalf("offset %d after %d", p.Records[i].Offset, last)
			}
			last = p.Records[i].Offset
			size += recordSize(&p.Records[i])
		}
		if size > 1<<20 || len(p.Records) > broker.MaxHistoryRecords {
			t.Fatalf("a page of %d records, %d bytes", len(p.Records), size)
		}
		found, pages = found+len(p.Records), pages+1
		if p.Done {
			break
		}
		q.After = p.Through
	}
	if found != records || slowest > 20*time.Second {
		t.Errorf("%d records of %d in %d pages, the slowest took %v", found, records, pages, slowest)
	}
}
