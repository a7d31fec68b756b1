package storebolt

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/protocol"
)

// TestALargeStore makes a store with a million retained records and so many million records of history, of 200 bytes each, in
// the folder that STOREBOLT_LARGE names, and tells what opening and reading it take. It takes minutes and gigabytes.
func TestALargeStore(t *testing.T) {
	dir := os.Getenv("STOREBOLT_LARGE")
	if dir == "" {
		t.Skip("STOREBOLT_LARGE names no folder")
	}
	cfg := Config{Dir: filepath.Join(dir, "store"), MaxFileBytes: 1 << 40, Logger: discard}
	if _, err := os.Stat(cfg.Dir); err != nil {
		makeLarge(t, cfg, 10_000_000)
	}
	before := heap()
	began := time.Now()
	if _, err := checkFile(filepath.Join(cfg.Dir, fileName)); err != nil {
		t.Fatal(err)
	}
	t.Logf("check of the pages: %v", time.Since(began))
	began = time.Now()
	s := open(t, cfg)
	t.Logf("open, check included: %v", time.Since(began))
	x := s.index
	t.Logf("heap %d MB for %d records of %d topics in %d segments", (heap()-before)>>20, x.live, len(x.ids), len(x.segments))
	began = time.Now()
	all, _ := mustLoadRetained(t, s)
	t.Logf("load %d retained: %v", len(all), time.Since(began))
	for _, q := range []broker.HistoryQuery{
		{Filters: []string{"orders.4242"}, Last: 100},
		{Filters: []string{"orders.4242"}, After: s.head / 2, Limit: 100},
		{Filters: []string{"orders.>"}, After: s.head - 1000},
		{Filters: []string{"orders.>"}, After: s.head / 2},
		{Filters: []string{"orders.4242", "orders.77"}, After: s.head / 2, Limit: 100},
		{Filters: []string{"nothing.>"}, After: 0},
	} {
		var took []time.Duration
		n := 0
		for range 50 {
			began := time.Now()
			p, err := s.ReadHistory(context.Background(), q)
			if err != nil {
				t.Fatal(err)
			}
			took, n = append(took, time.Since(began)), len(p.Records)
		}
		slices.Sort(took)
		t.Logf("read %v: %d records, p50 %v, max %v", q, n, took[25], took[49])
	}
}

func makeLarge(t *testing.T, cfg Config, history int) {
	s := open(t, cfg)
	defer closeStore(t, s)
	setRules(t, s, broker.RetentionRule{Match: "orders.>", Count: 1 << 40})
	payload := make([]byte, 200)
	ref := uint64(0)
	add := func(n int, record func(i int) broker.Record) {
		began := time.Now()
		room := make(chan struct{}, 64)
		for i := 0; i < n; i += 1000 {
			batch := []broker.Record{}
			for j := range 1000 {
				ref++
				r := record(i + j)
				r.Origin, r.Ref, r.Payload = protocol.RunID{1}, ref, payload
				batch = append(batch, r)
			}
			room <- struct{}{}
			s.Append(batch, func(_ []broker.AppendResult, err error) {
				if err != nil {
					t.Error(err)
				}
				<-room
			})
		}
		for range cap(room) {
			room <- struct{}{}
		}
		t.Logf("%d records in %v", n, time.Since(began))
	}
	add(1_000_000, func(i int) broker.Record { return broker.Record{Topic: fmt.Sprintf("ret.%07d", i), Retain: true} })
	add(history, func(i int) broker.Record { return broker.Record{Topic: fmt.Sprintf("orders.%d", i%10_000)} })
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
