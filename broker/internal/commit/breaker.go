package commit

import (
	"errors"
	"time"

	"github.com/carillon-mq/carillon/broker/store"
	"github.com/carillon-mq/carillon/protocol"
)

// The breaker is open while the store has owed an answer, or has been away, for longer than a publication may wait. What it would have to
// commit is refused at once then and holds nobody up. The store's next sign of life closes it: what was handed to it before still waits
// there, and a store that comes back is followed again, so nothing has to be sent to try it.

// stuckFor is how long the breaker's reason has lasted, 0 while it is closed. mu is held.
func (c *Committer) stuckForLocked(now time.Time) time.Duration {
	if c.caughtUp && c.batches == 0 {
		return 0
	}
	if d := now.Sub(c.progress); d >= c.opt.Timeout {
		return d
	}
	return 0
}

// Broken reports whether the breaker is open.
func (c *Committer) Broken() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stuckForLocked(time.Now()) > 0
}

// refuseStuckLocked is what a publication is told while the breaker is open, nil while it is not.
func (c *Committer) refuseStuckLocked() *protocol.Error {
	d := c.stuckForLocked(time.Now())
	if d == 0 {
		return nil
	}
	what := "the store has not answered for %v; the message was not kept and not delivered"
	if !c.caughtUp {
		what = "the store has been away for %v; the message was not kept and not delivered"
	}
	return protocol.Errorf(protocol.CodeStoreUnavailable, what, d.Round(time.Second)).WithRetryAfter(time.Second)
}

// watchBreaker logs when the breaker opens and closes. Called by Send.
func (c *Committer) watchBreaker(now time.Time) {
	c.mu.Lock()
	open := c.stuckForLocked(now) > 0
	changed := open != c.told
	c.told = open
	c.mu.Unlock()
	switch {
	case changed && open:
		c.opt.Logger.Warn("the store gives no answer: what it would have to commit is refused until it does")
	case changed:
		c.opt.Logger.Info("the store answers again")
	}
}

// Faults is how often the store has broken its contract, as far as its feed and its answers to the committer show it. Nothing of such an answer
// was delivered.
func (c *Committer) Faults() uint64 { return c.faults.Load() }

// blame counts err if the store is to blame for it.
func (c *Committer) blame(err error) {
	if errors.Is(err, store.ErrMalformed) {
		c.faults.Add(1)
		c.opt.Logger.Error("the store breaks its contract: nothing of that answer is delivered", "err", err)
	}
}
