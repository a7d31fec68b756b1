package brokertest_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/brokertest"
	"github.com/carillon-mq/carillon/protocol"
)

// keeping is a store with rules.
func keeping(t *testing.T, rules ...broker.RetentionRule) *brokertest.Store {
	t.Helper()
	s := brokertest.NewStore()
	setRules(t, s, rules...)
	return s
}

func setRules(t *testing.T, s *brokertest.Store, rules ...broker.RetentionRule) {
	t.Helper()
	if err := s.SetRetention(t.Context(), rules); err != nil {
		t.Fatal(err)
	}
}

// commit commits a record for each topic.
func commit(s *brokertest.Store, topics ...string) {
	for _, topic := range topics {
		s.Commit(broker.Record{Topic: topic, Payload: []byte("0123456789")})
	}
}

func readPage(t *testing.T, s *brokertest.Store, q broker.HistoryQuery) broker.HistoryPage {
	t.Helper()
	p, err := s.ReadHistory(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// wantPage compares a page with a line: the offsets, then what else is told.
func wantPage(t *testing.T, s *brokertest.Store, q broker.HistoryQuery, want string) {
	t.Helper()
	p := readPage(t, s, q)
	offsets := make([]uint64, 0, len(p.Records))
	for _, r := range p.Records {
		offsets = append(offsets, r.Offset)
	}
	found := fmt.Sprintf("%v after %d through %d", offsets, p.After, p.Through)
	if p.Done {
		found += " done"
	}
	if p.TrimmedThrough > 0 {
		found += fmt.Sprintf(" trimmed %d", p.TrimmedThrough)
	}
	if p.Floor > 0 {
		found += fmt.Sprintf(" floor %d", p.Floor)
	}
	if len(p.Damaged) > 0 {
		found += fmt.Sprintf(" damaged %v", p.Damaged)
	}
	if found != want {
		t.Errorf("%+v:\nfound  %s\nwanted %s", q, found, want)
	}
}

func of(filters ...string) broker.HistoryQuery { return broker.HistoryQuery{Filters: filters} }

func TestAHistoryIsWhatItsRulesKeep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := keeping(t, broker.RetentionRule{Match: "a.none"}, broker.RetentionRule{Match: "a.*", Count: 2}, broker.RetentionRule{Match: "b", Age: time.Minute},
			broker.RetentionRule{Match: "c", Bytes: 25})
		commit(s, "a.1", "a.none", "b", "c", "a.1", "a.2", "c", "a.1", "c") // 1 to 9
		wantPage(t, s, of("a.*"), "[5 6 8] after 0 through 9 done trimmed 1")
		wantPage(t, s, of("a.2"), "[6] after 0 through 9 done")
		wantPage(t, s, of("a.none"), "[] after 0 through 9 done")
		wantPage(t, s, of("b", "c"), "[3 7 9] after 0 through 9 done trimmed 4")
		time.Sleep(time.Minute + time.Second)
		wantPage(t, s, of(">"), "[5 6 7 8 9] after 0 through 9 done trimmed 4")
		commit(s, "b")
		wantPage(t, s, of("b"), "[10] after 0 through 10 done trimmed 3")
	})
}

func TestARecordIsOfAHistoryIfItsTopicHadOneWhenItWasCommitted(t *testing.T) {
	s := keeping(t)
	commit(s, "a")
	setRules(t, s, broker.RetentionRule{Match: "a", Count: 10})
	commit(s, "a", "a")
	wantPage(t, s, of("a"), "[2 3] after 0 through 3 done trimmed 1")
	setRules(t, s)
	wantPage(t, s, of("a"), "[] after 0 through 3 done")
	setRules(t, s, broker.RetentionRule{Match: "a", Count: 10})
	commit(s, "a")
	wantPage(t, s, of("a"), "[4] after 0 through 4 done trimmed 3")
}

