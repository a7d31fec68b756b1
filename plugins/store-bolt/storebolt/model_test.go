package storebolt

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/protocol"
)

// model is what a store is, without a file: the reference that the state machine compares it with.
type model struct {
	t     *testing.T
	cfg   Config
	store *Store

	log      []broker.Record // all of it, at offset-1
	retained map[string]broker.Record
	refs     map[protocol.RunID]uint64 // highest committed
	next     map[protocol.RunID]uint64 // to be handed out
	terms    int
}

func TestTheStoreIsAListAndAMap(t *testing.T) {
	dir, runs := t.TempDir(), 0
	rapid.Check(t, func(rt *rapid.T) {
		runs++
		m := &model{
			t: t, cfg: Config{Dir: filepath.Join(dir, strconv.Itoa(runs)), KeepRecords: 30, segmentRecords: 4, MaxRetainedTopics: 5, Logger: discard},
			retained: make(map[string]broker.Record), refs: make(map[protocol.RunID]uint64), next: make(map[protocol.RunID]uint64),
		}
		m.reopen(rt)
		defer func() { closeStore(t, m.store) }()
		rt.Repeat(map[string]func(*rapid.T){
			"append": m.append,
			"repeat": m.repeat,
			"follow": m.follow,
			"load":   m.load,
			"reopen": m.reopen,
		})
	})
}

func (m *model) reopen(t *rapid.T) {
	if m.store != nil {
		closeStore(m.t, m.store)
	}
	s, err := Open(m.cfg)
	if err != nil {
		t.Fatal(err)
	}
	m.store = s
	m.terms++
	terms, err := s.Terms()
	if err != nil || len(terms) != m.terms || terms[m.terms-1] == (Term{}) || s.Term().First != m.head()+1 {
		t.Fatalf("terms %v, %v", terms, err)
	}
}

func (m *model) head() uint64 { return uint64(len(m.log)) }

func (m *model) append(t *rapid.T) {
	run := protocol.RunID{byte(rapid.IntRange(0, 2).Draw(t, "run"))}
	batch := make([]broker.Record, rapid.IntRange(1, 6).Draw(t, "records"))
	for i := range batch {
		r := record(fmt.Sprintf("t%d", rapid.IntRange(0, 7).Draw(t, "topic")), rapid.SampledFrom([]string{"", "x", "yy"}).Draw(t, "payload"))
		r.Retain = rapid.Bool().Draw(t, "retain")
		m.next[run]++
		batch[i] = from(run, m.next[run], r)
	}
	for i, got := range appendAll(m.t, m.store, batch...) {
		m.check(t, batch[i], got)
	}
}

// check applies r to the model and compares the answer.
func (m *model) check(t *rapid.T, r broker.Record, got broker.AppendResult) {
	_, has := m.retained[r.Topic]
	if r.Retain && len(r.Payload) > 0 && !has && len(m.retained) == m.cfg.MaxRetainedTopics {
		if got.Err == nil || got.Err.Code != protocol.CodeQuota {
			t.Fatalf("%+v, want quota", got)
		}
		return
	}
	r.Offset = m.head() + 1
	m.log = append(m.log, r)
	m.refs[r.Origin] = r.Ref
	if r.Retain {
		delete(m.retained, r.Topic)
		if len(r.Payload) > 0 {
			m.retained[r.Topic] = r
		}
	}
	if got != (broker.AppendResult{Ref: r.Ref, Offset: r.Offset}) {
		t.Fatalf("%+v, want offset %d", got, r.Offset)
	}
}

// repeat appends a record that was appended before.
func (m *model) repeat(t *rapid.T) {
	if len(m.log) == 0 {
		return
	}
	r := m.log[rapid.IntRange(max(0, len(m.log)-40), len(m.log)-1).Draw(t, "which")]
	if r.Origin.IsZero() {
		return
	}
	got := appendAll(m.t, m.store, r)[0]
	if !got.Duplicate || got.Err != nil || (got.Offset != r.Offset && r.Offset >= m.floor()) {
		t.Fatalf("%+v, want a duplicate of %d", got, r.Offset)
	}
}

// floor is the lowest offset that has to be there still.
func (m *model) floor() uint64 {
	return uint64(max(1, len(m.log)-m.cfg.KeepRecords+1))
}

func (m *model) follow(t *rapid.T) {
	after := uint64(rapid.IntRange(0, len(m.log)).Draw(t, "after"))
	run := protocol.RunID{byte(rapid.IntRange(0, 2).Draw(t, "run"))}
	got, end, err := readFeed(m.store, broker.FollowFrom{After: after, Origin: run})
	if err != nil {
		if after+1 >= m.floor() {
			t.Fatalf("after %d of %d: %v", after, m.head(), err)
		}
		return
	}
	want := slices.Clone(m.log[after:])
	for i, r := range want {
		if r.Origin == run && !run.IsZero() {
			want[i] = broker.Record{Offset: r.Offset, Origin: r.Origin, Ref: r.Ref, Elided: true}
		}
	}
	if d := cmp.Diff(want, got, ignoreEmpty); d != "" || end.Head != m.head() {
		t.Fatalf("after %d, head %d: %s", after, end.Head, d)
	}
}

func (m *model) load(t *rapid.T) {
	got, head, err := loadRetained(m.store)
	if err != nil || head != m.head() {
		t.Fatalf("head %d, want %d, %v", head, m.head(), err)
	}
	if d := cmp.Diff(m.retained, got, ignoreEmpty); d != "" {
		t.Fatal(d)
	}
}
