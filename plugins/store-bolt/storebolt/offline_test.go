package storebolt

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/carillon-mq/carillon/broker"
)

// filled is a store with a bit of everything.
func filled(t *testing.T, cfg Config) *Store {
	t.Helper()
	s := open(t, cfg)
	setRules(t, s, broker.RetentionRule{Match: "h.*", Count: 50}, broker.RetentionRule{Match: "rare", Count: 100})
	for i := range 600 {
		r := record(fmt.Sprintf("h.%d", i%3), fmt.Sprint(i))
		switch i % 10 {
		case 0:
			r = retained(fmt.Sprintf("r.%d", i%70), fmt.Sprint(i))
			r.Expires = 4_000_000_000_000 + int64(i)
		case 1:
			r = retained(fmt.Sprintf("r.%d", (i-1)%70), "")
		case 2:
			r.Topic = "rare"
		case 3:
			r.Key, r.Digest = fmt.Appendf(nil, "key %020d", i), []byte("12345678")
		}
		appendAll(t, s, r)
	}
	settleAll(t, s)
	return s
}

// everything is what can be asked of a store about its records.
func everything(t *testing.T, s *Store) any {
	t.Helper()
	all, head := mustLoadRetained(t, s)
	p := readHistory(t, s, broker.HistoryQuery{Filters: []string{">"}})
	q := readHistory(t, s, broker.HistoryQuery{Filters: []string{"rare"}})
	feed := mustReadFeed(t, s, broker.FollowFrom{After: head - 100})
	dup := record("x", "")
	dup.Key, dup.Digest = fmt.Appendf(nil, "key %020d", 593), []byte("12345678")
	return []any{all, head, p, q, feed, appendAll(t, s, dup)}
}

func TestABackupThatIsMadeWhileTheStoreIsUsedIsAStore(t *testing.T) {
	cfg := Config{Dir: t.TempDir(), segmentRecords: 20, hotSegments: 2, KeepRecords: 200}
	s := filled(t, cfg)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				appendAll(t, s, retained(fmt.Sprintf("new.%d", i%50), fmt.Sprint(i)), retained(fmt.Sprintf("r.%d", 10*(i%7)), ""), record("h.1", fmt.Sprint(i)))
			}
		}
	}()
	for range 5 {
		before := s.Stats().Head
		var file bytes.Buffer
		head, err := s.Backup(context.Background(), &file, 0)
		if err != nil || head < before {
			t.Fatalf("up to %d, begun at %d: %v", head, before, err)
		}
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, fileName), file.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, problems, err := Check(dir); err != nil || len(problems) > 0 {
			t.Fatalf("%v, %v", problems, err)
		}
		b := open(t, Config{Dir: dir, segmentRecords: 20, KeepRecords: 200})
		all, got := mustLoadRetained(t, b)
		if got != head {
			t.Errorf("the copy ends at %d, want %d", got, head)
		}
		want := make(map[string]broker.Record)
		for topic, r := range all {
			if r.Offset <= before {
				want[topic] = r
			}
		}
		for _, r := range mustReadFeed(t, b, broker.FollowFrom{After: before}) {
			delete(want, r.Topic)
			if r.Retain && len(r.Payload) > 0 {
				want[r.Topic] = r
			} else if !r.Retain {
				delete(want, r.Topic)
			}
		}
		if d := cmp.Diff(want, all, ignoreEmpty); d != "" {
			t.Error(d)
		}
		if p := readHistory(t, b, broker.HistoryQuery{Filters: []string{"rare"}}); len(p.Records) != 60 {
			t.Errorf("%d rare records", len(p.Records))
		}
		closeStore(t, b)
	}
	close(stop)
	<-stopped
	if left, _ := filepath.Glob(filepath.Join(cfg.Dir, "*")); len(left) != 1 {
		t.Errorf("left over: %v", left)
	}
}

func TestABackupOfAStoreAtRestHasEverything(t *testing.T) {
	s := filled(t, Config{Dir: t.TempDir(), segmentRecords: 20, hotSegments: 2, KeepRecords: 200})
	want := everything(t, s)
	var file bytes.Buffer
	if _, err := s.Backup(context.Background(), &file, 100<<20); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, fileName), file.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, everything(t, open(t, Config{Dir: dir, segmentRecords: 20, KeepRecords: 200}))); d != "" {
		t.Error(d)
	}
}

func TestOfflineToolsLeaveTheStoreWhatItIs(t *testing.T) {
	cfg := Config{Dir: t.TempDir(), segmentRecords: 20, hotSegments: 2, KeepRecords: 200}
	s := filled(t, cfg)
	want := everything(t, s)
	if _, _, err := Check(cfg.Dir); err == nil || !strings.Contains(err.Error(), "in use by another process") {
		t.Errorf("while it is open: %v", err)
	}
	if _, _, err := Compact(cfg.Dir); err == nil || !strings.Contains(err.Error(), "in use by another process") {
		t.Errorf("while it is open: %v", err)
	}
	closeStore(t, s)
	facts, problems, err := Check(cfg.Dir)
	if err != nil || len(problems) > 0 || facts.Head != 600 || facts.Terms != 1 || facts.HistoryTopics != 4 {
		t.Fatalf("%+v, %v, %v", facts, problems, err)
	}
	to := filepath.Join(t.TempDir(), fileName)
	if _, err := BackupFile(cfg.Dir, to); err != nil {
		t.Fatal(err)
	}
	if _, err := BackupFile(cfg.Dir, to); err == nil {
		t.Error("a backup was written over")
	}
	before, after, err := Compact(cfg.Dir)
	if err != nil || after >= before {
		t.Errorf("%d bytes before, %d after, %v", before, after, err)
	}
	for _, dir := range []string{cfg.Dir, filepath.Dir(to)} {
		cfg.Dir = dir
		if got := everything(t, open(t, cfg)); !reflect.DeepEqual(got, want) {
			t.Error(cmp.Diff(want, got))
		}
	}
}

func TestCheckNamesADamagedRecord(t *testing.T) {
	cfg := Config{Dir: t.TempDir()}
	s := open(t, cfg)
	appendAll(t, s, record("a", "payload 1"), retained("b", "payload 2"), record("a", "payload 3"))
	closeStore(t, s)
	hurt(t, filepath.Join(cfg.Dir, fileName), "payload 3")
	damageRecord(t, filepath.Join(cfg.Dir, fileName), "log")
	_, problems, err := Check(cfg.Dir)
	if err != nil || len(problems) != 2 || !strings.Contains(problems[1], "offset 3") || !strings.Contains(problems[0], "offset 2") {
		t.Errorf("%v, %v", problems, err)
	}
}
