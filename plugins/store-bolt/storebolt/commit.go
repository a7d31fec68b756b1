package storebolt

import (
	"fmt"
	"maps"
	"slices"

	bolt "go.etcd.io/bbolt"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/plugins/store-bolt/internal/keyspace"
	"github.com/carillon-mq/carillon/protocol"
)

// commit is one transaction of the committer. Its fields are what the store's will be once it is durable.
type commit struct {
	store    *Store
	now      int64 // by the store's clock
	state    state
	log      *logAppender
	meta     *bolt.Bucket
	retained *bolt.Bucket
	gone     *bolt.Bucket
	expiry   *bolt.Bucket
	keys     *bolt.Bucket

	origins  map[protocol.RunID]origin // those that this commit changes
	lookback map[protocol.RunID]*lookback
	scratch
	fresh  int // topics in lastOf that the index does not know
	how    manner
	rules  *rules // set by this commit
	upkeep upkeep

	keyspace *keyspace.Change // nil: nothing of it was asked for

	firstKey   uint64
	newKeys    *generation
	forgetKeys int // generations that are over
	heldKeys   int // keys of the others
	nextExpiry int64
}

// scratch is what a commit gathers, in memory that the next one uses again.
type scratch struct {
	changes map[string]change // by topic; only the last one of each is written
	lastOf  map[string]uint64 // newest record of each topic with a history that the commit adds to
	keyed   map[string]keyed  // by key
	keyPage []byte            // the same, as it is written
	arena   []byte            // encoded records; bbolt needs them until the transaction ends
	newest  []recordID        // what was added, in order
	added   []added           // the same, for the index
}

// scratchMany is how many records may leave their memory to the next commit: to empty a large map takes long.
const scratchMany = 1024

// empty is s for the next commit. Nothing points to what it held.
func (s *scratch) empty() scratch {
	if max(len(s.keyed), len(s.lastOf), len(s.changes)) > scratchMany || cap(s.arena) > 2*maxCommitBytes || s.changes == nil {
		return scratch{changes: make(map[string]change), lastOf: make(map[string]uint64), keyed: make(map[string]keyed)}
	}
	clear(s.changes)
	clear(s.lastOf)
	clear(s.keyed)
	clear(s.added) // topics
	return scratch{
		changes: s.changes, lastOf: s.lastOf, keyed: s.keyed,
		keyPage: s.keyPage[:0], arena: s.arena[:0], newest: s.newest[:0], added: s.added[:0],
	}
}

// change is a new retained value of a topic.
type change struct {
	value   []byte
	cost    int64 // what value is charged; 0 if the change clears the topic
	expires int64 // when value does; 0: never
	had     bool  // the topic has a value in the file
	expired int64 // when that one expires
}

// newCommit begins a commit in tx.
func newCommit(s *Store, tx *bolt.Tx, now int64, how manner) *commit {
	c := &commit{
		store:    s,
		now:      now,
		state:    s.state,
		log:      newLogAppender(&s.cfg, tx.Bucket(bucketLog), s.index.lastSegment()),
		meta:     tx.Bucket(bucketMeta),
		retained: tx.Bucket(bucketRetained),
		gone:     tx.Bucket(bucketGone),
		expiry:   tx.Bucket(bucketExpiry),
		keys:     tx.Bucket(bucketKeys),
		origins:  make(map[protocol.RunID]origin),
		scratch:  s.scratch.empty(),
		how:      how,
	}
	c.log.fresh = how == tight
	return c
}

