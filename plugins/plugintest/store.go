package plugintest

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/plugins/internal/wire"
	"github.com/carillon-mq/carillon/protocol"
)

// store is a running store plugin with a folder of its own.
type store struct {
	*wire.StoreClient // of process
	process           *process
	dir               string
	run               protocol.RunID // the broker run that the case plays
	ref               uint64         // last one used
}

// onStore is a case with a new, empty store.
func onStore(run func(*T, *store)) func(*T) {
	return func(t *T) { run(t, startStore(t)) }
}

func startStore(t *T) *store {
	s := &store{dir: t.dataDir(), run: protocol.NewRunID()}
	s.start(t)
	_, end := s.feed(t, broker.FollowFrom{})
	if t.plugin.Attach != "" && end.Head > 0 {
		t.Skipf("it needs an empty store, and this one, which is under a debugger, has records: start it anew with an empty folder, and name one case with --only")
	}
	return s
}

// start starts a process with the store's folder.
func (s *store) start(t *T) {
	s.process = t.start(s.dir)
	s.StoreClient = s.process.store
}

// crash kills the process without warning, if that has not happened, and starts the next one.
func (s *store) crash(t *T) {
	s.process.kill()
	s.start(t)
}

// stop asks the process to end, and waits for it.
func (s *store) stop(t *T) { t.stop(s.process) }

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
func (s *store) append(t *T, batch ...broker.Record) []broker.AppendResult {
	answers := make(chan outcome, 1)
	s.Append(batch, func(r []broker.AppendResult, err error) { answers <- outcome{batch, r, err} })
	o := t.await(answers)
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
func (t *T) await(answers <-chan outcome) outcome {
	select {
	case o := <-answers:
		return o
	case <-time.After(t.patience()):
		t.Fatalf("an append has no answer after %v", t.patience())
	}
	return outcome{}
}

// committed is batch with the offsets that results give.
func committed(t *T, batch []broker.Record, results []broker.AppendResult) []broker.Record {
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
func (s *store) feed(t *T, from broker.FollowFrom) (records []broker.Record, end broker.Feed) {
	ctx, cancel := context.WithTimeout(t.Context(), t.patience())
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

func (s *store) load(t *T) (map[string]broker.Record, uint64) {
	ctx, cancel := context.WithTimeout(t.Context(), t.patience())
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

// retain has records replace and clear what is retained, by topic.
func retain(retained map[string]broker.Record, records []broker.Record) {
	for _, r := range records {
		switch {
		case !r.Retain:
		case len(r.Payload) > 0:
			retained[r.Topic] = r
		default:
			delete(retained, r.Topic)
		}
	}
}

// appendMeanwhile appends one record after another until stop is called, which returns when the last one was answered.
func (s *store) appendMeanwhile(t *T, record func(i int) broker.Record) (stop func()) {
	enough, stopped := make(chan struct{}), make(chan struct{})
	go func() { // is waited for by stop
		defer close(stopped)
		for i := 0; ; i++ {
			select {
			case <-enough:
				return
			default:
				s.append(t, record(i))
			}
		}
	}()
	return func() {
		close(enough)
		<-stopped
	}
}
