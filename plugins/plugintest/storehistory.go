package plugintest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/carillon-mq/carillon/broker"
)

// setRules sets rules, which the plugin has to take.
func (s *store) setRules(t *T, rules ...broker.RetentionRule) {
	ctx, cancel := context.WithTimeout(t.Context(), t.patience())
	defer cancel()
	if err := s.SetRetention(ctx, rules); err != nil {
		t.Fatalf("set retention: %v", err)
	}
}

// page asks for one page.
func (s *store) page(t *T, q broker.HistoryQuery) broker.HistoryPage {
	ctx, cancel := context.WithTimeout(t.Context(), t.patience())
	defer cancel()
	p, err := s.ReadHistory(ctx, q)
	if err != nil {
		t.Fatalf("read %+v: %v", q, err)
	}
	p.Records = plain(p.Records)
	return p
}

// history reads all pages of q into one.
func (s *store) history(t *T, q broker.HistoryQuery) broker.HistoryPage {
	all := s.page(t, q)
	for q.Last = 0; !all.Done; {
		if q.After = all.Through; q.Through == 0 {
			q.Through = all.Head
		}
		p := s.page(t, q)
		p.Records, p.After = append(all.Records, p.Records...), all.After
		p.TrimmedThrough, p.Floor = max(p.TrimmedThrough, all.TrimmedThrough), max(p.Floor, all.Floor)
		all = p
	}
	return all
}

func testTerms(t *T, s *store) {
	var want []broker.Term
	for range 3 {
		_, end := s.feed(t, broker.FollowFrom{})
		want = append(want, broker.Term{ID: end.Term, First: end.Head + 1})
		s.append(t, s.record("a", "1"), s.record("a", "2"))
		ctx, cancel := context.WithTimeout(t.Context(), t.patience())
		got, err := s.ListTerms(ctx)
		cancel()
		if err != nil || len(got) != len(want) {
			t.Fatalf("%d terms, want %d, %v", len(got), len(want), err)
		}
		for i := range want {
			if got[i].ID != want[i].ID || got[i].First != want[i].First || time.Since(got[i].Started).Abs() > time.Hour {
				t.Errorf("term %d is %+v, want %+v", i, got[i], want[i])
			}
		}
		s.crash(t)
	}
}

// appendTo appends n records to each topic in turn, and returns them by topic.
func (s *store) appendTo(t *T, n int, topics ...string) map[string][]broker.Record {
	all := make(map[string][]broker.Record)
	for i := range n {
		var batch []broker.Record
		for _, topic := range topics {
			batch = append(batch, s.record(topic, fmt.Sprint(i)))
		}
		for j, r := range committed(t, batch, s.append(t, batch...)) {
			all[topics[j]] = append(all[topics[j]], r)
		}
	}
	return all
}

func testHistory(t *T, s *store) {
	s.setRules(t,
		broker.RetentionRule{Match: "count.few", Count: 3}, broker.RetentionRule{Match: "count.*", Count: 8},
		broker.RetentionRule{Match: "bytes", Bytes: 3000}, broker.RetentionRule{Match: "none"}, broker.RetentionRule{Match: "all.>", Count: 1 << 40})
	all := s.appendTo(t, 10, "count.few", "count.more", "none", "all.x", "other", "all.y")
	for topic, kept := range map[string]int{"count.few": 3, "count.more": 8, "none": 0, "all.x": 10, "other": 0} {
		p := s.history(t, broker.HistoryQuery{Filters: []string{topic}})
		gone, want := all[topic][:10-kept], all[topic][10-kept:]
		same(t, "history of "+topic, want, p.Records)
		if kept > 0 && len(gone) > 0 && p.TrimmedThrough != gone[len(gone)-1].Offset || kept == 10 && p.TrimmedThrough != 0 || p.Floor != 0 {
			t.Errorf("%s: trimmed through %d, floor %d; %d records are gone", topic, p.TrimmedThrough, p.Floor, len(gone))
		}
	}
	p := s.history(t, broker.HistoryQuery{Filters: []string{"count.*", "all.x", "count.few"}, After: all["all.x"][7].Offset})
	var want []broker.Record
	for i := 7; i < 10; i++ {
		for _, topic := range []string{"count.few", "count.more", "all.x"} {
			if r := all[topic][i]; r.Offset > all["all.x"][7].Offset {
				want = append(want, r)
			}
		}
	}
	same(t, "history of several filters", want, p.Records)
	if p := s.history(t, broker.HistoryQuery{Filters: []string{"all.*"}}); p.TrimmedThrough != 0 {
		t.Errorf("a gap of others is told: %d", p.TrimmedThrough)
	}
	var sizes []broker.Record
	for range 20 {
		r := []broker.Record{s.record("bytes", strings.Repeat("x", 500))}
		sizes = append(sizes, committed(t, r, s.append(t, r...))...)
	}
	p = s.history(t, broker.HistoryQuery{Filters: []string{"bytes"}})
	if n := len(p.Records); n < 2 || n > 6 {
		t.Errorf("%d records of more than 500 bytes are kept of 3,000", n)
	} else {
		same(t, "history by bytes", sizes[20-n:], p.Records)
	}
}