// add puts r into the log, and decides what becomes of it: an offset, a duplicate, or a refusal. An error is one of the
// file: nothing of the commit may be kept.
func (c *commit) add(r *broker.Record) (broker.AppendResult, error) {
	if refusal := refuse(r); refusal != nil {
		return broker.AppendResult{Err: refusal}, nil
	}
	if result, seen, err := c.seen(r); seen || err != nil {
		return result, err
	}
	if result, known, err := c.repeated(r); known || err != nil {
		return result, err
	}
	clears := c.clears(r)
	if c.how >= shrinking && !clears {
		return broker.AppendResult{Err: c.store.room.refusal()}, nil
	}
	p := place{offset: c.state.head + 1, stamp: c.now}
	id, refusal := c.history(r.Topic, &p)
	if refusal != nil {
		if !clears {
			return broker.AppendResult{Err: refusal}, nil
		}
		p.history = false // of the topic's history nothing is known: the floor tells of that
		c.state.floor = max(c.state.floor, p.offset)
	}
	start := len(c.arena)
	c.arena = appendRecord(c.arena, r, p)
	value := c.arena[start:len(c.arena):len(c.arena)]
	if r.Retain {
		if refusal := c.retain(r, value); refusal != nil {
			c.arena = c.arena[:start]
			return broker.AppendResult{Err: refusal}, nil
		}
	}
	if err := c.log.append(p.offset, value, p.stamp); err != nil {
		return broker.AppendResult{}, fmt.Errorf("append offset %d: %w", p.offset, err)
	}
	c.state.head, c.state.stamp = p.offset, p.stamp
	if !r.Origin.IsZero() {
		c.origins[r.Origin] = origin{ref: r.Ref, offset: p.offset}
		c.lookback[r.Origin].add(r.Ref, p.offset)
	}
	c.keep(r, p.offset)
	c.newest = append(c.newest, recordID{offset: p.offset, origin: r.Origin, ref: r.Ref})
	c.note(r.Topic, id, len(value), p)
	return broker.AppendResult{Offset: p.offset}, nil
}

// clears reports whether r only takes something away.
func (c *commit) clears(r *broker.Record) bool {
	return r.Retain && len(r.Payload) == 0 && c.retainedCost(r.Topic) > 0
}

// history decides whether a record of topic at p belongs to a history, and links it to the one before. It returns the topic's id if it was
// looked up and is known.
func (c *commit) history(name string, p *place) (topicID, *protocol.Error) {
	x := c.store.index
	if last, here := c.lastOf[name]; here {
		p.history, p.prev = true, last
		return 0, nil
	}
	if id, known := x.ids[name]; known {
		t := &x.topics[id]
		p.history, p.prev = t.rule >= 0, t.last
		if slices.Contains(c.upkeep.forgot, id) { // by this commit: it gets a new one
			id = 0
		}
		return id, nil
	}
	if x.rules.of(name) < 0 {
		return 0, nil
	}
	p.history = true
	limit := c.store.cfg.MaxHistoryTopics
	if len(x.ids)-len(c.upkeep.forgot)+c.fresh < limit || c.forgetSome(x) {
		return 0, nil
	}
	return 0, protocol.Errorf(protocol.CodeQuota, "%d topics have a history, that is the limit", limit)
}

// note remembers what was added, for the index and for the next record of the topic.
func (c *commit) note(name string, id topicID, size int, p place) {
	a := added{place: p, size: size}
	if p.history {
		a.topic, a.id = name, id
		if _, here := c.lastOf[name]; !here && id == 0 {
			c.fresh++
		}
		c.lastOf[name] = p.offset
	}
	c.added = append(c.added, a)
}

// forgetSome makes room for topics: those of which nothing is held are forgotten, and the floor tells of them. It reports
// whether there were some.
func (c *commit) forgetSome(x *index) bool {
	if x.emptied <= len(c.upkeep.forgot) {
		return false
	}
	before := len(c.upkeep.forgot)
	for id := 1; id < len(x.topics) && len(c.upkeep.forgot) < before+forgetsAtOnce; id++ {
		t := &x.topics[id]
		if _, here := c.lastOf[t.name]; t.name == "" || t.held > 0 || here || slices.Contains(c.upkeep.forgot, topicID(id)) {
			continue
		}
		if err := c.gone.Delete([]byte(t.name)); err != nil {
			return false
		}
		c.upkeep.forgot = append(c.upkeep.forgot, topicID(id))
		c.state.floor = max(c.state.floor, t.last, t.trimmed)
	}
	return len(c.upkeep.forgot) > before
}

// refuse returns why r can never be stored, or nil.
func refuse(r *broker.Record) *protocol.Error {
	switch size := recordSize(r); {
	case r.Topic == "" || len(r.Topic) > maxTopicBytes:
		return protocol.Errorf(protocol.CodeBadTopic, "the topic has %d bytes, the store takes 1 to %d", len(r.Topic), maxTopicBytes)
	case size > maxRecordBytes:
		return protocol.Errorf(protocol.CodeTooLarge, "the message has %d bytes with its topic and headers, the store takes %d", size, maxRecordBytes)
	}
	return nil
}

