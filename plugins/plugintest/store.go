package plugintest

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/plugins/host"
	"github.com/carillon-mq/carillon/protocol"
)

// Store runs the contract of a store plugin (spec/plugin/store/v1/store.proto) as subtests of t: what every store does, and the
// powers that this one announces.
func Store(t *testing.T, p Plugin) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, *store)
	}{
		{"a new store is empty and has a term", testEmpty},
		{"what was appended is followed and loaded", testRoundTrip},
		{"a retained record is replaced and cleared", testRetained},
		{"own records may be elided, others come whole", testElided},
		{"a feed begins after any offset and misses nothing", testFollowAfter},
		{"a feed goes on with what is committed next", testLive},
		{"batches are committed in the order of the calls", testOrder},
		{"a record is committed once", testDuplicates},
		{"one bad record spoils no other", testRefusal},
		{"loading and then following misses nothing", testLoadThenFollow},
		{"everything is there after a clean restart", testRestart},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, startStore(t, p)) })
	}
	for _, test := range powerCases {
		t.Run(test.name, func(t *testing.T) {
			s := startStore(t, p)
			if !s.Has(test.power) {
				t.Skipf("the plugin does not announce %q", test.power)
			}
			test.run(t, s)
		})
	}
	t.Run("nothing acknowledged is lost by a kill", func(t *testing.T) { testKills(t, startStore(t, p)) })
}

// store is a running store plugin with a folder of its own.
type store struct {
	*host.Store
	host   *host.Host
	plugin Plugin
	dir    string
	run    protocol.RunID // the broker run that the test plays
	ref    uint64         // last one used
}

func startStore(t *testing.T, p Plugin) *store {
	t.Helper()
	s := &store{plugin: p, dir: t.TempDir(), run: protocol.NewRunID()}
	s.start(t)
	return s
}

func (s *store) start(t *testing.T) {
	t.Helper()
	s.host = newHost(t)
	var err error
	if s.Store, err = s.host.Store(s.plugin.spec(s.dir)); err != nil {
		t.Fatal(err)
	}
	waitReady(t, s.Store)
}

// record returns a record with the next ref.
func (s *store) record(topic, payload string) broker.Record {
	s.ref++
	r := broker.Record{Origin: s.run, Ref: s.ref, Topic: topic, Time: 1_700_000_000_000 + int64(s.ref)}
	if payload != "" {
		r.Payload = []byte(payload)
	}
	return r
}

func (s *store) retained(topic, payload string) broker.Record {
	r := s.record(topic, payload)
	r.Retain = true
	return r
}

// append appends batch, waits, and checks what every answer has to fulfil.
func (s *store) append(t *testing.T, batch ...broker.Record) []broker.AppendResult {
	t.Helper()
	answers := make(chan outcome, 1)
	s.Append(batch, func(r []broker.AppendResult, err error) { answers <- outcome{batch, r, err} })
	o := await(t, answers)
	if o.err != nil || len(o.results) != len(batch) {
		t.Fatalf("%d results for %d records, %v", len(o.results), len(batch), o.err)
	}
	return o.results
}

// outcome is the answer to a batch.
type outcome struct {
	batch   []broker.Record
	results []broker.AppendResult
	err     error
}

// await returns the next answer.
func await(t *testing.T, answers <-chan outcome) outcome {
	t.Helper()
	select {
	case o := <-answers:
		return o
	case <-time.After(patience):
		t.Fatalf("an append has no answer after %v", patience)
	}
	return outcome{}
}

// committed is batch with the offsets that results give.
func committed(t *testing.T, batch []broker.Record, results []broker.AppendResult) []broker.Record {
	t.Helper()
	batch = slices.Clone(batch)
	for i, r := range results {
		if r.Err != nil || r.Duplicate || r.Offset == 0 || (i > 0 && r.Offset <= results[i-1].Offset) {
			t.Fatalf("result %d is %+v after %+v", i, r, results[max(0, i-1)])
		}
		batch[i].Offset = r.Offset
	}
	return batch
}

var errEnough = errors.New("enough")

// feed follows until it has caught up.
func (s *store) feed(t *testing.T, from broker.FollowFrom) (records []broker.Record, end broker.Feed) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	err := s.Follow(ctx, from, func(f broker.Feed) error {
		records = append(records, plain(f.Records)...)
		if f.CaughtUp {
			end = f
			return errEnough
		}
		return nil
	})
	if !errors.Is(err, errEnough) {
		t.Fatalf("follow after %d: %v", from.After, err)
	}
	return records, end
}

func (s *store) load(t *testing.T) (map[string]broker.Record, uint64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	all := make(map[string]broker.Record)
	head, err := s.LoadRetained(ctx, func(page []broker.Record) error {
		for _, r := range plain(page) {
			if _, twice := all[r.Topic]; twice {
				t.Errorf("%s was loaded twice", r.Topic)
			}
			all[r.Topic] = r
		}
		return nil
	})
	if err != nil {
		t.Fatalf("load: %v", err)
	}
	return all, head
}

// plain makes empty payloads and headers nil, as they are in the records of these tests.
func plain(page []broker.Record) []broker.Record {
	page = slices.Clone(page)
	for i := range page {
		if len(page[i].Payload) == 0 {
			page[i].Payload = nil
		}
		if len(page[i].Headers) == 0 {
			page[i].Headers = nil
		}
	}
	return page
}

// same compares records, or slices or maps of them.
func same[T any](t *testing.T, what string, want, got T) {
	t.Helper()
	if reflect.DeepEqual(want, got) { // cmp takes a millisecond for a record
		return
	}
	if d := cmp.Diff(want, got, cmpopts.EquateEmpty()); d != "" {
		t.Errorf("%s (- want, + got): %s", what, d)
	}
}
