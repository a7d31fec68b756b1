package brokertest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/protocol"
)

var _ broker.HistoryStore = (*Store)(nil)

// past is the histories of a store.
type past struct {
	rules   []broker.RetentionRule
	records []pastRecord      // of the histories, in order of offsets; trim takes out what is beyond their bounds
	missing map[string]uint64 // by topic: the highest record that is in no history
	floor   uint64            // the same for topics that are forgotten
	damaged map[uint64]bool
}

type pastRecord struct {
	broker.Record
	committed time.Time
}

func newPast() past { return past{missing: map[string]uint64{}, damaged: map[uint64]bool{}} }

func (p *past) clone() past {
	return past{slices.Clone(p.rules), slices.Clone(p.records), maps.Clone(p.missing), p.floor, maps.Clone(p.damaged)}
}

// ruleOf is the rule of a topic that has a history, nil for another.
func (p *past) ruleOf(topic string) *broker.RetentionRule {
	for i := range p.rules {
		if protocol.Match(p.rules[i].Match, topic) {
			if p.rules[i].Keeps() {
				return &p.rules[i]
			}
			return nil
		}
	}
	return nil
}

// add takes a record that has just been committed.
func (p *past) add(r broker.Record) {
	if p.ruleOf(r.Topic) == nil {
		p.missing[r.Topic] = r.Offset
		return
	}
	p.records = append(p.records, pastRecord{r, time.Now()})
}

// trim takes out what the rules do not keep.
func (p *past) trim(now time.Time) {
	type sum struct{ count, bytes uint64 }
	kept := map[string]sum{}
	drop := map[uint64]bool{}
	for _, r := range slices.Backward(p.records) {
		s := kept[r.Topic]
		s.count++
		s.bytes += bytesOf(&r.Record)
		kept[r.Topic] = s
		rule := p.ruleOf(r.Topic)
		if rule == nil || r.Offset <= p.missing[r.Topic] || rule.Count > 0 && s.count > rule.Count ||
			rule.Bytes > 0 && s.bytes > rule.Bytes || rule.Age > 0 && now.Sub(r.committed) > rule.Age {
			p.missing[r.Topic] = max(p.missing[r.Topic], r.Offset)
			drop[r.Offset] = true
		}
	}
	p.records = slices.DeleteFunc(p.records, func(r pastRecord) bool { return drop[r.Offset] })
}

// bytesOf is what a record counts for RetentionRule.Bytes.
func bytesOf(r *broker.Record) uint64 {
	n := len(r.Topic) + len(r.Payload) + len(r.ContentType) + len(r.User)
	for k, v := range r.Headers {
		n += len(k) + len(v)
	}
	return uint64(n)
}

// page answers q, without what has expired. Its After and Through are those of q with the bounds filled in.
func (p *past) page(q *broker.HistoryQuery, size pageSize) broker.HistoryPage {
	page := broker.HistoryPage{After: q.After, Through: q.Through, Floor: p.floor, Done: true}
	for topic, offset := range p.missing {
		if matchesAny(q.Filters, topic) && p.ruleOf(topic) != nil {
			page.TrimmedThrough = max(page.TrimmedThrough, offset)
		}
	}
	var found []pastRecord
	now := time.Now()
	for _, r := range p.records {
		if r.Offset > q.After && r.Offset <= q.Through && !expired(&r.Record, now) && matchesAny(q.Filters, r.Topic) {
			found = append(found, r)
		}
	}
	if skip := len(found) - q.Last; q.Last > 0 && skip > 0 {
		found = found[skip:]
		page.After = found[0].Offset - 1
	}
	if size.offsets > 0 && page.Through > page.After+size.offsets {
		page.Through, page.Done = page.After+size.offsets, false
	}
	var bytes uint64
	for i, r := range found {
		if r.Offset > page.Through {
			break
		}
		bytes += bytesOf(&r.Record)
		if i == min(q.Limit, size.records) || i > 0 && bytes > maxPageBytes {
			page.Through, page.Done = found[i-1].Offset, false
			break
		}
		if p.damaged[r.Offset] {
			page.Damaged = append(page.Damaged, r.Offset)
		} else {
			page.Records = append(page.Records, r.Record)
		}
	}
	return page
}