func testHistoryPages(t *T, s *store) {
	s.setRules(t, broker.RetentionRule{Match: ">", Count: 1 << 40})
	var all []broker.Record
	for i := range 60 {
		batch := []broker.Record{s.record("a", fmt.Sprint(i)), s.record("b.c", strings.Repeat("x", 40<<10)), s.retained("a", fmt.Sprint(-i))}
		all = append(all, committed(t, batch, s.append(t, batch...))...)
	}
	for _, limit := range []int{0, 1, 7, 1024} {
		same(t, fmt.Sprintf("pages of %d", limit), all, s.history(t, broker.HistoryQuery{Filters: []string{">"}, Limit: limit}).Records)
	}
	middle := all[70:100]
	q := broker.HistoryQuery{Filters: []string{">"}, After: all[69].Offset, Through: all[99].Offset, Limit: 9}
	same(t, "between two offsets", middle, s.history(t, q).Records)
	for _, last := range []int{1, 5, 100, 1000} {
		p := s.history(t, broker.HistoryQuery{Filters: []string{">"}, Last: last, Limit: 50})
		same(t, fmt.Sprintf("the newest %d", last), all[max(0, len(all)-last):], p.Records)
	}
	ofA := slices.DeleteFunc(slices.Clone(all), func(r broker.Record) bool { return r.Topic != "a" })
	p := s.history(t, broker.HistoryQuery{Filters: []string{"a"}, Last: 7, Through: all[99].Offset})
	before := slices.DeleteFunc(slices.Clone(ofA), func(r broker.Record) bool { return r.Offset > all[99].Offset })
	same(t, "the newest 7 up to an offset", before[len(before)-7:], p.Records)
	head := all[len(all)-1].Offset
	p = s.page(t, broker.HistoryQuery{Filters: []string{">"}, After: head + 100})
	if len(p.Records) > 0 || !p.Done || p.Head < head {
		t.Errorf("after the head: %+v", p)
	}
	for _, q := range []broker.HistoryQuery{{}, {Filters: []string{"a..b"}}} {
		if _, err := s.ReadHistory(t.Context(), q); err == nil || errors.Is(err, broker.ErrNoPower) {
			t.Errorf("%+v: %v, want an error", q, err)
		}
	}
}

func testHistoryKill(t *T, s *store) {
	s.setRules(t, broker.RetentionRule{Match: "rare", Count: 5}, broker.RetentionRule{Match: "busy.*", Count: 10})
	rare := s.appendTo(t, 8, "rare")["rare"]
	busy := s.appendTo(t, 300, "busy.1", "busy.2", "none")
	for round := range 3 {
		p := s.history(t, broker.HistoryQuery{Filters: []string{"rare"}})
		same(t, fmt.Sprintf("rare, round %d", round), slices.Clone(rare[len(rare)-5:]), p.Records)
		if want := rare[len(rare)-6].Offset; p.TrimmedThrough != want {
			t.Errorf("round %d: trimmed through %d, want %d", round, p.TrimmedThrough, want)
		}
		p = s.history(t, broker.HistoryQuery{Filters: []string{"busy.2"}})
		same(t, fmt.Sprintf("busy, round %d", round), slices.Clone(busy["busy.2"][len(busy["busy.2"])-10:]), p.Records)
		s.crash(t)
		more := s.appendTo(t, 1, "rare", "busy.2") // by the rules of last time
		rare, busy["busy.2"] = append(rare, more["rare"]...), append(busy["busy.2"], more["busy.2"]...)
	}
}

func testHistoryAge(t *T, s *store) {
	const age = 300 * time.Millisecond
	s.setRules(t, broker.RetentionRule{Match: "short", Age: age}, broker.RetentionRule{Match: "long", Age: time.Hour})
	all := s.appendTo(t, 5, "short", "long")
	t.wait(age + 100*time.Millisecond)
	more := s.appendTo(t, 1, "short")["short"]
	p := s.history(t, broker.HistoryQuery{Filters: []string{"short"}})
	if len(p.Records) > 0 { // else a slow machine has let it grow too old, too
		same(t, "short", more, p.Records)
	}
	if last := all["short"][4].Offset; p.TrimmedThrough < last {
		t.Errorf("trimmed through %d, want at least %d", p.TrimmedThrough, last)
	}
	p = s.history(t, broker.HistoryQuery{Filters: []string{"long"}})
	same(t, "long", all["long"], p.Records)
	if p.TrimmedThrough != 0 {
		t.Errorf("long is trimmed through %d", p.TrimmedThrough)
	}
}

func testHistoryBegins(t *T, s *store) {
	before := s.appendTo(t, 3, "a")["a"]
	s.setRules(t, broker.RetentionRule{Match: "a", Count: 100})
	for _, filter := range []string{"a", "*"} {
		if p := s.history(t, broker.HistoryQuery{Filters: []string{filter}}); len(p.Records) > 0 || max(p.TrimmedThrough, p.Floor) < before[2].Offset {
			t.Errorf("%s: %d records, trimmed through %d, floor %d; %d is missing", filter, len(p.Records), p.TrimmedThrough, p.Floor, before[2].Offset)
		}
	}
	want := s.appendTo(t, 3, "a")["a"]
	s.setRules(t, broker.RetentionRule{Match: "a", Count: 200}) // more of the same is no new beginning
	same(t, "a", want, s.history(t, broker.HistoryQuery{Filters: []string{"a"}}).Records)
}
