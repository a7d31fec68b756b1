package ring

import (
	"fmt"
	"slices"
	"time"

	"github.com/carillon-mq/carillon/broker/internal/sketch"
)

// Charged is what the ring is charged for, what of that is for forms, and what it really holds.
func (r *Ring) Charged() (charged, forms, held int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.chunks {
		held += c.overhead()
		for i := range c.n.Load() {
			e := &c.entries[i]
			held += entryOverhead - entrySlot + int64(len(e.Topic)) + e.Extra.cost()
			if p := e.body.Load(); p != nil {
				held += e.BodyCost
				held += p.formCost()
			}
		}
	}
	for _, l := range r.loose {
		held += l.cost
	}
	return r.bytes, r.formed, held
}

func (x *Extra) line() string {
	if x == nil {
		return ""
	}
	return fmt.Sprintf("not for %q, until %d: ", x.Exclude, x.Expires)
}

// Lines writes down everything that the log and the retained values are, but for what they cost.
func (r *Ring) Lines() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Since(r.began).Milliseconds()
	lines := []string{fmt.Sprintf("from %d/%d to %d/%d, store from %+v", r.chunks[0].first, r.chunks[0].before, r.head.Load(), r.watermark, r.base)}
	for _, c := range r.chunks {
		var topics []string
		for i := range c.n.Load() {
			e := &c.entries[i]
			if !slices.Contains(topics, e.Topic) {
				topics = append(topics, e.Topic)
			}
			line := e.Extra.line() + fmt.Sprintf("%d/%d %s fleeting %t stored %t age %d", e.Seq, e.Watermark, e.Topic, e.Fleeting, e.Stored, now-e.at)
			if p := e.body.Load(); p != nil && !e.Fleeting {
				line += fmt.Sprintf(" %d/%d %x", p.seq, p.mark, p.data)
			}
			lines = append(lines, line)
		}
		missing := slices.ContainsFunc(topics, func(topic string) bool { return !c.sketch.Has(sketch.PrefixOf(topic)) })
		if known := c.known(); missing || !slices.Equal(topics, known) {
			lines = append(lines, fmt.Sprintf("chunk %d knows %q, holds %q; not all of them by its sketch: %t", c.first, known, topics, missing))
		}
	}
	r.retained.tree.Scan(func(v Value) bool {
		lines = append(lines, fmt.Sprintf("%s is %d/%d %x", v.Topic, v.seq, v.Offset, v.Packet.data))
		return true
	})
	return lines
}

// known are the topics that c finds entries of, in the order of their first ones, each as often as not all of its entries are found.
func (c *chunk) known() (topics []string) {
	n := c.n.Load()
	for i := range n {
		topic := c.entries[i].Topic
		s := c.topics.slot(hashTopic(topic), topic, c.entries)
		if s.first == uint16(i+1) {
			topics = append(topics, topic)
		}
		found := false
		for place := s.first; place != 0 && !found; place = c.topics.next[place-1] {
			found = place == uint16(i+1)
		}
		if !found {
			topics = append(topics, topic)
		}
	}
	return topics
}
