package plugintest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/protocol"
)

func testEmpty(t *T, s *store) {
	all, head := s.load(t)
	records, end := s.feed(t, broker.FollowFrom{After: head})
	if len(all) != 0 || len(records) != 0 || end.Term.IsZero() || end.Head < head {
		t.Errorf("loaded %v, fed %v, head %d, end %+v", all, records, head, end)
	}
}

// binary is a payload that is no text: not UTF-8, with NUL and the ends of lines.
const binary = "\x00\xff\x80 payload\r\n\xc3\x28\n"

// everyField is r with all that a publisher and a broker may put into a record; power by power more of it is a case of its own.
func (s *store) everyField(r broker.Record) broker.Record {
	r.ContentType, r.User, r.Exclude = "application/json", "jürgen", fmt.Sprintf("tab-ü-%d", r.Ref)
	r.Headers = map[string]string{"traceparent": fmt.Sprintf("00-1-2-%d", r.Ref), "empty": "", "ü": "ö"}
	return r
}

func testRoundTrip(t *T, s *store) {
	batch := []broker.Record{s.everyField(s.record("simple", "1")), s.everyField(s.retained("orders.ü.42", binary)), s.record("large", strings.Repeat("x", 64<<10)), s.record("no.payload", "")}
	want := committed(t, batch, s.append(t, batch...))
	got, end := s.feed(t, broker.FollowFrom{})
	same(t, "feed", want, got)
	if last := want[len(want)-1].Offset; end.Head < last {
		t.Errorf("caught up at %d, but %d is committed", end.Head, last)
	}
	all, _ := s.load(t)
	same(t, "retained", map[string]broker.Record{want[1].Topic: want[1]}, all)
}

func testRetained(t *T, s *store) {
	batch := []broker.Record{
		s.retained("a", "old"), s.retained("a", "new"), s.retained("b", "x"), s.retained("c", "x"), s.retained("never", ""), s.record("b", "plain"),
	}
	first := committed(t, batch, s.append(t, batch...))
	batch = []broker.Record{s.retained("b", ""), s.retained("c", ""), s.retained("c", "again")}
	second := committed(t, batch, s.append(t, batch...))
	all, head := s.load(t)
	same(t, "retained", map[string]broker.Record{"a": first[1], "c": second[2]}, all)
	if head < second[2].Offset {
		t.Errorf("head %d, want at least %d", head, second[2].Offset)
	}
	got, _ := s.feed(t, broker.FollowFrom{})
	same(t, "feed with everything superseded and cleared", slices.Concat(first, second), got)
}

func testElided(t *T, s *store) {
	mine, other := s.run, protocol.NewRunID()
	var batch []broker.Record
	for i := range 20 {
		s.run = mine
		if i%3 == 0 {
			s.run = other
		}
		batch = append(batch, s.retained(fmt.Sprintf("t%d", i), "x"))
	}
	s.run = mine
	want := committed(t, batch, s.append(t, batch...))
	got, _ := s.feed(t, broker.FollowFrom{Origin: mine})
	for i, r := range got {
		if r.Elided && r.Origin == mine && i < len(want) {
			got[i] = want[i]
			got[i].Offset, got[i].Ref = r.Offset, r.Ref
		}
	}
	same(t, "feed", want, got)
}

func testFollowAfter(t *T, s *store) {
	var all []broker.Record
	for range 10 {
		batch := []broker.Record{s.record("a", "x"), s.retained("b", "y"), s.record("c", "z")}
		all = append(all, committed(t, batch, s.append(t, batch...))...)
	}
	for i := 0; i < len(all); i += 7 {
		got, end := s.feed(t, broker.FollowFrom{After: all[i].Offset})
		same(t, fmt.Sprintf("feed after %d", all[i].Offset), slices.Clone(all[i+1:]), got)
		if end.Head < all[len(all)-1].Offset {
			t.Errorf("head %d", end.Head)
		}
	}
}

// testLive has two followers, who both get what is committed later, the same in the same order.
func testLive(t *T, s *store) {
	const total = 500
	type result struct {
		records []broker.Record
		err     error
	}
	caughtUp, results := make(chan struct{}, 2), make(chan result, 2)
	ctx, cancel := context.WithTimeout(t.Context(), t.patience())
	defer cancel()
	for range cap(results) {
		go func() { // ends with ctx at the latest, and is waited for through results
			var r result
			r.err = s.Follow(ctx, broker.FollowFrom{}, func(f broker.Feed) error {
				r.records = append(r.records, plain(f.Records)...)
				if f.CaughtUp {
					caughtUp <- struct{}{}
				}
				if len(r.records) >= total {
					return errEnough
				}
				return nil
			})
			results <- r
		}()
	}
	for range cap(results) {
		select {
		case <-caughtUp:
		case <-ctx.Done():
			t.Fatalf("a feed has not caught up")
		}
	}
	var want []broker.Record
	for i := range total {
		r := []broker.Record{s.retained(fmt.Sprintf("t%d", i%10), fmt.Sprint(i))}
		want = append(want, committed(t, r, s.append(t, r...))...)
	}
	for range cap(results) {
		r := <-results
		if !errors.Is(r.err, errEnough) {
			t.Errorf("a feed ended with %v after %d records", r.err, len(r.records))
		}
		same(t, "feed", want, r.records)
	}
}

