package storebolt

import (
	"fmt"
	"maps"
	"slices"

	bolt "go.etcd.io/bbolt"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/protocol"
)

// commit is one transaction of the committer. Its fields are what the store's will be once it is durable.
type commit struct {
	store    *Store
	state    state
	log      *logAppender
	meta     *bolt.Bucket
	retained *bolt.Bucket

	origins  map[protocol.RunID]origin // those that this commit changes
	lookback map[protocol.RunID]*lookback
	changes  map[string]change // by topic; only the last one of each is written
	arena    []byte            // encoded records; bbolt needs them until the transaction ends
	newest   []recordID        // what was added, in order
}

// change is a new retained value of a topic.
type change struct {
	value []byte
	cost  int64 // what value is charged; 0 if the change clears the topic
	had   bool  // the topic has a value in the file
}

// newCommit begins a commit in tx. arena and newest are room to be used again.
func newCommit(s *Store, tx *bolt.Tx, arena []byte, newest []recordID) *commit {
	return &commit{
		store:    s,
		state:    s.state,
		log:      newLogAppender(&s.cfg, tx.Bucket(bucketLog), s.segments),
		meta:     tx.Bucket(bucketMeta),
		retained: tx.Bucket(bucketRetained),
		origins:  make(map[protocol.RunID]origin),
		changes:  make(map[string]change),
		arena:    arena[:0],
		newest:   newest[:0],
	}
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
	offset := c.state.head + 1
	start := len(c.arena)
	c.arena = appendRecord(c.arena, r, offset)
	value := c.arena[start:len(c.arena):len(c.arena)]
	if r.Retain {
		if refusal := c.retain(r, value); refusal != nil {
			c.arena = c.arena[:start]
			return broker.AppendResult{Err: refusal}, nil
		}
	}
	if err := c.log.append(offset, value); err != nil {
		return broker.AppendResult{}, fmt.Errorf("append offset %d: %w", offset, err)
	}
	c.state.head = offset
	if !r.Origin.IsZero() {
		c.origins[r.Origin] = origin{ref: r.Ref, offset: offset}
		c.lookback[r.Origin].add(r.Ref, offset)
	}
	c.newest = append(c.newest, recordID{offset: offset, origin: r.Origin, ref: r.Ref})
	return broker.AppendResult{Offset: offset}, nil
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
	old := c.retainedCost(r.Topic)
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
		ch.had = old > 0
	}
	ch.value, ch.cost = value, cost
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
	if ch, ok := c.changes[topic]; ok {
		return ch.cost
	}
	if v := c.retained.Get([]byte(topic)); v != nil {
		return retainedCost(topic, len(v))
	}
	return 0
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
	}
	if err := c.putOrigins(); err != nil {
		return err
	}
	if err := c.log.trim(); err != nil {
		return fmt.Errorf("trim the log: %w", err)
	}
	return c.meta.Put(keyState, c.state.seal())
}