func TestPagesOfAHistory(t *testing.T) {
	s := keeping(t, broker.RetentionRule{Match: "a", Count: 100}, broker.RetentionRule{Match: "b", Count: 100})
	commit(s, "a", "b", "a", "a", "b", "a", "a", "b")
	wantPage(t, s, broker.HistoryQuery{Filters: []string{"a"}, Limit: 2}, "[1 3] after 0 through 3")
	wantPage(t, s, broker.HistoryQuery{Filters: []string{"a"}, After: 3, Limit: 3}, "[4 6 7] after 3 through 8 done")
	wantPage(t, s, broker.HistoryQuery{Filters: []string{"a"}, After: 3, Through: 6}, "[4 6] after 3 through 6 done")
	wantPage(t, s, broker.HistoryQuery{Filters: []string{"a"}, Last: 2}, "[6 7] after 5 through 8 done")
	wantPage(t, s, broker.HistoryQuery{Filters: []string{"a"}, Last: 3, Limit: 2}, "[4 6] after 3 through 6")
	wantPage(t, s, broker.HistoryQuery{Filters: []string{"b"}, Last: 9}, "[2 5 8] after 0 through 8 done")
	s.Damage(4)
	wantPage(t, s, broker.HistoryQuery{Filters: []string{"a"}, After: 1, Through: 6}, "[3 6] after 1 through 6 done damaged [4]")
	s.Forget("b")
	wantPage(t, s, of(">"), "[1 3 6 7] after 0 through 8 done floor 8 damaged [4]")
	s.PageSize(1, 2)
	wantPage(t, s, broker.HistoryQuery{Filters: []string{"a"}, After: 4}, "[6] after 4 through 6 floor 8")
	wantPage(t, s, broker.HistoryQuery{Filters: []string{"c"}, After: 4}, "[] after 4 through 6 floor 8")
	if n := len(s.Reads()); n != 10 {
		t.Errorf("found %d reads, wanted 10", n)
	}
}

func TestAPageHasAboutAMebibyte(t *testing.T) {
	s := keeping(t, broker.RetentionRule{Match: "a", Count: 100})
	for range 3 {
		s.Commit(broker.Record{Topic: "a", Payload: make([]byte, 600<<10)})
	}
	wantPage(t, s, of("a"), "[1] after 0 through 1")
}

func TestReadsAreHeldAndFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := keeping(t, broker.RetentionRule{Match: "a", Count: 100})
		s.HoldReads()
		answer := make(chan error, 3)
		read := func(ctx context.Context) {
			_, err := s.ReadHistory(ctx, of("a"))
			answer <- err
		}
		ctx, cancel := context.WithCancel(t.Context())
		go read(ctx)
		synctest.Wait()
		if len(answer) > 0 {
			t.Error("found an answer of a read that is held")
		}
		cancel()
		if err := <-answer; !errors.Is(err, context.Canceled) {
			t.Errorf("found %v", err)
		}
		go read(t.Context())
		synctest.Wait()
		s.GoAway()
		if err := <-answer; !errors.Is(err, brokertest.ErrAway) {
			t.Errorf("found %v", err)
		}
		s.ComeBack()
		go read(t.Context())
		synctest.Wait()
		s.ReleaseReads()
		if err := <-answer; err != nil {
			t.Errorf("found %v", err)
		}
		s.FailReads(1)
		if _, err := s.ReadHistory(t.Context(), of("a")); err == nil {
			t.Error("found no error")
		}
		if _, err := s.ReadHistory(t.Context(), of("a")); err != nil {
			t.Errorf("found %v", err)
		}
	})
}

