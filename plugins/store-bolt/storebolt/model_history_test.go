package storebolt

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/protocol"
)

// past is what the history of a store is, without a file: the reference of the state machine.
type past struct {
	t     *testing.T
	cfg   Config
	store *Store
	now   int64
	clock atomic.Int64 // now, for the store's goroutines

	log      []pastRecord // all of it, at offset-1
	rules    []broker.RetentionRule
	keys     map[string]pastKey
	retained map[string]broker.Record
	dropped  map[string]uint64 // by topic: its highest record that the present rules have dropped
	softly   map[string]uint64 // by topic: the same for earlier rules; the store shows these if it has them still
}

type pastRecord struct {
	broker.Record
	stamp   int64
	history bool
}

type pastKey struct {
	offset uint64
	digest string
	until  int64 // kept at least until then
}

var pastTopics = []string{"a", "b", "a.x", "a.y", "c.1", "c.2", "c.3", "$s"}

var pastRules = []broker.RetentionRule{
	{Match: "a", Count: 3},
	{Match: "a", Count: 12},
	{Match: "a.*", Bytes: 400},
	{Match: "c.2"},
	{Match: "c.>", Age: 40 * time.Second},
	{Match: "c.*", Count: 5, Age: 2 * time.Minute},
	{Match: ">", Count: 6},
	{Match: "$s", Count: 2},
}

func TestTheHistoryIsWhatItsRulesSay(t *testing.T) {
	dir, runs := t.TempDir(), 0
	rapid.Check(t, func(rt *rapid.T) {
		runs++
		m := &past{t: t, now: 1_700_000_000_000, keys: make(map[string]pastKey), retained: make(map[string]broker.Record), dropped: make(map[string]uint64), softly: make(map[string]uint64)}
		m.cfg = Config{
			Dir: fmt.Sprintf("%s/%d", dir, runs), KeepRecords: 12, segmentRecords: 4, hotSegments: rapid.IntRange(1, 3).Draw(rt, "hot"),
			Logger: discard, tick: time.Hour, now: m.clock.Load,
		}
		m.clock.Store(m.now)
		m.reopen(rt)
		m.setRules(rt)
		defer func() { closeStore(t, m.store) }()
		rt.Repeat(map[string]func(*rapid.T){
			"append":  m.append,
			"append2": m.append,
			"read":    m.read,
			"pages":   m.pages,
			"last":    m.last,
			"wait":    m.wait,
			"rules":   m.setRules,
			"reopen":  m.reopen,
			"load":    m.load,
			"follow":  m.follow,
		})
	})
}

func (m *past) reopen(t *rapid.T) {
	if m.store != nil {
		closeStore(m.t, m.store)
	}
	s, err := Open(m.cfg)
	if err != nil {
		t.Fatal(err)
	}
	m.store = s
	for key, k := range m.keys {
		if k.until >= m.now { // counted anew from a start
			k.until = m.now + keyWindow
			m.keys[key] = k
		}
	}
}

func (m *past) head() uint64 { return uint64(len(m.log)) }

// ruleOf is the rule of a topic, by the model's own way.
func (m *past) ruleOf(topic string) *broker.RetentionRule {
	for i := range m.rules {
		if protocol.Match(m.rules[i].Match, topic) {
			if !m.rules[i].Keeps() {
				return nil
			}
			return &m.rules[i]
		}
	}
	return nil
}

func (m *past) setRules(t *rapid.T) {
	if m.store != nil && m.rules != nil && !rapid.Bool().Draw(t, "really") { // not too often
		return
	}
	rules := rapid.SliceOfN(rapid.SampledFrom(pastRules), 1, 4).Draw(t, "rules")
	m.trim()
	if err := m.store.SetRetention(context.Background(), rules); err != nil {
		t.Fatal(err)
	}
	m.rules = rules
	for topic, offset := range m.dropped {
		m.softly[topic] = max(m.softly[topic], offset)
	}
	m.dropped = make(map[string]uint64)
	for i := range m.log { // a topic that has no history now has lost what it had, unless it gets one again before its next record
		if r := &m.log[i]; m.ruleOf(r.Topic) == nil {
			m.softly[r.Topic] = max(m.softly[r.Topic], r.Offset)
		}
	}
	m.trim()
}

func (m *past) append(t *rapid.T) {
	m.later(rapid.IntRange(0, 5000).Draw(t, "later"))
	batch := make([]broker.Record, rapid.IntRange(1, 6).Draw(t, "records"))
	for i := range batch {
		r := record(rapid.SampledFrom(pastTopics).Draw(t, "topic"), rapid.SampledFrom([]string{"", "x", "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy"}).Draw(t, "payload"))
		r.Retain = rapid.Bool().Draw(t, "retain")
		if rapid.IntRange(0, 3).Draw(t, "ends") == 0 {
			r.Expires = m.now + int64(rapid.IntRange(1, 60_000).Draw(t, "ttl"))
		}
		if rapid.Bool().Draw(t, "keyed") {
			r.Key = fmt.Appendf(nil, "key %012d", rapid.IntRange(0, 20).Draw(t, "key"))
			r.Digest = fmt.Appendf(nil, "digest %d", rapid.IntRange(0, 1).Draw(t, "digest"))
		}
		batch[i] = r
	}
	m.trim()
	m.expire()
	m.absorb(t)
	for i, got := range appendAll(m.t, m.store, batch...) {
		m.check(t, batch[i], got)
	}
	m.absorb(t)
}

