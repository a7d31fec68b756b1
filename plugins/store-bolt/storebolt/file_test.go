package storebolt

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/protocol"
)

var discard = slog.New(slog.DiscardHandler)

func TestAFileInUseIsRefusedWithItsPath(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	open(t, Config{Dir: dir})
	start := time.Now()
	_, err := Open(Config{Dir: dir})
	if err == nil || !strings.Contains(err.Error(), filepath.Join(dir, fileName)+" is in use by another process") {
		t.Errorf("%v", err)
	}
	if d := time.Since(start); d > 20*time.Second {
		t.Errorf("after %v", d)
	}
}

func TestOfTwoThatStartAtOnceOneGetsTheStore(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var wg sync.WaitGroup
	opened := make(chan *Store, 4)
	for range cap(opened) {
		wg.Go(func() {
			if s, err := Open(Config{Dir: dir, Logger: discard}); err == nil {
				opened <- s
			} else if !strings.Contains(err.Error(), "is in use") {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	close(opened)
	var all []*Store
	for s := range opened {
		all = append(all, s)
	}
	if len(all) != 1 {
		t.Fatalf("%d have it", len(all))
	}
	appendAll(t, all[0], retained("a", "x"))
	closeStore(t, all[0])
	s := open(t, Config{Dir: dir})
	if got, _ := mustLoadRetained(t, s); len(got) != 1 {
		t.Errorf("%d retained", len(got))
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) != 1 {
		t.Errorf("left over: %v", left)
	}
}

func TestFoldersThatDoNotDo(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "occupied", fileName), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ name, dir, want string }{
		{"none named", "", "needs a folder"},
		{"the one above is missing", filepath.Join(dir, "a", "b"), filepath.Join(dir, "a", "b")},
		{"it is a file", filepath.Join(dir, "file"), "not a folder"},
		{"the file is a folder", filepath.Join(dir, "occupied"), "not a regular file"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, err := Open(Config{Dir: test.dir}); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %q", err, test.want)
			}
		})
	}
}

func TestAFailedCommitEndsTheStore(t *testing.T) {
	cfg := Config{Dir: t.TempDir(), Logger: discard}
	failed := make(chan error, 10)
	cfg.OnFailure = func(err error) { failed <- err }
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	appendAll(t, s, retained("a", "kept"))
	fed := make(chan error, 1)
	following := make(chan struct{})
	go func() {
		fed <- s.Follow(t.Context(), broker.FollowFrom{After: 1}, func(f broker.Feed) error {
			if !f.CaughtUp {
				t.Error("a follower saw the failed commit")
			}
			close(following)
			return nil
		})
	}()
	<-following
	s.file.Close() // every write fails from now on

	if _, err := tryAppend(s, retained("a", "lost")); err == nil || !strings.Contains(err.Error(), "outcome unknown") {
		t.Errorf("%v", err)
	}
	if err := <-fed; err == nil {
		t.Error("the feed went on")
	}
	if _, err := tryAppend(s, record("b", "x")); err == nil {
		t.Error("the store took another one")
	}
	if _, _, err := loadRetained(s); err == nil {
		t.Error("the store was read")
	}
	if err := <-failed; err == nil || len(failed) > 0 {
		t.Errorf("OnFailure got %v and then %d more", err, len(failed))
	}
	_ = s.Close()
	s = open(t, Config{Dir: cfg.Dir})
	if all, _ := mustLoadRetained(t, s); string(all["a"].Payload) != "kept" {
		t.Errorf("reopened: %v", all)
	}
}

func TestRecordsThatDoNotFitTheQueueAreRefused(t *testing.T) {
	var q queue
	q.init()
	q.put(request{batch: make([]broker.Record, 1), bytes: maxQueueBytes})
	q.put(request{batch: make([]broker.Record, 2), bytes: 1})
	first, _ := q.take(nil)
	second, _ := q.take(nil)
	if first[0].refused || !second[0].refused {
		t.Fatalf("%+v %+v", first, second)
	}
	s := open(t, Config{Dir: t.TempDir()})
	got := make(chan []broker.AppendResult, 1)
	second[0].done = func(r []broker.AppendResult, _ error) { got <- r }
	s.queue.put(second[0])
	for _, r := range <-got {
		if r.Err == nil || r.Err.Code != protocol.CodeStoreUnavailable {
			t.Errorf("%+v", r)
		}
	}
}

func TestConfigurations(t *testing.T) {
	for _, test := range []struct{ name, json, want string }{
		{"unknown key", `{"dir":"x","max_retaind_bytes":1}`, "max_retaind_bytes"},
		{"no dir", `{}`, `"dir" is missing`},
		{"zero is no limit", `{"dir":"x","max_retained_topics":0}`, "max_retained_topics"},
		{"negative", `{"dir":"x","keep_records":-1}`, "keep_records"},
		{"wrong type", `{"dir":"x","keep_bytes":"64MiB"}`, "keep_bytes"},
		{"no JSON", `dir: x`, "invalid"},
		{"two objects", `{"dir":"x"}{}`, "follows"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, err := ParseConfig([]byte(test.json)); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %q", err, test.want)
			}
		})
	}
	c, err := ParseConfig([]byte(`{"dir":"x","max_retained_topics":5,"max_retained_bytes":65536,"max_file_bytes":67108864,"keep_records":7,"keep_bytes":1048576}`))
	if err != nil || c.Dir != "x" || c.MaxRetainedTopics != 5 || c.MaxRetainedBytes != 65536 || c.MaxFileBytes != 67108864 ||
		c.KeepRecords != 7 || c.KeepBytes != 1048576 {
		t.Errorf("%+v, %v", c, err)
	}
}
