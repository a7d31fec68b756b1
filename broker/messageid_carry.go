package broker

import "time"

// maxCarriedGenerations is more than there are at a time.
const maxCarriedGenerations = 2 * int(messageIDWindow/messageIDGeneration)

// write writes the table down, so that what is repeated after a planned restart, in the same epoch, is known. Nothing may be on its
// way.
func (t *messageIDs) write(c *carryWriter, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.dropLocked(now)
	c.raw(t.salt[:])
	c.uint(uint64(len(t.generations)))
	for _, g := range t.generations {
		c.int(now.Sub(g.began).Milliseconds())
		c.uint(uint64(len(g.ids)))
		for key, first := range g.ids {
			c.uint64(key)
			c.uint64(first.digest)
			c.uint(first.carried())
			c.uint(g.offsets[key])
		}
	}
}

// carried is the seq, plus 1, or 0 for one that has no place to be told, 1 for an outcome that is not known.
func (f firstPublish) carried() uint64 {
	switch f.seq {
	case idNoPlace:
		return 0
	case idUnknown, idOnItsWay:
		return 1
	}
	return f.seq + 1
}

// read takes what write wrote in the place of the table, which is empty. elapsed is how long ago that was.
func (t *messageIDs) read(c *carryReader, elapsed time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c.raw(t.salt[:])
	generations := c.uint()
	if generations > uint64(maxCarriedGenerations) {
		c.fail(errCarryForm)
	}
	now := time.Now()
	for range generations {
		age := time.Duration(c.int()) * time.Millisecond
		if age < 0 || age > messageIDGeneration+messageIDWindow {
			c.fail(errCarryForm)
		}
		g := t.beginLocked(now.Add(-age - elapsed))
		for n := c.uint(); n > 0 && c.err == nil; n-- {
			key, first := c.uint64(), firstPublish{digest: c.uint64()}
			switch at := c.uint(); at {
			case 0:
				first.seq = idNoPlace
			case 1:
				first.seq = idUnknown
			default:
				first.seq = at - 1
			}
			g.ids[key] = first
			if offset := c.uint(); offset > 0 {
				g.setOffset(key, offset)
			}
		}
		t.count += len(g.ids)
	}
	t.dropLocked(now)
}

// uint64 writes a number that may be any.
func (c *carryWriter) uint64(v uint64) {
	c.uint(v >> 32)
	c.uint(v & (1<<32 - 1))
}

func (c *carryReader) uint64() uint64 {
	high := c.uint()
	low := c.uint()
	if high >= 1<<32 || low >= 1<<32 {
		c.fail(errCarryForm)
	}
	return high<<32 | low
}