// retain notes that value, the encoding of r, is the topic's retained record from now on; with an empty payload, that it has
// none. It returns the limit that would be exceeded, if there is one; what makes nothing grow is always admitted.
func (c *commit) retain(r *broker.Record, value []byte) *protocol.Error {
	old, expires := c.retainedNow(r.Topic)
	var cost int64
	if len(r.Payload) > 0 {
		cost = retainedCost(r.Topic, len(value))
	}
	cfg := &c.store.cfg
	switch {
	case cost > 0 && old == 0 && c.state.retained >= uint64(cfg.MaxRetainedTopics):
		return protocol.Errorf(protocol.CodeQuota, "%d topics have a retained message, that is the limit", cfg.MaxRetainedTopics)
	case cost > old && int64(c.state.retainedBytes)+cost-old > cfg.MaxRetainedBytes:
		return protocol.Errorf(protocol.CodeQuota, "retained messages take %d bytes of %d, this one needs %d more",
			c.state.retainedBytes, cfg.MaxRetainedBytes, cost-old)
	}
	ch, changed := c.changes[r.Topic]
	if !changed {
		ch.had, ch.expired = old > 0, expires
	}
	ch.value, ch.cost, ch.expires = value, cost, 0
	if cost > 0 {
		ch.expires = r.Expires
	}
	c.changes[r.Topic] = ch
	c.state.retainedBytes += uint64(cost - old)
	switch {
	case old == 0 && cost > 0:
		c.state.retained++
	case old > 0 && cost == 0:
		c.state.retained--
	}
	return nil
}

// retainedCost is what topic's retained record is charged at present, with the changes of this commit; 0 if it has none.
func (c *commit) retainedCost(topic string) int64 {
	cost, _ := c.retainedNow(topic)
	return cost
}

// retainedNow is retainedCost, and when the record expires.
func (c *commit) retainedNow(topic string) (cost, expires int64) {
	if ch, ok := c.changes[topic]; ok {
		return ch.cost, ch.expires
	}
	v := c.retained.Get([]byte(topic))
	if v == nil {
		return 0, 0
	}
	if p, err := peek(v); err == nil { // else it is damaged, and about to be replaced
		expires = p.expires
	}
	return retainedCost(topic, len(v)), expires
}

func retainedCost(topic string, value int) int64 {
	return int64(len(topic) + value + recordOverhead)
}

// finish writes what add has gathered.
func (c *commit) finish() error {
	for _, topic := range slices.Sorted(maps.Keys(c.changes)) {
		ch := c.changes[topic]
		var err error
		switch {
		case ch.cost > 0:
			err = c.retained.Put([]byte(topic), ch.value)
		case ch.had:
			err = c.retained.Delete([]byte(topic))
		}
		if err != nil {
			return fmt.Errorf("retain %q: %w", topic, err)
		}
		if err := c.putExpiry(topic, &ch); err != nil {
			return fmt.Errorf("expiry of %q: %w", topic, err)
		}
	}
	if err := c.putOrigins(); err != nil {
		return err
	}
	if err := c.putKeys(); err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	if err := c.maintain(); err != nil {
		return fmt.Errorf("log: %w", err)
	}
	if c.rules != nil {
		v, err := c.rules.seal()
		if err != nil {
			return err
		}
		if err := c.meta.Put(keyRules, v); err != nil {
			return err
		}
	}
	if c.keyspace != nil {
		if err := c.keyspace.Finish(); err != nil {
			return fmt.Errorf("keyspace: %w", err)
		}
	}
	c.nextExpiry = c.firstExpiry()
	return c.meta.Put(keyState, c.state.seal())
}

// changesNothing reports whether there is nothing to be written.
func (c *commit) changesNothing() bool {
	return len(c.newest) == 0 && c.rules == nil && c.forgetKeys == 0 && c.upkeep.isEmpty() &&
		(c.keyspace == nil || c.keyspace.IsEmpty())
}
