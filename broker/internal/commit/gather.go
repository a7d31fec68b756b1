package commit

import (
	"time"
)

// gathering says until when the Committer's queue waits for more, so that they share a commit (TopicRule.Sync). The zero value is a
// queue that goes at once.
type gathering struct {
	until   time.Time
	records int
	bytes   int
}

// add takes in p, which may wait for sync, and reports whether the queue is to be looked at: it goes at once or has an end of its own
// now. It goes when the first of its publications has waited long enough, when one of them may not wait, and when a batch is full.
func (g *gathering) add(p *Publication, sync time.Duration) (look bool) {
	first := g.records == 0
	g.records++
	g.bytes += len(p.Buf)
	if sync == 0 || g.records >= commitRecords || g.bytes >= commitBytes {
		g.until = time.Time{}
		return true
	}
	until := time.Now().Add(sync)
	if first || !g.until.IsZero() && until.Before(g.until) {
		g.until = until
		return true
	}
	return g.until.IsZero()
}

func (g *gathering) goesOn() bool { return !g.until.IsZero() && time.Now().Before(g.until) }

// gatherTime is how long the queue waits from now on.
func (c *Committer) gatherTime() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.queue) > 0 && len(c.round.flights) == 0 && c.round.waits(len(c.queue)) {
		return time.Until(c.round.until)
	}
	if c.gathering.until.IsZero() {
		return 0
	}
	return time.Until(c.gathering.until)
}

// syncOf is how long p may wait for others, half the time that it may wait for the store at most. What is retained and not of class
// stored does not wait.
func (c *Committer) syncOf(p *Publication) time.Duration {
	if p.Record == nil || !p.Kept {
		return 0
	}
	return min(c.opt.Rules.Sync(p.Topic), c.opt.Timeout/2)
}