func testOrder(t *T, s *store) {
	const total = 2000
	var want []broker.Record
	answers := make(chan outcome, total)
	for i := range total / 4 {
		var batch []broker.Record
		for j := range 4 {
			batch = append(batch, s.retained(fmt.Sprintf("t%d", (i+j)%7), fmt.Sprint(4*i+j)))
		}
		want = append(want, batch...)
		s.Append(batch, func(r []broker.AppendResult, err error) { answers <- outcome{batch, r, err} })
	}
	var results []broker.AppendResult
	for range total / 4 {
		o := t.await(answers)
		if o.err != nil {
			t.Fatalf("append: %v", o.err)
		}
		results = append(results, o.results...)
	}
	if len(results) != len(want) {
		t.Fatalf("%d results for %d records", len(results), len(want))
	}
	want = committed(t, want, results)
	got, _ := s.feed(t, broker.FollowFrom{})
	same(t, "feed", want, got)
}

func testDuplicates(t *T, s *store) {
	batch := []broker.Record{s.record("a", "1"), s.retained("b", "2"), s.record("c", "3"), s.retained("b", "4")}
	want := committed(t, batch, s.append(t, batch...))
	repeat := func(when string) {
		for i, r := range s.append(t, batch...) {
			if !r.Duplicate || r.Err != nil || (r.Offset != 0 && r.Offset != want[i].Offset) {
				t.Errorf("%s: record %d is answered with %+v, want a duplicate of offset %d", when, i, r, want[i].Offset)
			}
		}
		got, _ := s.feed(t, broker.FollowFrom{})
		same(t, "feed, repeated "+when, want, got)
		all, _ := s.load(t)
		same(t, "retained, repeated "+when, map[string]broker.Record{"b": want[3]}, all)
	}
	repeat("at once")
	s.crash(t)
	repeat("after a kill")
	more := []broker.Record{batch[3], s.record("d", "5")}
	if r := s.append(t, more...); !r[0].Duplicate || r[1].Duplicate || r[1].Offset <= want[3].Offset {
		t.Errorf("old and new in one batch: %+v", r)
	}
}

func testRefusal(t *T, s *store) {
	huge := s.record("huge", strings.Repeat("x", 2<<20))
	batch := []broker.Record{s.record("a", "1"), huge, s.record("b", "2")}
	results := s.append(t, batch...)
	if results[1].Err == nil && results[1].Offset == 0 {
		t.Errorf("2 MiB: %+v, want an offset or a refusal", results[1])
	}
	want := committed(t, []broker.Record{batch[0], batch[2]}, []broker.AppendResult{results[0], results[2]})
	got, _ := s.feed(t, broker.FollowFrom{})
	got = slices.DeleteFunc(got, func(r broker.Record) bool { return r.Topic == "huge" && results[1].Err == nil })
	same(t, "feed", want, got)
}

// testLoadThenFollow loads while others append; what it loaded, with the feed from there applied, is what is retained in the end.
func testLoadThenFollow(t *T, s *store) {
	stop := s.appendMeanwhile(t, func(i int) broker.Record {
		payload := fmt.Sprint(i)
		if i%5 == 0 {
			payload = ""
		}
		return s.retained(fmt.Sprintf("t%d", i%400), payload)
	})
	var loaded []map[string]broker.Record
	var heads []uint64
	for range 10 {
		all, head := s.load(t)
		loaded, heads = append(loaded, all), append(heads, head)
	}
	stop()
	final, _ := s.load(t)
	for i, all := range loaded {
		records, _ := s.feed(t, broker.FollowFrom{After: heads[i]})
		retain(all, records)
		same(t, fmt.Sprintf("loaded at %d, and the feed from there", heads[i]), final, all)
	}
}

func testRestart(t *T, s *store) {
	batch := []broker.Record{
		s.retained("a", "1"), s.retained("cleared", "x"), s.everyField(s.record("b", binary)), s.everyField(s.retained("c", binary)), s.retained("cleared", ""),
	}
	want := committed(t, batch, s.append(t, batch...))
	_, before := s.feed(t, broker.FollowFrom{})
	s.stop(t)
	s.start(t)
	got, after := s.feed(t, broker.FollowFrom{})
	same(t, "feed", want, got)
	all, _ := s.load(t)
	same(t, "retained", map[string]broker.Record{"a": want[0], "c": want[3]}, all)
	if before.Term == after.Term || after.Term.IsZero() {
		t.Errorf("term %v before, %v after: each opening begins one", before.Term, after.Term)
	}
	batch = []broker.Record{s.record("d", "4")}
	if next := committed(t, batch, s.append(t, batch...)); next[0].Offset <= want[4].Offset {
		t.Errorf("expected an offset above %d, got %d", want[4].Offset, next[0].Offset)
	}
}
