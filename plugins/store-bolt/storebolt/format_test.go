package storebolt

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/carillon-mq/carillon/broker"
)

// The golden file was written by the last version before the history: 100 records in segments of 20, two terms.
func TestAFileOfFormat1IsOpenedAndKeepsEverything(t *testing.T) {
	f, err := os.Open("testdata/format1.db.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{Dir: t.TempDir(), segmentRecords: 20, hotSegments: 1}
	if err := os.WriteFile(filepath.Join(cfg.Dir, fileName), b, 0o600); err != nil {
		t.Fatal(err)
	}
	for round := range 3 {
		s := open(t, cfg)
		feed := mustReadFeed(t, s, broker.FollowFrom{})
		kept := make(map[string]uint64)
		for i, r := range feed[:100] {
			n := i + 1
			if r.Offset != uint64(n) || r.Ref != r.Offset || r.Origin != runA || r.User != "john" || r.Headers["n"] != fmt.Sprint(n) ||
				n%30 != 0 && string(r.Payload) != fmt.Sprintf("payload %d", n) || r.Retain != (n%3 == 0) {
				t.Fatalf("record %d: %+v", n, r)
			}
			if r.Retain {
				delete(kept, r.Topic)
				if len(r.Payload) > 0 {
					kept[r.Topic] = r.Offset
				}
			}
		}
		all, _ := mustLoadRetained(t, s)
		for topic, offset := range kept {
			if all[topic].Offset != offset {
				t.Errorf("%s is retained at %d, want %d", topic, all[topic].Offset, offset)
			}
		}
		if r := appendAll(t, s, from(runA, 100, record("x", "")))[0]; !r.Duplicate || r.Offset != 100 {
			t.Errorf("its last record again: %+v", r)
		}
		terms, err := s.Terms()
		if err != nil || len(terms) != 3+round || len(feed) != 100+round {
			t.Errorf("%d terms, %d records, %v", len(terms), len(feed), err)
		}
		setRules(t, s, broker.RetentionRule{Match: ">", Count: 1 << 40})
		appendAll(t, s, record("orders.1", "new"))
		settleAll(t, s)
		p := readHistory(t, s, broker.HistoryQuery{Filters: []string{">"}, After: 5})
		if len(p.Records) != round+1 || p.TrimmedThrough != 100 {
			t.Errorf("a history of %v, trimmed through %d", offsetsOf(p.Records), p.TrimmedThrough)
		}
		closeStore(t, s)
	}
}

func FuzzThaw(f *testing.F) {
	z := newFreezer(7)
	for i := range uint64(5) {
		r := record(fmt.Sprintf("t%d", i%2), "x")
		if err := z.add(appendRecord(nil, &r, place{offset: 8 + i, stamp: 1000, history: i > 0, prev: i}), i != 3); err != nil {
			f.Fatal(err)
		}
	}
	f.Add(z.value())
	f.Fuzz(func(t *testing.T, v []byte) {
		if len(v) >= frozenFixed { // the checksum would keep the fuzzer out
			v = bytes.Clone(v)
			v[0] = frozenVersion
			index := uint64(v[5])<<24 | uint64(v[6])<<16 | uint64(v[7])<<8 | uint64(v[8])
			if end := frozenFixed + index; end <= uint64(len(v)) {
				putFrozenChecksum(v, end)
			}
		}
		th, err := thaw(v, 7)
		if err != nil {
			return
		}
		last := uint64(0)
		n := 0
		for r, ok := th.next(); ok; r, ok = th.next() {
			if n++; n > 1 && r.offset <= last {
				t.Fatalf("offset %d after %d", r.offset, last)
			}
			last = r.offset
		}
	})
}