// check applies r to the model and compares the answer.
func (m *past) check(t *rapid.T, r broker.Record, got broker.AppendResult) {
	if k, known := m.keys[string(r.Key)]; known && len(r.Key) > 0 && (m.now <= k.until || got.Err != nil || got.Repeats) {
		switch {
		case k.digest != string(r.Digest):
			if got.Err == nil || got.Err.Code != protocol.CodeDuplicateID {
				t.Fatalf("%+v, want duplicate_id", got)
			}
		case !got.Duplicate || !got.Repeats || got.Offset != k.offset:
			t.Fatalf("%+v, want a repeat of %d", got, k.offset)
		}
		return
	}
	if got.Err != nil || got.Duplicate || got.Offset != m.head()+1 {
		t.Fatalf("%+v, want offset %d", got, m.head()+1)
	}
	if len(r.Key) > 0 {
		m.keys[string(r.Key)] = pastKey{got.Offset, string(r.Digest), m.now + keyWindow}
	}
	m.add(r)
}

func (m *past) add(r broker.Record) {
	r.Offset, r.Key, r.Digest = m.head()+1, nil, nil
	m.log = append(m.log, pastRecord{r, m.now, m.ruleOf(r.Topic) != nil})
	if r.Retain {
		delete(m.retained, r.Topic)
		if len(r.Payload) > 0 {
			m.retained[r.Topic] = r
		}
	}
	m.trim()
}

// absorb takes the clears of what has expired from the feed: each must be due, and none may be missing.
func (m *past) absorb(t *rapid.T) {
	for _, r := range mustReadFeed(m.t, m.store, broker.FollowFrom{After: m.head()}) {
		old, had := m.retained[r.Topic]
		if !r.Retain || len(r.Payload) > 0 || !had || old.Expires == 0 || old.Expires > m.now || !r.Origin.IsZero() {
			t.Fatalf("%+v is not a clear of %+v at %d", r, old, m.now)
		}
		m.add(r)
	}
	for topic, r := range m.retained {
		if r.Expires != 0 && r.Expires <= m.now {
			t.Fatalf("%s has expired and was not cleared", topic)
		}
	}
}

// expire does what the store's ticker does.
func (m *past) expire() {
	if err := m.store.settle(context.Background()); err != nil {
		m.t.Fatal(err)
	}
}

// later moves the time of the model and of the store on.
func (m *past) later(milliseconds int) {
	m.now += int64(milliseconds)
	m.clock.Store(m.now)
}

func (m *past) wait(t *rapid.T) {
	m.later(rapid.IntRange(0, 90_000).Draw(t, "later"))
	m.trim()
	m.expire()
	m.absorb(t)
}

// trim takes out of the histories what the rules do not keep.
func (m *past) trim() {
	type sum struct{ count, bytes uint64 }
	sums := make(map[string]sum)
	for i := len(m.log) - 1; i >= 0; i-- {
		r := &m.log[i]
		rule := m.ruleOf(r.Topic)
		if !r.history || rule == nil || r.Offset <= m.dropped[r.Topic] {
			continue
		}
		s := sums[r.Topic]
		s.count++
		s.bytes += uint64(len(appendRecord(nil, &r.Record, place{offset: r.Offset, stamp: r.stamp, history: true})))
		sums[r.Topic] = s
		if rule.Count > 0 && s.count > rule.Count || rule.Bytes > 0 && s.bytes > rule.Bytes ||
			rule.Age > 0 && r.stamp < m.now-rule.Age.Milliseconds()-timeUnit {
			m.dropped[r.Topic] = max(m.dropped[r.Topic], r.Offset)
		}
	}
}

// visible is what has to be served, and what may be: it is on the brink of being too old, or earlier rules had dropped it.
func (m *past) visible(r *pastRecord) (must, may bool) {
	rule := m.ruleOf(r.Topic)
	if !r.history || rule == nil || r.Offset <= m.dropped[r.Topic] || r.Expires != 0 && r.Expires <= m.now {
		return false, false
	}
	oldest := m.now - rule.Age.Milliseconds()
	switch {
	case rule.Age > 0 && r.stamp < oldest-timeUnit:
		return false, false
	case rule.Age > 0 && r.stamp < oldest+timeUnit, r.Offset <= m.softly[r.Topic]:
		return false, true
	}
	return true, true
}

