package plugintest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/protocol"
)

func testExpiry(t *T, s *store) {
	soon, late := s.retained("soon", "1"), s.retained("late", "2")
	soon.Expires = time.Now().Add(500 * time.Millisecond).UnixMilli()
	late.Expires, late.Exclude = time.Now().Add(time.Hour).UnixMilli(), "tab-1"
	replaced := s.retained("replaced", "3")
	replaced.Expires = soon.Expires
	batch := []broker.Record{soon, late, replaced, s.retained("replaced", "4")}
	want := committed(t, batch, s.append(t, batch...))
	ctx, cancel := context.WithTimeout(t.Context(), t.patience())
	defer cancel()
	err := s.Follow(ctx, broker.FollowFrom{After: want[3].Offset}, func(f broker.Feed) error {
		if len(f.Records) == 0 {
			return nil
		}
		r := f.Records[0]
		if r.Topic != "soon" || !r.Retain || len(r.Payload) > 0 || !r.Origin.IsZero() || r.Ref != 0 || time.Now().UnixMilli() < soon.Expires {
			t.Errorf("the feed brought %+v", r)
		}
		return errEnough
	})
	if !errors.Is(err, errEnough) {
		t.Fatalf("the feed ended with %v before the clear", err)
	}
	all, _ := s.load(t)
	same(t, "retained", map[string]broker.Record{"late": want[1], "replaced": want[3]}, all)
	s.crash(t)
	all, _ = s.load(t)
	same(t, "retained, after a kill", map[string]broker.Record{"late": want[1], "replaced": want[3]}, all)
}

func testHistoryExpiry(t *T, s *store) {
	if !t.about.Has(broker.PowerHistory) {
		t.Skipf("the plugin has no history")
	}
	s.setRules(t, broker.RetentionRule{Match: ">", Count: 100})
	short, long := s.record("a", "1"), s.record("a", "2")
	short.Expires = time.Now().Add(200 * time.Millisecond).UnixMilli()
	long.Expires, long.Exclude = time.Now().Add(time.Hour).UnixMilli(), "tab-1"
	batch := []broker.Record{short, long, s.record("a", "3")}
	want := committed(t, batch, s.append(t, batch...))
	t.wait(300 * time.Millisecond)
	for _, filter := range []string{"a", ">"} {
		p := s.history(t, broker.HistoryQuery{Filters: []string{filter}})
		same(t, "history of "+filter, want[1:], p.Records)
		if p.TrimmedThrough != 0 || p.Floor != 0 {
			t.Errorf("%s: trimmed through %d, floor %d", filter, p.TrimmedThrough, p.Floor)
		}
	}
}

// keyed returns a record with a key and a digest that are made of these texts.
func (s *store) keyed(topic, payload, key, digest string) broker.Record {
	r := s.record(topic, payload)
	r.Key, r.Digest = fmt.Appendf(nil, "%32s", key), fmt.Appendf(nil, "%8s", digest)
	return r
}

func testKeys(t *T, s *store) {
	first := []broker.Record{s.keyed("a", "1", "one", "x"), s.keyed("b", "2", "two", "y"), s.record("c", "3")}
	want := committed(t, first, s.append(t, first...))
	for round := range 3 {
		batch := []broker.Record{
			s.keyed("a", "1", "one", "x"), s.keyed("b", "2", "two", "y"), s.keyed("b", "other", "two", "z"),
			s.keyed("d", "4", fmt.Sprintf("new %d", round), "x"), s.keyed("d", "4", fmt.Sprintf("new %d", round), "x"),
		}
		got := s.append(t, batch...)
		for i := range 2 {
			if !got[i].Duplicate || !got[i].Repeats || got[i].Offset != want[i].Offset || got[i].Err != nil {
				t.Errorf("round %d: %+v, want a repeat of offset %d", round, got[i], want[i].Offset)
			}
		}
		if err := got[2].Err; err == nil || err.Code != protocol.CodeDuplicateID {
			t.Errorf("round %d: another content: %+v, want duplicate_id", round, got[2])
		}
		if r := got[3]; r.Err != nil || r.Duplicate || got[4].Offset != r.Offset || !got[4].Repeats {
			t.Errorf("round %d: a new key and its repeat in one batch: %+v, %+v", round, r, got[4])
		}
		want = append(want, batch[3])
		want[len(want)-1].Offset = got[3].Offset
		s.crash(t)
	}
	for i := range want {
		want[i].Key, want[i].Digest = nil, nil
	}
	got, _ := s.feed(t, broker.FollowFrom{})
	same(t, "feed", want, got)
}

func testStatistics(t *T, s *store) {
	s.append(t, s.retained("a", "1"), s.retained("b", "2"), s.record("c", "3"))
	ctx, cancel := context.WithTimeout(t.Context(), t.patience())
	defer cancel()
	f, err := s.ReadStatistics(ctx)
	if err != nil {
		t.Fatal(err)
	}
	_, end := s.feed(t, broker.FollowFrom{})
	sum := uint64(0)
	for _, n := range f.CommitBuckets {
		sum += n
	}
	if f.Head != end.Head || f.RetainedTopics != 0 && f.RetainedTopics != 2 || f.CommittedRecords != 0 && f.CommittedRecords != 3 || sum != f.Commits {
		t.Errorf("%+v, the head is %d", f, end.Head)
	}
}

// testBackup starts a plugin with the copy, as a file of the name that the plugin itself uses.
func testBackup(t *T, s *store) {
	batch := []broker.Record{s.retained("a", "1"), s.retained("b", "2"), s.retained("b", ""), s.record("c", "3")}
	want := committed(t, batch, s.append(t, batch...))
	stop := s.appendMeanwhile(t, func(i int) broker.Record { return s.retained(fmt.Sprintf("t%d", i%100), fmt.Sprint(i)) })
	var file bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), t.patience())
	head, err := s.Backup(ctx, &file, 0)
	cancel()
	stop()
	if err != nil || head < want[3].Offset {
		t.Fatalf("a backup up to %d, %v", head, err)
	}
	original, _ := s.feed(t, broker.FollowFrom{})
	restored := &store{dir: t.TempDir(), run: s.run}
	if err := restoreFile(s.dir, restored.dir, file.Bytes()); err != nil {
		t.Skipf("where the file belongs is not known: %v", err)
	}
	restored.start(t)
	got, end := restored.feed(t, broker.FollowFrom{})
	upTo := slices.DeleteFunc(original, func(r broker.Record) bool { return r.Offset > head })
	if end.Head != head {
		t.Errorf("the copy ends at %d, want %d", end.Head, head)
	}
	same(t, "feed of the copy", upTo, got)
	state := make(map[string]broker.Record)
	retain(state, upTo)
	all, _ := restored.load(t)
	same(t, "retained of the copy", state, all)
}

// restoreFile puts content into to where the only file of from is.
func restoreFile(from, to string, content []byte) error {
	var files []string
	err := filepath.WalkDir(from, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			files = append(files, path)
		}
		return err
	})
	if err != nil || len(files) != 1 {
		return errors.Join(err, fmt.Errorf("%d files", len(files)))
	}
	rel, err := filepath.Rel(from, files[0])
	if err != nil {
		return err
	}
	path := filepath.Join(to, rel)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return os.WriteFile(path, content, 0o600)
}
