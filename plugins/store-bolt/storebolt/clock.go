package storebolt

import "time"

// clock is the store's clock, in Unix milliseconds. While the store is open it goes on evenly, whatever is done to the wall
// clock, and it never goes back behind the last record's stamp: what has been kept for a minute has been kept for a minute.
type clock struct {
	wall  func() int64 // for tests
	base  int64
	began time.Time
}

func newClock(wall func() int64, last int64) clock {
	now := time.Now()
	return clock{wall: wall, base: max(now.UnixMilli(), last), began: now}
}

func (c *clock) now() int64 {
	if c.wall != nil {
		return c.wall()
	}
	return c.base + time.Since(c.began).Milliseconds()
}