var pastFilters = []string{"a", "b", "a.x", "a.*", "c.>", "*", ">", "c.1", "c.3", "$s"}

func (m *past) query(t *rapid.T) broker.HistoryQuery {
	return broker.HistoryQuery{
		Filters: rapid.SliceOfN(rapid.SampledFrom(pastFilters), 1, 3).Draw(t, "filters"),
		After:   uint64(rapid.IntRange(0, len(m.log)).Draw(t, "after")),
		Through: uint64(rapid.IntRange(0, len(m.log)).Draw(t, "through")),
		Limit:   rapid.IntRange(1, 20).Draw(t, "limit"),
	}
}

func (m *past) read(t *rapid.T) {
	q := m.query(t)
	p, err := m.store.ReadHistory(context.Background(), q)
	if err != nil {
		t.Fatal(err)
	}
	m.compare(t, &q, &p)
}

func (m *past) pages(t *rapid.T) {
	q := m.query(t)
	if q.Through < q.After {
		q.Through = 0
	}
	var whole broker.HistoryPage
	for first := true; first || !whole.Done; first = false {
		p, err := m.store.ReadHistory(context.Background(), q)
		if err != nil {
			t.Fatal(err)
		}
		if len(p.Records) > q.Limit || p.After != q.After || !p.Done && p.Through <= p.After {
			t.Fatalf("%+v to %+v", p, q)
		}
		p.Records = append(whole.Records, p.Records...)
		if first {
			whole.After = p.After
		}
		p.After = whole.After
		whole = p
		q.After = p.Through
	}
	q.After = whole.After
	m.compare(t, &q, &whole)
}

// compare holds a page against what the model has between its ends.
func (m *past) compare(t *rapid.T, q *broker.HistoryQuery, p *broker.HistoryPage) {
	at := 0
	for i := range m.log {
		r := &m.log[i]
		if r.Offset <= p.After || r.Offset > p.Through || !matchesAny(q.Filters, r.Topic) {
			continue
		}
		must, may := m.visible(r)
		served := at < len(p.Records) && p.Records[at].Offset == r.Offset
		if served && !may || !served && must {
			t.Fatalf("%+v: offset %d of %s: served %v, must %v, may %v", q, r.Offset, r.Topic, served, must, may)
		}
		if served {
			if d := cmp.Diff(r.Record, p.Records[at], ignoreEmpty); d != "" {
				t.Fatal(d)
			}
			at++
		}
		expired := r.Expires != 0 && r.Expires <= m.now
		if !served && !expired && r.Offset > max(p.TrimmedThrough, p.Floor) && m.ruleOf(r.Topic) != nil {
			t.Fatalf("%+v: offset %d of %s is not served, and nobody is told: trimmed through %d, floor %d", q, r.Offset, r.Topic, p.TrimmedThrough, p.Floor)
		}
	}
	if at != len(p.Records) || p.Head != m.head() || p.TrimmedThrough > m.head() {
		t.Fatalf("%d records of %d are known; %+v", at, len(p.Records), p)
	}
}

func (m *past) last(t *rapid.T) {
	q := m.query(t)
	q.After, q.Through, q.Last, q.Limit = 0, 0, rapid.IntRange(1, 15).Draw(t, "last"), 100
	p, err := m.store.ReadHistory(context.Background(), q)
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Records) > q.Last || !p.Done {
		t.Fatalf("%+v to %+v", p, q)
	}
	m.compare(t, &q, &p)
	all, err := m.store.ReadHistory(context.Background(), broker.HistoryQuery{Filters: q.Filters})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(p.Records); n < min(q.Last, len(all.Records)) && !slices.ContainsFunc(m.log, func(r pastRecord) bool { return r.Expires != 0 }) {
		t.Fatalf("%d records of %d, wanted the newest %d", n, len(all.Records), q.Last)
	}
}

func (m *past) load(t *rapid.T) {
	got, head, err := loadRetained(m.store)
	if err != nil || head != m.head() {
		t.Fatalf("head %d, want %d, %v", head, m.head(), err)
	}
	if d := cmp.Diff(m.retained, got, ignoreEmpty); d != "" {
		t.Fatal(d)
	}
}

func (m *past) follow(t *rapid.T) {
	after := uint64(rapid.IntRange(0, len(m.log)).Draw(t, "after"))
	got, _, err := readFeed(m.store, broker.FollowFrom{After: after})
	if err != nil {
		if int(after) >= len(m.log)-m.cfg.KeepRecords {
			t.Fatalf("after %d of %d: %v", after, m.head(), err)
		}
		return
	}
	for i, r := range got {
		if d := cmp.Diff(m.log[int(after)+i].Record, r, ignoreEmpty); d != "" {
			t.Fatal(d)
		}
	}
	if len(got) != len(m.log)-int(after) {
		t.Fatalf("%d records after %d of %d", len(got), after, m.head())
	}
}