const maxPageBytes = 1 << 20

func matchesAny(filters []string, topic string) bool {
	return slices.ContainsFunc(filters, func(f string) bool { return protocol.Match(f, topic) })
}

// reading is how a Store answers ReadHistory.
type reading struct {
	queries   []broker.HistoryQuery
	readsHeld bool
	failReads int
	size      pageSize
}

// pageSize bounds the pages of a history; 0 is no bound.
type pageSize struct {
	records int
	offsets uint64
}

// Reads are the calls of ReadHistory so far.
func (s *Store) Reads() []broker.HistoryQuery {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.queries)
}

// HoldReads makes the reads of histories wait for ReleaseReads, those that wait when the store goes away fail.
func (s *Store) HoldReads() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.readsHeld = true
}

// ReleaseReads ends HoldReads.
func (s *Store) ReleaseReads() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.readsHeld = false
	s.changedLocked()
}

// FailReads makes the next n reads of histories fail.
func (s *Store) FailReads(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failReads = n
}

// PageSize makes the pages of histories end after so many records, or when so many offsets have been looked at; 0 is no bound.
func (s *Store) PageSize(records int, offsets uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.size = pageSize{records, offsets}
}

// Damage makes the record at offset unreadable for histories.
func (s *Store) Damage(offset uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.past.damaged[offset] = true
}

// Forget takes the history of topic away, and with it what is known of it: only the floor tells.
func (s *Store) Forget(topic string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := &s.state.past
	p.floor = max(p.floor, p.missing[topic])
	delete(p.missing, topic)
	p.records = slices.DeleteFunc(slices.Clone(p.records), func(r pastRecord) bool {
		if r.Topic == topic {
			p.floor = max(p.floor, r.Offset)
		}
		return r.Topic == topic
	})
}

// Retention are the rules that hold.
func (s *Store) Retention() []broker.RetentionRule {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.state.past.rules)
}

// SetRetention implements broker.HistoryStore.
func (s *Store) SetRetention(ctx context.Context, rules []broker.RetentionRule) error {
	if len(rules) > broker.MaxRetentionRules {
		return fmt.Errorf("%d rules, wanted at most %d", len(rules), broker.MaxRetentionRules)
	}
	for _, r := range rules {
		if err := protocol.ValidateFilter(r.Match); err != nil {
			return fmt.Errorf("rule %q: %w", r.Match, err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.mayLocked(ctx, broker.PowerHistory); err != nil {
		return err
	}
	now := time.Now()
	s.state.past.trim(now)
	s.state.past.rules = slices.Clone(rules)
	s.state.past.trim(now)
	return nil
}

// ReadHistory implements broker.HistoryStore.
func (s *Store) ReadHistory(ctx context.Context, q broker.HistoryQuery) (broker.HistoryPage, error) {
	if n := len(q.Filters); n == 0 || n > broker.MaxHistoryFilters {
		return broker.HistoryPage{}, fmt.Errorf("%d filters, wanted 1 to %d", n, broker.MaxHistoryFilters)
	}
	for _, f := range q.Filters {
		if err := protocol.ValidateFilter(f); err != nil {
			return broker.HistoryPage{}, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queries = append(s.queries, q)
	if err := s.awaitReadLocked(ctx); err != nil {
		return broker.HistoryPage{}, err
	}
	if q.Through == 0 || q.Through > s.state.Head {
		q.Through = s.state.Head
	}
	if q.Limit <= 0 || q.Limit > broker.MaxHistoryRecords {
		q.Limit = broker.MaxHistoryRecords
	}
	size := s.size
	if size.records == 0 {
		size.records = q.Limit
	}
	s.state.past.trim(time.Now())
	page := s.state.past.page(&q, size)
	page.Head = s.state.Head
	return page, nil
}

// awaitReadLocked waits until reads are not held. It gives the lock up meanwhile.
func (s *Store) awaitReadLocked(ctx context.Context) error {
	for {
		if err := s.mayLocked(ctx, broker.PowerHistory); err != nil || !s.readsHeld {
			if err == nil && s.failReads > 0 {
				s.failReads--
				return ErrAway
			}
			return err
		}
		changed := s.changed
		s.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		}
		s.mu.Lock()
	}
}
