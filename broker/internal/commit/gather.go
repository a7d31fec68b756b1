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
	if len(c.queue) > 0 && c.batches == 0 && c.round.waits(0, len(c.queue)) {
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

// round is what the committer knows of those who publish, wait for the store, and publish again. A commit costs as much as many records,
// so when many wait it is worth some time to wait for all of them: else they fall into two halves, and one half waits while the other is
// committed.
type round struct {
	sent  time.Time // when the last batch was
	want  int       // records that were waiting when it was answered, its own included
	until time.Time // for so long the next one waits for as many
}

const (
	roundEnough = 128                  // records that make a batch worth sending while another one is on its way
	roundMany   = 16                   // so many are worth a wait
	roundMost   = 4 * time.Millisecond // so long a batch waits at most, and four times what the last one took
)

// answered notes that a batch of n records is, while others wait.
func (r *round) answered(n, waiting int) {
	r.want, r.until = n+waiting, time.Time{}
	if now := time.Now(); r.want >= roundMany {
		r.until = now.Add(min(4*now.Sub(r.sent), roundMost))
	}
}

// waits reports whether the records that wait had better wait for more.
func (r *round) waits(batches, waiting int) bool {
	switch {
	case waiting >= roundEnough:
		return false
	case batches > 0: // what gathers while the store commits costs nothing
		return true
	}
	return waiting < r.want && time.Now().Before(r.until)
}
