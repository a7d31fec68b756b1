package broker

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/carillon-mq/carillon/broker/internal/sketch"
)

// LogLines writes down everything that the log and the retained values are, but for what they cost.
func (b *Broker) LogLines() []string {
	r := b.ring
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Since(r.began).Milliseconds()
	lines := []string{fmt.Sprintf("%s from %d/%d to %d/%d, store from %+v", b.epoch, r.chunks[0].first, r.chunks[0].before, r.head.Load(), r.watermark, r.base)}
	for _, c := range r.chunks {
		var topics []string
		for i := range c.n.Load() {
			e := &c.entries[i]
			if !slices.Contains(topics, e.topic) {
				topics = append(topics, e.topic)
			}
			line := fmt.Sprintf("%d/%d %s fleeting %t stored %t age %d", e.seq, e.watermark, e.topic, e.fleeting, e.stored, now-e.at)
			if p := e.body.Load(); p != nil && !e.fleeting {
				line += fmt.Sprintf(" %d/%d %x", p.seq, p.mark, p.data)
			}
			lines = append(lines, line)
		}
		missing := slices.ContainsFunc(topics, func(topic string) bool { return !c.sketch.Has(sketch.PrefixOf(topic)) })
		if missing || !slices.Equal(topics, c.topics) {
			lines = append(lines, fmt.Sprintf("chunk %d knows %q, holds %q; not all of them by its sketch: %t", c.first, c.topics, topics, missing))
		}
	}
	r.retained.tree.Scan(func(v retainedValue) bool {
		lines = append(lines, fmt.Sprintf("%s is %d/%d %x", v.topic, v.seq, v.offset, v.packet.data))
		return true
	})
	return lines
}

// SealLog makes a log of what stands in its blocks.
func SealLog(content []byte) []byte {
	var b bytes.Buffer
	c := newCarryWriter(&b)
	c.raw(content)
	_ = c.close() // of a buffer
	return b.Bytes()
}

// OpenLog is what stands in the blocks of a log.
func OpenLog(log []byte) []byte {
	c := newCarryReader(bytes.NewReader(log))
	var content []byte
	for c.more() {
		content = append(content, c.rest...)
		c.rest = nil
	}
	if c.err != nil {
		panic(c.err)
	}
	return content
}

// CheckLog reads a log for a broker of the given options.
func CheckLog(log io.Reader, opt Options) error {
	opt = opt.withDefaults()
	_, err := readLog(log, &opt)
	return err
}