func TestEachOpeningBeginsATerm(t *testing.T) {
	s := brokertest.NewStore()
	commit(s, "a", "a")
	old := s.Copy()
	s.GoAway()
	if _, err := s.ListTerms(t.Context()); !errors.Is(err, brokertest.ErrAway) {
		t.Errorf("found %v", err)
	}
	s.ComeBack()
	commit(s, "a", "a")
	firsts := func() (firsts []uint64) {
		t.Helper()
		terms, err := s.ListTerms(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ids := map[protocol.RunID]bool{}
		for _, term := range terms {
			firsts, ids[term.ID] = append(firsts, term.First), true
		}
		if len(ids) != len(terms) || terms[len(terms)-1].ID != s.Copy().Term {
			t.Errorf("found terms %+v, the present one is %v", terms, s.Copy().Term)
		}
		return firsts
	}
	if found := firsts(); !slices.Equal(found, []uint64{1, 3}) {
		t.Errorf("found terms from %v", found)
	}
	lost := s.Copy().Term
	commit(s, "a")
	s.Restore(old)
	if found := firsts(); !slices.Equal(found, []uint64{1, 3}) {
		t.Errorf("found terms from %v", found)
	}
	if terms, _ := s.ListTerms(t.Context()); terms[0].ID != old.Term || terms[1].ID == lost {
		t.Errorf("found terms %+v, wanted that of the copy and a new one", terms)
	}
}

// appended is the store's answer to one record.
func appended(t *testing.T, s *brokertest.Store, r broker.Record) broker.AppendResult {
	t.Helper()
	var result broker.AppendResult
	s.Append([]broker.Record{r}, func(results []broker.AppendResult, err error) {
		if err != nil {
			t.Fatal(err)
		}
		result = results[0]
	})
	return result
}

func TestAKeyIsKnownForTwoMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, origin, ref := brokertest.NewStore(), protocol.NewRunID(), uint64(0)
		send := func(digest string) broker.AppendResult {
			ref++
			r := appended(t, s, broker.Record{Origin: origin, Ref: ref, Topic: "a", Key: []byte("key key key key "), Digest: []byte(digest)})
			if r.Ref != ref {
				t.Errorf("found an answer to %d, wanted %d", r.Ref, ref)
			}
			r.Ref = 0
			return r
		}
		first, repeat := broker.AppendResult{Offset: 1}, broker.AppendResult{Offset: 1, Duplicate: true, Repeats: true}
		want := func(found, want broker.AppendResult) {
			t.Helper()
			if d := cmp.Diff(want, found); d != "" {
				t.Error(d)
			}
		}
		want(send("one"), first)
		want(send("one"), repeat)
		if r := send("two"); code(r.Err) != protocol.CodeDuplicateID {
			t.Errorf("found %+v", r)
		}
		time.Sleep(100 * time.Second)
		s.GoAway()
		s.ComeBack() // the time is counted anew
		time.Sleep(100 * time.Second)
		want(send("one"), repeat)
		time.Sleep(20 * time.Second)
		want(send("two"), broker.AppendResult{Offset: 2})
		if r := s.Log()[0]; r.Key != nil || r.Digest != nil {
			t.Errorf("found key and digest in %+v", r)
		}
		s.Without(broker.PowerKeys)
		want(send("two"), broker.AppendResult{Offset: 3})
	})
}

func code(err *protocol.Error) protocol.Code {
	if err == nil {
		return 0
	}
	return err.Code
}

func TestPowersCanBeTakenAway(t *testing.T) {
	s := brokertest.NewStore()
	for _, p := range []broker.Power{broker.PowerTerms, broker.PowerHistory, broker.PowerKeys} {
		if !s.Has(p) {
			t.Errorf("found no %s", p)
		}
	}
	s.GoAway()
	if s.Has(broker.PowerTerms) {
		t.Error("found a power of a store that is away")
	}
	s.ComeBack()
	s.Without(broker.PowerTerms, broker.PowerHistory)
	_, terms := s.ListTerms(t.Context())
	_, read := s.ReadHistory(t.Context(), of("a"))
	for _, err := range []error{terms, read, s.SetRetention(t.Context(), nil)} {
		if !errors.Is(err, broker.ErrNoPower) {
			t.Errorf("found %v", err)
		}
	}
	if s.Has(broker.PowerHistory) || s.Has(broker.PowerTerms) || !s.Has(broker.PowerKeys) || s.Has(broker.PowerBackup) {
		t.Error("found the wrong powers")
	}
}
